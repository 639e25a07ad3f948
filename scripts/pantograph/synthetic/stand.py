"""Motions on the spot: both feet stay, the rest of the body moves above them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from .motion import Foot, Skeleton, arms, assemble, pelvis_height, smooth_step, turn, upright


@dataclass
class Stand:
    """Standing at (x, y) with a heading. squat(t) and reach(t), functions of an array of seconds,
    lie in [0, 1]: from upright to thighs level, and from hanging arms to arms above the head;
    stance: distance of the feet over that of the hips."""

    place: tuple
    heading: float
    squat: Callable = np.zeros_like
    reach: Callable = np.zeros_like
    stance: float = 1.25


def there_and_back(start, top, leave, end):
    """A function of seconds: 0 until `start`, 1 from `top` to `leave`, 0 from `end`."""

    def share(t):
        return smooth_step((t - start) / (top - start)) * (
            1 - smooth_step((t - leave) / (end - leave))
        )

    return share


def stand(model, betas, times, plan):
    """A motion at `times` (T,) s with both feet in place."""
    skeleton = Skeleton(model, betas)
    rate = 1 / (times[1] - times[0])
    squat, reach = plan.squat(times), plan.reach(times)
    ahead = np.array([np.cos(plan.heading), np.sin(plan.heading)])
    side = np.array([-ahead[1], ahead[0]])
    still = np.zeros(len(times))
    feet = []
    for sign in (1, -1):
        level = np.asarray(plan.place) + sign * 0.5 * plan.stance * skeleton.hip_width * side
        level = level + (skeleton.offset("left_foot")[2] - 0.02) * ahead
        ball = np.tile([*level, skeleton.ball_height], (len(times), 1))
        feet.append(
            Foot(ball, still + plan.heading + sign * 0.22, still, still, np.ones(len(times), bool))
        )

    thigh = np.linalg.norm(skeleton.offset("left_knee"))
    keys = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    back = PchipInterpolator(keys, np.array([0.0, 0.16, 0.30, 0.39, 0.42]) * thigh)(squat)
    bow = PchipInterpolator(keys, [0.02, 0.26, 0.46, 0.58, 0.62])(squat)
    breath = 0.006 * np.sin(2 * np.pi * times / 3.1)
    sway = 0.006 * np.sin(2.3 * times) + 0.020 * reach * np.sin(4.1 * times)
    xy = np.asarray(plan.place) - back[:, None] * ahead + sway[:, None] * side
    pelvis = upright(np.full(len(times), plan.heading)) @ turn("x", bow + breath)

    top = np.full(len(times), -skeleton.sole - 0.015)
    standing = pelvis_height(skeleton, xy, pelvis, feet, top, rate)
    z = np.minimum(standing, top[0] - 1.0 * thigh * squat)

    upper = arms(
        [0.05 + 1.70 * squat, 0.05 + 1.65 * squat],
        [0.22 + 0.25 * squat + 0.10 * reach, 0.26 + 0.20 * squat + 0.10 * reach],
        spread=0.05 - 0.10 * squat + 2.45 * reach,
    )
    for side_name, sign in (("left", 1), ("right", -1)):  # the shoulder girdle follows the arm
        name = f"{side_name}_collar"
        upper[name] = upper[name] @ turn("z", sign * 0.40 * reach)
    for name in ("spine1", "spine2", "spine3"):
        upper[name] = (
            turn("x", 0.05 * squat - 0.05 * reach) @ turn("z", 3.0 * sway) @ turn("x", breath)
        )
    upper["neck"] = turn("x", -0.35 * bow * squat - 0.10 * reach)
    upper["head"] = turn("x", -0.25 * bow * squat - 0.10 * reach)
    return assemble(skeleton, np.column_stack([xy, z]), pelvis, tuple(feet), upper)
