"""Measure a reconstruction and its robot motion, and judge every person by thresholds.

Every metric has one line in `METRICS`: its unit, its threshold, whether missing the threshold
rejects the person (a gate) or only warns, and what it means. A clip is accepted when at least one
person is. Against a rendered clip's truth, errors are reported as well; they gate nothing.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, accuracy, body
from .contracts import (
    ACCEPTED,
    REJECTED,
    Contacts,
    Gravity,
    Keypoints,
    Product,
    atomic_write,
)
from .conventions import SMPL_JOINTS
from .errors import ContractError, PantographError

LIMBS = [
    f"{side}_{part}"
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]
"""Joints that 2D errors are measured on: those that detectors and the skeleton both name."""
_BONES = [("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")] + [
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]
_CONFIDENT = 0.5
"""Score from which a keypoint is taken to be seen."""
_LIMIT_TOLERANCE = 1e-3
"""Joint angle in rad that may lie over a limit by rounding."""
_PENETRATION = 0.01
"""Depth in m from which the robot is inside something (OmniRetarget, `eval_retargeting.py`)."""
_SOLE_POINTS = 24
_STEP_REACH = 0.15
"""Depth in m at which a sole inside a box is under it and not on it."""


@dataclass(frozen=True)
class Metric:
    """How a number is judged: `bound` says on which side of the threshold it should be."""

    name: str
    unit: str
    bound: str
    """"max", "min", or "" where there is no threshold."""
    threshold: float | None
    gate: bool
    meaning: str


METRICS = (
    Metric("visible_fraction", "1", "min", 0.3, True, "frames of the clip that show the person"),
    Metric(
        "reprojection_px",
        "px",
        "",
        None,
        False,
        "mean distance of the joints of limbs, projected, to their keypoints",
    ),
    Metric(
        "reprojection_percent",
        "%",
        "max",
        8.0,
        True,
        "the same over the person's stature in px",
    ),
    Metric(
        "bone_spread_percent",
        "%",
        "max",
        20.0,
        True,
        "standard deviation over mean of measured bone lengths, median over bones",
    ),
    Metric("root_speed_m_s", "m/s", "max", 10.0, True, "99th percentile of the pelvis speed"),
    Metric(
        "root_acceleration_m_s2",
        "m/s^2",
        "max",
        60.0,
        False,
        "99th percentile of the pelvis acceleration",
    ),
    Metric("jitter_10m_s3", "10 m/s^3", "max", 50.0, False, "mean third derivative of the joints"),
    Metric(
        "flip_percent",
        "%",
        "max",
        5.0,
        True,
        "steps in which the hip or shoulder line turns by more than 60 degrees",
    ),
    Metric(
        "human_float_cm",
        "cm",
        "max",
        8.0,
        False,
        "95th percentile of the gap under the human's soles in contact",
    ),
    Metric(
        "human_penetration_cm",
        "cm",
        "max",
        8.0,
        False,
        "95th percentile of the depth of the human's soles under their support",
    ),
    Metric(
        "human_slide_cm_s",
        "cm/s",
        "max",
        30.0,
        False,
        "mean speed of the human's stillest sole point in contact",
    ),
    Metric(
        "joint_limit_percent", "%", "max", 0.0, True, "frames with a robot joint over its limit"
    ),
    Metric(
        "joint_margin_deg", "deg", "", None, False, "least distance of a robot joint to its limit"
    ),
    Metric(
        "joint_speed_percent",
        "%",
        "max",
        1.0,
        True,
        "steps with a robot joint faster than its limit",
    ),
    Metric(
        "robot_float_cm",
        "cm",
        "max",
        3.0,
        False,
        "95th percentile of the gap under the robot's soles in contact",
    ),
    Metric(
        "robot_penetration_percent",
        "%",
        "max",
        10.0,
        False,
        "frames with the robot over 1 cm inside the floor or a box",
    ),
    Metric(
        "robot_penetration_cm",
        "cm",
        "max",
        5.0,
        True,
        "95th percentile of the depth of the robot inside the floor or a box",
    ),
    Metric(
        "robot_slide_cm_s",
        "cm/s",
        "max",
        30.0,
        False,
        "mean speed of the robot's stillest sole corner in contact",
    ),
    Metric(
        "robot_jitter_10m_s3", "10 m/s^3", "max", 50.0, False, "mean third derivative of the links"
    ),
    Metric(
        "retarget_error_mm",
        "mm",
        "max",
        120.0,
        True,
        "mean distance of the robot to the scaled human",
    ),
)

TRUTH_METRICS = (
    Metric(
        "root_error_mm",
        "mm",
        "",
        None,
        False,
        "mean distance of the pelvis path after one rigid fit of the whole path, no scale",
    ),
    Metric(
        "scale_error_percent",
        "%",
        "",
        None,
        False,
        "size over true size less one, by a similarity fit of all joints of all frames",
    ),
    Metric(
        "pa_mpjpe_mm", "mm", "", None, False, "mean joint error after a similarity fit per frame"
    ),
    Metric(
        "mpjpe_mm",
        "mm",
        "",
        None,
        False,
        "mean joint error in the camera's axes with the hips' middle on the true one",
    ),
    Metric(
        "gravity_error_deg", "deg", "", None, False, "angle of the up direction seen by the camera"
    ),
    Metric("contact_f1", "1", "", None, False, "F1 score of the feet's contact labels"),
    Metric("keypoint_error_px", "px", "", None, False, "mean distance to the true keypoints"),
)


@dataclass
class Quality(Product):
    """`quality.json`. `people` holds, by id as text: verdict, reasons, metrics and truth."""

    video: dict[str, Any] = field(default_factory=dict)
    robot: str = ""
    camera_model: str = ""
    scale: float = 0.0
    scale_source: str = ""
    people: dict[str, Any] = field(default_factory=dict)
    SCHEMA = "quality"

    def validate(self, where):
        if self.status not in (ACCEPTED, REJECTED) or (self.rejected and not self.reason):
            raise ContractError(
                f"{where}: expected accepted, or rejected with a reason, found {self.status!r}"
            )

    def write(self, path):
        self.validate(str(path))
        content = {"schema": self.SCHEMA, "schema_version": self.VERSION}
        content["pantograph_version"] = __version__
        content.update(dataclasses.asdict(self))
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        atomic_write(path, lambda p: Path(p).write_text(text + "\n"))

    @classmethod
    def read(cls, path):
        try:
            content = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise ContractError(f"{path}: not a readable quality.json ({error})") from error
        found = content.get("schema"), content.get("schema_version")
        if found != (cls.SCHEMA, cls.VERSION):
            raise ContractError(
                f"{path}: expected schema 'quality' version {cls.VERSION}, "
                f"found {found[0]!r} version {found[1]!r}"
            )
        known = {spec.name for spec in dataclasses.fields(cls)}
        quality = cls(**{key: value for key, value in content.items() if key in known})
        quality.validate(str(path))
        return quality


@dataclass(frozen=True)
class Truth:
    """The contract files of a rendered clip that errors are measured against."""

    keypoints: Keypoints
    gravity: Gravity
    contacts: Contacts

    @classmethod
    def read(cls, folder):
        folder = Path(folder)
        return cls(
            Keypoints.read(folder / "keypoints.h5"),
            Gravity.read(folder / "gravity.h5"),
            Contacts.read(folder / "contacts.h5"),
        )


def with_thresholds(overrides):
    """METRICS with other thresholds: {name: number, or None to only inform}.

    Raises PantographError on a name that is no metric or a value that is no number.
    """
    known = {metric.name: metric for metric in METRICS}
    for name, value in overrides.items():
        if name not in known:
            raise PantographError(f"no metric {name!r}; expected one of {', '.join(known)}")
        metric = known[name]
        if value is None:
            known[name] = dataclasses.replace(metric, bound="", threshold=None, gate=False)
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not metric.bound:
            raise PantographError(
                f"threshold of {name}: expected null or a number for a metric with a bound, "
                f"found {value!r}"
            )
        else:
            known[name] = dataclasses.replace(metric, threshold=float(value))
    return tuple(known.values())


def assess(clip, metrics=METRICS, robot=None, truth=None):
    """Measure and judge a clip.

    clip: a `Clip` of products; robot: robot.Robot, None if a product is rejected; truth: `Truth`
    or None. Returns a Quality, rejected if a product is or no person passes.
    """
    products = clip.products()
    quality = Quality(
        method="quality",
        parameters={metric.name: metric.threshold for metric in metrics if metric.bound},
        source_sha256=next((p.source_sha256 for p in products if p.source_sha256), ""),
        video=_video(clip.video),
        robot=clip.motion.robot,
        camera_model=clip.gravity.camera_model,
        scale=float(clip.gravity.scale),
        scale_source=clip.gravity.scale_source,
    )
    for product in products:
        quality.dropped.update(product.dropped)
    refused = next((product for product in products if product.rejected), None)
    if refused is not None:
        quality.status, quality.reason = REJECTED, refused.reason
        return quality
    matches = _matches(clip, truth) if truth else {}
    for pid in sorted(set(clip.keypoints.people) | set(clip.motion.people)):
        if pid in clip.motion.people:
            quality.people[str(pid)] = _person(clip, pid, metrics, robot, truth, matches.get(pid))
        else:
            reason = quality.dropped.get(str(pid), "no motion was made")
            quality.people[str(pid)] = {
                "verdict": REJECTED,
                "reasons": [reason],
                "metrics": {},
                "truth": {},
            }
    if truth:
        missed = sorted(set(truth.gravity.people) - set(matches.values()))
        quality.stats["true_people"] = len(truth.gravity.people)
        quality.stats["missed_people"] = len(missed)
    passed = [p for p in quality.people.values() if p["verdict"] == ACCEPTED]
    if not passed:
        quality.status = REJECTED
        quality.reason = "; ".join(
            f"person {pid}: {', '.join(person['reasons'])}"
            for pid, person in quality.people.items()
        )
    return quality


@dataclass(frozen=True)
class Clip:
    """The products of one video that are judged together, and the body that they were made with."""

    video: Any
    keypoints: Any
    scene: Any
    gravity: Any
    contacts: Any
    mesh: Any
    motion: Any
    model: Any = None
    """A BodyModel; None where a product is rejected."""

    def products(self):
        every = [getattr(self, spec.name) for spec in dataclasses.fields(self)]
        return [item for item in every if isinstance(item, Product)]


# ---------------------------------------------------------------------------------------------
# one person


def _person(clip, pid, metrics, robot, truth, true_id):
    values = {
        **_image_values(clip, pid),
        **_human_values(clip, pid),
        **robot_values(clip, pid, robot),
    }
    judged = {metric.name: _judge(metric, values.get(metric.name, np.nan)) for metric in metrics}
    reasons = [
        f"{metric.name} {judged[metric.name]['value']:g} {metric.unit} "
        f"({metric.bound} {metric.threshold:g})"
        for metric in metrics
        if judged[metric.name]["verdict"] == "fail"
    ]
    person = {
        "verdict": REJECTED if reasons else ACCEPTED,
        "reasons": reasons,
        "metrics": judged,
        "truth": {},
    }
    if truth:
        person["truth_id"] = true_id
        if true_id is not None:
            errors = _truth_values(clip, pid, truth, true_id)
            person["truth"] = {
                metric.name: _judge(metric, errors.get(metric.name, np.nan))
                for metric in TRUTH_METRICS
            }
    return person


def _judge(metric, value):
    finite = value is not None and np.isfinite(value)
    if not finite:
        verdict = "unknown"
    elif not metric.bound:
        verdict = "info"
    elif (value <= metric.threshold) if metric.bound == "max" else (value >= metric.threshold):
        verdict = "pass"
    else:
        verdict = "fail" if metric.gate else "warn"
    return {
        "value": float(f"{value:.6g}") if finite else None,
        "threshold": metric.threshold,
        "unit": metric.unit,
        "verdict": verdict,
        "meaning": metric.meaning,
    }


def _image_values(clip, pid):
    keypoints = clip.keypoints.people.get(pid)
    if keypoints is None:
        return {}
    names = list(clip.keypoints.keypoint_names)
    values = {"visible_fraction": float(np.mean(keypoints.visible))}
    seen = keypoints.visible[:, None] & (keypoints.score >= _CONFIDENT)
    if keypoints.landmarks3d is not None:
        bones = [(names.index(a), names.index(b)) for a, b in _BONES if {a, b} <= set(names)]
        values["bone_spread_percent"] = accuracy.bone_spread_percent(
            keypoints.landmarks3d, bones, seen
        )
    person = clip.gravity.people.get(pid)
    if person is None:
        return values
    shared = [name for name in LIMBS if name in names]
    index = [names.index(name) for name in shared]
    joints = person.joints[:, [SMPL_JOINTS.index(name) for name in shared]]
    pixels, depth = accuracy.project(joints, clip.gravity.intrinsics, clip.gravity.cam2world)
    usable = seen[:, index] & person.valid[:, None] & (depth > 0)
    distance = np.linalg.norm(pixels - keypoints.xy[:, index], axis=-1)
    stature = body.stature(clip.model, person.betas)
    _, root_depth = accuracy.project(
        person.transl[:, None], clip.gravity.intrinsics, clip.gravity.cam2world
    )
    height = clip.gravity.intrinsics[:, 1, 1] * stature / np.maximum(root_depth[:, 0], 1e-6)
    values["reprojection_px"] = _mean(distance[usable])
    values["reprojection_percent"] = 100 * _mean((distance / height[:, None])[usable])
    return values


def _human_values(clip, pid):
    person = clip.gravity.people.get(pid)
    if person is None:
        return {}
    fps, valid = clip.video.fps, np.asarray(person.valid, bool)
    steps = valid[1:] & valid[:-1]
    flips = accuracy.flips(person.joints, valid)
    values = {
        "root_speed_m_s": _percentile(accuracy.speeds(person.transl, valid, fps), 99),
        "root_acceleration_m_s2": _percentile(
            accuracy.accelerations(person.transl, valid, fps), 99
        ),
        "jitter_10m_s3": accuracy.jitter(person.joints, valid, fps),
        "flip_percent": 100 * _mean(flips[steps]),
    }
    contacts = clip.contacts.people.get(pid)
    if contacts is not None:
        soles = _soles(clip.model, person)
        contact = contacts.contact & (contacts.valid & valid)[:, None]
        values.update(_sole_values("human", soles, contact, valid, _boxes(clip.mesh), fps))
    return values


def robot_values(clip, pid, robot):
    """The metrics of one person's robot motion, by name. clip: `Clip`; robot: robot.Robot."""
    motion, person = clip.motion, clip.motion.people[pid]
    fps, valid = motion.fps, np.asarray(person.valid, bool)
    steps = valid[1:] & valid[:-1]
    order = [motion.joint_names.index(name) for name in robot.joint_names]
    joints = np.asarray(person.joints, float)[:, order]
    margin = np.minimum(joints - robot.model_limits[:, 0], robot.model_limits[:, 1] - joints)
    speed = np.abs(np.diff(joints, axis=0)) * fps
    values = {
        "joint_limit_percent": 100 * _mean((margin < -_LIMIT_TOLERANCE).any(1)[valid]),
        "joint_margin_deg": np.degrees(_least(margin[valid])),
        "joint_speed_percent": 100 * _mean((speed > robot.velocity_limits).any(1)[steps]),
        "robot_jitter_10m_s3": accuracy.jitter(person.link_pos, valid, fps),
        "retarget_error_mm": 1e3 * _mean(person.error[valid]),
    }
    boxes = _boxes(clip.mesh, motion.world_scale)
    feet = [next(f for f in robot.feet if f.name == name) for name in motion.contact_names]
    soles = np.stack([_robot_sole(robot, motion, person, foot) for foot in feet], axis=1)
    contact = person.contact & valid[:, None]
    values.update(_sole_values("robot", soles, contact, valid, boxes, fps))
    depth = _penetration(robot, person, joints, boxes)[valid]
    values["robot_penetration_percent"] = 100 * _mean(depth > _PENETRATION)
    values["robot_penetration_cm"] = 100 * _percentile(depth, 95)
    return values


