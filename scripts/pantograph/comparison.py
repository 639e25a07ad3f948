"""Errors of every stage's product against the truth of a rendered clip.

Products and truth are dicts of contract products by schema name ("people", "keypoints", "scene",
"body", "contacts", "world", "gravity", "mesh", "motion"), both with the frames of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import accuracy, body, quality
from .conventions import CONTACTS, SMPL_JOINTS
from .robot import load_robot

_NEAR = 1.0
"""Horizontal distance in m from a person's pelvis within which surfaces are compared."""
_SPACING = 0.01
"""Mean distance in m of points sampled from surfaces."""


@dataclass(frozen=True)
class Figure:
    """One number of one stage. `goal`: the largest size that is good enough; None without one."""

    stage: str
    name: str
    unit: str
    meaning: str
    decimals: int = 0
    goal: float | None = None
    goal_is_least: bool = False

    def missed(self, value):
        """Whether a value misses the goal; NaN does not."""
        if self.goal is None:
            return False
        return value < self.goal if self.goal_is_least else abs(value) > self.goal


FIGURES = (
    Figure("segment", "mask_iou", "1", "mask overlap, frames in which both are seen", 2),
    Figure("segment", "recall_percent", "%", "truly visible frames with an overlap of 0.5", 0),
    Figure("segment", "id_switches", "1", "changes of the id that overlaps the person", 0, 0),
    Figure("pose2d", "error_px", "px", "distance of twelve limb keypoints to the joints", 1),
    Figure("pose2d", "pck_percent", "%", "of them nearer than 0.05 statures", 0),
    Figure("pose2d", "limbs3d_mm", "mm", "3D landmarks of limbs after a similarity per frame"),
    Figure("scene", "camera_correct", "1", "1: static, rotation or sfm as it is; 0: not", 0),
    Figure("scene", "ate_mm", "mm", "RMS camera position after a fit (similarity if sfm)", 0),
    Figure("scene", "rotation_deg", "deg", "camera rotation after one turn of the world", 2),
    Figure("scene", "focal_percent", "%", "focal length", 1),
    Figure("scene", "depth_percent", "%", "AbsRel of depth maps, one scale per clip", 1),
    Figure("scene", "depth_within_percent", "%", "of their cells, factor below 1.25", 1),
    Figure("body", "mpjpe_mm", "mm", "joints in the camera frame, hips together", 0, 75),
    Figure("body", "pa_mpjpe_mm", "mm", "joints after a similarity per frame", 0, 55),
    Figure("body", "acceleration_m_s2", "m/s^2", "error of the joints' acceleration", 1),
    Figure("body", "stature_percent", "%", "stature", 1),
    Figure("contact", "f1", "1", "F1 score of the feet's contact", 2, 0.9, True),
    Figure("align", "w_mpjpe_mm", "mm", "joints, 100 frames, similarity by the first two", 0),
    Figure("align", "wa_mpjpe_mm", "mm", "joints, 100 frames, one similarity", 0),
    Figure("align", "rte_percent", "%", "pelvis path after a rigid fit, over its length", 1, 3),
    Figure("align", "scale_percent", "%", "size of the person and the path", 1, 6),
    Figure("ground", "gravity_deg", "deg", "up direction", 2, 2),
    Figure("ground", "floor_mm", "mm", "height of planted ankles over the floor", 0),
    Figure("ground", "jitter_10m_s3", "10 m/s^3", "third derivative of the joints", 1),
    Figure("ground", "true_jitter_10m_s3", "10 m/s^3", "the same of the truth", 1),
    Figure("mesh", "chamfer_mm", "mm", "surfaces within 1 m of the person's path", 0),
    Figure("retarget", "position_mm", "mm", "robot to the scaled human it was given", 0),
    Figure("retarget", "direction_deg", "deg", "robot's limbs to the true human's", 1),
    Figure("retarget", "penetration_cm", "cm", "95th percentile of the depth in floor or box", 1),
    Figure("retarget", "float_cm", "cm", "95th percentile of the gap under planted soles", 1),
    Figure("retarget", "slide_cm_s", "cm/s", "speed of planted soles", 1),
    Figure("retarget", "jitter_10m_s3", "10 m/s^3", "third derivative of the links", 1),
    Figure("retarget", "limit_percent", "%", "frames with a joint over its limit", 1),
)
STAGES = tuple(dict.fromkeys(figure.stage for figure in FIGURES))
PRODUCT = {
    "segment": "people",
    "pose2d": "keypoints",
    "scene": "scene",
    "body": "body",
    "contact": "contacts",
    "align": "world",
    "ground": "gravity",
    "mesh": "mesh",
    "retarget": "motion",
}
"""The product that each stage is judged by."""


