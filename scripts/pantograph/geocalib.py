"""Which way is up, seen by GeoCalib in several frames of a clip.

Veicht et al., "GeoCalib: Learning Single-image Calibration with Geometric Optimization", ECCV 2024.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from . import foreign, gpu
from .errors import Rejected
from .video import read_frame

PICTURE = 640
"""Long side, px, of the pictures handed over; the network works on a short side of 320 px."""

LEAST_SIGMA = np.radians(0.5)
"""Uncertainty below which a frame's own is not believed."""

OUTLIER = 3.0
"""A frame is left out beyond this many times the spread of all frames."""


@dataclass
class Estimate:
    """What GeoCalib says about one frame."""

    frame: int
    roll: float
    """rad; positive where the camera's right side is lower."""
    pitch: float
    """rad; positive where the camera looks up."""
    sigma: float
    """Uncertainty of the up direction, rad."""
    focal: float
    """px of the video."""


def up_in_camera(roll, pitch):
    """Up directions (..., 3) in the camera's axes (x right, y down, z ahead).

    (-sin r cos p, -cos r cos p, sin p), as `Gravity.from_rp` in geocalib/gravity.py of
    cvg/GeoCalib has it.
    """
    roll, pitch = np.asarray(roll, float), np.asarray(pitch, float)
    level = np.cos(pitch)
    return np.stack([-np.sin(roll) * level, -np.cos(roll) * level, np.sin(pitch)], -1)


def choose_frames(count, number):
    """`number` frames of a clip of `count`, spread evenly, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, max(number, 1))).round().astype(int))


@functools.lru_cache(maxsize=1)
def load(weights, repository, device):
    """GeoCalib's network on a device, from its weights' file."""
    gpu.stay_offline()
    network = foreign.module("geocalib", repository).GeoCalib(weights=weights)
    return network.to(gpu.device(device)).eval()


def look(video, intrinsics, network, frames, device, known_focal=False):
    """An `Estimate` for each of `frames`.

    intrinsics: (T, 3, 3), px of the video; known_focal: take the focal length from them instead
    of estimating it, too.
    """
    import torch

    found = []
    for frame in frames:
        picture = read_frame(video, int(frame), PICTURE)
        scale = picture.shape[0] / video.height
        given = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).float() / 255.0
        priors = None
        if known_focal:
            focal = float(intrinsics[frame, 1, 1]) * scale
            priors = {"focal": torch.tensor(focal).to(gpu.device(device))}
        result = network.calibrate(given.to(gpu.device(device)), priors=priors)
        roll, pitch = result["gravity"].rp.reshape(-1).tolist()
        sigma = float(result["gravity_uncertainty"].reshape(-1)[0])
        focal = float(result["camera"].f.reshape(-1)[-1]) / scale
        found.append(Estimate(int(frame), roll, pitch, sigma, focal))
    return found


def average(estimates, cam2world):
    """The up direction (3,) of the world that a clip's estimates agree on, and stats.

    cam2world: (T, 4, 4). A weighted geometric median first, then the weighted mean of the
    estimates near it; the weights are those of their uncertainty. Raises Rejected where no
    estimate is finite.

    The uncertainty in the stats does not fall with the number of frames as far as it is their
    own: frames of one scene err alike.
    """
    kept = [e for e in estimates if np.isfinite([e.roll, e.pitch, e.sigma]).all()]
    if not kept:
        raise Rejected(f"GeoCalib found no up direction in any of {len(estimates)} frames")
    local = up_in_camera([e.roll for e in kept], [e.pitch for e in kept])
    rotations = np.asarray(cam2world, float)[[e.frame for e in kept], :3, :3]
    ups = np.einsum("nij,nj->ni", rotations, local)
    sigma = np.maximum([e.sigma for e in kept], LEAST_SIGMA)
    weights = 1.0 / sigma**2
    middle = _median(ups, weights)
    apart = _angles(ups, middle)
    spread = max(1.4826 * float(np.median(apart)), LEAST_SIGMA)
    near = apart <= OUTLIER * np.maximum(spread, sigma)
    up = weights[near] @ ups[near]
    up /= np.linalg.norm(up)
    apart = _angles(ups[near], up)
    scatter = float(np.sqrt(np.average(apart**2, weights=weights[near])))
    own = float(np.sqrt(np.average(sigma[near] ** 2, weights=weights[near])))
    total = np.hypot(own, scatter / np.sqrt(near.sum()))
    stats = {
        "geocalib_frames": int(near.sum()),
        "geocalib_outliers": int(len(estimates) - near.sum()),
        "up_spread_deg": round(float(np.degrees(scatter)), 2),
        "up_sigma_deg": round(float(np.degrees(total)), 2),
        "geocalib_focal_px": round(float(np.median([e.focal for e in kept])), 1),
    }
    return up, stats


def _angles(vectors, direction):
    return np.arctan2(np.linalg.norm(np.cross(vectors, direction), axis=-1), vectors @ direction)


def _median(vectors, weights):
    """Weighted geometric median of unit vectors (Weiszfeld, 1937), made a unit vector again."""
    middle = weights @ vectors / weights.sum()
    for _ in range(50):
        pull = weights / np.maximum(np.linalg.norm(vectors - middle, axis=1), 1e-4)
        middle = pull @ vectors / pull.sum()
    return middle / np.linalg.norm(middle)
