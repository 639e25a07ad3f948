"""Human motion to robot motion, one solve over the whole clip.

The human's limbs keep their directions and take the robot's lengths; the whole is scaled by one
number per clip, the robot's leg length over the human's. Feet that stand are pinned where they
stand, at the height of what they stand on. Joint limits are hard.

Frames: gravity world, +Z up, floor at 0; after scaling, lengths are those of the robot's world.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from . import jaxcache, solver
from .contracts import Motion, PersonMotion
from .conventions import SMPL_PARENTS
from .errors import PantographError, Rejected
from .robot import SMPL_TO_ROBOT, forward, observe

BRIDGE = 0.5
"""Longest gap of unseen frames that is filled, s."""
SHORTEST = 0.3
"""Shortest stretch of motion worth retargeting, s."""
CONTACT_SPEED = 0.6
"""A foot said to stand that moves faster than this, m/s, is not held."""
SNAP = 0.12
"""A foot this near to the floor or to a support box, m, stands on it."""
SOFTNESS = 0.005
"""Distance at which lifted soles begin to feel the floor, and limbs each other, m."""
ANKLE_HEIGHT = (0.05, 0.08, 0.12)
"""Height of a human ankle over the sole: least, usual, most, m."""


@dataclass(frozen=True)
class Weights:
    """How much each term counts: residual per metre, radian or multiple of these per second."""

    keypoints: float = 10.0
    directions: float = 4.0
    orientations: float = 3.0
    contact: float = 200.0
    floor: float = 100.0
    clearance: float = 60.0
    limits: float = 30.0
    velocity_limits: float = 10.0
    rest: float = 0.15
    velocity: float = 0.01
    acceleration: float = 0.006
    root_acceleration: float = 0.03


class State(NamedTuple):
    """Root position (3,), root quaternion wxyz (4,) and joints (A,), of one frame or of many."""

    position: jax.Array
    quat: jax.Array
    joints: jax.Array


class Stretch(NamedTuple):
    """One person's motion from `start` to `stop` (not included), gaps filled.

    joints: (n, 24, 3) m; rotations: (n, 24, 3, 3) in the world; confidence: (n,), low where
    filled; contact: (n, C).
    """

    start: int
    stop: int
    joints: np.ndarray
    rotations: np.ndarray
    confidence: np.ndarray
    contact: np.ndarray


class Target(NamedTuple):
    """What a robot is asked to do over n frames, in its own world, m.

    root: (n, 3, 3); keypoints: (n, K, 3); directions: (n, K, 3), unit, from each keypoint's
    parent; orientations: (n, M, 3, 3); confidence: (n,); contact: (n, F) feet held; support:
    (n, F) height they stand on; floor: (n, F) height they stay above; soles: (n, F, P, 2) where
    the corners stand.
    """

    root: np.ndarray
    keypoints: np.ndarray
    directions: np.ndarray
    orientations: np.ndarray
    confidence: np.ndarray
    contact: np.ndarray
    support: np.ndarray
    floor: np.ndarray
    soles: np.ndarray


def retarget(robot, gravity, contacts, mesh, fps, weights=Weights(), iterations=40):  # noqa: B008
    """Robot motion for everyone in `gravity`.

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
    length = solver.pad_length(max(s.stop - s.start for s in stretches.values()))
    people, stats = {}, {}
    for pid, stretch in stretches.items():
        target = make_target(robot, stretch, order, mesh.boxes, scale, fps)
        state, iterated = fit(robot, target, fps, weights, iterations, length)
        people[pid], measured = finish(
            robot, state, target, stretch, order, len(contacts.contact_names), count, fps
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
# the human side


def find_stretch(person, contacts, fps):
    """The longest run of valid frames of a PersonBody, gaps of up to `BRIDGE` seconds filled.

    contacts: PersonContacts or None. Returns a Stretch, or None if it is too short, and notes on
    what was left out: a dict from "" (everything) or "/first-last" (frames) to the reason.
    """
    seen = np.flatnonzero(person.valid)
    if not len(seen):
        return None, {"": "not seen in any frame"}
    breaks = np.flatnonzero(np.diff(seen) - 1 > BRIDGE * fps)
    runs = [(run[0], run[-1] + 1) for run in np.split(seen, breaks + 1)]
    start, stop = max(runs, key=lambda run: run[1] - run[0])
    if stop - start < max(3, SHORTEST * fps):
        return None, {"": f"seen for {stop - start} frames on end, too few to retarget"}
    notes = {
        f"/{a}-{b - 1}": f"apart from the longest stretch by more than {BRIDGE} s"
        for a, b in runs
        if (a, b) != (start, stop)
    }
    keep = seen[(seen >= start) & (seen < stop)]
    frames = np.arange(start, stop)
    locals_ = np.concatenate([person.global_orient[:, None], person.body_pose], axis=1)[keep]
    world = locals_.astype(float)
    for joint in range(1, world.shape[1]):
        world[:, joint] = world[:, SMPL_PARENTS[joint]] @ world[:, joint]
    rotations = np.stack(
        [
            Slerp(keep, Rotation.from_matrix(world[:, joint]))(frames).as_matrix()
            for joint in range(world.shape[1])
        ],
        axis=1,
    )
    flat = person.joints[keep].reshape(len(keep), -1).astype(float)
    joints = np.stack([np.interp(frames, keep, column) for column in flat.T], axis=-1)
    bridged = ~np.isin(frames, keep)
    confidence = np.interp(frames, keep, np.clip(person.confidence[keep], 0.2, 1.0))
    confidence[bridged] *= 0.1
    if contacts is None:
        contact = np.zeros((len(frames), 0), bool)
    else:
        contact = contacts.contact[start:stop] & contacts.valid[start:stop, None]
        contact = contact & ~bridged[:, None]
    joints = joints.reshape(-1, 24, 3)
    return Stretch(int(start), int(stop), joints, rotations, confidence, contact), notes


def human_keypoints(robot, joints):
    """The human's place for each of the robot's keypoints, (n, K, 3) from (n, 24, 3)."""
    return np.stack([joints[:, list(k.human)].mean(axis=1) for k in robot.keypoints], axis=1)


def world_scale(robot, stretches):
    """Robot leg length over human leg length, the median over people."""
    ratios = []
    for stretch in stretches:
        points = human_keypoints(robot, stretch.joints)
        steps = [
            np.linalg.norm(np.diff(points[:, list(leg)], axis=1), axis=-1).sum(axis=-1)
            for leg in robot.legs
        ]
        ratios.append(robot.leg_length / np.median(np.mean(steps, axis=0)))
    return float(np.median(ratios))


def intervals(flags):
    """The runs of True in (n,) bools as pairs (first, last + 1)."""
    edges = np.diff(np.concatenate([[0], np.asarray(flags, int), [0]]))
    return list(zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True))


