"""The terms of retargeting: pure functions of a robot's state and of what it is asked to do.

Each takes the robot, then what `solver.Cost` gives. Frames: the robot's world, m, +Z up.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np

from . import solver
from .collision import clearance, nearest
from .robot import carried, observe, point_columns, turn_columns

SOFTNESS = 0.005
"""Distance at which lifted soles begin to feel the floor, and limbs each other, m."""
MARGIN = 0.01
"""Distance that limbs keep from each other, m."""


@dataclass(frozen=True)
class Weights:
    """How much each term counts: residual per metre, radian or multiple of these per second."""

    keypoints: float = 6.5
    directions: float = 2.65
    orientations: float = 2.0
    contact: float = 180.0
    floor: float = 100.0
    self_collision: float = 150.0
    scene_collision: float = 150.0
    limits: float = 30.0
    velocity_limits: float = 10.0
    rest: float = 0.04
    acceleration: float = 0.0202
    root_acceleration: float = 0.016


class State(NamedTuple):
    """Root position (3,), root quaternion wxyz (4,) and joints (A,), of one frame or of many."""

    position: jax.Array
    quat: jax.Array
    joints: jax.Array


class View(NamedTuple):
    """What the terms look at in one frame: the state, keypoints (K, 3), corners of soles (C, 3),
    starts and ends of shapes (S, 3), turns of oriented bodies (M, 3, 3) and the distances (Q,)
    of the robot's pairs of shapes."""

    state: State
    points: jax.Array
    soles: jax.Array
    starts: jax.Array
    ends: jax.Array
    turns: jax.Array
    gaps: jax.Array


def see(robot, state):
    """The `View` of a state."""
    points, turns, _ = observe(robot, robot.selection, *state)
    parts = _parts(robot, points)
    return View(state, *parts, turns, _gaps(robot, *parts[2:])[0])


def look(robot, state):
    """The `View` of a state, and how it changes with each of the 6 + A entries of `_retract`'s
    step: the same tree with one leading axis more."""
    points, turns, lines = observe(robot, robot.selection, *state)
    dtype = points.dtype
    moved = point_columns(robot, robot.selection.bodies, points, lines)
    turned = turn_columns(robot, robot.selection.turns, turns, lines)
    parts = _parts(robot, points)
    gaps, found = _gaps(robot, *parts[2:])
    dim = len(moved)
    eye = jnp.eye(dim, dtype=dtype)
    scalar, vector = state.quat[0], state.quat[1:]
    axes = jnp.eye(3, dtype=dtype)
    spin = jnp.concatenate([-vector[:, None], scalar * axes + jnp.cross(vector, axes)], axis=1)
    quat = jnp.zeros((dim, 4), dtype).at[3:6].set(spin / 2)
    view = View(state, *parts, turns, gaps)
    columns = View(
        State(eye[:, :3], quat, eye[:, 6:]),
        *_parts(robot, moved, axis=1),
        turned,
        _gap_columns(robot, found, lines),
    )
    return view, columns


def _parts(robot, points, axis=0):
    counts = [len(robot.keypoints), sum(len(foot.sole) for foot in robot.feet)]
    return jnp.split(points, np.cumsum([*counts, len(robot.shapes)]), axis=axis)


def _gaps(robot, starts, ends):
    """Distances (Q,) of the pairs of shapes, and where their axes are `Nearest`."""
    one, other = robot.pairs.T
    radius = np.array([shape.radius for shape in robot.shapes])
    found = nearest(starts[one], ends[one], starts[other], ends[other])
    return found.distance - (radius[one] + radius[other]).astype(starts.dtype), found


def _gap_columns(robot, found, lines):
    """How the distances change, (6 + A, Q): only by lines that carry one shape of the pair.

    A line with axis a through o moves the point p along n by n . (a x (p - o)), the product of
    the line's and the force's Pluecker coordinates; for both of the nearest points it is the same.
    """
    dtype = found.point.dtype
    bodies = np.array([shape.body for shape in robot.shapes])[robot.pairs]
    sign = carried(robot, bodies[:, 0]).astype(int) - carried(robot, bodies[:, 1])
    arms = found.point[None] - lines.anchors[3:, None]
    turned = jnp.sum(jnp.cross(lines.axes[3:, None], arms) * found.normal, axis=-1)
    still = jnp.zeros((6, len(bodies)), dtype)
    return jnp.concatenate([still, turned * sign[3:].astype(dtype)])


def keypoint_term(robot, views, shared, data):
    """Keypoints at their places."""
    points = views[0].points
    return ((points - data["target"]) * data["weight"][:, None]).ravel()


def direction_term(robot, views, shared, data):
    """Limbs along the human's."""
    points = views[0].points
    limbs = [k for k, point in enumerate(robot.keypoints) if point.direction > 0]
    above = [robot.keypoints[k].parent for k in limbs]
    limb = points[np.array(limbs)] - points[np.array(above)]
    length = jnp.sqrt(jnp.sum(limb**2, axis=-1, keepdims=True) + 1e-12)
    target = data["target"][np.array(limbs)]
    return ((limb / length - target) * data["weight"][np.array(limbs)][:, None]).ravel()


def orientation_term(robot, views, shared, data):
    """Bodies turned as the human's; the residual of a small angle a is a."""
    turns = views[0].turns
    gap = (turns - data["target"]) * data["weight"][:, None, None]
    return gap.ravel() / np.sqrt(2.0)


def contact_term(robot, views, shared, data):
    """Corners of standing soles where they stand."""
    residual = []
    for f, corners in enumerate(_soles(robot, views[0])):
        place = data["soles"][f, : len(corners)]
        gap = jnp.concatenate([corners[:, :2] - place, corners[:, 2:] - data["support"][f]], -1)
        residual.append((gap * data["weight"][f, : len(corners), None]).ravel())
    return jnp.concatenate(residual)


