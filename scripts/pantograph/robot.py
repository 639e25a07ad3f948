"""Robots: one model file (MJCF or URDF) and one YAML each, and their kinematics in JAX.

MuJoCo reads the model; from then on a robot is a set of numpy arrays. Frames: x forward, y left,
z up; metres, radians, quaternions wxyz.
"""

from __future__ import annotations

import fnmatch
import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import yaml

from .collision import SAMPLES, Shape, choose_pairs
from .conventions import SMPL_JOINTS
from .errors import PantographError

RESOURCES = Path(__file__).resolve().parents[2] / "resources" / "robots"

SMPL_TO_ROBOT = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
"""Robot axes (x forward, y left, z up), as columns, in SMPL's (z forward, x left, y up)."""
THIN = 0.01
"""Geoms that reach less far than this from their middle, m, are points of contact."""


@dataclass(frozen=True)
class Keypoint:
    """A point of the robot that stands for the mean of some SMPL joints.

    parent: index of the keypoint it hangs on, -1 for the first; rigid: keeps its place at the
    root; position, direction: weights.
    """

    name: str
    human: tuple[int, ...]
    body: int
    offset: tuple[float, float, float]
    parent: int
    rigid: bool
    position: float
    direction: float


@dataclass(frozen=True)
class Orientation:
    """A body that turns as an SMPL joint does."""

    body: int
    human: int
    weight: float


@dataclass(frozen=True)
class Foot:
    """A sole: corner points at heel and toe in the body's frame, m, and its ankle's keypoint."""

    name: str
    body: int
    ankle: int
    heel: tuple[tuple[float, float, float], ...]
    toe: tuple[tuple[float, float, float], ...]

    @property
    def sole(self):
        """All corners, (P, 3)."""
        return np.array(self.heel + self.toe)