def make_target(robot, stretch, order, boxes, scale, fps):
    """Scale a person to the robot.

    order: index in the contacts for each of the robot's feet; boxes: (B, 7) as in `Mesh`.
    """
    human = human_keypoints(robot, stretch.joints)
    rest = robot.rest_keypoints
    count, feet = len(human), len(robot.feet)
    turn = stretch.rotations @ SMPL_TO_ROBOT
    zero = robot.zero_frames[1]
    orientations = np.stack([turn[:, o.human] @ zero[o.body] for o in robot.orientations], axis=1)
    root = turn[:, 0]

    directions = np.zeros_like(human)
    keypoints = np.zeros_like(human)
    keypoints[:, 0] = scale * human[:, 0]
    for k, point in enumerate(robot.keypoints[1:], start=1):
        offset = rest[k] - rest[point.parent]
        if point.rigid:
            step = root @ offset
        else:
            step = human[:, k] - human[:, point.parent]
            step = step * np.linalg.norm(offset) / np.maximum(_norm(step), 1e-6)
        directions[:, k] = step / np.maximum(_norm(step), 1e-6)
        keypoints[:, k] = keypoints[:, point.parent] + step

    ankles = [foot.ankle for foot in robot.feet]
    held = np.stack(
        [
            standing(human[:, foot.ankle], stretch.contact[:, c], fps)
            if stretch.contact.shape[1]
            else np.zeros(count, bool)
            for foot, c in zip(robot.feet, order, strict=True)
        ],
        axis=1,
    )
    lift = ankle_height(human[:, ankles, 2], held)
    heights = human[:, ankles, 2] - lift
    heights = above_ground(human[:, ankles, :2], heights, boxes)
    support = support_heights(human[:, ankles], heights, held, boxes)
    reach = np.array(
        [
            zero_point(robot, robot.keypoints[foot.ankle])[2]
            - np.mean([zero_corner(robot, foot, corner)[2] for corner in foot.sole])
            for foot in robot.feet
        ]
    )

    # the chains end beside the scaled ankles; move the whole body so that they agree
    wanted = scale * np.where(held, support, heights) + reach
    share = held + 0.02
    share = gaussian_filter1d(share.astype(float), 0.1 * fps, axis=0, mode="nearest")
    gap = wanted - keypoints[:, ankles, 2]
    shift = np.zeros((count, 3))
    shift[:, 2] = (gap * share).sum(axis=1) / share.sum(axis=1)
    shift[:, :2] = (scale * human[:, ankles, :2] - keypoints[:, ankles, :2]).mean(axis=1)
    keypoints = keypoints + shift[:, None]
    places = keypoints[:, ankles, :2] / scale

    soles = np.zeros((count, feet, max(len(foot.sole) for foot in robot.feet), 2))
    foot_turns = {o.body: i for i, o in enumerate(robot.orientations)}
    for f, foot in enumerate(robot.feet):
        slot = foot_turns.get(foot.body)
        for a, b in intervals(held[:, f]):
            place = np.median(keypoints[a:b, foot.ankle, :2], axis=0)
            forward_ = root[a:b] if slot is None else orientations[a:b, slot]
            heading = (forward_[:, :2, 0] / np.maximum(_norm(forward_[:, :2, 0]), 1e-6)).mean(0)
            yaw = Rotation.from_euler("z", np.arctan2(heading[1], heading[0]))
            under = zero_point(robot, robot.keypoints[foot.ankle])
            for p, corner in enumerate(foot.sole):
                arm = zero_corner(robot, foot, corner) - under
                soles[a:b, f, p] = place + yaw.apply(arm)[:2]
            if slot is not None:
                orientations[a:b, slot] = yaw.as_matrix() @ zero[foot.body]
    return Target(
        root=root,
        keypoints=keypoints,
        directions=directions,
        orientations=orientations,
        confidence=stretch.confidence,
        contact=held,
        support=scale * support,
        floor=scale * floor_heights(support, held, heights, places, boxes),
        soles=soles,
    )


