"""Pinhole cameras: projection, rays, and the rotation of a camera that films from one spot."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve
from scipy.spatial.transform import Rotation

from .conventions import DEFAULT_FOCAL

WINDOW = (17, 17)
"""Lucas-Kanade window for pictures of about 640 px."""

LEVELS = 3
"""Pyramid levels above the picture itself."""

STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 12, 0.02)

MAX_POINTS = 300
MIN_POINTS = 25
"""Fewer tracks than this say nothing about the camera."""


def intrinsics_matrix(focal, width, height):
    """Camera matrix (3, 3) with square pixels and the principal point in the middle, px."""
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])


def prior_intrinsics(video):
    """Camera matrix (3, 3), px of the video: the user's focal length, else `DEFAULT_FOCAL`."""
    focal = video.focal_px or DEFAULT_FOCAL * max(video.width, video.height)
    return intrinsics_matrix(focal, video.width, video.height)


def rays(xy, intrinsics):
    """Unit viewing rays (..., 3) in the camera's axes through pixels xy (..., 2)."""
    xy = np.asarray(xy, float)
    k = np.asarray(intrinsics, float)
    out = np.empty(xy.shape[:-1] + (3,))
    out[..., 0] = (xy[..., 0] - k[..., 0, 2]) / k[..., 0, 0]
    out[..., 1] = (xy[..., 1] - k[..., 1, 2]) / k[..., 1, 1]
    out[..., 2] = 1.0
    return out / np.linalg.norm(out, axis=-1, keepdims=True)


def project(points, intrinsics):
    """Pixels (..., 2) of points (..., 3) in the camera's axes; not finite at or behind it."""
    points = np.asarray(points, float)
    k = np.asarray(intrinsics, float)
    depth = np.where(points[..., 2] > 1e-6, points[..., 2], np.nan)
    x = k[..., 0, 0] * points[..., 0] / depth + k[..., 0, 2]
    y = k[..., 1, 1] * points[..., 1] / depth + k[..., 1, 2]
    return np.stack([x, y], -1)


def to_world(cam2world, points):
    """Points (..., 3) from a camera's axes to the world, cam2world (4, 4)."""
    return np.asarray(points) @ cam2world[:3, :3].T + cam2world[:3, 3]


def to_camera(cam2world, points):
    """Points (..., 3) from the world to a camera's axes, cam2world (4, 4)."""
    return (np.asarray(points) - cam2world[:3, 3]) @ cam2world[:3, :3]


def poses(rotations, centres=None):
    """Camera poses (T, 4, 4) from rotations (T, 3, 3) and centres (T, 3), default the origin."""
    out = np.tile(np.eye(4), (len(rotations), 1, 1))
    out[:, :3, :3] = rotations
    if centres is not None:
        out[:, :3, 3] = centres
    return out


def background(people, frame, size, margin=0.025):
    """Where no person is: uint8 mask (H, W), 255 for background.

    size: (width, height); margin: growth of the people's masks over the long side of `size`.
    """
    width, height = size
    person = np.zeros((people.mask_height, people.mask_width), np.uint8)
    for pid in people.people:
        if people.people[pid].visible[frame]:
            person |= people.mask(pid, frame).astype(np.uint8)
    if not person.any():
        return np.full((height, width), 255, np.uint8)
    person = cv2.resize(person, (width, height), interpolation=cv2.INTER_NEAREST)
    reach = 2 * int(round(margin * max(size))) + 1
    return 255 * (1 - cv2.dilate(person, np.ones((reach, reach), np.uint8)))


def rotation_between(source, target, weights=None):
    """Rotation R (..., 3, 3) that minimises the weighted sum of |R source - target|^2.

    source, target: unit rays (..., N, 3); weights (..., N). Kabsch, "A
    solution for the best rotation to relate two sets of vectors", Acta Cryst. A 32 (1976).
    """
    weighted = target if weights is None else target * weights[..., None]
    u, _, vt = np.linalg.svd(np.swapaxes(weighted, -1, -2) @ source)
    u[..., 2] *= np.linalg.det(u @ vt)[..., None]
    return u @ vt