def match(products, truth):
    """{true id: id} of the people that overlap, by the boxes of `people`."""

    def boxes(people):
        seen = {pid: track.visible[:, None] for pid, track in people.people.items()}
        return {pid: np.where(seen[pid], people.people[pid].boxes, np.nan) for pid in seen}

    pairs = accuracy.match_people(boxes(products["people"]), boxes(truth["people"]))
    return {true: pid for pid, true in pairs.items()}


def measure(stage, products, truth, pairs, video):
    """The figures of one stage, {true id: {name: number}}, NaN or absent where there is none.

    pairs: {true id: id in the products}; video: `Video`. A person whom the stage has lost, or a
    rejected product, has no numbers but those of `segment`.
    """
    product = products.get(PRODUCT[stage])
    found = {}
    for true in truth["people"].people:
        known = product is not None and not product.rejected
        if stage == "segment" and known:
            found[true] = _segment(products, truth, pairs.get(true), true)
        elif stage == "scene" and known:
            found[true] = _scene(product, truth["scene"])
        elif known and _has(stage, products, pairs.get(true)):
            found[true] = _MEASURES[stage](products, truth, pairs[true], true, video)
        else:
            found[true] = {}
    return found


def _has(stage, products, pid):
    names = {"mesh": ("gravity",), "retarget": ("gravity", "motion")}
    needed = names.get(stage, (PRODUCT[stage],))
    return all(name in products and pid in products[name].people for name in needed)


# ---------------------------------------------------------------------------------------------
# stages


def _segment(products, truth, pid, true):
    people, true_people = products["people"], truth["people"]
    ids = sorted(people.people)
    shape = (true_people.mask_height, true_people.mask_width)
    track = true_people.people[true]
    overlap = np.full((len(track.visible), len(ids), len(true_people.people)), np.nan)
    for t in range(len(overlap)):
        masks = {
            k: accuracy.resized(people.mask(k, t), shape)
            for k in ids
            if people.people[k].visible[t]
        }
        for column, other in enumerate(true_people.people):
            if true_people.people[other].visible[t]:
                for k, mask in masks.items():
                    iou = accuracy.mask_iou(mask, true_people.mask(other, t))
                    overlap[t, ids.index(k), column] = iou
    column = list(true_people.people).index(true)
    follows = accuracy.identities(overlap)[:, column]
    own = overlap[:, ids.index(pid), column] if pid in ids else np.full(len(overlap), np.nan)
    return {
        "mask_iou": _mean(own[np.isfinite(own)]),
        "recall_percent": 100 * _mean(np.nan_to_num(own)[track.visible] >= 0.5),
        "id_switches": accuracy.id_switches(follows),
    }