def _truth_values(clip, pid, truth, true_id):
    frames = np.asarray(clip.video.source_frames)
    person, true = clip.gravity.people.get(pid), truth.gravity.people[true_id]
    values = {"keypoint_error_px": _keypoint_error(clip, pid, truth, true_id)}
    if person is None:
        return values
    both = np.flatnonzero(person.valid & true.valid[frames])
    if not len(both):
        return values
    there = frames[both]
    joints, true_joints = person.joints[both], true.joints[there]
    poses, true_poses = clip.gravity.cam2world[both], truth.gravity.cam2world[there]
    values["root_error_mm"] = accuracy.path_error_mm(joints[:, 0], true_joints[:, 0])
    values["scale_error_percent"] = accuracy.scale_error_percent(joints, true_joints)
    values["pa_mpjpe_mm"] = accuracy.pa_mpjpe_mm(joints, true_joints)
    values["mpjpe_mm"] = accuracy.mpjpe_mm(
        accuracy.to_camera(joints, poses), accuracy.to_camera(true_joints, true_poses)
    )
    values["gravity_error_deg"] = accuracy.gravity_error_deg(poses, true_poses)
    contacts, true_contacts = clip.contacts.people.get(pid), truth.contacts.people.get(true_id)
    if contacts is not None and true_contacts is not None:
        judged = contacts.valid & true_contacts.valid[frames]
        values["contact_f1"] = accuracy.f1(
            contacts.contact[judged], true_contacts.contact[frames][judged]
        )
    return values


