"""The pose models packed with mediapipe, as graphs that take one picture at a time.

`mediapipe.solutions.pose` follows one person with its own smoothing and state. These graphs hold
no state: a picture and a region in, landmarks out, so that one graph serves many people, in any
order of frames. The nodes are those of mediapipe's `modules/pose_detection` and
`modules/pose_landmark` graphs; only the models that lie in the package are used ("full").
"""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass

import numpy as np

os.environ.setdefault("GLOG_minloglevel", "3")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

DETECTOR = """
input_stream: "image"
output_stream: "detections"
node {
  calculator: "ImageToTensorCalculator"
  input_stream: "IMAGE:image"
  output_stream: "TENSORS:input"
  output_stream: "LETTERBOX_PADDING:padding"
  options { [mediapipe.ImageToTensorCalculatorOptions.ext] {
    output_tensor_width: 224 output_tensor_height: 224 keep_aspect_ratio: true
    output_tensor_float_range { min: -1.0 max: 1.0 } border_mode: BORDER_ZERO } }
}
node {
  calculator: "InferenceCalculator"
  input_stream: "TENSORS:input"
  output_stream: "TENSORS:output"
  options { [mediapipe.InferenceCalculatorOptions.ext] {
    model_path: "mediapipe/modules/pose_detection/pose_detection.tflite"
    delegate { xnnpack { num_threads: %(threads)d } } } }
}
node {
  calculator: "SsdAnchorsCalculator"
  output_side_packet: "anchors"
  options { [mediapipe.SsdAnchorsCalculatorOptions.ext] {
    num_layers: 5 min_scale: 0.1484375 max_scale: 0.75
    input_size_height: 224 input_size_width: 224 anchor_offset_x: 0.5 anchor_offset_y: 0.5
    strides: 8 strides: 16 strides: 32 strides: 32 strides: 32
    aspect_ratios: 1.0 fixed_anchor_size: true } }
}
node {
  calculator: "TensorsToDetectionsCalculator"
  input_stream: "TENSORS:output"
  input_side_packet: "ANCHORS:anchors"
  output_stream: "DETECTIONS:raw"
  options { [mediapipe.TensorsToDetectionsCalculatorOptions.ext] {
    num_classes: 1 num_boxes: 2254 num_coords: 12 box_coord_offset: 0 keypoint_coord_offset: 4
    num_keypoints: 4 num_values_per_keypoint: 2 sigmoid_score: true
    score_clipping_thresh: 100.0 reverse_output_order: true
    x_scale: 224.0 y_scale: 224.0 h_scale: 224.0 w_scale: 224.0
    min_score_thresh: %(threshold)g } }
}
node {
  calculator: "NonMaxSuppressionCalculator"
  input_stream: "raw"
  output_stream: "kept"
  options { [mediapipe.NonMaxSuppressionCalculatorOptions.ext] {
    min_suppression_threshold: 0.3 overlap_type: INTERSECTION_OVER_UNION algorithm: WEIGHTED } }
}
node {
  calculator: "DetectionLetterboxRemovalCalculator"
  input_stream: "DETECTIONS:kept"
  input_stream: "LETTERBOX_PADDING:padding"
  output_stream: "DETECTIONS:detections"
}
"""

LANDMARKS = """
input_stream: "image"
input_stream: "region"
output_stream: "landmarks"
output_stream: "auxiliary"
output_stream: "world"
%(mask_output)s
node {
  calculator: "ConstantSidePacketCalculator"
  output_side_packet: "PACKET:masks"
  options { [mediapipe.ConstantSidePacketCalculatorOptions.ext] {
    packet { bool_value: %(masks)s } } }
}
node {
  calculator: "ImagePropertiesCalculator"
  input_stream: "IMAGE:image"
  output_stream: "SIZE:size"
}
node {
  calculator: "ImageToTensorCalculator"
  input_stream: "IMAGE:image"
  input_stream: "NORM_RECT:region"
  output_stream: "TENSORS:input"
  output_stream: "LETTERBOX_PADDING:padding"
  output_stream: "MATRIX:matrix"
  options { [mediapipe.ImageToTensorCalculatorOptions.ext] {
    output_tensor_width: 256 output_tensor_height: 256 keep_aspect_ratio: true
    output_tensor_float_range { min: 0.0 max: 1.0 } } }
}
node {
  calculator: "InferenceCalculator"
  input_stream: "TENSORS:input"
  output_stream: "TENSORS:output"
  options { [mediapipe.InferenceCalculatorOptions.ext] {
    model_path: "mediapipe/modules/pose_landmark/pose_landmark_full.tflite"
    delegate { xnnpack { num_threads: %(threads)d } } } }
}
node {
  calculator: "TensorsToPoseLandmarksAndSegmentation"
  input_side_packet: "ENABLE_SEGMENTATION:masks"
  input_stream: "TENSORS:output"
  output_stream: "LANDMARKS:crop_landmarks"
  output_stream: "AUXILIARY_LANDMARKS:crop_auxiliary"
  output_stream: "WORLD_LANDMARKS:crop_world"
  output_stream: "SEGMENTATION_MASK:crop_mask"
}
node {
  calculator: "PoseLandmarksAndSegmentationInverseProjection"
  input_stream: "IMAGE_SIZE:size"
  input_stream: "NORM_RECT:region"
  input_stream: "LETTERBOX_PADDING:padding"
  input_stream: "MATRIX:matrix"
  input_stream: "LANDMARKS:crop_landmarks"
  input_stream: "AUXILIARY_LANDMARKS:crop_auxiliary"
  input_stream: "WORLD_LANDMARKS:crop_world"
  input_stream: "SEGMENTATION_MASK:crop_mask"
  output_stream: "LANDMARKS:landmarks"
  output_stream: "AUXILIARY_LANDMARKS:auxiliary"
  output_stream: "WORLD_LANDMARKS:world"
  output_stream: "SEGMENTATION_MASK:mask"
}
"""


