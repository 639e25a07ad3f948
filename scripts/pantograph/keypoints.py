"""Landmarks of tracked people with the landmark model packed with mediapipe."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import astuple, dataclass

import cv2
import numpy as np

from . import landmarks
from .contracts import Keypoints, People, PersonKeypoints, Video
from .conventions import MEDIAPIPE_LANDMARKS, mirrored
from .errors import Rejected
from .mediapipe_graph import PoseLandmarker
from .regions import person_regions
from .tracking import BODY, fill
from .video import frames, scaled_size

CROP = 256
"""Side of the picture that the model sees, px: a smaller region is read at a higher resolution."""

TRUST_DISTANCE = 0.04
"""Distance between the direct and the mirrored reading, over the region's side, that halves the
score of a landmark."""

OTHER_SIDE = 0.06
"""Median distance of the legs, over the region's side, at which the two readings contradict."""

LEGS = [i for i, name in enumerate(MEDIAPIPE_LANDMARKS) if name.endswith(("hip", "knee", "ankle"))]

MIRROR = mirrored(MEDIAPIPE_LANDMARKS)


@dataclass
class Reading:
    """Landmarks of a person: xy (33, 2) px, score (33,) and world (33, 3) m."""

    xy: np.ndarray
    score: np.ndarray
    world: np.ndarray


def find_keypoints(
    video: Video, people: People, flip=True, min_score=0.3, long_side=960, threads=1
) -> Keypoints:
    """Read the landmarks of every person in every frame where he is visible.

    flip: average with the mirrored crop; min_score: mean confidence of the body below which the
    person counts as not seen; long_side: least working size, px. Raises Rejected where nobody is
    left.
    """
    count = video.frame_count
    landmarker = PoseLandmarker(masks=False, threads=threads)
    regions = {pid: person_regions(p, video.fps) for pid, p in people.people.items()}
    readings: dict[int, dict[int, list[Reading]]] = {pid: {} for pid in people.people}
    for k, found in _readings(video, people, landmarker, flip, long_side, regions):
        for pid, choices in found.items():
            choices = [reading for reading in choices if reading.score[BODY].mean() >= min_score]
            if choices:
                readings[pid][k] = choices
    found = {pid: _person(readings[pid], regions[pid], count) for pid in people.people}
    kept = {pid: person for pid, person in found.items() if person.visible.any()}
    if not kept:
        raise Rejected(f"no landmarks found in {count} frames")
    return Keypoints(
        keypoint_names=list(MEDIAPIPE_LANDMARKS),
        people=kept,
        dropped={str(pid): "no landmarks found" for pid in found if pid not in kept},
        stats={"frames_seen": {str(pid): int(p.visible.sum()) for pid, p in kept.items()}},
    )


def _readings(video, people, landmarker, flip, long_side, regions=None):
    """Yield (frame, {id: possible readings}) in px of the video; see `read_pose`.

    regions: crops (T, 4) by id, px of the video and rad; None for those of the people.
    """
    if regions is None:
        regions = {pid: person_regions(p, video.fps) for pid, p in people.people.items()}
    size = _working_size(video, people, regions, long_side)
    for k, rgb in frames(video, size):
        factor = np.array([video.width / rgb.shape[1], video.height / rgb.shape[0]])
        present = [pid for pid, person in people.people.items() if person.visible[k]]
        found = {}
        for pid in present:
            region = regions[pid][k] / np.array([*factor, factor[0], 1])
            picture = _alone(rgb, people, pid, present, k, region)
            found[pid] = read_pose(landmarker, picture, region, flip)
            for reading in found[pid]:
                outside = (reading.xy < 0).any(1) | (reading.xy >= rgb.shape[1::-1]).any(1)
                reading.score = np.where(outside, 0, reading.score)
                reading.xy = reading.xy * factor
        yield k, found


def add_landmarks3d(video: Video, people: People, keypoints: Keypoints, long_side=960, threads=1):
    """Give people whose keypoints are known in the picture alone their 3D landmarks, too.

    The landmark model reads each person's crop; where it may have taken left for right, the
    reading that agrees with the keypoints is used. Frames where it finds nobody count as not
    visible; keypoints that the model has no landmark for stay at 0. Returns Keypoints.
    """
    names = keypoints.keypoint_names
    pairs = [(landmarks.find(names, name), i) for i, name in enumerate(MEDIAPIPE_LANDMARKS)]
    pairs = [(k, i) for k, i in pairs if k is not None]
    there, own = (np.array(side) for side in zip(*pairs, strict=True))
    body = [j for j, i in enumerate(own) if i in BODY]
    landmarker = PoseLandmarker(masks=False, threads=threads)
    lifted = {
        pid: dataclasses.replace(
            person,
            visible=person.visible & people.people[pid].visible,
            landmarks3d=np.zeros((*person.score.shape, 3), np.float32),
        )
        for pid, person in keypoints.people.items()
        if pid in people.people
    }
    for k, readings in _readings(video, people, landmarker, True, long_side):
        for pid, choices in readings.items():
            person = lifted.get(pid)
            if person is None or not person.visible[k]:
                continue
            known = person.xy[k, there[body]]
            best = min(
                choices,
                key=lambda r: np.linalg.norm(r.xy[own[body]] - known, axis=-1).sum(),
                default=None,
            )
            person.visible[k] = best is not None
            if best is not None:
                person.landmarks3d[k, there] = best.world[own]
    return dataclasses.replace(keypoints, people=lifted)