def _keypoint_error(clip, pid, truth, true_id):
    person, true = clip.keypoints.people.get(pid), truth.keypoints.people.get(true_id)
    if person is None or true is None:
        return float("nan")
    frames = np.asarray(clip.video.source_frames)
    names, true_names = clip.keypoints.keypoint_names, truth.keypoints.keypoint_names
    shared = [name for name in LIMBS if name in names and name in true_names]
    index, there = [names.index(n) for n in shared], [true_names.index(n) for n in shared]
    weights = (true.score[frames][:, there] > 0) & (person.visible & true.visible[frames])[:, None]
    return accuracy.keypoint_error_px(person.xy[:, index], true.xy[frames][:, there], weights)


# ---------------------------------------------------------------------------------------------
# parts


def _matches(clip, truth):
    frames = np.asarray(clip.video.source_frames)
    count = len(truth.gravity.cam2world)
    if frames.max() >= count:
        raise PantographError(
            f"truth of {clip.video.name}: expected frames up to {frames.max()}, found {count}; "
            "render the clip again or leave out its truth"
        )
    people = {pid: _keypoint_boxes(person) for pid, person in clip.keypoints.people.items()}
    true = {pid: _keypoint_boxes(p)[frames] for pid, p in truth.keypoints.people.items()}
    return accuracy.match_people(people, true)