@dataclass(frozen=True, eq=False)
class Robot:
    """A kinematic tree of N nodes: bodies, and one node more for each further joint of a body.

    Node i stands at `position[i]`, turned by `rotation[i]`, in its parent's frame, then turns
    about the line through `anchor[i]` along `axis[i]` (node frame) by the angle of `joint[i]`
    less `reference`; the root is node 0. `moves[i, j]`: joint j carries node i. L bodies (without
    the world), A joints.
    """

    name: str
    model_path: Path
    body_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    body_node: np.ndarray
    parent: np.ndarray
    position: np.ndarray
    rotation: np.ndarray
    joint: np.ndarray
    axis: np.ndarray
    anchor: np.ndarray
    moves: np.ndarray
    joint_node: np.ndarray
    reference: np.ndarray
    model_limits: np.ndarray
    """(A, 2) range of each joint in the model file."""
    limits: np.ndarray
    """(A, 2) range that a motion may use."""
    velocity_limits: np.ndarray
    """(A,) rad/s."""
    rest: np.ndarray
    """(A,) pose of undetermined joints."""
    keypoints: tuple[Keypoint, ...]
    orientations: tuple[Orientation, ...]
    legs: tuple[tuple[int, ...], ...]
    feet: tuple[Foot, ...]
    shapes: tuple[Shape, ...]
    """Capsules that stand for the model's collision geoms."""
    pairs: np.ndarray
    """(Q, 2) of the shapes that must not touch."""

    def keypoint(self, name):
        """Index of a keypoint."""
        return [k.name for k in self.keypoints].index(name)

    @functools.cached_property
    def local_parts(self):
        """Poses of the nodes in their parents, (N, 4, 4), as constant + sin q * S + cos q * C."""
        cross = _skew(self.axis)
        square = cross @ cross
        moving = (self.joint >= 0)[:, None, None]
        turns = (np.eye(3) + square * moving, cross * moving, -square * moving)
        parts = []
        for k, turn in enumerate(turns):
            part = np.zeros((len(self.parent), 4, 4))
            part[:, :3, :3] = self.rotation @ turn
            lag = (self.anchor if k == 0 else 0) - np.einsum("nab,nb->na", turn, self.anchor)
            part[:, :3, 3] = np.einsum("nab,nb->na", self.rotation, lag)
            parts.append(part)
        parts[0][:, :3, 3] += self.position
        parts[0][:, 3, 3] = 1.0
        return tuple(parts)

    @functools.cached_property
    def rounds(self):
        """Rounds of the kinematics: which nodes (N,) take part, and with which ancestor (N,)."""
        rounds, ancestor = [], self.parent
        while np.any(ancestor >= 0):
            rounds.append((ancestor >= 0, np.maximum(ancestor, 0)))
            ancestor = np.where(ancestor >= 0, ancestor[np.maximum(ancestor, 0)], -1)
        return tuple(rounds)

    @functools.cached_property
    def rest_frames(self):
        """Positions (L, 3) and rotations (L, 3, 3) of the bodies at rest, root at the origin."""
        return _numpy_frames(self, self.rest)

    @functools.cached_property
    def zero_frames(self):
        """As `rest_frames`, with all joints at 0."""
        return _numpy_frames(self, np.zeros(len(self.joint_names)))

    @functools.cached_property
    def rest_keypoints(self):
        """Keypoints at rest, root at the origin, (K, 3)."""
        positions, rotations = self.rest_frames
        return np.stack([positions[k.body] + rotations[k.body] @ k.offset for k in self.keypoints])

    @functools.cached_property
    def leg_length(self):
        """Mean length of the legs from hip to ankle, m."""
        points = self.rest_keypoints
        steps = [np.linalg.norm(np.diff(points[list(leg)], axis=0), axis=-1) for leg in self.legs]
        return float(np.mean([step.sum() for step in steps]))

    @functools.cached_property
    def selection(self):
        """What retargeting looks at: keypoints, soles, then starts and ends of the shapes."""
        bodies = [k.body for k in self.keypoints]
        offsets = [k.offset for k in self.keypoints]
        for foot in self.feet:
            bodies += [foot.body] * len(foot.sole)
            offsets += list(foot.sole)
        bodies += 2 * [shape.body for shape in self.shapes]
        offsets += [s.start for s in self.shapes] + [s.end for s in self.shapes]
        return Selection(
            tuple(bodies),
            tuple(tuple(float(x) for x in offset) for offset in offsets),
            tuple(o.body for o in self.orientations),
        )


@dataclass(frozen=True)
class Selection:
    """Points, by body and offset (m, body frame), and bodies whose rotation is wanted."""

    bodies: tuple[int, ...]
    offsets: tuple[tuple[float, float, float], ...]
    turns: tuple[int, ...]


# ---------------------------------------------------------------------------------------------
# forward kinematics


def forward(robot, root_pos, root_quat, joints):
    """Pose of every body.

    root_pos: (3,) m; root_quat: (4,) wxyz, unit; joints: (A,) rad.
    Returns positions (L, 3) and rotations (L, 3, 3) in the world.
    """
    frames = _nodes(robot, root_pos, root_quat, joints)[robot.body_node]
    return frames[:, :3, 3], frames[:, :3, :3]


class Lines(NamedTuple):
    """The lines about which a robot turns: axes (3 + A, 3), unit, and a point of each (3 + A, 3),
    in the world. The first three are the root's own axes, through its origin."""

    axes: jax.Array
    anchors: jax.Array