def zero_point(robot, keypoint):
    """A keypoint of the robot with all joints at 0 and the root at the origin, (3,)."""
    positions, rotations = robot.zero_frames
    return positions[keypoint.body] + rotations[keypoint.body] @ keypoint.offset


def zero_corner(robot, foot, corner):
    """A corner of a sole with all joints at 0 and the root at the origin, (3,)."""
    positions, rotations = robot.zero_frames
    return positions[foot.body] + rotations[foot.body] @ corner


def standing(ankle, contact, fps):
    """Frames (n,) in which a foot in contact really stays: slow, and for three frames or more."""
    smooth = gaussian_filter1d(ankle, 0.05 * fps, axis=0, mode="nearest")
    speed = np.linalg.norm(np.gradient(smooth, axis=0), axis=-1) * fps
    held = contact & (speed < CONTACT_SPEED)
    for a, b in intervals(held):
        if b - a < 3:
            held[a:b] = False
    return held


def ankle_height(ankles, held):
    """Height of this person's ankles over their soles, from feet that stand near the floor, m."""
    low, usual, high = ANKLE_HEIGHT
    near = ankles[held & (np.abs(ankles - usual) < SNAP)]
    return float(np.clip(np.median(near), low, high)) if len(near) >= 5 else usual


def support_heights(ankles, heights, held, boxes):
    """Height under each foot, (n, F), m: the floor, the top of a box, or the foot's own height.

    ankles: (n, F, 3); heights: (n, F) of the soles; held: (n, F). Constant over a contact; in
    between, the lower of the neighbouring contacts'.
    """
    support = np.zeros(held.shape)
    for f in range(held.shape[1]):
        for a, b in intervals(held[:, f]):
            own = np.median(heights[a:b, f])
            levels = [0.0] + tops_under(np.median(ankles[a:b, f, :2], axis=0), boxes)
            nearest = min(levels, key=lambda level: abs(level - own))
            support[a:b, f] = nearest if abs(nearest - own) < SNAP else own
    return support


