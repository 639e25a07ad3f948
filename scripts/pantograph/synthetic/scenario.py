"""A scenario is motions, bodies, a room and a camera; this is the library of them.

A new one is a function under `@scenario` that returns a `Scenario`; everything else (pictures,
truth, demo clips, tests) takes it from `SCENARIOS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import camera, scenery
from .motion import Sit, Walk, sit, smooth_step, walk
from .outfit import Outfit

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
    camera_model as in `contracts.Scene`; focal in px; duration in s."""

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