def observe(robot, selection, root_pos, root_quat, joints):
    """Selected points (P, 3), rotations of selected bodies (M, 3, 3), in the world, and `Lines`.

    Arguments as in `forward`.
    """
    frames = _nodes(robot, root_pos, root_quat, joints)
    dtype = frames.dtype
    nodes = robot.body_node[np.array(selection.bodies, int)]
    points = _apply(frames[nodes], np.array(selection.offsets).reshape(-1, 3).astype(dtype))
    turns = robot.body_node[np.array(selection.turns, int)]
    hinges = frames[robot.joint_node]
    axis = robot.axis[robot.joint_node][:, None].astype(dtype)
    axes = jnp.sum(hinges[:, :3, :3] * axis, axis=-1)
    anchors = _apply(hinges, robot.anchor[robot.joint_node].astype(dtype))
    root = jnp.broadcast_to(frames[0, :3, 3], (3, 3))
    lines = Lines(jnp.concatenate([frames[0, :3, :3].T, axes]), jnp.concatenate([root, anchors]))
    return points, frames[turns, :3, :3], lines


def point_columns(robot, bodies, points, lines):
    """How points (P, 3) of `bodies` move by each of the robot's motions, (6 + A, P, 3).

    The geometric Jacobian: the root's shift in the world, its turn about its own axes, and the
    joints; a line with axis a through o moves a point p by a x (p - o) (Lynch and Park, Modern
    Robotics, 2017, sec. 5.1). That costs far less than differentiating the chain of products.
    """
    dtype = points.dtype
    arms = points[None] - lines.anchors[:, None]
    turned = jnp.cross(lines.axes[:, None], arms) * carried(robot, bodies)[..., None].astype(dtype)
    shifted = jnp.broadcast_to(jnp.eye(3, dtype=dtype)[:, None], (3,) + points.shape)
    return jnp.concatenate([shifted, turned])


def turn_columns(robot, bodies, turns, lines):
    """How the rotations (M, 3, 3) of `bodies` change by each of the robot's motions,
    (6 + A, M, 3, 3); order as in `point_columns`."""
    dtype = turns.dtype
    rate = jnp.cross(lines.axes[:, None, None], jnp.swapaxes(turns, -1, -2)[None])
    rate = jnp.swapaxes(rate, -1, -2) * carried(robot, bodies)[..., None, None].astype(dtype)
    return jnp.concatenate([jnp.zeros((3,) + turns.shape, dtype), rate])


def carried(robot, bodies):
    """Which of the `Lines` carry which bodies, (3 + A, P)."""
    moves = robot.moves[robot.body_node[np.array(bodies, int)]].T
    return np.concatenate([np.ones((3, moves.shape[1]), bool), moves])


def _apply(frames, points):
    # products of small arrays as sums: XLA runs them in one loop, and batched dots one by one
    return jnp.sum(frames[:, :3, :3] * points[:, None], axis=-1) + frames[:, :3, 3]


def _nodes(robot, root_pos, root_quat, joints):
    """Poses of all nodes in the world, (N, 4, 4).

    Each round composes every node's pose with that of the ancestor it is relative to so far, so
    that the reach doubles: a chain of n needs log2(n) rounds (Hillis and Steele, Data parallel
    algorithms, 1986), which compiles and runs faster than a walk down the tree.
    """
    joints = jnp.asarray(joints)
    dtype = joints.dtype
    index = np.maximum(robot.joint, 0)
    angle = joints[index] - robot.reference[index].astype(dtype)
    constant, sine, cosine = (part.astype(dtype) for part in robot.local_parts)
    frames = constant + jnp.sin(angle)[:, None, None] * sine
    frames = frames + jnp.cos(angle)[:, None, None] * cosine
    top = jnp.zeros((4, 4), dtype).at[3, 3].set(1.0)
    top = top.at[:3, :3].set(_matrix(root_quat)).at[:3, 3].set(root_pos)
    frames = jnp.concatenate([top[None], frames[1:]])
    for nodes, ancestors in robot.rounds:
        joined = jnp.sum(frames[ancestors][..., None] * frames[:, None], axis=-2)
        frames = jnp.where(nodes[:, None, None], joined, frames)
    return frames