def above_ground(places, heights, boxes):
    """Heights of soles (n, F) raised to the lowest top under their places (n, F, 2), if any.

    A foot seen inside the collision mesh (below a floor that slopes in truth, say) is put on it:
    no simulator lets it be anywhere else.
    """
    out = np.array(heights, float)
    for index in np.ndindex(out.shape):
        tops = tops_under(places[index], boxes, margin=0.0)
        if tops:
            out[index] = max(out[index], min(tops))
    return out


def tops_under(place, boxes, margin=0.05):
    """Tops of the boxes (B, 7) whose footprint, widened by `margin` m, holds a place (2,)."""
    tops = []
    for x, y, z, size_x, size_y, size_z, yaw in np.asarray(boxes, float).reshape(-1, 7):
        dx, dy = place[0] - x, place[1] - y
        along = np.cos(yaw) * dx + np.sin(yaw) * dy
        across = np.cos(yaw) * dy - np.sin(yaw) * dx
        if abs(along) <= size_x / 2 + margin and abs(across) <= size_y / 2 + margin:
            tops.append(z + size_z / 2)
    return tops


def floor_heights(support, held, heights, places, boxes):
    """Height that soles stay above, (n, F), m.

    That of the support for a held foot. For a lifted one the floor, or what the foot shows to lie
    below it (a neighbouring support or its own way), or the top of a box that it passes over.
    places: (n, F, 2) of the feet; the rest as in `support_heights`.
    """
    floor = np.array(support, float)
    for f in range(held.shape[1]):
        frames = np.flatnonzero(held[:, f])
        for a, b in intervals(~held[:, f]):
            before, after = frames[frames < a], frames[frames >= b]
            near = [support[before[-1], f]] if len(before) else []
            near += [support[after[0], f]] if len(after) else []
            level = min([0.0] + near)
            floor[a:b, f] = np.where(heights[a:b, f] < level - SNAP, heights[a:b, f] - SNAP, level)
            for t in range(a, b):
                passed = [
                    top
                    for top in tops_under(places[t, f], boxes, margin=0.15)
                    if top < heights[t, f] + SNAP / 2
                ]
                floor[t, f] = max([floor[t, f]] + passed)
    return floor


def _norm(vectors):
    return np.linalg.norm(vectors, axis=-1, keepdims=True)


# ---------------------------------------------------------------------------------------------
# terms; each takes the robot, then what `solver.Cost` gives


@functools.partial(jax.jit, static_argnums=0)
def _see(robot, state):
    points, turns = observe(robot, robot.selection, *state)
    return points[: len(robot.keypoints)], points[len(robot.keypoints) :], turns


def keypoint_term(robot, states, shared, data):
    """Keypoints at their places."""
    points = _see(robot, states[0])[0]
    return ((points - data["target"]) * data["weight"][:, None]).ravel()


def direction_term(robot, states, shared, data):
    """Limbs along the human's."""
    points = _see(robot, states[0])[0]
    limbs = [k for k, point in enumerate(robot.keypoints) if point.direction > 0]
    above = [robot.keypoints[k].parent for k in limbs]
    limb = points[np.array(limbs)] - points[np.array(above)]
    length = jnp.sqrt(jnp.sum(limb**2, axis=-1, keepdims=True) + 1e-12)
    target = data["target"][np.array(limbs)]
    return ((limb / length - target) * data["weight"][np.array(limbs)][:, None]).ravel()


