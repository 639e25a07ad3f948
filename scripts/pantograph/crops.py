"""Square crops around people, as networks take them.

A crop is a centre (x, y) and a side, both px of the picture; pixel centres are at +0.5, in the
picture and in the crop.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
"""Mean of ImageNet's pictures, RGB in [0, 1]."""
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def squares(boxes, dilate=1.0):
    """Centres (T, 2) and sides (T,) of squares around boxes (T, 4), x0 y0 x1 y1.

    The side is the longer one of the box times `dilate`.
    """
    boxes = np.asarray(boxes, float)
    low, high = boxes[:, :2], boxes[:, 2:]
    return (low + high) / 2, dilate * (high - low).max(1)


def affine(centre, side, size):
    """The map (2, 3) from the picture's pixels to those of a crop of `size` px."""
    scale = size / side
    return np.array(
        [
            [scale, 0.0, size / 2 - scale * centre[0]],
            [0.0, scale, size / 2 - scale * centre[1]],
        ]
    )


def cut(rgb, centre, side, size, within=None):
    """A crop (size, size, 3) uint8 of a picture (H, W, 3) uint8; black outside of it.

    within: box x0 y0 x1 y1 outside of which the crop is black too. A crop that is reduced by a
    factor f is first smoothed with a standard deviation of (f - 1) / 2 px, against aliasing.
    """
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = (0, 0, width, height) if within is None else np.round(within).astype(int)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    reduction = side / size
    sigma = max(0.0, (reduction - 1) / 2)
    margin = math.ceil(3 * sigma) + 2
    left = math.floor(centre[0] - side / 2) - margin
    top = math.floor(centre[1] - side / 2) - margin
    extent = math.ceil(side) + 2 * margin + 1
    part = np.zeros((extent, extent, 3), np.uint8)
    u0, u1 = max(left, x0), min(left + extent, x1)
    v0, v1 = max(top, y0), min(top + extent, y1)
    if u0 < u1 and v0 < v1:
        part[v0 - top : v1 - top, u0 - left : u1 - left] = rgb[v0:v1, u0:u1]
    if sigma > 0:
        part = cv2.GaussianBlur(part, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    matrix = affine((centre[0] - left, centre[1] - top), side, size)
    # OpenCV's pixel centres are at whole numbers
    matrix[:, 2] += 0.5 * matrix[[0, 1], [0, 1]] - 0.5
    return cv2.warpAffine(part, matrix, (size, size), flags=cv2.INTER_LINEAR)


def normalise(crops):
    """Crops (N, S, S, 3) uint8 as a network takes them, float32 (N, 3, S, S).

    (value / 255 - MEAN) / DEVIATION, per channel.
    """
    values = (np.asarray(crops, np.float32) / 255 - MEAN) / DEVIATION
    return np.ascontiguousarray(np.moveaxis(values, -1, 1))
