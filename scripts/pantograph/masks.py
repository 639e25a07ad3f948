"""People as masks: the tracks that `segment` writes, and the choice of whom to keep."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .contracts import PersonTrack, pack_mask


@dataclass(frozen=True)
class Size:
    """How much of a clip a person fills."""

    area: float
    """Average mask area over the clip, px."""
    frames: int
    """In how many frames the person was found."""
    height: float = math.inf
    """Stature in the picture, px."""


def choose(sizes, fps, min_seconds=0.5, min_height=0.0, bystander=0.0, limit=0):
    """Choose the people to keep.

    sizes: a Size for each; min_seconds: shortest time in view; min_height: least height, px;
    bystander: least height over that of the tallest person kept; limit: how many to keep, 0 for
    all. Returns the indices of those kept, by average mask area, largest first, and (index,
    reason) of the others.
    """
    order = sorted(range(len(sizes)), key=lambda i: -sizes[i].area)
    tallest = max((s.height for s in sizes if s.frames >= min_seconds * fps), default=0.0)
    kept, dropped = [], []
    for i in order:
        size = sizes[i]
        if size.frames < min_seconds * fps:
            expected = math.ceil(min_seconds * fps)
            reason = f"seen in {size.frames} frames, expected {expected} or more"
        elif size.height < min_height:
            reason = f"{size.height:.0f} px tall at working size, expected {min_height:.0f}"
        elif size.height < bystander * tallest:
            reason = f"bystander: {size.height / tallest:.2f} of the tallest person's height"
        elif limit and len(kept) >= limit:
            reason = f"only the {limit} largest people are kept"
        else:
            kept.append(i)
            continue
        dropped.append((i, reason))
    return kept, dropped


def empty_track(count, shape, regions=False):
    """A PersonTrack of `count` frames with masks of `shape` (H, W), visible in none."""
    return PersonTrack(
        visible=np.zeros(count, bool),
        boxes=np.zeros((count, 4), np.float32),
        score=np.zeros(count, np.float32),
        masks=np.zeros((count, shape[0], (shape[1] + 7) // 8), np.uint8),
        regions=np.zeros((count, 4), np.float32) if regions else None,
    )


def put(track, frame, mask, score, factor):
    """Enter a mask (H, W), not empty, into a track; factor: (2,) px of the video over its own."""
    track.visible[frame] = True
    track.boxes[frame] = box(mask) * np.tile(factor, 2)
    track.score[frame] = score
    track.masks[frame] = pack_mask(mask)


def box(mask):
    """x0, y0, x1, y1 of the pixels set in a mask (H, W), the far edges exclusive; (4,) float.

    Zeros where none is set.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def iou(a, b):
    """Intersection over union of two masks (H, W); 0 where both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 0.0