def orientation_term(robot, states, shared, data):
    """Bodies turned as the human's; the residual of a small angle a is a."""
    turns = _see(robot, states[0])[2]
    gap = (turns - data["target"]) * data["weight"][:, None, None]
    return gap.ravel() / np.sqrt(2.0)


def contact_term(robot, states, shared, data):
    """Corners of standing soles where they stand."""
    residual = []
    for f, corners in enumerate(_soles(robot, states[0])):
        place = data["soles"][f, : len(corners)]
        gap = jnp.concatenate([corners[:, :2] - place, corners[:, 2:] - data["support"][f]], -1)
        residual.append((gap * data["weight"][f]).ravel())
    return jnp.concatenate(residual)


def floor_term(robot, states, shared, data):
    """No corner of a lifted sole under the floor; smooth, since steps that do not see the floor
    would go through it."""
    residual = []
    for f, sole in enumerate(_soles(robot, states[0])):
        residual.append(_soft_excess(data["floor"][f] - sole[:, 2]) * data["weight"][f])
    return jnp.concatenate(residual)


def clearance_term(robot, states, shared, data):
    """Hands and other points no nearer to limbs than the robot's shape allows."""
    points = _see(robot, states[0])[0]
    pairs = robot.clearances
    point, start, end = (
        points[np.array([getattr(pair, name) for pair in pairs])]
        for name in ("point", "start", "end")
    )
    line = end - start
    share = jnp.sum((point - start) * line, axis=-1) / jnp.sum(line**2, axis=-1)
    gap = point - start - jnp.clip(share, 0.0, 1.0)[:, None] * line
    distance = jnp.sqrt(jnp.sum(gap**2, axis=-1) + 1e-8)
    wanted = np.array([pair.distance for pair in pairs], np.float32)
    return _soft_excess(wanted - distance) * data["weight"]


def limit_term(robot, states, shared, data):
    """Joints a little inside their limits."""
    low, high = robot.limits[:, 0], robot.limits[:, 1]
    margin = np.minimum(0.03, 0.05 * (high - low))
    joints = states[0].joints
    under = jnp.maximum((low + margin).astype(joints.dtype) - joints, 0.0)
    over = jnp.maximum(joints - (high - margin).astype(joints.dtype), 0.0)
    return (over - under) * data["weight"]


def velocity_limit_term(robot, states, shared, data):
    """Joints no faster than nine tenths of their limits."""
    speed = (states[1].joints - states[0].joints) * data["fps"]
    excess = jnp.maximum(jnp.abs(speed) - 0.9 * robot.velocity_limits.astype(speed.dtype), 0.0)
    return jnp.sign(speed) * excess * data["weight"]


def _soft_excess(x):
    """max(x, 0) in metres, rounded off over `SOFTNESS`."""
    return SOFTNESS * jax.nn.softplus(x / SOFTNESS)


def _soles(robot, state):
    corners = _see(robot, state)[1]
    ends = np.cumsum([len(foot.sole) for foot in robot.feet])
    return jnp.split(corners, ends[:-1])


def _rest_difference(robot, states, data):
    joints = states[0].joints
    return jnp.concatenate([jnp.zeros(6, joints.dtype), joints - robot.rest.astype(joints.dtype)])


def _turn(a, b):
    """Rotation from quaternion a to a near b, in the axes of a, as a vector (3,): the sine of
    half the angle, doubled, equals the angle to third order."""
    vector = a[0] * b[1:] - b[0] * a[1:] - jnp.cross(a[1:], b[1:])
    return 2.0 * jnp.sign(jnp.dot(a, b)) * vector


def _first_difference(states, data):
    a, b = states
    turn = _turn(a.quat, b.quat)
    return jnp.concatenate([b.position - a.position, turn, b.joints - a.joints])


