"""Human motion to robot motion, one solve over the whole clip.

Joint limits are hard; feet that stand are pinned where they stand, at the height of what they
stand on.
"""

from __future__ import annotations

import functools

import jax
import jaxlie
import numpy as np
from scipy.spatial.transform import Rotation

from . import jaxcache, limits, solver
from .contracts import Motion, PersonMotion
from .errors import PantographError, Rejected
from .robot import forward
from .robotcosts import State, Weights, make_problem, see
from .target import SHORTEST, find_stretch, make_target, world_scale

BOXES = 4
"""Boxes that a scene holds at the least, some of them empty."""


def retarget(
    robot,
    gravity,
    contacts,
    mesh,
    fps,
    weights=Weights(),  # noqa: B008  (frozen)
    iterations=40,
    self_collision=True,
    scene_collision=True,
    lengths=(),
):
    """Robot motion for everyone in `gravity`.

    self_collision, scene_collision: whether the robot keeps off itself, and off the floor and the
    mesh's support boxes. lengths: planned padded lengths, frames.
    Raises Rejected if nobody is seen for `SHORTEST` seconds on end.
    """
    jaxcache.enable()
    stretches, dropped = {}, {}
    for pid, person in gravity.people.items():
        found, notes = find_stretch(person, contacts.people.get(pid), fps)
        dropped.update({f"{pid}{key}": note for key, note in notes.items()})
        if found is not None:
            stretches[pid] = found
    if not stretches:
        raise Rejected(f"nobody is seen for {SHORTEST} s on end")
    scale = world_scale(robot, stretches.values())
    count = len(gravity.intrinsics)
    missing = [foot.name for foot in robot.feet if foot.name not in contacts.contact_names]
    if missing:
        raise PantographError(
            f"robot {robot.name!r}: its foot {missing[0]!r} is not among the contacts "
            f"{', '.join(contacts.contact_names)}"
        )
    order = [contacts.contact_names.index(foot.name) for foot in robot.feet]
    length = solver.pad_length(max(s.stop - s.start for s in stretches.values()), lengths)
    problem = make_problem(robot, self_collision, scene_collision)
    boxes = obstacles(mesh, scale)
    people, stats = {}, {}
    for pid, stretch in stretches.items():
        target = make_target(robot, stretch, order, mesh.boxes, scale, fps)
        state, iterated = fit(robot, problem, target, boxes, fps, weights, iterations, length)
        people[pid], measured = finish(
            robot, state, target, stretch, order, len(contacts.contact_names), count, fps, length
        )
        stats[f"person_{pid}"] = {**measured, "iterations": iterated}
    return Motion(
        robot=robot.name,
        fps=fps,
        world_scale=scale,
        joint_names=list(robot.joint_names),
        body_names=list(robot.body_names),
        contact_names=list(contacts.contact_names),
        people=people,
        dropped=dropped,
        stats={"world_scale": round(scale, 4), **stats},
    )


# ---------------------------------------------------------------------------------------------
# the solve


def obstacles(mesh, scale):
    """The mesh's support boxes but the floor in the robot's world, (B, 7); B is one of few counts
    so that compilation is shared, empty ones lie far below."""
    boxes = [
        np.array(box, float) * ([scale] * 6 + [1.0])
        for box, name in zip(mesh.boxes, mesh.box_names, strict=True)
        if name != "floor"
    ]
    count = BOXES
    while count < len(boxes):
        count *= 2
    empty = [0.0, 0.0, -1e3, 0.0, 0.0, 0.0, 0.0]
    return np.array(boxes + [empty] * (count - len(boxes)))


def arrange(robot, target, boxes, fps, weights):
    """Where the solver starts and what its terms read, n rows each; boxes as from `obstacles`."""
    count, joints = len(target.confidence), len(robot.joint_names)
    sure = target.confidence[:, None]
    offset = np.array(robot.keypoints[0].offset)
    start = State(
        target.keypoints[:, 0] - target.root @ offset,
        Rotation.from_matrix(target.root).as_quat()[:, [3, 0, 1, 2]],
        np.tile(robot.rest, (count, 1)),
    )

    def each(values):
        return np.tile(np.asarray(values, float), (count, 1))

    position = each([k.position for k in robot.keypoints]) * weights.keypoints * sure
    direction = each([k.direction for k in robot.keypoints]) * weights.directions * sure
    turning = each([o.weight for o in robot.orientations]) * weights.orientations * sure
    once = np.ones(count)
    moving = [weights.root_acceleration] * 6 + [weights.acceleration] * joints
    data = {
        "keypoints": {"target": target.keypoints, "weight": position},
        "directions": {"target": target.directions, "weight": direction},
        "orientations": {"target": target.orientations, "weight": turning},
        "contact": {
            "soles": target.soles,
            "support": target.support,
            "weight": target.pinned * weights.contact / 2.0,
        },
        "floor": {"floor": target.floor, "weight": (1.0 - target.pinned) * weights.floor},
        "self_collision": {"weight": once * weights.self_collision},
        "scene_collision": {
            "boxes": np.tile(boxes, (count, 1, 1)),
            "floor": np.minimum(target.floor.min(axis=1), 0.0),
            "lifted": 1.0 - target.pinned,
            "weight": once * weights.scene_collision,
        },
        "limits": {"weight": once * weights.limits},
        "velocity_limits": {"fps": once * fps, "weight": once * weights.velocity_limits},
        "rest": each([0.0] * 6 + [weights.rest] * joints),
        "acceleration": each(moving) * fps**2,
    }
    return start, data


