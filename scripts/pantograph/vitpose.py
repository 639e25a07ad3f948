"""Whole-body keypoints with ViTPose (Xu et al., NeurIPS 2022), many crops at a time."""

from __future__ import annotations

import functools
import os
import re
import sys

import numpy as np

from . import gpu
from .contracts import Keypoints, PersonKeypoints
from .conventions import COCO_WHOLEBODY, mirrored
from .errors import PantographError, Rejected
from .regions import person_boxes
from .video import frames

NAMES = COCO_WHOLEBODY
BODY = [
    NAMES.index(f"{side}_{part}")
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]
MIRROR = np.array(mirrored(NAMES))
REACH = 1.25
"""Side of a crop over that of the person's box, as the model was trained; its processor adds it."""


def find_keypoints(model, video, people, batch_size=32, min_score=0.3, long_side=None):
    """Read the keypoints of every person in every frame where he is visible.

    model: called with pictures and boxes (see `Model`); batch_size: crops at a time; min_score:
    mean confidence of the body's joints below which the person counts as not seen; long_side:
    of the pictures that crops are taken from, px, None for those of the file. Returns Keypoints.
    Raises Rejected where nobody is left.
    """
    count = video.frame_count
    boxes = {pid: person_boxes(person, video.fps) for pid, person in people.people.items()}
    found = {
        pid: PersonKeypoints(
            visible=np.zeros(count, bool),
            xy=np.zeros((count, len(NAMES), 2), np.float32),
            score=np.zeros((count, len(NAMES)), np.float32),
        )
        for pid in people.people
    }
    for batch in _batches(video, people, boxes, batch_size, long_side):
        xy, score = model([crop[2] for crop in batch], np.stack([crop[3] for crop in batch]))
        for (pid, k, _, _, factor), points, trust in zip(batch, xy, score, strict=True):
            points, trust = points * factor, np.clip(trust, 0, 1)
            outside = (points < 0).any(1) | (points >= [video.width, video.height]).any(1)
            trust = np.where(outside, 0, trust)
            if trust[BODY].mean() < min_score:
                continue
            person = found[pid]
            person.visible[k], person.xy[k], person.score[k] = True, points, trust
    kept = {pid: person for pid, person in found.items() if person.visible.any()}
    if not kept:
        raise Rejected(f"no keypoints found in {count} frames")
    return Keypoints(
        keypoint_names=list(NAMES),
        people=kept,
        dropped={str(pid): "no keypoints found" for pid in found if pid not in kept},
        stats={"frames_seen": {str(pid): int(p.visible.sum()) for pid, p in kept.items()}},
    )


def _batches(video, people, boxes, size, long_side):
    """Lists of at most `size` crops (person, frame, picture, box in it, px of the video over its
    own), across frames and people."""
    batch = []
    for k, rgb in frames(video, long_side):
        factor = np.array([video.width / rgb.shape[1], video.height / rgb.shape[0]])
        for pid, person in people.people.items():
            if not person.visible[k]:
                continue
            patch, corner, box = _patch(rgb, boxes[pid][k] / np.tile(factor, 2))
            batch.append((pid, k, (patch, corner), box, factor))
            if len(batch) == size:
                yield batch
                batch = []
        if k % 100 == 99:
            print(f"frame {k + 1} of {video.frame_count}", file=sys.stderr)
    if batch:
        yield batch


def _patch(rgb, box):
    """The part of a picture that a crop around a box can reach, its corner, and the box in it."""
    low, high = box[:2], box[2:]
    reach = REACH * max(high - low) + 2
    size = np.array(rgb.shape[1::-1])
    x0, y0 = np.clip(np.floor((low + high) / 2 - reach), 0, size - 1).astype(int)
    x1, y1 = np.clip(np.ceil((low + high) / 2 + reach), 1, size).astype(int)
    corner = np.array([x0, y0])
    return np.ascontiguousarray(rgb[y0:y1, x0:x1]), corner, box - np.tile(corner, 2)


