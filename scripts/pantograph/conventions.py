"""Names, orders and frames used in every file and function.

| quantity            | convention                                                        |
|---------------------|-------------------------------------------------------------------|
| length, angle, time | metres, radians, seconds                                          |
| quaternion          | (w, x, y, z), unit norm                                           |
| world               | right-handed, +Z up after `ground`; OpenCV-like before it         |
| camera              | OpenCV: +x right, +y down, +z forward; extrinsics are cam2world   |
| pixel               | (x, y), origin at the top-left corner, pixel centres at +0.5      |
| SMPL rotations      | 3x3 matrices, parent to child; rest pose y up, z forward, x left  |
| SMPL translation    | position of the pelvis joint (joint 0), not SMPL's `transl`       |
| robot joints        | names stored beside the values; root quaternion of the root body  |
"""

SMPL_JOINTS = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hand",
    "right_hand",
)
SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
"""Index of each joint's parent in `SMPL_JOINTS`; the root has -1."""

MEDIAPIPE_LANDMARKS = (
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
)

CONTACTS = ("left_foot", "right_foot")
"""Order of the last axis of `contacts.h5`."""

DEFAULT_FOCAL = 0.8
"""Focal length over the frame's long side where nothing better is known.

Phones lie between 0.7 and 0.85 (reference: cameras of 24 to 28 mm equivalent focal length).
"""


def mirrored(names):
    """Index of each name's left/right counterpart, shape (len(names),) as a list.

    A name without a side maps to itself.
    """
    swap = {"left": "right", "right": "left"}
    index = {name: i for i, name in enumerate(names)}
    out = []
    for name in names:
        parts = [swap.get(part, part) for part in name.split("_")]
        out.append(index["_".join(parts)])
    return out