def fit(robot, problem, target, boxes, fps, weights, iterations, length):
    """Solve for the motion; boxes as from `obstacles`; `length`: frames to pad to.

    Returns a State of numpy arrays with n rows and the number of iterations.
    """
    count = len(target.confidence)
    start, data = arrange(robot, target, boxes, fps, weights)
    start, data = jax.tree.map(
        lambda x: np.asarray(x, np.float32), solver.pad((start, data), length)
    )
    result = solver.solve(
        problem,
        start,
        np.zeros(0, np.float32),
        data,
        np.arange(length) < count,
        options=solver.Options(iterations=iterations, tolerance=1e-4),
    )
    state = State(*(np.asarray(leaf)[:count] for leaf in result.x))
    return state, int(result.iterations)


# ---------------------------------------------------------------------------------------------
# the result


@functools.partial(jax.jit, static_argnums=0)
def _frames(robot, states):
    def one(state):
        positions, rotations = forward(robot, *state)
        view = see(robot, state)
        quats = jax.vmap(jaxlie.SO3.from_matrix)(rotations).wxyz
        return positions, quats, view.points, view.soles

    return jax.vmap(one)(states)


def finish(robot, state, target, stretch, order, contacts, count, fps, length):
    """A PersonMotion of `count` frames and `contacts` contacts, and numbers that describe it.

    length: frames to pad to.
    """
    joints, moved = limits.keep(state.joints, robot.limits, robot.velocity_limits, fps)
    state = state._replace(joints=joints)
    padded = solver.pad(state, length)
    link_pos, link_quat, points, soles = (
        np.asarray(x)[: len(state.joints)] for x in _frames(robot, padded)
    )
    compared = [k for k, point in enumerate(robot.keypoints) if point.position > 0]
    error = np.linalg.norm(points - target.keypoints, axis=-1)[:, compared].mean(axis=-1)

    def whole(values, fill=0.0):
        values = np.asarray(values)
        out = np.zeros((count,) + values.shape[1:], values.dtype)
        out[...] = fill
        out[stretch.start : stretch.stop] = values
        return out

    still = np.array([1.0, 0, 0, 0], np.float32)
    contact = np.zeros((len(state.joints), contacts), bool)
    contact[:, order] = target.contact
    valid = np.zeros(count, bool)
    valid[stretch.start : stretch.stop] = True
    motion = PersonMotion(
        valid=valid,
        root_pos=whole(state.position),
        root_quat=whole(state.quat, still),
        joints=whole(state.joints),
        link_pos=whole(link_pos),
        link_quat=whole(link_quat, still),
        contact=whole(contact),
        error=whole(error.astype(np.float32)),
    )
    measured = measure(robot, state.joints, soles, target, error, fps)
    return motion, {**measured, "moved_to_limits_rad": round(moved, 7)}


def measure(robot, joints, soles, target, error, fps):
    """Numbers that describe a motion: joints (n, A), soles (n, F * P, 3), error (n,) m."""
    over = (joints < robot.model_limits[:, 0]) | (joints > robot.model_limits[:, 1])
    speed = np.abs(np.diff(joints, axis=0)) * fps
    ends = np.cumsum([len(foot.sole) for foot in robot.feet])
    slides, depth, hover = [], [0.0], []
    for f, sole in enumerate(np.split(soles, ends[:-1], axis=1)):
        held = target.pinned[:, f, : sole.shape[1]] > 0.5
        speed_ = np.linalg.norm(np.diff(sole[..., :2], axis=0), axis=-1) * fps
        slides.append(speed_[held[1:] & held[:-1]])
        depth.append(np.max(target.floor[:, f, None] - sole[..., 2]))
        hover.append((sole[..., 2] - target.support[:, f, None])[held])
    slide, hover = np.concatenate(slides), np.abs(np.concatenate(hover))
    acceleration = np.abs(np.diff(joints, n=2, axis=0)) * fps**2
    return {
        "error_mm": round(float(error.mean()) * 1e3, 2),
        "limit_violations": int(over.sum()),
        "velocity_violations": int((speed > robot.velocity_limits).sum()),
        "slide_cm_s": round(float(slide.mean()) * 100, 3) if len(slide) else 0.0,
        "contact_height_error_cm": round(float(hover.mean()) * 100, 3) if len(hover) else 0.0,
        "penetration_cm": round(max(depth) * 100, 3),
        "acceleration_rad_s2": round(float(acceleration.mean()), 3),
    }
