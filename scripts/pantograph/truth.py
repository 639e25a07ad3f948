"""The truth of a rendered clip, as stages would give it: what a perfect stage hands on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from . import body, landmarks
from .accuracy import project
from .contracts import (
    PRODUCTS,
    Keypoints,
    PersonKeypoints,
    World,
)
from .conventions import MEDIAPIPE_LANDMARKS
from .errors import PantographError

NAMES = ("people", "keypoints", "scene", "body", "contacts", "gravity", "mesh")
"""Products in a folder of truth."""
_UNIT = 0.2
"""Units of the scene per metre where the camera travels: its unit is arbitrary."""


def read(folder, video):
    """{name: product} of a folder of truth, the frames of `video` only.

    Raises PantographError where the truth has fewer frames than the video asks for.
    """
    folder = Path(folder)
    frames = np.asarray(video.source_frames)
    products = {name: PRODUCTS[name].read(folder / f"{name}.h5") for name in NAMES}
    count = len(products["scene"].cam2world)
    if frames.max() >= count:
        raise PantographError(
            f"{folder}: expected frames up to {frames.max()}, found {count}; render the clip again"
        )
    products = {name: _chosen(product, frames) for name, product in products.items()}
    products["people"].frame_count = len(frames)
    scene, gravity = products["scene"], products["gravity"]
    back = np.linalg.inv(scene.cam2world[0].astype(float))
    scene.cam2world = back @ scene.cam2world
    scene.points = scene.points @ back[:3, :3].T + back[:3, 3]
    first = gravity.cam2world[0].astype(float)
    gravity.rotation, gravity.translation = first[:3, :3], first[:3, 3]
    return products


def inputs(truth, video):
    """{name: product} that stages may read, made from the truth as `read` gives it.

    Keypoints are those of a detector without error, 33 named landmarks with `landmarks3d`; a
    travelling camera's scene has no unit, one that does not travel has no points; `world` is
    `gravity` in the axes of the first camera.
    """
    scene, gravity = truth["scene"], truth["gravity"]
    travels = scene.camera_model == "sfm"
    factor = _UNIT if travels else 1.0
    pose = scene.cam2world.copy()
    pose[:, :3, 3] *= factor
    kept = slice(None) if travels else slice(0)
    contacts = dataclasses.replace(
        truth["contacts"], stats={**truth["contacts"].stats, "fps_hz": video.fps}
    )
    return {
        **truth,
        "contacts": contacts,
        "keypoints": detections(truth["body"], truth["keypoints"], scene.intrinsics, video),
        "scene": dataclasses.replace(
            scene,
            metric=False,
            cam2world=pose,
            points=factor * scene.points[kept],
            depth=None if scene.depth is None else factor * scene.depth[:],
            colors=scene.colors[kept],
        ),
        "world": world(gravity, scene),
    }


def detections(solved, seen, intrinsics, video):
    """`Keypoints` of landmarks that sit exactly where the skeleton has them.

    solved: `Body`; seen: `Keypoints` of the same people, for who is visible; intrinsics
    (T, 3, 3) px. Landmarks that no fit uses have a score of 0.
    """
    model = body.load_body_of(solved)
    index = [MEDIAPIPE_LANDMARKS.index(name) for name in landmarks.NAMES]
    hips = [landmarks.NAMES.index(f"{side}_hip") for side in ("left", "right")]
    still = np.tile(np.eye(4), (len(intrinsics), 1, 1))
    people = {}
    for pid, person in solved.people.items():
        rotations, joints = body.joint_transforms(
            model, person.betas, person.global_orient, person.body_pose, person.transl
        )
        turned = np.einsum("tmab,mb->tma", rotations[:, landmarks.FRAMES], landmarks.OFFSETS)
        points = joints[:, landmarks.CARRIERS] + turned
        pixels, depth = project(points, intrinsics, still)
        visible = np.asarray(seen.people[pid].visible, bool)
        inside = (depth > 0) & (pixels >= 0).all(-1)
        inside &= (pixels < [video.width, video.height]).all(-1)
        count = (len(pixels), len(MEDIAPIPE_LANDMARKS))
        xy, score, xyz = np.zeros((*count, 2)), np.zeros(count), np.zeros((*count, 3))
        xy[:] = pixels.mean(1, keepdims=True)
        xy[:, index] = pixels
        score[:, index] = inside & visible[:, None]
        view = landmarks.viewing_rotations(xy, score, intrinsics)
        points = points - points[:, hips].mean(1, keepdims=True)
        xyz[:, index] = np.einsum("tba,tmb->tma", view, points)
        people[pid] = PersonKeypoints(visible=visible, xy=xy, score=score, landmarks3d=xyz)
    return Keypoints(keypoint_names=list(MEDIAPIPE_LANDMARKS), people=people)


def world(gravity, scene):
    """The `World` that became `gravity` by its rotation and translation; `scene` in metres."""
    turn, shift = gravity.rotation, gravity.translation
    people = {
        pid: dataclasses.replace(
            person,
            global_orient=turn.T @ person.global_orient,
            transl=(person.transl - shift) @ turn,
            joints=(person.joints - shift) @ turn,
        )
        for pid, person in gravity.people.items()
    }
    shared = {spec.name: getattr(gravity, spec.name) for spec in dataclasses.fields(World)}
    shared.update(cam2world=scene.cam2world, points=scene.points, people=people)
    return World(**shared)


def _chosen(item, frames):
    """A copy of a product or a person with the chosen rows of every array over frames."""
    changes = {}
    for spec in dataclasses.fields(item):
        value = getattr(item, spec.name)
        if spec.metadata.get("shape", ("",))[0] == "T" and value is not None:
            changes[spec.name] = value[frames]
        elif spec.name == "people":
            changes["people"] = {pid: _chosen(person, frames) for pid, person in value.items()}
    return dataclasses.replace(item, **changes)