def _pose2d(products, truth, pid, true, video):
    found, exact = products["keypoints"], truth["keypoints"]
    names = [name for name in quality.LIMBS if name in found.keypoint_names]
    person, other = found.people[pid], exact.people[true]
    xy = person.xy[:, [found.keypoint_names.index(name) for name in names]]
    there = [exact.keypoint_names.index(name) for name in names]
    weights = (other.score[:, there] > 0) & (person.visible & other.visible)[:, None]
    solved = truth["body"].people[true]
    stature = body.stature(body.load_body_of(truth["body"]), solved.betas)
    depth = np.maximum(solved.transl[:, 2], 0.1)
    sizes = truth["scene"].intrinsics[:, 1, 1] * stature / depth
    limbs3d = float("nan")
    if person.landmarks3d is not None:
        both = person.visible & solved.valid
        points = person.landmarks3d[:, [found.keypoint_names.index(name) for name in names]]
        joints = solved.joints[:, [SMPL_JOINTS.index(name) for name in names]]
        limbs3d = accuracy.pa_mpjpe_mm(points[both], joints[both])
    return {
        "error_px": accuracy.keypoint_error_px(xy, other.xy[:, there], weights),
        "pck_percent": accuracy.pck_percent(xy, other.xy[:, there], sizes, weights),
        "limbs3d_mm": limbs3d,
    }


def _scene(scene, truth):
    pose, exact = scene.cam2world, truth.cam2world
    travels = truth.camera_model == "sfm"
    depth = (float("nan"), float("nan"))
    if scene.depth is not None and truth.depth is not None:
        depth = accuracy.depth_errors_percent(scene.depth, truth.depth)
    return {
        "camera_correct": float(scene.camera_model == truth.camera_model),
        "ate_mm": accuracy.ate_mm(pose[:, :3, 3], exact[:, :3, 3], scale=travels),
        "rotation_deg": accuracy.rotation_error_deg(pose[:, :3, :3], exact[:, :3, :3]),
        "focal_percent": accuracy.focal_error_percent(scene.intrinsics, truth.intrinsics),
        "depth_percent": depth[0],
        "depth_within_percent": depth[1],
    }


def _body(products, truth, pid, true, video):
    person, exact = products["body"].people[pid], truth["body"].people[true]
    both = person.valid & exact.valid
    statures = [
        body.stature(body.load_body(), solved.betas) if product.body_model == "builtin" else np.nan
        for product, solved in ((products["body"], person), (truth["body"], exact))
    ]
    return {
        "mpjpe_mm": accuracy.mpjpe_mm(person.joints[both], exact.joints[both]),
        "pa_mpjpe_mm": accuracy.pa_mpjpe_mm(person.joints[both], exact.joints[both]),
        "acceleration_m_s2": accuracy.acceleration_error_m_s2(
            person.joints, exact.joints, both, video.fps
        ),
        "stature_percent": 100 * (statures[0] / statures[1] - 1),
    }


def _contact(products, truth, pid, true, video):
    person, exact = products["contacts"].people[pid], truth["contacts"].people[true]
    columns = [
        [product.contact_names.index(name) for name in CONTACTS]
        for product in (products["contacts"], truth["contacts"])
    ]
    both = person.valid & exact.valid
    return {
        "f1": accuracy.f1(person.contact[both][:, columns[0]], exact.contact[both][:, columns[1]])
    }


def _align(products, truth, pid, true, video):
    person, exact = products["world"].people[pid], truth["gravity"].people[true]
    both = person.valid & exact.valid
    joints, true_joints = person.joints[both], exact.joints[both]
    if not len(joints):
        return {}
    return {
        "w_mpjpe_mm": accuracy.w_mpjpe_mm(joints, true_joints),
        "wa_mpjpe_mm": accuracy.wa_mpjpe_mm(joints, true_joints),
        "rte_percent": accuracy.rte_percent(joints[:, 0], true_joints[:, 0]),
        "scale_percent": accuracy.scale_error_percent(joints, true_joints),
    }


def _ground(products, truth, pid, true, video):
    gravity, exact = products["gravity"], truth["gravity"]
    person, other = gravity.people[pid], exact.people[true]
    both = person.valid & other.valid
    ankles = [SMPL_JOINTS.index(f"{side}_ankle") for side in ("left", "right")]
    touch = truth["contacts"].people[true].contact[both]
    return {
        "gravity_deg": accuracy.gravity_error_deg(gravity.cam2world[both], exact.cam2world[both]),
        "floor_mm": accuracy.floor_height_error_mm(
            person.joints[both][:, ankles, 2], other.joints[both][:, ankles, 2], touch
        ),
        "jitter_10m_s3": accuracy.jitter(person.joints, both, video.fps),
        "true_jitter_10m_s3": accuracy.jitter(other.joints, both, video.fps),
    }


