"""Ranges and speeds of joints, kept exactly."""

from __future__ import annotations

import numpy as np


def keep(joints, ranges, speeds, fps):
    """The trajectories nearest to `joints` that keep all ranges and speeds, in single precision.

    joints: (n, A) rad; ranges: (A, 2) rad; speeds: (A,) rad/s. Returns (n, A) float32 that hold
    the limits when compared in single or in double precision, and the largest change, rad.

    Nearest is meant by the largest change of a joint. With s the most a joint may turn from one
    frame to the next, every trajectory y that keeps s lies between its cones:
    max_k (y_k - s |t - k|) = y_t = min_k (y_k + s |t - k|). For any x within the range, the upper
    envelope max_k (x_k - s |t - k|) and the lower one min_k (x_k + s |t - k|) keep s and the range
    themselves, hence so does their mean. They differ by 2 e at most, where x_j - x_k exceeds
    s |j - k| by 2 e; whatever keeps s misses x_j or x_k by e there, as the mean does nowhere by
    more (McShane, Extension of range of functions, 1934). Where x keeps s, the mean is x.
    """
    # float32 values inside the ranges; rounding to nearest cannot leave them
    low, high = ranges.T.astype(np.float32)
    low = np.where(low < ranges[:, 0], np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > ranges[:, 1], np.nextafter(high, np.float32(-np.inf)), high)
    # rounding moves two neighbours apart by one unit at most, and products by two relative ones
    unit = np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(np.float32)).astype(float)
    step = speeds / fps * (1 - 4 * np.finfo(np.float32).eps) - 2 * unit

    joints = np.asarray(joints, float)
    inside = np.clip(joints, low.astype(float), high.astype(float))
    ramp = np.arange(len(joints))[:, None] * step

    def reach(x):
        """max over k <= t of x_k - s (t - k)."""
        return np.maximum.accumulate(x + ramp, axis=0) - ramp

    upper = np.maximum(reach(inside), reach(inside[::-1])[::-1])
    lower = -np.maximum(reach(-inside), reach(-inside[::-1])[::-1])
    # sums with the ramp round; what keeps the limits stays as it is
    kept = np.abs(np.diff(inside, axis=0)) <= step
    mean = np.where(kept.all(axis=0), inside, 0.5 * (upper + lower))
    found = np.clip(mean, low, high).astype(np.float32)
    return found, float(np.abs(found - joints).max(initial=0.0))