def robust_rotation(source, target, threshold, rng, rounds=64):
    """Rotation from source to target rays with outliers: (R, inliers) or (None, None).

    threshold: inlier distance between unit rays (about an angle in rad). RANSAC over pairs of
    rays, then weighted fits on the inliers.
    """
    count = len(source)
    if count < MIN_POINTS:
        return None, None
    pairs = np.stack([rng.integers(0, count, rounds), rng.integers(1, count, rounds)], 1)
    pairs[:, 1] = pairs.sum(1) % count
    trials = rotation_between(source[pairs], target[pairs])
    distance = np.linalg.norm(np.einsum("kij,nj->kni", trials, source) - target, axis=2)
    rotation = trials[np.minimum(distance, threshold).sum(1).argmin()]
    for _ in range(6):
        distance = np.linalg.norm(source @ rotation.T - target, axis=1)
        # parallax has no clear border to noise: a scale that follows it keeps the fit steady
        scale = max(threshold / 3, 1.5 * np.median(distance))
        rotation = rotation_between(source, target, 1 / (1 + (distance / scale) ** 2))
    distance = np.linalg.norm(source @ rotation.T - target, axis=1)
    return rotation, distance < threshold


@dataclass
class Keyframe:
    """A frame that later ones are compared with."""

    index: int
    image: np.ndarray
    """Gray picture (h, w)."""
    points: np.ndarray
    """Corners of the background, (N, 2) px with pixel centres at 0 (OpenCV)."""


@dataclass
class Edge:
    """A direct comparison of a frame with a keyframe."""

    key: int
    frame: int
    rotation: np.ndarray
    """From the frame's rays to the keyframe's, (3, 3)."""
    tracks: int
    inliers: float
    """Part of the tracks that the rotation explains within 1.5 px."""
    residual: float
    """Median distance from the rotation's prediction, px of the working picture."""
    displacement: float
    """Median distance between the two positions, px of the working picture."""
    start: np.ndarray
    end: np.ndarray


@dataclass
class Motion:
    """What the background says about the camera; px are of the working picture."""

    rotations: np.ndarray
    """cam2world, first frame identity, (T, 3, 3)."""
    edges: list = field(default_factory=list)
    displacement_px: float = 0.0
    """95th percentile over the frames of the median shift from the first frame."""
    rotation_residual_px: float = 0.0
    """90th percentile over the comparisons of the median residual of a pure rotation."""
    homography_inliers: float = 1.0
    """Part of the widest comparisons' tracks within 1 px of a homography, median."""
    homography_residual_px: float = 0.0
    """90th percentile of the distance from that homography, median over the comparisons."""
    tracks: float = 0.0
    """Median number of tracks per comparison."""
    lost_frames: int = 0
    """Frames without any usable comparison."""


def _corners(gray, mask):
    points = cv2.goodFeaturesToTrack(gray, MAX_POINTS, 0.01, 8, mask=mask)
    return np.zeros((0, 2), np.float32) if points is None else points[:, 0]