def _mesh(products, truth, pid, true, video):
    person, exact = products["gravity"].people[pid], truth["gravity"].people[true]
    both = person.valid & exact.valid
    joints, true_joints = person.joints[both], exact.joints[both]
    if not len(joints):
        return {}
    alignment = accuracy.align(joints.reshape(-1, 3), true_joints.reshape(-1, 3), scale=False)
    points = _surface(products["mesh"], joints[:, 0])
    true_points = _surface(truth["mesh"], true_joints[:, 0])
    moved = accuracy.apply_alignment(alignment, points)
    return {"chamfer_mm": accuracy.chamfer_mm(moved, true_points)}


def _retarget(products, truth, pid, true, video):
    motion = products["motion"]
    robot = load_robot(motion.robot)
    clip = quality.Clip(
        video,
        *(products[name] for name in ("keypoints", "scene", "gravity", "contacts", "mesh")),
        motion,
    )
    values = quality.robot_values(clip, pid, robot)
    return {
        "position_mm": values["retarget_error_mm"],
        "direction_deg": _direction(products, truth, pid, true, robot),
        "penetration_cm": values["robot_penetration_cm"],
        "float_cm": values["robot_float_cm"],
        "slide_cm_s": values["robot_slide_cm_s"],
        "jitter_10m_s3": values["robot_jitter_10m_s3"],
        "limit_percent": values["joint_limit_percent"],
    }


def _direction(products, truth, pid, true, robot):
    """Mean angle of the robot's limbs to the true human's, the worlds turned onto each other."""
    from scipy.spatial.transform import Rotation

    motion = products["motion"].people[pid]
    person, exact = products["gravity"].people[pid], truth["gravity"].people[true]
    both = motion.valid & person.valid & exact.valid
    if not both.any():
        return float("nan")
    joints = exact.joints[both].astype(float)
    _, turn, _ = accuracy.align(person.joints[both].reshape(-1, 3), joints.reshape(-1, 3))
    order = [products["motion"].body_names.index(name) for name in robot.body_names]
    places, quats = motion.link_pos[both][:, order], motion.link_quat[both][:, order]
    points = [
        places[:, point.body]
        + Rotation.from_quat(quats[:, point.body][:, [1, 2, 3, 0]]).apply(point.offset)
        for point in robot.keypoints
    ]
    human = [joints[:, list(point.human)].mean(1) for point in robot.keypoints]
    limbs = [
        (k, point.parent)
        for k, point in enumerate(robot.keypoints)
        if point.direction >= 1 and point.parent >= 0 and not point.rigid
    ]
    return accuracy.direction_error_deg(
        np.stack([points[a] - points[b] for a, b in limbs], 1) @ turn.T,
        np.stack([human[a] - human[b] for a, b in limbs], 1),
    )


_MEASURES = {
    "pose2d": _pose2d,
    "body": _body,
    "contact": _contact,
    "align": _align,
    "ground": _ground,
    "mesh": _mesh,
    "retarget": _retarget,
}


# ---------------------------------------------------------------------------------------------


def _surface(mesh, path):
    """Points of a mesh within reach of a path (T, 3), without what faces down. (N, 3), m."""
    import trimesh
    from scipy.spatial import cKDTree

    surface = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    count = int(surface.area / _SPACING**2)
    points, owner = trimesh.sample.sample_surface(surface, count, seed=0)
    points = np.asarray(points)[surface.face_normals[owner][:, 2] > -0.5]
    above = points[:, 2] > -0.02
    near = cKDTree(path[:, :2]).query(points[:, :2], distance_upper_bound=_NEAR)[0] < _NEAR
    return points[above & near]


def _mean(values):
    return float(np.mean(values)) if len(values) else float("nan")