def _keypoint_boxes(person):
    seen = person.visible[:, None] & (person.score > 0)
    xy = np.where(seen[..., None], person.xy, np.nan).astype(float)
    boxes = np.full((len(xy), 4), np.nan)
    rows = seen.any(1)
    if rows.any():
        boxes[rows] = np.concatenate([np.nanmin(xy[rows], 1), np.nanmax(xy[rows], 1)], axis=-1)
    return boxes


def _soles(model, person):
    """Points spread over the soles of a body, (T, 2, P, 3), left first."""
    rest = body.rest_vertices(model, person.betas)
    owner = model.weights.argmax(1)
    chosen = []
    for side in ("left", "right"):
        bones = [SMPL_JOINTS.index(f"{side}_{part}") for part in ("ankle", "foot")]
        foot = np.flatnonzero(np.isin(owner, bones))
        low = foot[rest[foot, 1] < rest[foot, 1].min() + 0.015]
        low = low[np.argsort(rest[low, 2], kind="stable")]
        chosen.append(low[np.linspace(0, len(low) - 1, _SOLE_POINTS).astype(int)])
    picked = np.concatenate(chosen)
    part = dataclasses.replace(
        model,
        v_template=model.v_template[picked],
        shapedirs=model.shapedirs[picked],
        weights=model.weights[picked],
        posedirs=None if model.posedirs is None else model.posedirs[picked],
    )
    points = body.vertices(
        part, person.betas, person.global_orient, person.body_pose, person.transl
    )
    return points.reshape(len(points), 2, _SOLE_POINTS, 3)