class Model:
    """ViTPose for 133 keypoints; called with pictures and boxes.

    path: a folder of transformers' VitPoseForPoseEstimation, or a checkpoint of ViTPose's own
    repository (.pth); flip: average with the mirrored crop, as the authors evaluate.
    """

    def __init__(self, path, device, dtype, flip=True):
        self.processor, self.model = load(path, device, dtype)
        self.device, self.dtype, self.flip = device, dtype, flip

    def __call__(self, crops, boxes):
        """Keypoints (n, 133, 2) px of the whole pictures and scores (n, 133).

        crops: n of (picture (H, W, 3) uint8, its corner x, y in the whole picture); boxes: (n, 4)
        x0 y0 x1 y1 px of the crops.
        """
        import torch

        # the processor puts pixel centres at whole numbers, and takes corner and size
        low, high = boxes[:, :2] - 0.5, boxes[:, 2:] - 0.5
        places = np.concatenate([low, high - low], 1)[:, None].tolist()
        inputs = self.processor(
            images=[picture for picture, _ in crops], boxes=places, return_tensors="pt"
        )
        pixels = inputs["pixel_values"].to(self.device, self.dtype)
        with torch.inference_mode():
            out = self.model(pixels)
            if self.flip:
                mirror = torch.as_tensor(MIRROR, device=self.device)
                turned = self.model(pixels.flip(-1)).heatmaps.flip(-1)[:, mirror]
                out.heatmaps = (out.heatmaps + turned) / 2
            out.heatmaps = out.heatmaps.float()
            found = self.processor.post_process_pose_estimation(out, boxes=places)
        xy = np.stack([person[0]["keypoints"].numpy() for person in found]).astype(float) + 0.5
        score = np.stack([person[0]["scores"].numpy().reshape(-1) for person in found])
        # a flat heatmap has its maximum anywhere
        reach = REACH * (high - low).max(1) + 1
        far = ~(np.abs(xy - (boxes[:, None, :2] + boxes[:, None, 2:]) / 2).max(-1) < reach[:, None])
        xy[far], score[far] = 0, 0
        return xy + np.array([corner for _, corner in crops])[:, None], score


@functools.lru_cache(maxsize=2)
def load(path, device, dtype):
    """The image processor and the model of a folder or a checkpoint, on a device."""
    gpu.stay_offline()
    import transformers

    try:
        if os.path.isdir(path):
            processor = transformers.VitPoseImageProcessor.from_pretrained(
                path, local_files_only=True
            )
            model = transformers.VitPoseForPoseEstimation.from_pretrained(
                path, local_files_only=True
            )
        else:
            processor, model = transformers.VitPoseImageProcessor(), from_checkpoint(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise PantographError(
            f"{path}: expected ViTPose for {len(NAMES)} keypoints, as a folder of transformers "
            f"{transformers.__version__} or a .pth of its authors: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    keypoints, experts = model.config.num_labels, model.config.backbone_config.num_experts
    if keypoints != len(NAMES) or experts != 1:
        raise PantographError(
            f"{path}: expected one model for {len(NAMES)} keypoints (COCO-WholeBody), found "
            f"{keypoints} keypoints and {experts} experts"
        )
    return processor, model.to(device, dtype).eval()


_RENAMED = (
    (r"^backbone\.pos_embed$", "backbone.embeddings.position_embeddings"),
    (r"^backbone\.patch_embed\.proj\.", "backbone.embeddings.patch_embeddings.projection."),
    (r"^backbone\.last_norm\.", "backbone.layernorm."),
    (r"^backbone\.blocks\.", "backbone.encoder.layer."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"^keypoint_head\.deconv_layers\.0\.", "head.deconv1."),
    (r"^keypoint_head\.deconv_layers\.1\.", "head.batchnorm1."),
    (r"^keypoint_head\.deconv_layers\.3\.", "head.deconv2."),
    (r"^keypoint_head\.deconv_layers\.4\.", "head.batchnorm2."),
    (r"^keypoint_head\.final_layer\.", "head.conv."),
)
"""Names of the authors' checkpoints (ViTAE-Transformer/ViTPose) and those of transformers."""


def from_checkpoint(path):
    """VitPoseForPoseEstimation with the weights of a checkpoint of ViTPose's own repository.

    Width, depth and number of keypoints are those of the weights.
    """
    import torch
    import transformers

    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    width = state["backbone.pos_embed"].shape[-1]
    depth = 1 + max(int(key.split(".")[2]) for key in state if key.startswith("backbone.blocks."))
    config = transformers.VitPoseConfig(
        backbone_config=transformers.VitPoseBackboneConfig(
            hidden_size=width,
            num_hidden_layers=depth,
            # as in the authors' configurations, small and base to huge
            num_attention_heads=12 if width < 1024 else 16,
            layer_norm_eps=1e-6,
            out_indices=[depth],
        ),
        num_labels=state["keypoint_head.final_layer.weight"].shape[0],
        use_simple_decoder="keypoint_head.deconv_layers.0.weight" not in state,
    )
    model = transformers.VitPoseForPoseEstimation(config)
    model.load_state_dict(renamed(state))
    return model


def renamed(state):
    """The weights of an authors' checkpoint by the names that transformers gives them."""
    out = {}
    for key, value in state.items():
        if key.startswith("associate_keypoint_heads.") or key == "backbone.cls_token":
            continue
        for pattern, name in _RENAMED:
            key = re.sub(pattern, name, key)
        if ".attn.qkv." in key:
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                out[key.replace(".attn.qkv.", f".attention.attention.{part}.")] = rows
        else:
            out[key] = value
    return out
