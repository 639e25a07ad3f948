"""Joint human-scene optimisation: people and cameras in one metric world.

The idea is VideoMimic's MegaHunter (Allshire et al. 2025, section 3.1; upstream file
stage2_optimization/megahunter_costs.py): people of known size fix the unit of a reconstruction,
the cameras give the people a place. Unlike there, root orientations start in the world, feet in
contact stay where they are, and the ground that they share is solved for as well.

Shared variables: (log of metres per scene unit, two tilts of the ground's normal from the
people's own up direction, the ground's distance from the origin, log of each person's size over
the body stage's). Sizes are what one picture cannot tell: who stands on the same ground as the
others at another distance is another size. People follow one another on the solver's frame axis,
so one solve serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from . import body, bodyfit, jaxcache, landmarks, shape, skeleton
from .bodyfit import DIM, FITTED, attach, project, rotations
from .contact import metric_scale
from .contracts import PersonBody, World
from .conventions import CONTACTS, SMPL_JOINTS
from .errors import Rejected
from .ground import ANKLES, floor_level, runs, up_of_people
from .skeleton import take
from .solver import SEPARATION, Cost, Options, Problem, join, pad, pad_length, solve

SIGMA = {
    "contact": 0.004,  # m per frame that a planted heel or ball moves
    "ground": 0.015,  # m between a planted foot and the ground
    "above": 0.02,  # m below the ground, any foot
    "root": 0.12,  # rad from the body stage's orientation
    "pose": 0.10,  # rad from the body stage's joint rotations
    "tilt": 0.07,  # rad between the ground's normal and the people's up direction
    "size": 0.06,  # log of a person's size, stature unknown
    "given size": 0.002,  # the same where stature or shape is given
    "scale": 0.03,  # log of a travelling camera's scale and the floor below people's feet
    "unknown scale": 2.0,  # the same where the scene has no such floor
    "fixed scale": 1e-4,  # cameras that do not travel say nothing about the unit
}


def sole_offsets(rest, sole):
    """Heel and ball of each foot from its ankle in the rest pose, (2 feet, 2 points, 3) m.

    rest: (24, 3) rest joints; sole: height of the soles in the rest pose, m.
    """
    out = np.zeros((2, 2, 3), np.float32)
    for foot, side in enumerate(("left", "right")):
        ankle = rest[SMPL_JOINTS.index(f"{side}_ankle")]
        ball = rest[SMPL_JOINTS.index(f"{side}_foot")]
        out[foot, 0] = (0.0, sole - ankle[1], -0.045)
        out[foot, 1] = (ball[0] - ankle[0], sole - ankle[1], ball[2] - ankle[2])
    return out


def _ground(shared, axes):
    """Unit normal (3,) and offset of the ground; axes: (3, 3) rows tilt 1, tilt 2, up."""
    normal = axes[2] + shared[1] * axes[0] + shared[2] * axes[1]
    return normal / jnp.linalg.norm(normal), shared[3]


def retract(state, delta):
    """Move a state; its rest joints and the offsets of its soles ("feet") are constants."""
    return {**state, **bodyfit.retract(state, delta)}


def lift(state, delta):
    """`retract` to first order in delta."""
    return {**state, **bodyfit.lift(state, delta)}


def features(state):
    """A state with its landmarks (M, 3) and the heel and ball of both feet (2, 2, 3)."""
    joints, world = skeleton.forward(state["rest"], rotations(state), state["transl"])
    turned = jnp.einsum("fab,fkb->fka", take(world, ANKLES), state["feet"])
    soles = take(joints, ANKLES)[:, None] + turned
    return {**state, "points": attach(joints, world), "soles": soles}


def _size(shared, data):
    """World lengths over those of the person's own states, for data["person"] one-hot (P,).

    States keep the body stage's size, so that terms on one person's movement cannot be lowered
    by making the person small.
    """
    return jnp.exp(shared[4:] @ data["person"])


def reprojection(frames, shared, data):
    """Fitted landmarks against 2D keypoints, px * weight, (M, 2)."""
    centre = jnp.exp(shared[0]) * data["centre"]
    x = (_size(shared, data) * frames[0]["points"] - centre) @ data["world2cam"].T
    return (project(data["intrinsics"], x) - data["xy"]) * data["weight"][:, None]


def root_prior(frames, shared, data):
    """Root rotation against the body stage's, turned into the world, rad * weight, (3,)."""
    return bodyfit.relative(data["rotation"], frames[0]["root"]) * data["weight"]