def _numpy_frames(robot, joints):
    """Positions (..., L, 3) and rotations (..., L, 3, 3), root at the origin, for (..., A)."""
    angle = (joints - robot.reference)[..., np.maximum(robot.joint, 0), None, None]
    constant, sine, cosine = robot.local_parts
    frames = constant + np.sin(angle) * sine + np.cos(angle) * cosine
    frames[..., 0, :, :] = np.eye(4)
    for node in range(1, len(robot.parent)):
        above = frames[..., robot.parent[node], :, :]
        frames[..., node, :, :] = above @ frames[..., node, :, :]
    frames = frames[..., robot.body_node, :, :]
    return frames[..., :3, 3], frames[..., :3, :3]


def _skew(vectors):
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return np.stack(rows, -1).reshape(vectors.shape[:-1] + (3, 3))


def _matrix(quat):
    w, x, y, z = quat
    return jnp.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


# ---------------------------------------------------------------------------------------------
# reading


@functools.cache
def load_robot(name):
    """Read a robot: the name of a folder in `resources/robots`, or the path of a YAML.

    Raises PantographError if the file is missing or names bodies, joints or keypoints that do
    not exist, or if the model has joints that are not hinges.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = RESOURCES / str(name) / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RESOURCES.glob("*/*.yaml")))
        raise PantographError(
            f"robot {name!r}: {path} does not exist; expected one of {known}, or a YAML's path"
        )
    settings = yaml.safe_load(path.read_text())
    try:
        tree, shapes, apart = _tree(path.parent / settings["model"], settings["root"])
        mapping = _mapping(settings, tree, path)
        robot = Robot(name=settings["name"], **tree, **mapping, shapes=shapes, pairs=())
    except KeyError as error:
        raise PantographError(f"{path}: the entry {error} is missing") from None
    apart = _with_exceptions(apart, robot, settings.get("collisions") or {}, path)
    draws = np.random.default_rng(0).uniform(*robot.limits.T, (SAMPLES, len(robot.joint_names)))
    frames = _numpy_frames(robot, np.concatenate([robot.rest[None], draws]))
    return replace(robot, pairs=choose_pairs(shapes, frames, apart))


def _with_exceptions(apart, robot, settings, path):
    """`apart` as the YAML's `collisions` change it: pairs of body patterns to ignore."""

    def matches(pattern, body):
        return fnmatch.fnmatchcase(robot.body_names[body], pattern)

    ignored = [tuple(pair) for pair in settings.get("ignore") or ()]
    for pattern in (pattern for pair in ignored for pattern in pair):
        if not any(matches(pattern, body) for body in range(len(robot.body_names))):
            raise PantographError(f"{path}: collisions: no body matches {pattern!r}")

    def changed(a, b):
        return apart(a, b) and not any(
            (matches(p, a) and matches(q, b)) or (matches(p, b) and matches(q, a))
            for p, q in ignored
        )

    return changed


def compile_model(path, root):
    """The MuJoCo model of a robot file (MJCF or URDF), its root body free to move.

    Meshes are left out: the kinematics do not need them.
    """
    import mujoco

    if not path.is_file():
        raise PantographError(f"{path}: no such robot model")
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        # a URDF's fixed links would be merged into their parents
        spec.compiler.fusestatic = False
        # links of many URDFs have no mass, which MuJoCo refuses where they move
        spec.compiler.boundmass = spec.compiler.boundinertia = 1e-9
        for geom in list(spec.geoms):
            if geom.type == mujoco.mjtGeom.mjGEOM_MESH:
                spec.delete(geom)
        for mesh in list(spec.meshes):
            spec.delete(mesh)
        body = spec.body(root)
        if body is None:
            raise PantographError(f"{path}: the root body {root!r} does not exist")
        if not list(body.joints):
            body.add_freejoint()
        return spec.compile()
    except ValueError as error:
        text = " ".join(str(error).split())
        raise PantographError(f"{path}: MuJoCo cannot read it: {text}") from None