@dataclass
class Detection:
    """A person found in a picture: the region to crop (centre x, y, side px, rotation rad)."""

    score: float
    region: np.ndarray


@dataclass
class Pose:
    """What the landmark model says about a region of a picture, px of that picture."""

    xy: np.ndarray
    """(33, 2) px."""
    visibility: np.ndarray
    """(33,) in [0, 1]: not hidden."""
    presence: np.ndarray
    """(33,) in [0, 1]: inside the picture."""
    world: np.ndarray
    """(33, 3) m, mid-hip at 0, x right, y down, z away from the camera of the crop."""
    region: np.ndarray
    """(4,) where the person is: centre x, y, side px, rotation rad; the crop of a next frame."""
    mask: np.ndarray | None
    """(H, W) float, probability of the person; None where not asked for."""


class PoseDetector:
    """Finds all people in a picture, each with the region that the landmark model wants."""

    def __init__(self, threshold=0.5, threads=1):
        self._graph = _Graph(
            DETECTOR % {"threshold": threshold, "threads": threads}, ["detections"]
        )

    def __call__(self, rgb):
        """rgb: uint8 (H, W, 3). Returns a list of Detection, px of the picture."""
        from mediapipe.python import packet_getter

        packet = self._graph(rgb).get("detections")
        if packet is None or packet.is_empty():
            return []
        height, width = rgb.shape[:2]
        found = []
        for item in packet_getter.get_proto_list(packet):
            points = item.location_data.relative_keypoints
            centre, rim = (np.array([p.x * width, p.y * height]) for p in points[:2])
            found.append(Detection(float(item.score[0]), region_of(centre, rim)))
        return found


def detect_in_tiles(detector, rgb, fine=False):
    """Find people in the whole picture and in square tiles of it.

    The detector sees 224 px and finds one of two people who stand close, and nobody who fills
    less than about a quarter of it. fine: smaller tiles too, for people far away.
    Returns a list of Detection, best first, one for each person.
    """
    height, width = rgb.shape[:2]
    short, long = min(height, width), max(height, width)
    windows = [(0, 0, width, height)]
    if long > 1.2 * short:
        for at in np.linspace(0, long - short, math.ceil(1.3 * long / short)).round().astype(int):
            x, y = (at, 0) if width > height else (0, at)
            windows.append((x, y, short, short))
    if fine:
        side = round(0.55 * short)
        for x in np.linspace(0, width - side, math.ceil(1.5 * width / side)).round().astype(int):
            for y in np.linspace(0, height - side, math.ceil(1.5 * height / side)).round():
                windows.append((x, int(y), side, side))
    found = []
    for x, y, w, h in windows:
        for item in detector(rgb[y : y + h, x : x + w]):
            item.region = item.region + np.array([x, y, 0, 0])
            found.append(item)
    kept = []
    for item in sorted(found, key=lambda d: -d.score):
        if all(_apart(item.region, other.region) for other in kept):
            kept.append(item)
    return kept


