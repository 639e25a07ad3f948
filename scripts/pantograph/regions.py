"""Where a pose model looks: crops around people, smooth over time.

A crop that shakes makes the landmarks shake.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

SIGMA = {"centre": 1.0, "side": 4.0, "rotation": 2.0}
"""Smoothing over time, frames at 30 per second."""


def person_regions(person, fps):
    """Crop regions (T, 4) of a PersonTrack: centre x, y and side, px of the video, and rad.

    Those that `segment` gave, smoothed; where it gave none, squares around the boxes.
    """
    regions = person.regions
    if regions is None:
        low, high = person.boxes[:, :2], person.boxes[:, 2:]
        side = 1.25 * (high - low).max(1, keepdims=True)
        regions = np.concatenate([(low + high) / 2, side, np.zeros_like(side)], 1)
    return smooth_regions(regions, person.visible, fps)


def person_boxes(person, fps):
    """Boxes (T, 4) of a PersonTrack, smoothed: x0 y0 x1 y1, px of the video."""
    low, high = person.boxes[:, :2], person.boxes[:, 2:]
    centre, size = (low + high) / 2, high - low
    none = np.zeros((len(size), 1))
    width, height = (
        smooth_regions(np.concatenate([centre, size[:, [i]], none], 1), person.visible, fps)
        for i in range(2)
    )
    half = np.stack([width[:, 2], height[:, 2]], 1) / 2
    return np.concatenate([width[:, :2] - half, width[:, :2] + half], 1)


def smooth_regions(regions, visible, fps):
    """Smooth crop regions (T, 4) over time within the frames where the person is visible."""
    regions = np.array(regions, np.float64)
    frames_seen = np.flatnonzero(visible)
    if len(frames_seen) == 0:
        return regions
    breaks = np.flatnonzero(np.diff(frames_seen) > 1) + 1
    for run in np.split(frames_seen, breaks):
        sigma = {name: value * fps / 30 for name, value in SIGMA.items()}
        part = regions[run]
        rotation = np.unwrap(part[:, 3])
        regions[run, :2] = gaussian_filter1d(part[:, :2], sigma["centre"], 0, mode="nearest")
        side = gaussian_filter1d(np.log(part[:, 2]), sigma["side"], mode="nearest")
        regions[run, 2] = np.exp(side)
        regions[run, 3] = gaussian_filter1d(rotation, sigma["rotation"], mode="nearest")
    return regions