def _tree(path, root):
    import mujoco

    model = compile_model(path, root)
    start = model.body(root).id
    inside = [start]
    for body in range(start + 1, model.nbody):
        if model.body_parentid[body] in inside:
            inside.append(body)
    node_of, body_node, joint_names, joint_ids = {}, [], [], []
    parent, position, rotation, joint, axis, anchor = [], [], [], [], [], []
    for body in inside:
        first, count = model.body_jntadr[body], model.body_jntnum[body]
        hinges = [] if body == start else list(range(first, first + count))
        above = node_of.get(model.body_parentid[body], -1)
        place, turn = model.body_pos[body], _numpy_matrix(model.body_quat[body])
        for hinge in hinges or [None]:
            parent.append(above)
            position.append(place)
            rotation.append(turn)
            if hinge is None:
                joint.append(-1)
                axis.append(np.array([0.0, 0.0, 1.0]))
                anchor.append(np.zeros(3))
            else:
                label = model.joint(hinge).name
                if model.jnt_type[hinge] != mujoco.mjtJoint.mjJNT_HINGE:
                    raise PantographError(f"{path}: joint {label!r} is not a hinge")
                if not model.jnt_limited[hinge]:
                    raise PantographError(f"{path}: joint {label!r} has no range")
                joint.append(len(joint_ids))
                joint_ids.append(hinge)
                joint_names.append(label)
                axis.append(model.jnt_axis[hinge])
                anchor.append(model.jnt_pos[hinge])
            above, place, turn = len(parent) - 1, np.zeros(3), np.eye(3)
        node_of[body] = above
        body_node.append(above)
    parent, joint = np.array(parent), np.array(joint)
    moves = np.zeros((len(parent), len(joint_ids)), bool)
    for node in range(len(parent)):
        if parent[node] >= 0:
            moves[node] = moves[parent[node]]
        if joint[node] >= 0:
            moves[node, joint[node]] = True
    address = model.jnt_qposadr[joint_ids]
    tree = {
        "model_path": path,
        "body_names": tuple(model.body(body).name for body in inside),
        "joint_names": tuple(joint_names),
        "body_node": np.array(body_node),
        "parent": parent,
        "position": np.array(position),
        "rotation": np.array(rotation),
        "joint": joint,
        "axis": np.array(axis),
        "anchor": np.array(anchor),
        "moves": moves,
        "joint_node": np.array([np.flatnonzero(joint == j)[0] for j in range(len(joint_ids))]),
        "reference": model.qpos0[address],
        "model_limits": model.jnt_range[joint_ids],
    }
    return tree, _shapes(model, inside), _apart(model, inside)


def _shapes(model, inside):
    """Capsules for the geoms that collide; other shapes are taken for the capsule along their
    longest side. Points of contact, such as small spheres under a sole, are left out."""
    import mujoco

    kinds = mujoco.mjtGeom
    shapes = []
    for geom in range(model.ngeom):
        kind, size = model.geom_type[geom], model.geom_size[geom]
        body = model.geom_bodyid[geom]
        if body not in inside or not (model.geom_contype[geom] or model.geom_conaffinity[geom]):
            continue
        if kind == kinds.mjGEOM_SPHERE:
            halves = np.full(3, size[0])
        elif kind == kinds.mjGEOM_CAPSULE:
            halves = np.array([size[0], size[0], size[0] + size[1]])
        elif kind == kinds.mjGEOM_CYLINDER:
            halves = np.array([size[0], size[0], size[1]])
        elif kind in (kinds.mjGEOM_BOX, kinds.mjGEOM_ELLIPSOID):
            halves = size.copy()
        else:
            continue
        along = int(np.argmax(halves))
        radius = np.delete(halves, along).mean()
        if halves.max() < THIN:
            continue
        turn = _numpy_matrix(model.geom_quat[geom])
        arm = turn[:, along] * max(halves[along] - radius, 0.0)
        ends = (model.geom_pos[geom] - arm, model.geom_pos[geom] + arm)
        start, end = (tuple(float(x) for x in point) for point in ends)
        shapes.append(Shape(inside.index(body), start, end, float(radius)))
    return tuple(shapes)