def confirms(detector, rgb, region):
    """Whether the detector finds a person at a region (4,), looking at its surroundings alone.

    The landmark model follows bushes and shadows with confidence; the detector does not.
    """
    reach = 0.75 * region[2]
    x0, y0 = (max(0, int(v - reach)) for v in region[:2])
    window = rgb[y0 : max(0, int(region[1] + reach)), x0 : max(0, int(region[0] + reach))]
    if min(window.shape[:2]) < 16:
        return False
    return any(
        math.hypot(*(item.region[:2] + [x0, y0] - region[:2])) < 0.25 * region[2]
        and abs(math.log(item.region[2] / region[2])) < 0.5
        for item in detector(window)
    )


def _apart(a, b):
    distance = math.hypot(a[0] - b[0], a[1] - b[1])
    return distance > 0.15 * max(a[2], b[2]) or abs(math.log(a[2] / b[2])) > 0.7


class PoseLandmarker:
    """33 landmarks, metric landmarks and, if wanted, the mask of the person in a region."""

    def __init__(self, masks=True, threads=1):
        text = LANDMARKS % {
            "threads": threads,
            "masks": "true" if masks else "false",
            "mask_output": 'output_stream: "mask"' if masks else "",
        }
        self._masks = masks
        outputs = ["landmarks", "auxiliary", "world"] + ["mask"] * masks
        self._graph = _Graph(text, outputs)

    def __call__(self, rgb, region):
        """rgb: uint8 (H, W, 3); region: (4,) px and rad. Returns a Pose, or None for no person."""
        from mediapipe.framework.formats import rect_pb2
        from mediapipe.python import packet_getter

        height, width = rgb.shape[:2]
        x, y, side, rotation = (float(v) for v in region)
        rect = rect_pb2.NormalizedRect(
            x_center=x / width,
            y_center=y / height,
            width=side / width,
            height=side / height,
            rotation=rotation,
        )
        out = self._graph(rgb, region=rect)
        if "landmarks" not in out or out["landmarks"].is_empty():
            return None
        points = packet_getter.get_proto(out["landmarks"]).landmark
        spots = packet_getter.get_proto(out["auxiliary"]).landmark
        world = packet_getter.get_proto(out["world"]).landmark
        mask = None
        if self._masks:
            mask = np.array(packet_getter.get_image(out["mask"]).numpy_view(), np.float32)
            mask = mask.reshape(height, width)
        size = np.array([width, height])
        return Pose(
            xy=np.array([(p.x, p.y) for p in points]) * size,
            visibility=np.array([p.visibility for p in points]),
            presence=np.array([p.presence for p in points]),
            world=np.array([(p.x, p.y, p.z) for p in world]),
            region=region_of(*(np.array([p.x, p.y]) * size for p in spots[:2])),
            mask=mask,
        )


def region_of(centre, rim, margin=1.25):
    """Region (centre x, y, side, rotation) from the mid-hip and a point on the body's circle.

    The rim lies above the head of an upright body (mediapipe, AlignmentPointsRectsCalculator and
    RectTransformationCalculator of `pose_landmarks_to_roi`).
    """
    dx, dy = rim - centre
    rotation = math.pi / 2 - math.atan2(-dy, dx)
    rotation -= 2 * math.pi * math.floor((rotation + math.pi) / (2 * math.pi))
    return np.array([centre[0], centre[1], 2 * margin * math.hypot(dx, dy), rotation])


class _Graph:
    """A mediapipe graph that is run one picture at a time."""

    def __init__(self, text, outputs):
        with _quiet():
            import mediapipe
            from mediapipe.python._framework_bindings import resource_util

            root = os.path.dirname(os.path.dirname(mediapipe.__file__))
            resource_util.set_resource_dir(root)
            self._graph = mediapipe.CalculatorGraph(graph_config=text)
            self._found = {}
            for name in outputs:
                self._graph.observe_output_stream(name, self._found.__setitem__, True)
            self._graph.start_run()
            # the nodes open in threads of their own
            self._graph.wait_until_idle()
            self._time = 0
            self._warm = False

    def __call__(self, rgb, **protos):
        import mediapipe
        from mediapipe.python import packet_creator

        self._time += 1
        self._found.clear()
        image = packet_creator.create_image_frame(
            image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb)
        )
        # the first inference logs what it runs on
        with contextlib.nullcontext() if self._warm else _quiet():
            self._graph.add_packet_to_input_stream("image", image.at(self._time))
            for name, proto in protos.items():
                packet = packet_creator.create_proto(proto).at(self._time)
                self._graph.add_packet_to_input_stream(name, packet)
            self._graph.wait_until_idle()
        self._warm = True
        return self._found


@contextlib.contextmanager
def _quiet():
    """Drop what native libraries write to the standard error, which no flag turns off."""
    keep = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(keep, 2)
        os.close(keep)
        os.close(null)
