"""Colours of skin, hair and clothes, painted on the body's rest pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..conventions import SMPL_JOINTS
from .anatomy import rest_joints, sole_height


@dataclass(frozen=True)
class Outfit:
    """RGB in [0, 1] of what a person wears. stripes: width of the shirt's stripes, m, 0 for none;
    sleeve: how much of the arm the shirt covers, from 0 (shoulder) to 1 (wrist)."""

    shirt: tuple = (0.16, 0.30, 0.62)
    shirt_second: tuple = (0.80, 0.82, 0.85)
    stripes: float = 0.0
    sleeve: float = 0.42
    trousers: tuple = (0.17, 0.16, 0.18)
    shoes: tuple = (0.82, 0.82, 0.80)
    skin: tuple = (0.78, 0.58, 0.46)
    hair: tuple = (0.10, 0.07, 0.05)
    long_hair: bool = False


def paint(outfit, points, owners):
    """Colours (N, 3) of points (N, 3) on the rest surface of the mean built-in body.

    owners (N,): the joint that moves the point most.
    """
    joints = dict(zip(SMPL_JOINTS, rest_joints(), strict=True))
    x, y, z = points.T
    side = np.abs(x)
    colors = np.tile(np.array(outfit.skin), (len(points), 1))

    wrist, shoulder = joints["left_wrist"][0], joints["left_shoulder"][0]
    cuff = shoulder + outfit.sleeve * (wrist - shoulder)
    neckline = joints["neck"][1] - 0.018 - 0.6 * np.maximum(z, 0)
    collar = (side > 0.085) & (y < joints["head"][1] - 0.03)
    trunk = (y > joints["left_hip"][1]) & ((y < neckline) | collar)
    shirt = trunk & (side < cuff)
    cloth = np.tile(np.array(outfit.shirt), (len(points), 1))
    if outfit.stripes:
        band = np.floor(np.where(side > shoulder, side, y) / outfit.stripes) % 2 == 0
        cloth[band] = outfit.shirt_second
    else:  # a row of buttons and a pocket
        cloth[(side < 0.007) & (z > 0)] = outfit.shirt_second
        pocket = (np.abs(x - 0.07) < 0.03) & (np.abs(y - 0.36) < 0.035) & (z > 0)
        cloth[pocket] = 0.7 * np.array(outfit.shirt)
    colors[shirt] = cloth[shirt]

    waist, ankle = joints["pelvis"][1] + 0.015, joints["left_ankle"][1] + 0.02
    legs = (y < waist) & (y > ankle) & (side < 0.4)
    colors[legs] = outfit.trousers
    colors[(np.abs(y - waist) < 0.014) & (side < 0.4)] = (0.07, 0.05, 0.04)
    feet = y <= ankle
    colors[feet] = outfit.shoes
    colors[feet & (y < sole_height() + 0.018)] = (0.22, 0.21, 0.20)

    head = np.isin(owners, (SMPL_JOINTS.index("head"), SMPL_JOINTS.index("neck")))
    _paint_head(outfit, colors, head, x, y, z - joints["head"][2], joints["head"][1])
    return colors


def _paint_head(outfit, colors, head, x, y, z, base):
    # heights above the head joint and depths before it, m
    up = y - base
    front = head & (z > 0.03)
    side = np.abs(x)
    scalp = head & (
        (up > 0.120 - 0.5 * np.minimum(z, 0.02)) | ((z < 0.0) & (up > 0.005)) & (side < 0.083)
    )
    if outfit.long_hair:
        scalp |= head & (z < 0.012) & (up > -0.05)
    colors[scalp & ~(front & (up < 0.100))] = outfit.hair
    eye = np.hypot((side - 0.032) / 1.5, (up - 0.070) / 0.8)
    colors[front & (eye < 0.0105)] = (0.93, 0.93, 0.92)
    colors[front & (np.hypot(side - 0.032, up - 0.070) < 0.0070)] = (0.08, 0.05, 0.04)
    brow = front & (np.abs(up - 0.091 + 0.1 * np.abs(side - 0.034)) < 0.004)
    colors[brow & (np.abs(side - 0.034) < 0.019)] = outfit.hair
    mouth = front & (np.abs(up - 0.004) < 0.0055) & (side < 0.024)
    colors[mouth] = np.array(outfit.skin) * (0.80, 0.50, 0.52)
    nostrils = front & (np.abs(up - 0.030) < 0.003) & (np.abs(side - 0.007) < 0.004)
    colors[nostrils] = np.array(outfit.skin) * 0.55
