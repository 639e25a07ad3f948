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


def _coco_wholebody():
    """Names of COCO-WholeBody in its order (Jin et al., ECCV 2020): 17 of the body, 6 of the
    feet, 68 of the face, 21 of each hand.

    Points of the face carry the side they lie on, counted from the outside in, so that every name
    of one side has its counterpart.
    """
    sides = ("left", "right")
    names = ["nose"] + ["%s_%s" % (side, part) for part in ("eye", "ear") for side in sides]
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        names += ["%s_%s" % (side, part) for side in sides]
    names += ["%s_%s" % (side, part) for side in sides for part in ("big_toe", "small_toe", "heel")]
    there, back = range(1, 9), range(8, 0, -1)
    names += ["right_jaw%d" % i for i in there] + ["chin"] + ["left_jaw%d" % i for i in back]
    names += ["right_eyebrow%d" % i for i in range(1, 6)]
    names += ["left_eyebrow%d" % i for i in range(5, 0, -1)]
    names += ["nose_bridge%d" % i for i in range(1, 5)]
    names += ["right_nostril1", "right_nostril2", "nose_base", "left_nostril2", "left_nostril1"]
    lids = ("outer_corner", "upper_lid1", "upper_lid2", "inner_corner", "lower_lid2", "lower_lid1")
    names += ["right_eye_%s" % part for part in lids]
    names += ["left_eye_%s" % lids[i] for i in (3, 2, 1, 0, 5, 4)]
    names += ["right_mouth_corner", "right_upper_lip1", "right_upper_lip2", "upper_lip"]
    names += ["left_upper_lip2", "left_upper_lip1", "left_mouth_corner"]
    names += ["left_lower_lip1", "left_lower_lip2", "lower_lip"]
    names += ["right_lower_lip2", "right_lower_lip1"]
    names += ["right_inner_mouth_corner", "right_inner_upper_lip", "inner_upper_lip"]
    names += ["left_inner_upper_lip", "left_inner_mouth_corner"]
    names += ["left_inner_lower_lip", "inner_lower_lip", "right_inner_lower_lip"]
    fingers = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
    for side in sides:
        names.append("%s_hand_root" % side)
        names += ["%s_%s%d" % (side, finger, i) for finger in fingers for i in range(1, 5)]
    return tuple(names)


COCO_WHOLEBODY = _coco_wholebody()

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