def floor_term(robot, views, shared, data):
    """No corner of a lifted sole under the floor; smooth, since steps that do not see the floor
    would go through it."""
    residual = []
    for f, sole in enumerate(_soles(robot, views[0])):
        weight = data["weight"][f, : len(sole)]
        residual.append(_soft_excess(data["floor"][f] - sole[:, 2]) * weight)
    return jnp.concatenate(residual)


def self_collision_term(robot, views, shared, data):
    """Shapes of the robot no nearer to each other than `MARGIN`."""
    return _soft_excess(MARGIN - views[0].gaps) * data["weight"]


def scene_collision_term(robot, views, shared, data):
    """Shapes of the robot, and corners of lifted soles, not in the floor or in a box."""
    view, (body, radius) = views[0], _obstructed(robot)
    lifted = [data["lifted"][f, : len(foot.sole)] for f, foot in enumerate(robot.feet)]
    start = jnp.concatenate([view.starts[body], view.soles])
    end = jnp.concatenate([view.ends[body], view.soles])
    floor = jnp.full(len(start), data["floor"])
    distance = clearance(start, end, radius.astype(start.dtype), data["boxes"], floor)
    weight = jnp.concatenate([jnp.ones(len(body), start.dtype), *lifted])
    return _soft_excess(-distance) * weight * data["weight"]


def _obstructed(robot):
    """Shapes that keep out of the scene, all but the feet's, and the radii of these and of the
    corners of the soles."""
    feet = [foot.body for foot in robot.feet]
    body = np.array([k for k, s in enumerate(robot.shapes) if s.body not in feet], int)
    corners = sum(len(foot.sole) for foot in robot.feet)
    radius = [robot.shapes[k].radius for k in body] + [0.0] * corners
    return body, np.array(radius)


def limit_term(robot, views, shared, data):
    """Joints a little inside their limits."""
    low, high = robot.limits[:, 0], robot.limits[:, 1]
    margin = np.minimum(0.03, 0.05 * (high - low))
    joints = views[0].state.joints
    under = jnp.maximum((low + margin).astype(joints.dtype) - joints, 0.0)
    over = jnp.maximum(joints - (high - margin).astype(joints.dtype), 0.0)
    return (over - under) * data["weight"]


def velocity_limit_term(robot, views, shared, data):
    """Joints no faster than nine tenths of their limits."""
    speed = (views[1].state.joints - views[0].state.joints) * data["fps"]
    excess = jnp.maximum(jnp.abs(speed) - 0.9 * robot.velocity_limits.astype(speed.dtype), 0.0)
    return jnp.sign(speed) * excess * data["weight"]


def _soft_excess(x):
    """max(x, 0) in metres, rounded off over `SOFTNESS`."""
    return SOFTNESS * jax.nn.softplus(x / SOFTNESS)


def _soles(robot, view):
    ends = np.cumsum([len(foot.sole) for foot in robot.feet])
    return jnp.split(view.soles, ends[:-1])


def _rest_difference(robot, views, data):
    joints = views[0].state.joints
    return jnp.concatenate([jnp.zeros(6, joints.dtype), joints - robot.rest.astype(joints.dtype)])


def _turn(a, b):
    """Rotation from quaternion a to a near b, in the axes of a, as a vector (3,): the sine of
    half the angle, doubled, equals the angle to third order."""
    vector = a[0] * b[1:] - b[0] * a[1:] - jnp.cross(a[1:], b[1:])
    return 2.0 * jnp.sign(jnp.dot(a, b)) * vector


def _second_difference(views, data):
    a, b, c = (view.state for view in views)
    turn = _turn(b.quat, a.quat) + _turn(b.quat, c.quat)
    moved = a.position - 2 * b.position + c.position
    return jnp.concatenate([moved, turn, a.joints - 2 * b.joints + c.joints])


def _weight(data):
    return data


def _retract(robot, state, delta):
    """Move a frame's state by (6 + A,): root position, root rotation (its own axes), joints.

    Joints are projected onto their limits; for derivatives the projection is left out, so that a
    joint at its limit can leave it.
    """
    joints = state.joints + delta[6:]
    low = robot.limits[:, 0].astype(joints.dtype)
    high = robot.limits[:, 1].astype(joints.dtype)
    joints = joints + jax.lax.stop_gradient(jnp.clip(joints, low, high) - joints)
    turned = jaxlie.SO3(state.quat) @ jaxlie.SO3.exp(delta[3:6])
    return State(state.position + delta[:3], turned.normalize().wxyz, joints)


@functools.cache
def make_problem(robot, self_collision=True, scene_collision=False):
    """The solver's problem for a robot; everything else is data, so that it compiles once."""

    def term(name, function, span=1):
        return solver.Cost(name, functools.partial(function, robot), span)

    chosen = (
        (self_collision and len(robot.pairs), term("self_collision", self_collision_term)),
        (scene_collision, term("scene_collision", scene_collision_term)),
    )
    return solver.Problem(
        costs=(
            *(cost for wanted, cost in chosen if wanted),
            term("keypoints", keypoint_term),
            term("directions", direction_term),
            term("orientations", orientation_term),
            term("contact", contact_term),
            term("floor", floor_term),
            term("limits", limit_term),
            term("velocity_limits", velocity_limit_term, span=2),
            solver.Smoothness("rest", functools.partial(_rest_difference, robot), _weight, (1.0,)),
            solver.Smoothness("acceleration", _second_difference, _weight, (1.0, -2.0, 1.0)),
        ),
        retract=functools.partial(_retract, robot),
        dim=6 + len(robot.joint_names),
        features=functools.partial(see, robot),
        tangents=functools.partial(look, robot),
    )