def _apart(model, inside):
    """Whether two bodies, by index in `inside`, may not overlap by the model's own account: not
    fixed to each other or neighbours, and not excluded from contact."""
    excluded = {divmod(int(pair), 1 << 16) for pair in model.exclude_signature}
    weld, parent = model.body_weldid, model.body_parentid

    def apart(a, b):
        a, b = inside[a], inside[b]
        first, second = weld[a], weld[b]
        neighbours = first in (second, weld[parent[second]]) or second == weld[parent[first]]
        return not (neighbours or (a, b) in excluded or (b, a) in excluded)

    return apart


def _numpy_matrix(quat):
    w, (x, y, z) = quat[0], quat[1:]
    cross = _skew(np.array([x, y, z]))
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def _mapping(settings, tree, path):
    joints = tree["joint_names"]

    def pick(table, default):
        values = np.array([default] * len(joints) if np.ndim(default) == 0 else default, float)
        for pattern, value in (table or {}).items():
            hits = [i for i, joint in enumerate(joints) if fnmatch.fnmatchcase(joint, pattern)]
            if not hits:
                raise PantographError(f"{path}: no joint matches {pattern!r}")
            values[hits] = value
        return values

    def index(names, name, what):
        if name not in names:
            raise PantographError(
                f"{path}: {what} {name!r} does not exist; there are {', '.join(names)}"
            )
        return list(names).index(name)

    def body(name):
        return index(tree["body_names"], name, "body")

    def human(name):
        return index(SMPL_JOINTS, name, "SMPL joint")

    def point(values):
        return tuple(float(value) for value in values)

    model_limits = tree["model_limits"]
    chosen = pick(settings.get("limits"), model_limits)
    limits = np.stack(
        [
            np.maximum(chosen[:, 0], model_limits[:, 0]),
            np.minimum(chosen[:, 1], model_limits[:, 1]),
        ],
        axis=-1,
    )
    if np.any(limits[:, 0] > limits[:, 1]):
        raise PantographError(f"{path}: a range in `limits` lies outside the model's")
    velocity_limits = pick(settings["velocity_limits"], np.nan)
    if np.isnan(velocity_limits).any():
        missing = joints[int(np.flatnonzero(np.isnan(velocity_limits))[0])]
        raise PantographError(f"{path}: joint {missing!r} has no velocity limit")

    names = list(settings["keypoints"])
    keypoints = []
    for name, entry in settings["keypoints"].items():
        above = index(names[: len(keypoints)], entry["from"], "keypoint") if keypoints else -1
        keypoints.append(
            Keypoint(
                name=name,
                human=tuple(human(joint) for joint in entry["human"]),
                body=body(entry["body"]),
                offset=point(entry.get("offset", (0, 0, 0))),
                parent=above,
                rigid=bool(entry.get("rigid", False)),
                position=float(entry.get("position", 0)),
                direction=float(entry.get("direction", 0)),
            )
        )
    return {
        "limits": limits,
        "velocity_limits": velocity_limits,
        "rest": np.clip(pick(settings.get("rest"), 0.0), limits[:, 0], limits[:, 1]),
        "keypoints": tuple(keypoints),
        "orientations": tuple(
            Orientation(body(name), human(entry["human"]), float(entry["weight"]))
            for name, entry in settings["orientations"].items()
        ),
        "legs": tuple(
            tuple(index(names, name, "keypoint") for name in leg) for leg in settings["legs"]
        ),
        "feet": tuple(
            Foot(
                name=name,
                body=body(entry["body"]),
                ankle=index(names, entry["ankle"], "keypoint"),
                heel=tuple(point(corner) for corner in entry["heel"]),
                toe=tuple(point(corner) for corner in entry["toe"]),
            )
            for name, entry in settings["feet"].items()
        ),
    }
