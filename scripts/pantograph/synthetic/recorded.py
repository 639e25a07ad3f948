"""A motion taken from recorded joint positions, and the ground that its feet ask for.

The body of the renderer takes the pose of the recording. Its feet stand where the recorded ones
do, without their slides; under each stand that lies higher than the floor stands a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from .. import body
from ..conventions import SMPL_JOINTS, SMPL_PARENTS
from ..errors import PantographError
from . import camera, scenery
from .motion import Foot, Skeleton, assemble, pelvis_height, smooth_step
from .scenario import Actor, Scenario
from .steps import Stance, raise_over

SLOW, SLOW_IF_TOLD = 0.6, 0.9
"""A foot slower than this stands, m/s; the second where contacts are given and say so."""
SHORTEST, LONGEST_GAP = 0.16, 0.12
"""Stands shorter than this are passed over, gaps up to this are closed, s."""
FLAT = 0.06
"""Feet whose heights differ by less stand on the floor, m."""

_INDEX = {name: k for k, name in enumerate(SMPL_JOINTS)}


@dataclass
class Recording:
    """Joints (T, 24, 3) m, +Z up, walking along +x and standing on z = 0 at the lowest; `stances`
    of the left and the right foot in seconds, their places those of the ball joints."""

    joints: np.ndarray
    fps: float
    stances: tuple


def read_recording(path, contacts, fps):
    """Read joints (T, 24 or more, 3) and, if given, two files of contacts (T,).

    Raises PantographError if a file is missing or has another shape, or if a foot never stands.
    """
    joints = _array(path)
    if joints.ndim != 3 or joints.shape[1] < 24 or joints.shape[2] != 3 or len(joints) < 8:
        raise PantographError(
            f"{path}: expected joints of shape (T >= 8, 24 or more, 3), found {joints.shape}"
        )
    joints = joints[:, :24].astype(float)
    if not np.isfinite(joints).all():
        raise PantographError(f"{path}: some joints are not finite")
    told = [_array(p).astype(bool) for p in contacts] if contacts else [None, None]
    for flags in told:
        if flags is not None and flags.shape != (len(joints),):
            raise PantographError(
                f"{path}: {len(joints)} frames, but contacts of shape {flags.shape}"
            )
    pelvis = joints[:, 0]
    way = (pelvis[-1] - pelvis[0])[:2]
    yaw = -np.arctan2(way[1], way[0]) if np.linalg.norm(way) > 0.3 else 0.0
    c, s = np.cos(yaw), np.sin(yaw)
    joints = joints @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
    joints[..., :2] -= (joints[:, 0, :2].min(0) + joints[:, 0, :2].max(0)) / 2
    stances = tuple(
        _stances(joints, side, flags, fps)
        for side, flags in zip(("left", "right"), told, strict=True)
    )
    every = [stance for foot in stances for stance in foot]
    if not all(stances):
        raise PantographError(f"{path}: a foot never stands; are the units metres, and the fps?")
    lowest = min(stance.height for stance in every)
    joints[..., 2] -= lowest
    flat = max(stance.height for stance in every) - lowest < FLAT
    for stance in every:
        stance.height = 0.0 if flat or stance.height - lowest < FLAT / 2 else stance.height - lowest
    return Recording(joints, fps, stances)


def _array(path):
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise PantographError(f"{path}: not a readable .npy file ({error})") from error


def _runs(flags):
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(int)))
    return list(zip(edges[::2], edges[1::2], strict=True))


def _stances(joints, side, told, fps):
    ball = joints[:, _INDEX[f"{side}_foot"]]
    smooth = gaussian_filter1d(ball, fps / 30, axis=0, mode="nearest")
    speed = np.linalg.norm(np.gradient(smooth, axis=0), axis=1) * fps
    limit = SLOW if told is None else np.where(told, SLOW_IF_TOLD, SLOW)
    slow = speed < limit
    for first, last in _runs(~slow):
        if first > 0 and last < len(slow) and last - first <= LONGEST_GAP * fps:
            slow[first:last] = True
    heading = _headings(joints, side)
    out = []
    for first, last in _runs(slow):
        if last - first >= SHORTEST * fps:
            place = ball[first:last].mean(0)
            facing = heading[first:last].mean()
            out.append(Stance(first / fps, (last - 1) / fps, tuple(place[:2]), place[2], facing))
    return out


def _headings(joints, side):
    along = joints[:, _INDEX[f"{side}_foot"]] - joints[:, _INDEX[f"{side}_ankle"]]
    return np.unwrap(np.arctan2(along[:, 1], along[:, 0]))


def fitted_betas(model, joints):
    """The shape (10,) whose bones are nearest to the recorded ones in length."""
    names = ("knee", "ankle", "elbow", "wrist", "foot")
    bones = [_INDEX[f"{side}_{name}"] for side in ("left", "right") for name in names]
    parents = [SMPL_PARENTS[j] for j in bones]
    seen = np.linalg.norm(joints[:, bones] - joints[:, parents], axis=-1).mean(0)

    def excess(betas):
        rest = body.rest_joints(model, betas)
        own = np.linalg.norm(rest[bones] - rest[parents], axis=-1)
        return np.r_[(own - seen) / 0.01, betas]

    return least_squares(excess, np.zeros(10)).x


def supports(recording, skeleton, color=(0.46, 0.42, 0.36)):
    """A box under each stand that is higher than the floor."""
    boxes = []
    length, middle = skeleton.toe - skeleton.heel, (skeleton.toe + skeleton.heel) / 2
    for stance in (s for foot in recording.stances for s in foot if s.height > 0):
        ahead = np.array([np.cos(stance.heading), np.sin(stance.heading)])
        place = tuple(np.asarray(stance.place) + middle * ahead)
        size = (length + 0.02, 0.13, stance.height)
        boxes.append(scenery.Box(place, size, stance.heading, color, name="step"))
    return boxes


def perform(model, betas, times, recording, boxes):
    """The recorded motion by a body of shape betas; `times` are those of the recording."""
    skeleton = Skeleton(model, betas)
    joints, rest = recording.joints, skeleton.joints
    feet = tuple(
        _foot(skeleton, recording, which, side, boxes)
        for which, side in enumerate(("left", "right"))
    )

    def turned(names):
        rows = [_INDEX[name] for name in names]
        return _kabsch(rest[rows], joints[:, rows])

    pelvis = turned(("pelvis", "left_hip", "right_hip", "spine1", "spine2"))
    chest = turned(("spine3", "neck", "left_collar", "right_collar"))
    bend = Rotation.from_matrix(np.swapaxes(pelvis, -1, -2) @ chest).as_rotvec()
    third = Rotation.from_rotvec(bend / 3).as_matrix()
    upper = {name: third for name in ("spine1", "spine2", "spine3")}
    for side in ("left", "right"):
        chain = ("collar", "shoulder", "elbow", "wrist", "hand")
        upper |= _follow(skeleton, joints, chest, [f"{side}_{part}" for part in chain])
    upper |= _follow(skeleton, joints, chest, ["neck", "head"])

    # the pelvis keeps its height over the ground in units of the legs
    bones = (("hip", "knee"), ("knee", "ankle"))
    seen = sum(
        np.linalg.norm(joints[0, _INDEX[f"left_{a}"]] - joints[0, _INDEX[f"left_{b}"]])
        for a, b in bones
    )
    frames = np.arange(len(joints))
    ground = np.mean(
        [np.interp(frames, frames[f.contact], f.ball[f.contact, 2]) for f in feet], axis=0
    )
    ground = gaussian_filter1d(ground, 0.08 * recording.fps, mode="nearest")
    top = ground + (joints[:, 0, 2] - ground) * skeleton.reach / seen
    z = pelvis_height(skeleton, joints[:, 0, :2], pelvis, feet, top, recording.fps)
    return assemble(skeleton, np.column_stack([joints[:, 0, :2], z]), pelvis, feet, upper)


def _foot(skeleton, recording, which, side, boxes):
    stances, fps = recording.stances[which], recording.fps
    joints = recording.joints
    count = len(joints)
    offset = skeleton.offset(f"{side}_foot")
    along = joints[:, _INDEX[f"{side}_foot"]] - joints[:, _INDEX[f"{side}_ankle"]]
    pitch = np.arctan2(-along[:, 2], np.linalg.norm(along[:, :2], axis=1))

    contact = np.zeros(count, bool)
    seen = np.column_stack([joints[:, _INDEX[f"{side}_foot"]], _headings(joints, side)])
    wanted = np.zeros_like(seen)
    swing = np.zeros(count)
    for stance in stances:
        part = slice(round(stance.start * fps), round(stance.end * fps) + 1)
        contact[part] = True
        level = stance.height + skeleton.ball_height
        wanted[part] = (*stance.place, level, stance.heading)
    frames = np.arange(count)
    off = np.flatnonzero(contact)
    correction = np.stack(
        [np.interp(frames, off, (wanted - seen)[off, k]) for k in range(4)], axis=-1
    )
    path = np.where(contact[:, None], wanted, seen + correction)
    for first, last in _runs(~contact):
        share = (np.arange(first, last) - first + 1) / (last - first + 1)
        # a swing that is cut by the recording's end shows one half
        swing[first:last] = 0.5 + share / 2 if first == 0 else share / (2 if last == count else 1)

    # a foot that stands is level at its lowest, and comes down level
    level = np.median(pitch[contact])
    pitch = np.clip(gaussian_filter1d(pitch - level, fps / 30, mode="nearest"), -0.5, 1.1)
    landing = smooth_step((1 - swing) / 0.3)
    pitch = np.where(contact, np.maximum(pitch, 0), np.where(pitch < 0, pitch * landing, pitch))
    for first, _ in _runs(contact):  # the heel is down when a stand begins
        since = (frames - first) / (0.1 * fps)
        pitch = np.where(contact & (since >= 0) & (since < 1), pitch * smooth_step(since), pitch)
    pitch = np.where(contact, pitch, pitch * np.where(pitch > 0, landing, 1))
    toes = np.where(contact, 0.0, pitch * smooth_step(swing / 0.45))
    ball = path[:, :3]
    ball[:, 2] += np.where(contact, 0.0, skeleton.lift(pitch, toes))
    heading = path[:, 3] - np.arctan2(offset[0], offset[2])
    foot = Foot(ball, heading, pitch, toes, contact)
    foot.ball = raise_over(skeleton, foot, swing, boxes)
    return foot


def _kabsch(rest, seen):
    """Rotations (T, 3, 3) that bring points rest (N, 3) nearest to seen (T, N, 3)."""
    a = rest - rest.mean(0)
    b = seen - seen.mean(1, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("tni,nj->tij", b, a))
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return u @ vt


def _follow(skeleton, joints, base, chain):
    """Local rotations of a chain of joints whose bones point along the recorded ones."""
    out, world = {}, base
    for name, end in zip(chain, chain[1:], strict=False):
        bone = skeleton.offset(end)
        seen = joints[:, _INDEX[end]] - joints[:, _INDEX[name]]
        aim = np.einsum("tba,tb->ta", world, seen)
        aim /= np.linalg.norm(aim, axis=1, keepdims=True)
        axis = np.cross(bone / np.linalg.norm(bone), aim)
        sine = np.linalg.norm(axis, axis=1, keepdims=True)
        angle = np.arctan2(sine, (aim @ bone / np.linalg.norm(bone))[:, None])
        out[name] = Rotation.from_rotvec(axis / np.maximum(sine, 1e-9) * angle).as_matrix()
        world = world @ out[name]
    return out


def recorded_scenario(path, contacts=None, fps=30.0, kind=None, seed=31):
    """A scenario of one recording, called like its file.

    kind: of `camera.path`, far enough to see all of the motion; None: a hand-held camera that
    goes along.
    """
    model = body.load_body()
    recording = read_recording(path, contacts, fps)
    recording.joints[..., 1] += 0.6
    for stance in (s for foot in recording.stances for s in foot):
        stance.place = (stance.place[0], stance.place[1] + 0.6)
    betas = fitted_betas(model, recording.joints)
    boxes = supports(recording, Skeleton(model, betas))
    low, high = recording.joints.min((0, 1)), recording.joints.max((0, 1))
    middle = (low + high) / 2
    long_side, short_side = 854, 480
    focal = 0.8 * long_side
    if kind is None:
        width, height = short_side, long_side
        pelvis = gaussian_filter1d(recording.joints[:, 0], 0.3 * fps, axis=0, mode="nearest")
        knots = pelvis[np.linspace(0, len(pelvis) - 1, 9).round().astype(int)]
        away = 2.9
        eyes = 0.6 * knots + 0.4 * knots.mean(0) + (0.5, -away, 0.45)

        def move(times):
            return camera.handheld(times, eyes, knots + (0, 0, -0.02), seed)

    else:
        width, height = long_side, short_side
        half = (high - low)[[0, 2]] / 2 + (0.5, 0.25)
        away = max(focal * half[0] / (width / 2), focal * half[1] / (height / 2))
        eye = middle + (0.1 * away, -away, 0.12 * away)

        def move(times):
            return camera.path(kind, times, eye, middle, seed)

    name = Path(path).stem + (f"-{kind}" if kind else "")
    return Scenario(
        name=name,
        actors=[
            Actor(
                body.stature(model, betas),
                lambda m, b, t: perform(m, b, t, recording, boxes),
                betas=tuple(betas),
            )
        ],
        room=scenery.room(seed, boxes, height=6.5),
        path=move,
        camera_model=camera.CAMERA_MODELS[kind] if kind else "sfm",
        width=width,
        height=height,
        focal=focal,
        duration=len(recording.joints) / fps,
        fps=fps,
        seed=seed,
        distance=away,
    )