def _second_difference(states, data):
    a, b, c = states
    turn = _turn(b.quat, a.quat) + _turn(b.quat, c.quat)
    moved = a.position - 2 * b.position + c.position
    return jnp.concatenate([moved, turn, a.joints - 2 * b.joints + c.joints])


def _weight(data):
    return data


# ---------------------------------------------------------------------------------------------
# the solve


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
def make_problem(robot):
    """The solver's problem for a robot; everything else is data, so that it compiles once."""

    def term(name, function, span=1):
        return solver.Cost(name, functools.partial(function, robot), span)

    clearances = (term("clearance", clearance_term),) if robot.clearances else ()
    return solver.Problem(
        costs=(
            *clearances,
            term("keypoints", keypoint_term),
            term("directions", direction_term),
            term("orientations", orientation_term),
            term("contact", contact_term),
            term("floor", floor_term),
            term("limits", limit_term),
            term("velocity_limits", velocity_limit_term, span=2),
            solver.Smoothness("rest", functools.partial(_rest_difference, robot), _weight, (1.0,)),
            solver.Smoothness("velocity", _first_difference, _weight, (-1.0, 1.0)),
            solver.Smoothness("acceleration", _second_difference, _weight, (1.0, -2.0, 1.0)),
        ),
        retract=functools.partial(_retract, robot),
        dim=6 + len(robot.joint_names),
    )


def fit(robot, target, fps, weights, iterations, length):
    """Solve for the motion; `length`: frames to pad to.

    Returns a State of numpy arrays with n rows and the number of iterations.
    """
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
            "weight": target.contact * weights.contact / 2.0,
        },
        "floor": {"floor": target.floor, "weight": ~target.contact * weights.floor},
        "clearance": {"weight": once * weights.clearance},
        "limits": {"weight": once * weights.limits},
        "velocity_limits": {"fps": once * fps, "weight": once * weights.velocity_limits},
        "rest": each([0.0] * 6 + [weights.rest] * joints),
        "velocity": each([0.0] * 6 + [weights.velocity * fps] * joints),
        "acceleration": each(moving) * fps**2,
    }
    start, data = jax.tree.map(
        lambda x: np.asarray(x, np.float32), solver.pad((start, data), length)
    )
    result = solver.solve(
        make_problem(robot),
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
        points, soles, _ = _see(robot, state)
        return positions, jax.vmap(jaxlie.SO3.from_matrix)(rotations).wxyz, points, soles

    return jax.vmap(one)(states)


def finish(robot, state, target, stretch, order, contacts, count, fps):
    """A PersonMotion of `count` frames and `contacts` contacts, and numbers that describe it."""
    limits = np.asarray(robot.limits, np.float32)
    low = np.where(limits[:, 0] < robot.limits[:, 0], np.nextafter(limits[:, 0], 9), limits[:, 0])
    high = np.where(limits[:, 1] > robot.limits[:, 1], np.nextafter(limits[:, 1], -9), limits[:, 1])
    state = state._replace(joints=np.clip(state.joints, low, high))
    length = solver.pad_length(len(state.joints))
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
    return motion, measure(robot, state.joints, soles, target, error, fps)


def measure(robot, joints, soles, target, error, fps):
    """Numbers that describe a motion: joints (n, A), soles (n, F * P, 3), error (n,) m."""
    over = (joints < robot.model_limits[:, 0]) | (joints > robot.model_limits[:, 1])
    speed = np.abs(np.diff(joints, axis=0)) * fps
    ends = np.cumsum([len(foot.sole) for foot in robot.feet])
    slides, depth, hover = [], [0.0], []
    for f, sole in enumerate(np.split(soles, ends[:-1], axis=1)):
        both = target.contact[1:, f] & target.contact[:-1, f]
        slides.append(np.linalg.norm(np.diff(sole[..., :2], axis=0), axis=-1)[both].ravel() * fps)
        depth.append(np.max(target.floor[:, f, None] - sole[..., 2]))
        held = target.contact[:, f]
        hover.append((sole[held][..., 2] - target.support[held, f, None]).ravel())
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