def _flow(first, second, points, guess, levels=LEVELS):
    """Points (N, 2) of one gray picture found in another: positions (N, 2) and success (N,)."""
    if len(points) == 0:
        return np.zeros((0, 2), np.float32), np.zeros(0, bool)
    target, found, _ = cv2.calcOpticalFlowPyrLK(
        first,
        second,
        np.float32(points).reshape(-1, 1, 2),
        np.float32(guess).reshape(-1, 1, 2).copy(),
        winSize=WINDOW,
        maxLevel=levels,
        criteria=STOP,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return target[:, 0], found[:, 0] > 0


def match(first, second, points, guess, mask, levels=LEVELS):
    """Points (N, 2) of one gray picture found in another: positions (N, 2) and success (N,).

    guess: where to start, (N, 2). A point counts if it leads back to its start within 0.7 px
    and ends in the picture where mask (H, W) allows it.
    """
    target, good = _flow(first, second, points, guess, levels)
    back, returned = _flow(second, first, target, points, levels)
    good = good & returned & (np.linalg.norm(back - points, axis=1) < 0.7)
    cell = np.nan_to_num(target, nan=-1, posinf=-1, neginf=-1)
    cell = np.clip(np.round(cell), -1, 1e6).astype(int)
    height, width = mask.shape
    inside = (cell >= 0).all(1) & (cell[:, 0] < width) & (cell[:, 1] < height)
    good &= inside
    good[inside] &= mask[cell[inside, 1], cell[inside, 0]] > 0
    return target, good


def follow(pictures, masks, intrinsics):
    """How the camera turns, from the background of each picture: a `Motion`.

    pictures: iterable of T gray images (h, w); masks: function from a frame index to its
    background (h, w), 255 where no person is; intrinsics: (3, 3), px of these pictures.

    Corners of a keyframe are tracked from picture to picture, and each track is measured again
    straight against its keyframe, so that errors do not add up. Frames are also compared with
    older keyframes that show the same part of the scene. The rotations follow from all
    comparisons together.
    """
    rng = np.random.default_rng(0)
    limit = 1.5 / intrinsics[0, 0]
    half = np.array([0.5, 0.5])
    keys, edges, rotations = [], [], []
    active = []
    previous = None
    lost = 0

    def link(first, second, start, end):
        """The edge between two frames with the given tracks (N, 2); None without a rotation."""
        start_rays = rays(start + half, intrinsics)
        rotation, inlier = robust_rotation(rays(end + half, intrinsics), start_rays, limit, rng)
        if rotation is None:
            return None
        moved = project(start_rays @ rotation, intrinsics) - half
        return Edge(
            key=first,
            frame=second,
            rotation=rotation,
            tracks=len(start),
            inliers=float(inlier.mean()),
            residual=float(np.median(np.linalg.norm(moved - end, axis=1))),
            displacement=float(np.median(np.linalg.norm(end - start, axis=1))),
            start=start,
            end=end,
        )

    def predicted(key, rotation):
        """Where `key`'s corners are in a picture with the given rotation, (N, 2) px."""
        turned = rays(key.points + half, intrinsics) @ rotations[key.index].T @ rotation
        moved = project(turned, intrinsics) - half
        return np.where(np.isfinite(moved), moved, -1e3)

    for index, gray in enumerate(pictures):
        mask = masks(index)
        height, width = gray.shape
        if previous is None:
            rotations.append(np.eye(3))
            keys.append(Keyframe(0, gray, _corners(gray, mask)))
            active = [(keys[0], keys[0].points.copy())]
            previous = gray
            continue
        carried = [match(previous, gray, points, points, mask) for _, points in active]
        before = np.concatenate(
            [points[ok] for (_, points), (_, ok) in zip(active, carried, strict=True)]
        )
        after = np.concatenate([moved[ok] for moved, ok in carried])
        step = link(index - 1, index, before, after)
        if step is not None and step.inliers < 0.5:
            # a cut, or a blur that nothing can be followed through
            step = None
        guess = rotations[-1] if step is None else rotations[-1] @ step.rotation
        found = [step] if step is not None else []
        kept = 0.0
        following = []
        for (key, _), (moved, ok) in zip(active, carried, strict=True):
            start = np.where(ok[:, None], moved, predicted(key, guess))
            end, good = match(key.image, gray, key.points, start, mask, levels=1)
            edge = link(key.index, index, key.points[good], end[good])
            if edge is not None and key.index < index - 1:
                found.append(edge)
            kept = good.mean() if edge is not None else 0.0
            following.append((key, np.where(good[:, None], end, start)))
        active = following
        if not found:
            lost += 1
            rotations.append(guess)
        else:
            best = max(found, key=lambda e: e.tracks * e.inliers)
            rotations.append(rotations[best.key] @ best.rotation)
        if kept < 0.6 or index % 10 == 0:
            current = {key.index for key, _ in active}
            shared = []
            for key in keys:
                if key.index not in current and len(key.points) >= MIN_POINTS:
                    start = predicted(key, rotations[-1])
                    inside = ((start > 0) & (start < (width, height))).all(1).mean()
                    shared.append((-inside, key.index, key, start))
            for part, _, key, start in sorted(shared, key=lambda item: item[:2])[:3]:
                if -part > 0.4:
                    end, good = match(key.image, gray, key.points, start, mask)
                    found.append(link(key.index, index, key.points[good], end[good]))
        edges.extend(edge for edge in found if edge is not None)
        if kept < 0.6:
            points = _corners(gray, mask)
            if len(points) >= MIN_POINTS:
                keys.append(Keyframe(index, gray, points))
                active = (active + [(keys[-1], points.copy())])[-2:]
        previous = gray
    solved = average_rotations(np.array(rotations), edges, intrinsics[0, 0])
    motion = Motion(rotations=solved, edges=edges, lost_frames=lost)
    _describe(motion, intrinsics, gray.shape)
    return motion


def average_rotations(initial, edges, focal, rounds=15):
    """Rotations (T, 3, 3), first identity, that agree best with the edges' relative ones.

    initial: (T, 3, 3) cam2world; focal: px. Iterated linear least squares over small turns with
    Cauchy weights (Hartley et al., "Rotation Averaging", IJCV 2013).
    """
    count = len(initial)
    if count < 2:
        return np.tile(np.eye(3), (count, 1, 1))
    rotations = initial.copy()
    # parallax shifts a whole comparison, so its tracks do not average out
    sigma = np.array([max(e.residual, 0.05) / np.sqrt(min(e.tracks, 50)) for e in edges]) / focal
    links = [(e.key, e.frame, e.rotation, 1 / s) for e, s in zip(edges, sigma, strict=True)]
    # equal neighbours, within 5 degrees: only matters where no edge reaches
    links += [(t, t + 1, np.eye(3), 1 / np.radians(5)) for t in range(count - 1)]
    first = np.array([link[0] for link in links])
    second = np.array([link[1] for link in links])
    relative = np.array([link[2] for link in links])
    base = np.array([link[3] for link in links])
    rows = np.arange(len(links))
    for _ in range(rounds):
        error = np.swapaxes(rotations[first], 1, 2) @ rotations[second]
        error = Rotation.from_matrix(np.swapaxes(relative, 1, 2) @ error).as_rotvec()
        weights = base / np.sqrt(1 + (base * np.linalg.norm(error, axis=1) / 2) ** 2)
        # R <- exp(d) R changes error to error + R_second^T (d_second - d_first), to first order
        matrix = sparse.csr_matrix(
            (
                np.concatenate([weights, -weights]),
                (np.concatenate([rows, rows]), np.concatenate([second, first])),
            ),
            shape=(len(links), count),
        )
        world = np.einsum("nij,nj->ni", rotations[second], error)
        normal = (matrix.T @ matrix).tolil()
        normal[0, 0] += 1e12
        change = spsolve(normal.tocsc(), -(matrix.T @ (weights[:, None] * world)))
        rotations = Rotation.from_rotvec(change).as_matrix() @ rotations
        if np.abs(change).max() < 1e-7:
            break
    return rotations[0].T @ rotations


def _describe(motion, intrinsics, shape):
    """Fill in the numbers of a `Motion`."""
    height, width = shape
    grid = np.stack(np.meshgrid(np.linspace(0, width, 7), np.linspace(0, height, 7)), -1)
    grid = grid.reshape(-1, 2)
    seen = rays(grid, intrinsics)
    shifts = []
    for rotation in motion.rotations:
        moved = project(seen @ rotation, intrinsics)
        distance = np.linalg.norm(moved - grid, axis=1)
        shifts.append(np.nanmedian(np.where(np.isfinite(distance), distance, width)))
    motion.displacement_px = float(np.percentile(shifts, 95))
    if not motion.edges:
        return
    wide = [e for e in motion.edges if e.frame - e.key > 1]
    direct = [e.displacement for e in wide if e.key == 0]
    if direct:
        motion.displacement_px = max(motion.displacement_px, float(np.percentile(direct, 95)))
    if not wide:
        return
    motion.rotation_residual_px = float(np.percentile([e.residual for e in wide], 90))
    motion.tracks = float(np.median([e.tracks for e in wide]))
    last = {}
    for edge in wide:
        kept = last.get(edge.key)
        if edge.tracks >= 2 * MIN_POINTS and (
            kept is None or edge.displacement > kept.displacement
        ):
            last[edge.key] = edge
    inliers, residuals = [], []
    for key in sorted(last):
        edge = last[key]
        homography, inlier = cv2.findHomography(edge.start, edge.end, cv2.RANSAC, 1.0)
        if homography is None:
            continue
        moved = cv2.perspectiveTransform(edge.start[:, None], homography)[:, 0]
        inliers.append(inlier.mean())
        residuals.append(np.percentile(np.linalg.norm(moved - edge.end, axis=1), 90))
    if inliers:
        motion.homography_inliers = float(np.median(inliers))
        motion.homography_residual_px = float(np.median(residuals))