def read_pose(landmarker, rgb, region, flip):
    """Landmarks of the person in a region of a picture.

    region: (4,) px, rad. flip: read the mirrored crop too. Returns the possible readings: one,
    the mean, where both agree; two where they name the sides of the body differently; none
    where there is no person. How far the two are apart lowers the score: it tells errors better
    than the model's own confidence does.
    """
    patch, corner = _patch(rgb, region)
    local = region - np.array([*corner, 0, 0])
    direct = landmarker(patch, local)
    poses = [direct] if direct is not None else []
    if flip:
        width = patch.shape[1]
        turned = np.array([width - local[0], local[1], local[2], -local[3]])
        other = landmarker(np.ascontiguousarray(patch[:, ::-1]), turned)
        if other is not None:
            poses.append(_unmirror(other, width))
    readings = [Reading(p.xy + corner, p.visibility * p.presence, p.world) for p in poses]
    if len(readings) < 2:
        return readings
    distance = np.linalg.norm(readings[0].xy - readings[1].xy, axis=1) / region[2]
    trust = 1 / (1 + (distance / TRUST_DISTANCE) ** 2)
    if np.median(distance[LEGS]) > OTHER_SIDE:
        for reading in readings:
            reading.score = reading.score * np.maximum(trust, 0.5)
        return readings
    mean = Reading(
        *(np.mean(pair, 0) for pair in zip(*(astuple(r) for r in readings), strict=True))
    )
    mean.score = mean.score * trust
    return [mean]


def smoothest(readings, regions):
    """Choose one reading per frame such that the body moves least (Viterbi).

    readings: lists of Reading by frame; regions: (T, 4), whose sides are the unit of movement.
    Returns readings by frame.
    """
    order = sorted(readings)
    costs, parents = [], []
    for i, k in enumerate(order):
        if i == 0:
            costs.append(np.zeros(len(readings[k])))
            parents.append(np.zeros(len(readings[k]), int))
            continue
        before = order[i - 1]
        # a long break tells nothing
        weight = 1 / ((k - before) * regions[k, 2])
        step = np.array(
            [
                [np.linalg.norm(a.xy[BODY] - b.xy[BODY], axis=1).mean() for a in readings[before]]
                for b in readings[k]
            ]
        )
        total = costs[-1][None] + weight * step
        costs.append(total.min(1))
        parents.append(total.argmin(1))
    chosen = {}
    pick = int(np.argmin(costs[-1])) if order else 0
    for i in range(len(order) - 1, -1, -1):
        chosen[order[i]] = readings[order[i]][pick]
        pick = int(parents[i][pick])
    return chosen


def _unmirror(pose, width):
    pose.xy = pose.xy[MIRROR] * [-1, 1] + [width, 0]
    pose.world = pose.world[MIRROR] * [-1, 1, 1]
    pose.visibility, pose.presence = pose.visibility[MIRROR], pose.presence[MIRROR]
    return pose


def _patch(rgb, region):
    """The part of a picture that a rotated region can reach, and its corner (x, y)."""
    x, y, side, _ = region
    reach = 0.75 * side + 2
    height, width = rgb.shape[:2]
    x0, x1 = (int(np.clip(v, 0, width)) for v in (x - reach, math.ceil(x + reach)))
    y0, y1 = (int(np.clip(v, 0, height)) for v in (y - reach, math.ceil(y + reach)))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return rgb, np.zeros(2)
    return rgb[y0:y1, x0:x1], np.array([x0, y0], float)


def _alone(rgb, people, pid, present, k, region):
    """The picture without the other people who reach into a person's region."""
    height, width = rgb.shape[:2]
    x, y, side, _ = region
    gone = np.zeros((height, width), np.uint8)
    for other in present:
        if other == pid:
            continue
        scale = width / people.mask_width
        boxes = _mask_box(people.mask(other, k))
        x0, y0, x1, y1 = np.array(boxes) * scale
        if x1 < x - side / 2 or x0 > x + side / 2 or y1 < y - side / 2 or y0 > y + side / 2:
            continue
        gone |= _resized(people.mask(other, k), (width, height))
    if not gone.any():
        return rgb
    own = _resized(people.mask(pid, k), (width, height))
    gone = cv2.dilate(gone, np.ones((7, 7), np.uint8)) & ~cv2.dilate(own, np.ones((5, 5), np.uint8))
    return fill(rgb, gone)


def _mask_box(mask):
    ys, xs = np.nonzero(mask)
    return (xs.min(), ys.min(), xs.max(), ys.max()) if len(xs) else (0, 0, 0, 0)


def _resized(mask, size):
    if mask.shape[::-1] == size:
        return mask.astype(np.uint8)
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)


def _working_size(video, people, regions, long_side):
    """Long side, px, at which the smaller people's regions fill the model's crop."""
    width, _ = scaled_size(video.width, video.height, long_side)
    sides = [
        np.median(regions[pid][p.visible, 2]) for pid, p in people.people.items() if p.visible.any()
    ]
    side = min(sides, default=0) * width / video.width
    grow = float(np.clip(CROP / side, 1, 2)) if side > 0 else 1.0
    return round(long_side * grow)


def _person(readings, regions, count):
    landmarks = len(MEDIAPIPE_LANDMARKS)
    person = PersonKeypoints(
        visible=np.zeros(count, bool),
        xy=np.zeros((count, landmarks, 2), np.float32),
        score=np.zeros((count, landmarks), np.float32),
        landmarks3d=np.zeros((count, landmarks, 3), np.float32),
    )
    for k, reading in smoothest(readings, regions).items():
        person.visible[k] = True
        person.xy[k] = reading.xy
        person.score[k] = reading.score
        person.landmarks3d[k] = reading.world
    return person
