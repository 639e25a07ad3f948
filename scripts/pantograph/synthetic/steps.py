"""Walking over boxes, footfall by footfall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from .motion import Foot, Skeleton, arms, assemble, pelvis_height, smooth_step, turn, upright

CLEARANCE = 0.02
"""How far a passing sole stays above a box, m."""


@dataclass
class Stance:
    """A foot that stands from `start` to `end` s: ball at (x, y), sole at `height` m, heading."""

    start: float
    end: float
    place: tuple
    height: float
    heading: float


@dataclass
class Climb:
    """A walk up two steps. origin (x, y): middle of the first riser's foot; heading: of the
    climb, rad; rise and tread: height and depth of a step, m; start: when the first foot lifts,
    s; pace: seconds from one foot to the other."""

    origin: tuple
    heading: float
    rise: float = 0.17
    tread: float = 0.36
    start: float = 0.25
    pace: float = 0.58


def support_height(boxes, xy, margin=0.0):
    """Height of the floor or box under points (..., 2), m; boxes are enlarged by `margin` m."""
    height = np.zeros(np.shape(xy)[:-1])
    for box in boxes:
        c, s = np.cos(box.yaw), np.sin(box.yaw)
        local = np.abs((xy - np.asarray(box.place)) @ np.array([[c, -s], [s, c]]))
        inside = (local <= np.asarray(box.size[:2]) / 2 + margin).all(-1)
        height = np.where(inside, np.maximum(height, box.size[2]), height)
    return height


def raise_over(skeleton, foot, swing, boxes):
    """Lift the ball of a `Foot` in its swings until its sole passes above the boxes.

    swing (T,): share of the swing that is over, 0 on the ground. Returns the new (T, 3) ball.
    """
    rotation, toes = foot.rotations()
    half = 0.05
    spots = [
        foot.ball + turned @ np.array([x, -skeleton.ball_height, z])
        for turned, z in ((rotation, skeleton.heel), (rotation, 0.0), (toes, skeleton.toe))
        for x in (-half, half)
    ]
    spots = np.stack(spots, 1)
    bump = smooth_step(swing / 0.4) * smooth_step((1 - swing) / 0.4)
    need = support_height(boxes, spots[..., :2], CLEARANCE) - spots[..., 2]
    need = np.maximum(need.max(1) + CLEARANCE * bump, 0)
    ball = foot.ball.copy()
    edges = np.flatnonzero(np.diff(np.r_[True, foot.contact, True].astype(int)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        part = slice(first, last)
        known = bump[part] > 0.1
        if known.any():
            ball[part, 2] += bump[part] * (need[part][known] / bump[part][known]).max()
    return ball


def stepping_foot(skeleton, times, stances, boxes, toe_off=0.55, rise_time=0.22):
    """A foot that goes from one `Stance` to the next."""
    starts = np.array([s.start for s in stances])
    ends = np.array([s.end for s in stances])
    place = np.array([[*s.place, s.height + skeleton.ball_height] for s in stances])
    yaw = np.array([s.heading for s in stances])
    k = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(stances) - 1)
    contact = times <= ends[k]
    after = np.minimum(k + 1, len(stances) - 1)
    gap = np.where(after > k, starts[after] - ends[k], 1.0)
    swing = np.where(contact, 0.0, np.clip((times - ends[k]) / gap, 0, 1))
    rises = np.where(after > k, smooth_step(1 - (ends[k] - times) / rise_time), 0.0)
    down = PchipInterpolator([0, 0.35, 0.75, 1], [toe_off, 0.5 * toe_off, 0, 0])
    pitch = np.where(contact, toe_off * rises, down(swing))
    toes = np.where(contact, 0.0, pitch * smooth_step(swing / 0.45))
    u = smooth_step(swing)
    ball = place[k] + u[:, None] * (place[after] - place[k])
    # up first, then forward
    ball[:, 2] = place[k, 2] + smooth_step(swing / 0.75) * (place[after, 2] - place[k, 2])
    lift = skeleton.lift(pitch, toes) + 0.03 * np.sin(np.pi * swing) ** 2
    ball[:, 2] += np.where(contact, 0.0, lift)
    foot = Foot(ball, yaw[k] + u * (yaw[after] - yaw[k]), pitch, toes, contact)
    foot.ball = raise_over(skeleton, foot, swing, boxes)
    return foot


def treads(plan, width=0.9, platform=1.3):
    """Foot centres (x, y) and sizes (x along the climb, y, z) of the two boxes of a `Climb`."""
    ahead = np.array([np.cos(plan.heading), np.sin(plan.heading)])
    origin = np.asarray(plan.origin)
    return [
        (tuple(origin + plan.tread / 2 * ahead), (plan.tread, width, plan.rise)),
        (
            tuple(origin + (plan.tread + platform / 2) * ahead),
            (platform, width, 2 * plan.rise),
        ),
    ]


def climb(model, betas, times, plan, boxes):
    """A motion at `times` (T,) s up the `treads` of the plan, which are among `boxes`."""
    skeleton = Skeleton(model, betas)
    rate = 1 / (times[1] - times[0])
    ahead = np.array([np.cos(plan.heading), np.sin(plan.heading)])
    side = np.array([-ahead[1], ahead[0]])
    middle = 0.68 * plan.tread
    # where the ball of the left and right foot comes down, along the climb, and on which step
    falls = (
        [(-0.15, 0), (plan.tread + middle, 2), (plan.tread + middle + 0.68, 2)],
        [(-0.50, 0), (middle, 1), (2 * plan.tread + middle, 2), (plan.tread + middle + 0.68, 2)],
    )
    feet = []
    for which, sign, steps in zip((1, 0), (1, -1), falls, strict=True):
        stances, begin = [], -np.inf
        for n, (along, level) in enumerate(steps):
            leave = plan.start + plan.pace * (2 * n + which)
            last = n == len(steps) - 1
            place = np.asarray(plan.origin) + along * ahead
            place = place + sign * 0.45 * skeleton.hip_width * side
            stances.append(
                Stance(
                    begin,
                    np.inf if last else leave,
                    tuple(place),
                    level * plan.rise,
                    plan.heading + sign * 0.08,
                )
            )
            begin = leave + 0.92 * plan.pace
        feet.append(stepping_foot(skeleton, times, stances, boxes))
    return over_feet(skeleton, times, rate, feet, plan.heading)


def over_feet(skeleton, times, rate, feet, heading):
    """A body carried over two feet that climb, with arms that swing against the legs."""
    ahead = np.array([np.cos(heading), np.sin(heading)])
    side = np.array([-ahead[1], ahead[0]])
    balls = np.stack([foot.ball for foot in feet], 1)

    def calm(values, seconds):
        return gaussian_filter1d(values, seconds * rate, axis=0, mode="nearest")

    weight = calm(feet[0].contact.astype(float) - feet[1].contact, 0.10)
    xy = calm(balls[..., :2].mean(1), 0.14)
    xy = xy - (skeleton.offset("left_foot")[2] - 0.03) * ahead + 0.02 * weight[:, None] * side
    apart = calm((balls[:, 0, :2] - balls[:, 1, :2]) @ ahead, 0.08)
    frames = np.arange(len(times))
    ground = [np.interp(frames, frames[f.contact], f.ball[f.contact, 2]) for f in feet]
    ground = np.mean(ground, axis=0) - skeleton.ball_height
    lean = calm(0.05 + 0.3 * np.maximum(np.gradient(calm(ground, 0.15)) * rate, 0), 0.1)
    twist = -0.15 * apart
    pelvis = upright(heading + twist) @ turn("x", lean)
    top = calm(ground, 0.12) - skeleton.sole - 0.015
    z = pelvis_height(skeleton, xy, pelvis, feet, top, rate)
    upper = arms(
        [0.08 - sign * 0.7 * apart for sign in (1, -1)],
        [0.35 - sign * 0.25 * apart for sign in (1, -1)],
        spread=0.06,
    )
    for name in ("spine1", "spine2", "spine3"):
        upper[name] = turn("y", -0.6 * twist) @ turn("x", 0.25 * lean)
    upper["neck"] = turn("x", -0.4 * lean)
    upper["head"] = turn("x", -0.2 * lean)
    return assemble(skeleton, np.column_stack([xy, z]), pelvis, tuple(feet), upper)