def contact(frames, shared, data):
    """Movement of a planted foot's ball from one frame to the next, (2, 3)."""
    moved = frames[1]["soles"] - frames[0]["soles"]
    return moved[:, 1] * data["weight"][:, None]


def heel(frames, shared, data):
    """The same of its heel, which soon rises while the ball still stands."""
    moved = frames[1]["soles"] - frames[0]["soles"]
    return moved[:, 0] * data["weight"][:, None]


def ground(frames, shared, data):
    """Height of a planted foot's lower end over what it stands on, (2, 1).

    That is the scene's surface where points show one below the foot, the common ground elsewhere.
    """
    normal, offset = _ground(shared, data["axes"])
    surface = jnp.exp(shared[0]) * (data["surface"] @ normal)
    level = jnp.where(data["shown"], surface, offset) / _size(shared, data)
    height = (frames[0]["soles"] @ normal - level[:, None]).min(-1)
    return (height * data["weight"])[:, None]


def above(frames, shared, data):
    """Depth of heels and balls below the ground, (4, 1)."""
    normal, offset = _ground(shared, data["axes"])
    height = frames[0]["soles"] @ normal - offset / _size(shared, data)
    return jnp.minimum(height, 0.0).reshape(4, 1) * data["weight"]


def shared_prior(frames, shared, data):
    """Scale and sizes against their first estimates, ground normal against the up direction.

    A scale that was found by the people's feet on the floor changes with their sizes.
    """
    scale = shared[:1] - data["tied"] * shared[4:].mean()
    return (jnp.concatenate([scale, shared[1:3], shared[4:]]) - data["mean"]) * data["weight"]


@lru_cache
def problem(people):
    """The problem for a number of people."""
    return Problem(
        (
            Cost("reprojection", reprojection, robust=3.0),
            Cost("root_prior", root_prior),
            Cost("pose_prior", bodyfit.pose_prior),
            Cost("hinge_limits", bodyfit.hinge_limits),
            Cost("contact", contact, span=2, robust=8.0),
            Cost("heel", heel, span=2, robust=2.5),
            Cost("ground", ground, robust=4.0),
            Cost("above", above, robust=4.0),
            Cost("shared_prior", shared_prior),
            bodyfit.SMOOTHNESS,
        ),
        retract,
        DIM,
        shared_dim=4 + people,
        lift=lift,
        features=features,
    )


@dataclass
class Setup:
    """A clip's alignment, ready to be solved.

    problem, states, shared, data, valid: arguments of `solver.solve`; ids and tracks: people and
    what belongs to each; axes: (3, 3) rows tilt 1, tilt 2, up; stats: how it was set up.
    """

    problem: Problem
    states: dict
    shared: np.ndarray
    data: dict
    valid: np.ndarray
    ids: list
    tracks: list
    axes: np.ndarray
    stats: dict


def align(
    model, video, keypoints, body_product, contacts, scene, robot=None, iterations=40, lengths=()
):
    """Bring people and scene into one metric world.

    model: body.BodyModel; the others: contracts. robot: a robot.Robot whose proportions people
    get, or None; lengths: planned padded lengths of one person, frames. Returns a `World` in the
    scene's axes.
    Raises Rejected if no person has a body in three frames or more.
    """
    jaxcache.enable()
    setup = prepare(model, video, keypoints, body_product, contacts, scene, robot, lengths)
    result = solve(
        setup.problem,
        setup.states,
        setup.shared,
        setup.data,
        setup.valid,
        options=Options(iterations=iterations, tolerance=1e-4),
    )
    return _finish(model, scene, setup, result)