def _robot_sole(robot, motion, person, foot):
    """Corners of a robot's sole, (T, P, 3)."""
    from scipy.spatial.transform import Rotation

    link = motion.body_names.index(robot.body_names[foot.body])
    turn = Rotation.from_quat(person.link_quat[:, link][:, [1, 2, 3, 0]]).as_matrix()
    return person.link_pos[:, link, None] + np.einsum("tij,pj->tpi", turn, foot.sole)


def _boxes(mesh, scale=1.0):
    """Support boxes other than the floor, (B, 7), `scale` times as large."""
    pairs = zip(mesh.boxes, mesh.box_names, strict=True)
    rows = [np.asarray(box, float) for box, name in pairs if name != "floor"]
    return np.array(rows).reshape(-1, 7) * np.array([scale] * 6 + [1])


def _sole_values(who, soles, contact, valid, boxes, fps):
    clearance = (soles[..., 2] - _support(soles, boxes)).min(-1)
    return {
        f"{who}_float_cm": 100 * _percentile(np.maximum(clearance, 0)[contact], 95),
        f"{who}_penetration_cm": 100 * _percentile(np.maximum(-clearance[valid], 0), 95),
        f"{who}_slide_cm_s": accuracy.slide_cm_s(soles, contact, fps),
    }


def _support(points, boxes):
    """Height of what is under points (..., 3): the top of a box that they are on, or the floor."""
    height = np.zeros(points.shape[:-1])
    for box in boxes:
        offset = points[..., :2] - box[:2]
        cos, sin = np.cos(box[6]), np.sin(box[6])
        along = offset[..., 0] * cos + offset[..., 1] * sin
        across = offset[..., 1] * cos - offset[..., 0] * sin
        top = box[2] + box[5] / 2
        over = (np.abs(along) <= box[3] / 2) & (np.abs(across) <= box[4] / 2)
        over &= points[..., 2] > top - _STEP_REACH
        height = np.where(over, np.maximum(height, top), height)
    return height


def _penetration(robot, person, joints, boxes):
    """Depth of the robot inside the floor or a box in each frame, m, (T,); 0 where it is not."""
    from .robotscene import RobotScene, scene_spec

    scene = RobotScene(robot, [0], scene_spec(robot, [0], boxes))
    colliders, surroundings = scene.colliders(0), scene.surroundings()
    depth = np.zeros(len(joints))
    for t in np.flatnonzero(person.valid):
        scene.pose(0, person.root_pos[t], person.root_quat[t], joints[t])
        scene.update()
        depth[t] = max(0.0, -scene.distance(colliders, surroundings, limit=0.01))
    return depth


def _video(video):
    keys = ("name", "path", "fps", "width", "height", "frame_count")
    return {key: getattr(video, key) for key in keys}


def _mean(values):
    values = np.asarray(values, float)
    return float(values.mean()) if values.size else float("nan")


def _least(values):
    return float(values.min()) if values.size else float("nan")


def _percentile(values, q):
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(np.percentile(values, q)) if values.size else float("nan")
