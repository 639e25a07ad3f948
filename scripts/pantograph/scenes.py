"""Choose between a static, a turning and a travelling camera for a clip."""

from __future__ import annotations

import cv2
import numpy as np

from . import camera, sfm
from .contracts import Scene
from .video import frames, scaled_size


def find_scene(video, people, gate, long_side=640, model="auto", static_px=0.6, parallax_px=1.0):
    """The `Scene` product of a clip.

    video: `Video`; people: `People`; gate: `sfm.Gate`; long_side: working size, px; model:
    "auto", "static", "rotation" or "sfm"; static_px, parallax_px: see `scene_sfm`. The numbers
    behind the choice are in the stats, with the reason where SfM was refused.
    """
    size = scaled_size(video.width, video.height, long_side)
    scale = size[0] / video.width
    prior = camera.prior_intrinsics(video)
    working = prior.copy()
    working[:2] *= scale

    def masks(index):
        return camera.background(people, index, size)

    def grays():
        return gray_frames(video, long_side)

    count = video.frame_count
    stats = {}
    scene = Scene(
        camera_model="static",
        metric=True,
        intrinsics=np.tile(prior, (count, 1, 1)),
        cam2world=camera.poses(np.tile(np.eye(3), (count, 1, 1))),
        points=np.zeros((0, 3)),
        colors=np.zeros((0, 3), np.uint8),
        stats=stats,
    )
    if model == "static":
        return scene
    motion = camera.follow(grays(), masks, working)
    stats.update(describe_motion(motion, scale))
    stats["focal_over_long_side"] = round(float(prior[0, 0]) / max(video.width, video.height), 4)
    moves, parallax = judge_motion(motion, static_px, parallax_px)
    if model == "sfm" or (model == "auto" and parallax):
        reason = _travel(scene, video, people, gate, grays, masks, size, working, motion)
        stats["sfm_refused"] = reason
        if not reason:
            return scene
    if model != "auto" or moves:
        scene.camera_model = "rotation"
        scene.cam2world = camera.poses(motion.rotations)
    return scene


def gray_frames(video, long_side):
    """The frames of a clip in order, gray (h, w), the longer side at most long_side px."""
    for _, picture in frames(video, long_side):
        yield cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def describe_motion(motion, scale):
    """The numbers of a `camera.Motion`, px of the video; scale: working px over those."""
    return {
        "displacement_px": round(motion.displacement_px / scale, 2),
        "rotation_residual_px": round(motion.rotation_residual_px / scale, 2),
        "homography_inlier_fraction": round(motion.homography_inliers, 3),
        "homography_residual_px": round(motion.homography_residual_px / scale, 2),
        "tracks": round(motion.tracks),
        "lost_frames": motion.lost_frames,
    }


def judge_motion(motion, static_px=0.6, parallax_px=1.0):
    """Whether the camera of a `camera.Motion` moves at all, and whether it travels."""
    moves = motion.displacement_px > static_px
    parallax = moves and (
        motion.rotation_residual_px > parallax_px or motion.homography_inliers < 0.7
    )
    return moves, parallax


def _travel(scene, video, people, gate, grays, masks, size, working, motion):
    """Turn `scene` into that of a travelling camera, or say why not."""
    scale = size[0] / video.width
    chosen = sfm.choose_frames(video.frame_count)
    wanted = set(chosen.tolist())
    pictures = [picture for k, picture in frames(video, max(size)) if k in wanted]
    backgrounds = [masks(k) for k in chosen]
    found = sfm.reconstruct(pictures, backgrounds, working, chosen)
    if found is None:
        return "no two frames share enough features with parallax"
    numbers = sfm.describe(found, people, size, scale)
    scene.stats.update(numbers)
    reason = gate.judge(numbers)
    if reason:
        return reason
    if not video.focal_px:
        refined = sfm.refine_focal(found)
        numbers = sfm.describe(refined, people, size, scale)
        if not gate.judge(numbers):
            found = refined
            scene.stats.update(numbers)
    placed, tracked = sfm.place_frames(found, grays(), masks, size, motion.rotations)
    scene.stats["sfm_tracked_fraction"] = round(tracked / video.frame_count, 3)
    first = np.linalg.inv(placed[0])
    intrinsics = camera.intrinsics_matrix(found.focal / scale, video.width, video.height)
    kept = found.angles >= np.radians(1.5)
    scene.camera_model = "sfm"
    scene.metric = False
    scene.intrinsics = np.tile(intrinsics, (video.frame_count, 1, 1))
    scene.cam2world = first @ placed
    scene.cam2world[0] = np.eye(4)
    scene.points = camera.to_world(first, found.points[kept])
    scene.colors = found.colors[kept]
    return ""