def prepare(model, video, keypoints, body_product, contacts, scene, robot=None, lengths=()):
    """The `Setup` of a clip; arguments and errors as in `align`."""
    ids = [pid for pid, person in body_product.people.items() if person.valid.sum() > 2]
    if not ids:
        raise Rejected("no person has a body in three frames or more")
    ranks = {pid: rank for rank, pid in enumerate(sorted(keypoints.people))}
    given = {
        pid: shape.given(model, video, ranks[pid], body_product.people[pid].betas, robot)
        for pid in ids
    }
    people = {
        pid: body_product.people[pid]
        if given[pid] is None
        else shape.reshaped(model, body_product.people[pid], given[pid])
        for pid in ids
    }
    moving = scene.camera_model == "sfm"
    estimate = metric_scale(replace(body_product, people=people), scene, model) if moving else None
    scale = estimate or 1.0
    tracks = [
        _track(model, video, keypoints, people[pid], contacts, scene, pid, scale) for pid in ids
    ]
    up = up_of_people(
        {
            pid: PersonBody(
                valid=track["observed"], confidence=track["confidence"], joints=track["joints"]
            )
            for pid, track in zip(ids, tracks, strict=True)
        },
        scene.cam2world,
    )[0]
    side = np.cross(up, [0.0, 0.0, 1.0] if abs(up[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(up, side), up])
    stood = [stance for track in tracks for stance in track["stances"]]
    if stood:
        offset, on_floor = common_floor(
            np.array([stance["place"] for stance in stood]),
            np.array([stance["frames"].stop - stance["frames"].start for stance in stood]),
            axes,
        )
    else:
        offset, on_floor = _lowest(tracks, up), []

    on_surface, on_ground = 0, 0
    floors = iter(on_floor)
    for k, track in enumerate(tracks):
        count = len(track["observed"])
        person = np.broadcast_to(np.eye(len(tracks))[k], (count, len(tracks)))
        for name in ("reprojection", "ground", "above"):
            track["data"][name]["person"] = person
        surface, shown = np.zeros((count, 2, 3)), np.zeros((count, 2), bool)
        weight = np.zeros((count, 2))
        for stance in track["stances"]:
            at = stance["frames"], stance["foot"]
            below = None
            if estimate is not None:
                below = surface_below(stance["place"], scene.points * scale, up)
            if below is not None:
                surface[at], shown[at] = below / scale, True
            weight[at] = next(floors) or below is not None
        track["data"]["ground"].update(
            surface=surface, shown=shown, weight=weight / SIGMA["ground"]
        )
        on_surface += int(shown.sum())
        on_ground += int((weight > 0).sum())
    states = jax.tree.map(lambda *leaves: join(leaves), *[track["states"] for track in tracks])
    data = jax.tree.map(lambda *leaves: join(leaves), *[track["data"] for track in tracks])
    valid = join([track["observed"] for track in tracks], fill=False)
    count = len(valid)
    length = pad_length(count, [len(ids) * (n + SEPARATION) - SEPARATION for n in lengths])
    data["above"]["weight"] = data["above"]["weight"] * bool(stood)
    for name in ("ground", "above"):
        data[name]["axes"] = np.broadcast_to(axes, (count, 3, 3))
    leading = (np.arange(count) == 0)[:, None]
    kind = "fixed scale" if not moving else "scale" if estimate else "unknown scale"
    spread = np.array(
        [SIGMA[kind], SIGMA["tilt"], SIGMA["tilt"]]
        + [SIGMA["size" if given[pid] is None else "given size"] for pid in ids]
    )
    first = np.concatenate([[np.log(scale), 0.0, 0.0], np.zeros(len(ids))])
    data["shared_prior"] = {
        "mean": np.broadcast_to(first, (count, len(first))),
        "weight": leading / spread,
        "tied": np.full((count, 1), float(moving)),
    }
    return Setup(
        problem=problem(len(ids)),
        states=pad(states, length),
        shared=np.insert(first, 3, offset).astype(np.float32),
        data=jax.tree.map(_single, pad(data, length)),
        valid=np.concatenate([valid, np.zeros(length - count, bool)]),
        ids=ids,
        tracks=tracks,
        axes=axes,
        stats={
            "scale_source": shape.source(video, [ranks[pid] for pid in ids], robot),
            "scale_start": float(scale),
            "planted_frames": int(sum(track["touch"].sum() for track in tracks)),
            "planted_on_ground_frames": on_ground - on_surface,
            "planted_on_points_frames": on_surface,
        },
    )


def _single(leaf):
    leaf = np.asarray(leaf)
    return leaf if leaf.dtype == bool else leaf.astype(np.float32)


def _finish(model, scene, setup, result):
    shared = np.asarray(result.shared, float)
    scale = float(np.exp(shared[0]))
    rotation = scene.cam2world[:, :3, :3].astype(float)
    centre = scene.cam2world[:, :3, 3].astype(float)
    people, errors, start = {}, {}, 0
    for k, (pid, track) in enumerate(zip(setup.ids, setup.tracks, strict=True)):
        size = float(np.exp(shared[4 + k]))
        track["betas"] = _grown(model, track["betas"], size)
        stop = start + len(track["observed"])
        part = jax.tree.map(lambda leaf, a=start, b=stop: np.asarray(leaf)[a:b], result.x)
        part["transl"] = size * part["transl"]
        people[pid] = _person(model, track, part, rotation, centre * scale, len(rotation))
        seen = people[pid].reprojection[people[pid].valid]
        errors[f"person{pid}"] = {
            "reprojection_px": round(float(seen.mean()), 3),
            "size_percent": round(100 * (size - 1), 2),
            "stature_m": round(body.stature(model, track["betas"]), 4),
        }
        start = stop + SEPARATION
    cam2world = scene.cam2world.copy()
    cam2world[:, :3, 3] *= scale
    history = np.asarray(result.history)
    stats = dict(setup.stats)
    return World(
        camera_model=scene.camera_model,
        scale=scale,
        scale_source=stats.pop("scale_source"),
        body_model=model.name,
        intrinsics=scene.intrinsics,
        cam2world=cam2world,
        points=scene.points * np.float32(scale),
        colors=scene.colors,
        people=people,
        stats={
            **errors,
            **stats,
            "cost_start": bodyfit.rounded(result.start_terms),
            "cost": bodyfit.rounded(result.terms),
            "cost_history": [round(float(c), 3) for c in history[np.isfinite(history)]],
            "iterations": int(result.iterations),
            "rejected_steps": bodyfit.rejected_steps(result),
            "converged": bool(result.converged),
            "ground_tilt_deg": round(float(np.degrees(np.hypot(shared[1], shared[2]))), 3),
            "ground_normal": [float(v) for v in np.asarray(_ground(shared, setup.axes)[0])],
            "ground_offset_m": float(shared[3]),
        },
    )


def common_floor(places, frames, axes, sigma=0.05, tilt=0.05, within=0.1, share=0.15):
    """Offset of the ground along up, m, and which stances stand on it (N,) bool.

    places: (N, 3) m; frames: (N,) how long each lasts; axes: rows tilt 1, tilt 2, up. The ground
    is a nearly level plane at the lowest level within `within` m of which feet stand for `share`
    of the time or more. `sigma` m and `tilt` rad are standard deviations of stances and of the
    plane's tilt, so that a staircase is not taken for a slope. Robust least squares
    (Geman-McClure).
    """
    heights = places @ axes[2]
    sides = places @ axes[:2].T
    rows = np.column_stack([sides - sides.mean(0), np.ones(len(places))])
    near = np.abs(heights[:, None] - heights) < 0.5 * within
    level = heights[near @ frames >= share * frames.sum()].min(initial=heights.max())
    level = np.median(heights[np.abs(heights - level) < 0.5 * within])
    plane = np.array([0.0, 0.0, level])
    for _ in range(10):
        error = heights - rows @ plane
        weight = np.sqrt(frames / frames.max()) / (sigma * (1 + (error / within) ** 2))
        normal = (rows * weight[:, None] ** 2).T @ rows + np.diag([tilt**-2, tilt**-2, 0.0])
        plane = np.linalg.solve(normal, (rows * weight[:, None] ** 2).T @ heights)
    return float(level), np.abs(heights - rows @ plane) < within


def surface_below(place, points, up, reach=0.25, band=0.15, fewest=6):
    """The point of the scene's surface on which a foot at `place` (3,) stands, or None.

    points: (N, 3), m; up: (3,). Of the points within `reach` m sideways and `band` m in height,
    at least `fewest`, the densest level.
    """
    away = np.asarray(points, float) - place
    height = away @ up
    near = np.abs(height) < band
    near &= (away**2).sum(1) - height**2 < reach**2
    if near.sum() < fewest:
        return None
    return place + floor_level(height[near], np.ones(near.sum()), bandwidth=0.02) * up


def _track(model, video, keypoints, person, contacts, scene, pid, scale):
    """Everything the solve needs of one person, over the frames from first to last valid one."""
    first, last = np.flatnonzero(person.valid)[[0, -1]]
    part = slice(first, last + 1)
    observed = person.valid[part]
    count = last - first + 1
    cam2world = scene.cam2world[part].astype(float)
    rotation, centre = cam2world[:, :3, :3], cam2world[:, :3, 3]
    orient = bodyfit.nearest(rotation @ person.global_orient[part], observed)
    pose = bodyfit.nearest(person.body_pose[part], observed)
    transl = np.einsum("tab,tb->ta", rotation, person.transl[part]) + scale * centre
    transl = bodyfit.nearest(transl, observed)
    states = bodyfit.pack(orient, pose, transl)
    joints = body.joints(model, person.betas, orient, pose, transl)
    rest = body.rest_joints(model, person.betas)
    sole = body.rest_vertices(model, person.betas)[:, 1].min()
    soles = sole_offsets(rest, sole)

    points2d = keypoints.people[pid]
    index, present = landmarks.select(keypoints.keypoint_names)
    score = points2d.score[part][:, index] * present * (points2d.visible[part] & observed)[:, None]
    xy = points2d.xy[part][:, index]
    size = landmarks.picture_size(xy, score)
    touch = np.zeros((count, len(CONTACTS)), bool)
    if pid in contacts.people:
        touch = contacts.people[pid].contact[part] & observed[:, None]

    def every(value, shape):
        return np.broadcast_to(np.asarray(value, float), (count, *shape))

    states["rest"] = every(rest, (24, 3)).astype(np.float32)
    states["feet"] = every(soles, (2, 2, 3)).astype(np.float32)
    held = touch & np.concatenate([touch[1:], np.zeros((1, 2), bool)])
    data = {
        "reprojection": {
            "intrinsics": scene.intrinsics[part],
            "world2cam": rotation.transpose(0, 2, 1),
            "centre": centre,
            "xy": xy,
            "weight": score * landmarks.WEIGHTS2D / (bodyfit.SIGMA_2D * size),
        },
        "root_prior": {"rotation": states["root"], "weight": observed[:, None] / SIGMA["root"]},
        "pose_prior": {
            "rotation": states["joints"],
            "weight": np.where(observed, 1.0, 0.1)[:, None, None]
            * every(1 / SIGMA["pose"], (len(FITTED), 3)),
        },
        "hinge_limits": every(1 / 0.05, ()),
        "contact": {"weight": held / SIGMA["contact"]},
        "heel": {"weight": held / SIGMA["contact"]},
        "ground": {},
        "above": {"weight": every(1 / SIGMA["above"], ())},
        "smoothness": every(bodyfit.smoothness_weights(video.fps), (DIM,)),
    }
    below = joints[:, ANKLES] + _down(orient, sole, rest)
    return {
        "span": part,
        "observed": observed,
        "states": states,
        "joints": joints,
        "betas": person.betas,
        "confidence": person.confidence[part],
        "xy": xy,
        "score": score,
        "intrinsics": scene.intrinsics[part],
        "touch": touch,
        "stances": [
            {"foot": foot, "frames": slice(a, b), "place": np.median(below[a:b, foot], axis=0)}
            for foot in range(2)
            for a, b in runs(touch[:, foot])
        ],
        "data": data,
    }


def _grown(model, betas, size):
    """The shape with its stature times `size`."""
    return body.betas_for_height(model, size * body.stature(model, betas), betas)


def _down(orient, sole, rest):
    """From each ankle to the ground below a standing foot, (T, 2, 3), along the body's down."""
    drop = np.array([0.0, sole - rest[ANKLES, 1].mean(), 0.0])
    return np.repeat((orient @ drop)[:, None], 2, axis=1)


def _lowest(tracks, up):
    return float(min(np.percentile(track["joints"][:, ANKLES] @ up, 5) for track in tracks))


def _person(model, track, states, rotation, centre, frame_count):
    part = track["span"]
    person = bodyfit.place(
        model,
        track["betas"],
        states,
        part,
        track["observed"],
        track["confidence"],
        frame_count,
    )
    rest = np.broadcast_to(body.rest_joints(model, track["betas"]), states["rest"].shape)
    seen = jax.vmap(features)({**states, "rest": jnp.asarray(rest, jnp.float32)})["points"]
    x = np.asarray(seen) - centre[part][:, None]
    x = np.einsum("tba,tmb->tma", rotation[part], x)
    pixel = np.asarray(jax.vmap(project)(jnp.asarray(track["intrinsics"]), jnp.asarray(x)))
    good = track["score"] > 0.5
    distance = np.linalg.norm(pixel - track["xy"], axis=-1)
    error = (distance * good).sum(-1) / np.maximum(good.sum(-1), 1)
    person.reprojection = np.zeros(frame_count)
    person.reprojection[part] = error * track["observed"]
    return person
