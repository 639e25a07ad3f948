"""A scenario is motions, bodies, a room and a camera; this is the library of them.

A new one is a function under `@scenario` that returns a `Scenario`; everything else (pictures,
truth, demo clips, tests) takes it from `SCENARIOS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import camera, scenery
from .motion import Sit, Walk, sit, smooth_step, walk
from .outfit import Outfit
from .stand import Stand, stand, there_and_back
from .steps import Climb, climb, treads

DEMO_CLIPS = ("walk_turn", "sit_stand", "two_people")
"""The scenarios that are kept, rendered, in `resources/demo`."""

SCENARIOS: dict[str, Callable[[], Scenario]] = {}
"""Name of each scenario -> the function that makes it."""


def scenario(make):
    """Register a function that makes a `Scenario` under its own name."""
    SCENARIOS[make.__name__] = make
    return make


@dataclass
class Actor:
    """A person: stature in m, further shape coefficients, clothes, and what they do.

    move(model, betas, times) -> Motion.
    """

    stature: float
    move: Callable
    outfit: Outfit = Outfit()
    betas: tuple = ()


@dataclass
class Scenario:
    """Everything that a clip is made from. path(times (T,)) -> cam2world (T, 4, 4);
    camera_model as in `contracts.Scene`; focal in px; duration in s; distance from the camera to
    the people, m, roughly."""

    name: str
    actors: list[Actor]
    room: scenery.Room
    path: Callable
    camera_model: str
    width: int
    height: int
    focal: float
    duration: float
    fps: float = 30.0
    seed: int = 0
    distance: float = 3.3

    @property
    def times(self):
        """Times of the frames, (T,) s."""
        return np.arange(int(round(self.duration * self.fps))) / self.fps

    @property
    def intrinsics(self):
        """Camera matrix (3, 3), px."""
        return camera.intrinsics(self.width, self.height, self.focal)


@scenario
def walk_turn():
    """A person walks, turns round and walks back while a hand-held camera travels sideways."""
    gait = Walk(
        start=(-0.75, 1.75),
        heading=lambda t: -0.85 - np.pi * smooth_step((t - 1.15) / 1.7),
        speed=lambda t: 1.0 - 0.62 * np.exp(-(((t - 2.0) / 0.62) ** 2)),
        phase=0.3,
    )
    boxes = [
        scenery.Box((-1.75, 2.3), (0.7, 0.5, 0.55), 0.4, (0.55, 0.36, 0.22)),
        scenery.Box((1.6, 2.6), (0.5, 0.5, 0.85), -0.3, (0.28, 0.42, 0.34)),
        scenery.Box((1.25, -0.75), (0.4, 0.3, 0.3), 0.2, (0.52, 0.46, 0.28)),
    ]

    def path(times):
        eyes = [(-0.80, -2.30, 1.40), (-0.20, -2.25, 1.45), (0.40, -2.15, 1.38)]
        return camera.handheld(
            times, eyes, [(-0.25, 0.9, 0.90), (0.05, 0.9, 0.92), (0.1, 0.9, 0.90)], seed=3
        )

    return Scenario(
        name="walk_turn",
        actors=[Actor(1.74, lambda m, b, t: walk(m, b, t, gait), betas=(0, 0.4, 0.5))],
        room=scenery.room(11, boxes),
        path=path,
        camera_model="sfm",
        width=480,
        height=854,
        focal=660.0,
        duration=4.0,
        seed=1,
    )


@scenario
def sit_stand():
    """A person sits down on a box and stands up in front of a camera on a tripod."""
    seat = scenery.Box((0.0, 0.64), (0.50, 0.44, 0.44), 0.35, (0.60, 0.44, 0.24), name="seat")
    heading = seat.yaw - np.pi / 2
    ahead = np.array([np.cos(heading), np.sin(heading)])
    plan = Sit(tuple(np.array(seat.place) + 0.33 * ahead), heading, seat.size[2])
    boxes = [seat, scenery.Box((-1.2, 1.5), (0.6, 0.6, 0.7), 0.2, (0.30, 0.40, 0.50))]
    outfit = Outfit(
        shirt=(0.66, 0.20, 0.18), trousers=(0.20, 0.26, 0.40), shoes=(0.16, 0.15, 0.15), sleeve=0.95
    )
    return Scenario(
        name="sit_stand",
        actors=[Actor(1.66, lambda m, b, t: sit(m, b, t, plan), outfit, betas=(0, -0.5, -0.4))],
        room=scenery.room(12, boxes),
        path=lambda t: camera.static(t, (0.35, -2.35, 1.30), (0.05, 0.5, 0.84)),
        camera_model="static",
        width=480,
        height=854,
        focal=660.0,
        duration=4.0,
        seed=2,
    )


@scenario
def two_people():
    """Two people of different stature walk past each other while the camera turns a little."""
    tall = Walk((-1.62, 0.62), lambda t: -0.10 + 0 * t, lambda t: 1.10 + 0 * t, phase=0.2)
    small = Walk(
        (1.60, 1.50), lambda t: np.pi + 0.30 + 0 * t, lambda t: 1.02 + 0 * t, step=0.5, phase=0.9
    )
    first = Outfit(
        shirt=(0.80, 0.72, 0.30),
        shirt_second=(0.25, 0.30, 0.28),
        stripes=0.06,
        trousers=(0.28, 0.30, 0.24),
        shoes=(0.30, 0.16, 0.10),
        skin=(0.52, 0.36, 0.27),
        hair=(0.05, 0.04, 0.04),
    )
    second = Outfit(
        shirt=(0.72, 0.74, 0.78),
        shirt_second=(0.3, 0.3, 0.4),
        sleeve=0.9,
        trousers=(0.16, 0.20, 0.42),
        shoes=(0.75, 0.25, 0.22),
        skin=(0.86, 0.68, 0.56),
        hair=(0.42, 0.26, 0.12),
        long_hair=True,
    )
    boxes = [
        scenery.Box((-1.6, 2.6), (0.8, 0.5, 0.6), 0.1, (0.45, 0.30, 0.22)),
        scenery.Box((1.2, 2.7), (0.5, 0.6, 0.9), -0.2, (0.34, 0.40, 0.44)),
    ]
    return Scenario(
        name="two_people",
        actors=[
            Actor(1.84, lambda m, b, t: walk(m, b, t, tall), first, betas=(0, 0.5, 0.3)),
            Actor(1.62, lambda m, b, t: walk(m, b, t, small), second, betas=(0, -0.8, 0.2, 0, -1)),
        ],
        room=scenery.room(13, boxes),
        path=lambda t: camera.pan(t, (0.0, -2.75, 1.42), [(-0.12, 0.9, 0.88), (0.12, 0.9, 0.92)]),
        camera_model="rotation",
        width=854,
        height=480,
        focal=690.0,
        duration=3.0,
        seed=3,
    )


# ---------------------------------------------------------------------------------------------
# the library beyond the demo clips


def _upright(name, actor, boxes, kind, seed, *, duration, eye=(0.3, -2.05, 1.30), fps=30.0, **size):
    """One person in a picture of 480 x 854 px (or `size`) through a `camera.path`."""
    target = size.pop("target", (0.0, 0.6, 0.88))
    width, height = size.pop("width", 480), size.pop("height", 854)
    return Scenario(
        name=name,
        actors=[actor],
        room=scenery.room(seed, boxes),
        path=lambda t: camera.path(kind, t, eye, target, seed),
        camera_model=camera.CAMERA_MODELS[kind],
        width=width,
        height=height,
        focal=size.pop("focal", 0.8) * max(width, height),
        duration=duration,
        fps=fps,
        seed=seed,
        distance=float(np.linalg.norm(np.subtract(target, eye))),
    )


@scenario
def walk_straight():
    """A person walks straight past a camera that travels along."""
    gait = Walk((-1.45, 0.75), lambda t: 0.12 + 0 * t, lambda t: 1.15 + 0 * t, phase=0.4)
    outfit = Outfit(
        shirt=(0.20, 0.45, 0.32), shirt_second=(0.85, 0.85, 0.80), stripes=0.05, sleeve=0.3
    )
    boxes = [
        scenery.Box((-1.5, 2.5), (0.6, 0.5, 0.7), 0.3, (0.50, 0.34, 0.24)),
        scenery.Box((1.7, 2.4), (0.5, 0.5, 0.5), -0.2, (0.30, 0.38, 0.44)),
    ]
    return _upright(
        "walk_straight",
        Actor(1.78, lambda m, b, t: walk(m, b, t, gait), outfit),
        boxes,
        "travel",
        21,
        duration=2.6,
        eye=(0.0, -2.7, 1.40),
        target=(0.0, 0.9, 0.90),
        width=854,
        height=480,
    )


@scenario
def walk_turn_360():
    """A person walks once round a small circle in front of a hand-held camera."""
    gait = Walk(
        (0.42, 0.85),
        lambda t: np.pi / 2 + 2 * np.pi * np.clip((t - 0.15) / 3.1, -0.1, 1.1),
        lambda t: 0.80 + 0 * t,
        step=0.46,
        phase=0.2,
    )
    outfit = Outfit(shirt=(0.55, 0.30, 0.50), trousers=(0.24, 0.26, 0.30), sleeve=0.6)
    boxes = [
        scenery.Box((-1.5, 2.2), (0.5, 0.6, 0.8), 0.1, (0.44, 0.40, 0.26)),
        scenery.Box((1.4, 2.6), (0.7, 0.4, 0.5), -0.4, (0.48, 0.30, 0.24)),
    ]
    return _upright(
        "walk_turn_360",
        Actor(1.68, lambda m, b, t: walk(m, b, t, gait), outfit, (0, -0.3, 0.2)),
        boxes,
        "handheld",
        22,
        duration=3.4,
        target=(0.0, 0.8, 0.85),
    )


@scenario
def squat():
    """A person squats twice in front of a camera on a tripod, at 60 frames per second."""
    down, again = there_and_back(0.15, 0.75, 0.85, 1.35), there_and_back(1.30, 1.85, 1.90, 2.4)
    plan = Stand((0.0, 0.6), -1.15, squat=lambda t: down(t) + 0.75 * again(t), stance=1.9)
    outfit = Outfit(shirt=(0.75, 0.45, 0.15), trousers=(0.20, 0.22, 0.34), sleeve=0.25)
    boxes = [scenery.Box((1.1, 2.0), (0.6, 0.5, 0.75), 0.5, (0.40, 0.44, 0.30))]
    return _upright(
        "squat",
        Actor(1.80, lambda m, b, t: stand(m, b, t, plan), outfit, (0, 0.5)),
        boxes,
        "static",
        23,
        duration=2.4,
        fps=60.0,
        target=(0.0, 0.6, 0.86),
    )


@scenario
def climb_steps():
    """A person walks up two steps while a hand-held camera travels past."""
    plan = Climb((-0.15, 0.80), 0.35)
    colors = ((0.52, 0.40, 0.26), (0.40, 0.42, 0.46))
    stairs = [
        scenery.Box(place, size, plan.heading, color, name="step")
        for (place, size), color in zip(treads(plan), colors, strict=True)
    ]
    outfit = Outfit(
        shirt=(0.24, 0.38, 0.62), trousers=(0.44, 0.38, 0.28), shoes=(0.15, 0.14, 0.16), sleeve=0.9
    )
    return _upright(
        "climb_steps",
        Actor(1.72, lambda m, b, t: climb(m, b, t, plan, stairs), outfit),
        stairs,
        "travel",
        24,
        duration=3.4,
        eye=(0.35, -2.35, 1.45),
        target=(0.25, 0.8, 1.00),
    )


@scenario
def arms_overhead():
    """A person lifts both arms above the head and lowers them, at 24 frames per second."""
    plan = Stand((0.0, 0.7), -1.75, reach=there_and_back(0.2, 1.2, 1.7, 2.7))
    outfit = Outfit(shirt=(0.70, 0.70, 0.66), shirt_second=(0.3, 0.3, 0.4), sleeve=0.35)
    boxes = [scenery.Box((-1.2, 2.2), (0.5, 0.5, 0.6), 0.2, (0.34, 0.44, 0.40))]
    return _upright(
        "arms_overhead",
        Actor(1.92, lambda m, b, t: stand(m, b, t, plan), outfit, (0, -0.2, 0.3)),
        boxes,
        "handheld",
        25,
        duration=2.9,
        fps=24.0,
        eye=(0.2, -2.45, 1.40),
        target=(0.0, 0.7, 1.12),
    )


@scenario
def crawl():
    """A person goes deep in the knees with the trunk level while the camera turns."""
    gait = Walk(
        (-0.75, 0.85),
        lambda t: 0.05 + 0 * t,
        lambda t: 0.55 + 0 * t,
        step=0.52,
        phase=0.1,
        arm_swing=0.2,
        toe_off=0.5,
        heel_strike=-0.05,
        crouch=0.40,
        bow=1.40,
    )
    outfit = Outfit(shirt=(0.62, 0.24, 0.22), trousers=(0.22, 0.28, 0.24), sleeve=0.8)
    boxes = [scenery.Box((1.5, 2.3), (0.6, 0.6, 0.6), 0.4, (0.50, 0.42, 0.30))]
    return _upright(
        "crawl",
        Actor(1.60, lambda m, b, t: walk(m, b, t, gait), outfit, (0, 0.3)),
        boxes,
        "pan",
        26,
        duration=2.8,
        eye=(0.0, -1.8, 1.15),
        target=(0.05, 0.8, 0.55),
        width=854,
        height=480,
    )


@scenario
def leave_and_enter():
    """A person walks out of the picture, turns round outside and comes back."""
    gait = Walk(
        (0.05, 0.55),
        lambda t: 0.10 + np.pi * smooth_step((t - 0.95) / 1.25),
        lambda t: 1.35 - 0.95 * np.exp(-(((t - 1.6) / 0.42) ** 2)),
        step=0.48,
        phase=0.3,
    )
    outfit = Outfit(
        shirt=(0.30, 0.52, 0.66), trousers=(0.14, 0.14, 0.18), skin=(0.55, 0.39, 0.30), sleeve=0.3
    )
    boxes = [scenery.Box((-1.0, 2.2), (0.6, 0.5, 0.7), 0.2, (0.46, 0.36, 0.28))]
    return _upright(
        "leave_and_enter",
        Actor(1.75, lambda m, b, t: walk(m, b, t, gait), outfit),
        boxes,
        "static",
        27,
        duration=3.4,
        eye=(0.0, -2.2, 1.35),
        target=(0.0, 0.7, 0.88),
    )


# ---------------------------------------------------------------------------------------------
# variations


def vary(base, kind=None, stature=None, focal=None, fps=None):
    """A scenario with another camera, stature, focal length or frame rate, and a name that says so.

    kind: of `camera.path`, with the aim of the given scenario; stature of the first person, m,
    the others keep their ratio to it; focal: over the picture's long side, the camera steps back
    or forth so that people keep their size; fps: frames per second.
    """
    name, times, long_side = base.name, base.times, max(base.width, base.height)
    changed = dataclasses.replace(base)
    if kind is not None or focal is not None:
        poses = base.path(times)
        eye, ahead = poses[:, :3, 3].mean(0), poses[:, :3, 2].mean(0)
        target = eye + base.distance * ahead / np.linalg.norm(ahead)
        if focal is not None:
            eye = target + (eye - target) * (focal * long_side / base.focal)
            changed.focal = focal * long_side
        if kind is None:
            back = eye - poses[:, :3, 3].mean(0)
            changed.path = lambda t: _shifted(base.path(t), back)
        else:
            changed.path = lambda t: camera.path(kind, t, eye, target, base.seed)
            changed.camera_model = camera.CAMERA_MODELS[kind]
            name += f"-{kind}"
    if stature is not None:
        ratio = stature / base.actors[0].stature
        changed.actors = [dataclasses.replace(a, stature=ratio * a.stature) for a in base.actors]
        name += f"-{stature:.2f}m"
    if focal is not None:
        name += f"-{focal:.2f}f"
    if fps is not None:
        changed.fps = float(fps)
        name += f"-{fps:g}fps"
    changed.name = name
    return changed


def _shifted(poses, by):
    moved = poses.copy()
    moved[:, :3, 3] += by
    return moved
