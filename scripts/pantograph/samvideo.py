"""Masks of whatever a text names, with the models of transformers, for `maskvideo`."""

from __future__ import annotations

import functools

import numpy as np

from . import gpu
from .errors import PantographError

gpu.stay_offline()

import torch  # noqa: E402
import transformers  # noqa: E402

MOST = 32
"""People followed at once at most, those with the best scores."""


@functools.lru_cache(maxsize=2)
def load_detector(path, device):
    """GroundingDINO (Liu et al., ECCV 2024) and its processor from a folder."""
    model = _load("GroundingDinoForObjectDetection", path).to(device).eval()
    return _load("GroundingDinoProcessor", path), model


@functools.lru_cache(maxsize=2)
def load_sam2(path, device, dtype):
    """SAM 2's video predictor (Ravi et al., 2024) from a folder, and a processor for it."""
    model = _load("Sam2VideoModel", path, dtype=dtype).to(device).eval()
    side = model.config.image_size
    size = {"height": side, "width": side}
    processor = transformers.Sam2VideoProcessor(
        transformers.Sam2ImageProcessor(size=size),
        transformers.Sam2VideoVideoProcessor(size=size),
        target_size=side,
    )
    return processor, model


@functools.lru_cache(maxsize=2)
def load_sam3(path, device, dtype):
    """SAM 3's video model (Carion et al., 2025) and its processor from a folder."""
    model = _load("Sam3VideoModel", path, dtype=dtype).to(device).eval()
    return _load("Sam3VideoProcessor", path), model


def _load(name, path, **options):
    try:
        return getattr(transformers, name).from_pretrained(path, local_files_only=True, **options)
    except (OSError, ValueError, AttributeError) as error:
        raise PantographError(
            f"{path}: expected the files of {name} for transformers {transformers.__version__}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error


class _Memory:
    """Where the pictures and the memories of a window rest."""

    def __init__(self, device, dtype, offload):
        self.device, self.dtype = device, dtype
        self.rest = torch.device("cpu") if offload else device

    def session(self, processor, pictures):
        return processor.init_video_session(
            video=list(pictures),
            inference_device=self.device,
            inference_state_device=self.rest,
            video_storage_device=self.rest,
            processing_device=self.device,
            dtype=self.dtype,
        )


class GroundedSam2:
    """GroundingDINO finds, SAM 2 masks and follows.

    detector, model: folders; text: the prompt, in lower case with a dot; shape: (H, W) of the
    masks; box_threshold, text_threshold: least score of a box, and of one word of it.
    """

    def __init__(
        self, detector, model, text, shape, box_threshold, text_threshold, device, dtype, offload
    ):
        self.text, self.shape = text, shape
        self.thresholds = box_threshold, text_threshold
        self.memory = _Memory(device, dtype, offload)
        self.finder, self.detector = load_detector(detector, device)
        self.processor, self.model = load_sam2(model, device, dtype)

    @torch.inference_mode()
    def detect(self, picture):
        """Boxes (n, 4) x0 y0 x1 y1 px and scores (n,), the best first."""
        inputs = self.finder(images=picture, text=self.text, return_tensors="pt")
        inputs = inputs.to(self.memory.device)
        found = self.finder.post_process_grounded_object_detection(
            self.detector(**inputs),
            inputs.input_ids,
            threshold=self.thresholds[0],
            text_threshold=self.thresholds[1],
            target_sizes=[picture.shape[:2]],
        )[0]
        scores = found["scores"].float().cpu().numpy()
        named = [i for i in np.argsort(-scores, kind="stable") if found["text_labels"][i]][:MOST]
        boxes = found["boxes"].float().cpu().numpy()[named]
        height, width = picture.shape[:2]
        return np.clip(boxes, 0, [width, height, width, height]), scores[named]

    @torch.inference_mode()
    def segment(self, picture, boxes):
        """Mask logits (n, H, W) of what is in each box."""
        session = self.memory.session(self.processor, [picture])
        self.processor.add_inputs_to_inference_session(
            session, 0, list(range(len(boxes))), input_boxes=[np.asarray(boxes).tolist()]
        )
        return self._resized(self.model(session, frame_idx=0).pred_masks)

    @torch.inference_mode()
    def follow(self, pictures, masks):
        """Yield (k, logits (n, H, W)) for every picture, following the masks of the first one."""
        session = self.memory.session(self.processor, pictures)
        self.processor.add_inputs_to_inference_session(
            session, 0, list(range(len(masks))), input_masks=list(masks)
        )
        for out in self.model.propagate_in_video_iterator(session, start_frame_idx=0):
            yield out.frame_idx, self._resized(out.pred_masks)

    def _resized(self, logits):
        logits = logits.float().reshape(-1, 1, *logits.shape[-2:])
        resized = torch.nn.functional.interpolate(
            logits, size=self.shape, mode="bilinear", align_corners=False
        )
        return resized[:, 0].cpu().numpy()


class Sam3:
    """SAM 3 finds, masks and follows by itself.

    model: folder; text: what to look for, a noun phrase; shape: (H, W) of the masks; score: that
    starts a track, None for the model's own.
    """

    def __init__(self, model, text, shape, device, dtype, offload, score=None):
        self.text, self.shape = text, shape
        self.memory = _Memory(device, dtype, offload)
        self.processor, self.model = load_sam3(model, device, dtype)
        least = self.model.config.new_det_thresh if score is None else score
        self.model.new_det_thresh = least
        self.model.score_threshold_detection = min(
            least, self.model.config.score_threshold_detection
        )

    @torch.inference_mode()
    def track(self, pictures):
        """Yield (k, {id: mask (H, W) bool}, {id: score}) for every picture."""
        session = self.memory.session(self.processor, pictures)
        self.processor.add_text_prompt(session, self.text)
        for out in self.model.propagate_in_video_iterator(session):
            found = self.processor.postprocess_outputs(session, out)
            ids, masks = found["object_ids"].tolist(), found["masks"]
            if ids:
                # a pixel counts where most of it is covered
                masks = masks.float()[:, None]
                masks = torch.nn.functional.interpolate(masks, size=self.shape, mode="area")[:, 0]
            covered = (masks > 0.5).cpu().numpy()
            scores = found["scores"].float().tolist()
            yield (
                out.frame_idx,
                dict(zip(ids, covered, strict=True)),
                dict(zip(ids, scores, strict=True)),
            )
