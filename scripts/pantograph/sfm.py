"""Structure from motion for a travelling camera, and the gate that tells good from plausible.

On casual clips incremental SfM often returns a model with sub-pixel reprojection errors whose
geometry is wrong: with little parallax, depth and turning are hard to tell apart. Reprojection,
number of points and registered frames do not show it; the triangulation angle does.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from . import camera, ground

FRAMES = (32, 64)
"""Fewest and most frames that SfM works on; the others are placed afterwards."""

FEATURES = 2500

FOCAL_RANGE = (0.75, 1.3)
"""How far the refined focal length may be from the prior, as a factor."""


@dataclass
class Model:
    """A reconstruction; lengths in its own unit, px of the working picture."""

    frames: np.ndarray
    """Registered frames of the clip, (R,)."""
    cam2world: np.ndarray
    """(R, 4, 4)."""
    focal: float
    points: np.ndarray
    """(N, 3)."""
    colors: np.ndarray
    """(N, 3) uint8."""
    angles: np.ndarray
    """Largest triangulation angle of each point, rad, (N,)."""
    observations: list = field(default_factory=list)
    """Per registered frame: pixels (n, 2) with pixel centres at 0.5, and indices of points (n,)."""
    reprojection: float = 0.0
    """Mean reprojection error, px."""
    chosen: int = 0
    """Frames that SfM was given."""
    source: object = None
    """pycolmap's reconstruction."""


@dataclass
class Gate:
    """What a reconstruction must reach to be used."""

    angle_deg: float = 5.0
    """Median over the points of the largest triangulation angle."""
    registered: float = 0.8
    """Part of the frames that have a pose."""
    points: int = 500
    roll_deg: float = 20.0
    """Tilt of the ground against the axis of upright people, seen along the viewing ray."""
    pitch_deg: float = 35.0
    """Tilt of the ground against the axis of upright people altogether."""

    def judge(self, stats):
        """Why the reconstruction is refused, from the stats of `describe`; "" where it is not."""
        if stats["sfm_registered_fraction"] < self.registered:
            part = f"{100 * stats['sfm_registered_fraction']:.0f} %"
            return f"{part} of the frames registered, expected {100 * self.registered:.0f} %"
        if stats["sfm_points"] < self.points:
            return f"{stats['sfm_points']} points, expected {self.points}"
        if not stats["sfm_triangulation_angle_deg"] >= self.angle_deg:
            return (
                f"median triangulation angle {stats['sfm_triangulation_angle_deg']:.1f} deg, "
                f"expected {self.angle_deg:g}: too little parallax for reliable depth"
            )
        roll, tilt = stats.get("ground_roll_deg"), stats.get("ground_tilt_deg")
        if roll is not None and (roll > self.roll_deg or tilt > self.pitch_deg):
            return (
                f"the ground is tilted by {tilt:.0f} deg against upright people "
                f"({roll:.0f} deg sideways), expected at most {self.pitch_deg:g} "
                f"({self.roll_deg:g})"
            )
        return ""


def choose_frames(count):
    """Evenly spread frames for SfM, every tenth within `FRAMES`, with the first and the last."""
    wanted = int(np.clip(count / 10, *FRAMES))
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(int))


def reconstruct(pictures, masks, intrinsics, chosen):
    """Incremental SfM with pycolmap: a `Model`, or None where there is none.

    pictures: RGB images (h, w, 3) of the frames `chosen` (n,); masks: their backgrounds (h, w),
    255 where features may lie; intrinsics: (3, 3), px; the focal length stays as it is. Runs on
    one thread with fixed seeds: the result repeats.
    """
    import pycolmap

    pycolmap.logging.minloglevel = 3
    pycolmap.set_random_seed(0)
    height, width = pictures[0].shape[:2]
    focal = float(intrinsics[0, 0])
    with tempfile.TemporaryDirectory(prefix="sfm") as folder:
        folder = Path(folder)
        for part in ("images", "masks", "model"):
            (folder / part).mkdir()
        names = [f"{frame:06d}.png" for frame in chosen]
        for name, picture, mask in zip(names, pictures, masks, strict=True):
            cv2.imwrite(str(folder / "images" / name), picture[:, :, ::-1])
            cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = "SIMPLE_PINHOLE"
        reader.camera_params = f"{focal},{width / 2},{height / 2}"
        reader.mask_path = folder / "masks"
        extraction = pycolmap.FeatureExtractionOptions()
        extraction.use_gpu = False
        extraction.num_threads = 1
        extraction.sift.max_num_features = FEATURES
        # half the cost of the default, which doubles the picture first
        extraction.sift.first_octave = 0
        extraction.sift.peak_threshold = 0.004
        database = folder / "database.db"
        pycolmap.extract_features(
            database,
            folder / "images",
            image_names=names,
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader,
            extraction_options=extraction,
            device=pycolmap.Device.cpu,
        )
        matching = pycolmap.FeatureMatchingOptions()
        matching.use_gpu = False
        matching.num_threads = 1
        pairing = pycolmap.SequentialPairingOptions()
        pairing.overlap = 8
        pairing.quadratic_overlap = True
        verification = pycolmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = 0
        pycolmap.match_sequential(
            database,
            matching_options=matching,
            pairing_options=pairing,
            verification_options=verification,
            device=pycolmap.Device.cpu,
        )
        models = pycolmap.incremental_mapping(
            database, folder / "images", folder / "model", options=_mapping_options(pycolmap)
        )
        if not models:
            return None
        best = max(models.values(), key=lambda m: (m.num_reg_images(), m.num_points3D()))
        return _model(best, len(chosen))


def _mapping_options(pycolmap):
    """Options for hand-held clips.

    The default minimum angles (16 deg to start, 1.5 deg to keep) delete most points of such
    clips; they are kept here and left to the gate.
    """
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1
    options.random_seed = 0
    options.multiple_models = False
    options.ba_refine_focal_length = False
    options.ba_refine_extra_params = False
    options.ba_global_max_num_iterations = 30
    options.ba_global_max_refinements = 2
    options.ba_local_max_num_iterations = 20
    options.mapper.random_seed = 0
    options.mapper.num_threads = 1
    options.mapper.abs_pose_refine_focal_length = False
    options.mapper.abs_pose_refine_extra_params = False
    options.mapper.init_min_tri_angle = 4.0
    options.mapper.filter_min_tri_angle = 1.0
    options.mapper.ba_local_min_tri_angle = 2.0
    options.triangulation.min_angle = 1.0
    options.triangulation.random_seed = 0
    return options


def refine_focal(model):
    """The same `Model` with cameras, points and focal length adjusted together.

    Returns the given one where the focal length leaves `FOCAL_RANGE` around its prior.
    """
    import pycolmap

    content = model.source
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_extra_params = False
    options.print_summary = False
    options.ceres.solver_options.max_num_iterations = 50
    options.ceres.solver_options.num_threads = 1
    config = pycolmap.BundleAdjustmentConfig()
    registered = [i for i in sorted(content.images) if content.image(i).has_pose]
    for image in registered:
        config.add_image(image)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_bundle_adjuster(options, config, content).solve()
    factor = next(iter(content.cameras.values())).params[0] / model.focal
    if not FOCAL_RANGE[0] <= factor <= FOCAL_RANGE[1]:
        return model
    content.update_point_3d_errors()
    return _model(content, model.chosen)


def _model(model, chosen):
    """A `Model` from pycolmap's reconstruction."""
    images = sorted((i for i in model.images.values() if i.has_pose), key=lambda i: i.name)
    cam2world = np.tile(np.eye(4), (len(images), 1, 1))
    for k, image in enumerate(images):
        cam2world[k, :3] = image.cam_from_world().inverse().matrix()
    centre = {image.image_id: cam2world[k, :3, 3] for k, image in enumerate(images)}
    ids = sorted(model.points3D)
    order = {point_id: k for k, point_id in enumerate(ids)}
    points = np.array([model.points3D[i].xyz for i in ids]).reshape(-1, 3)
    colors = np.array([model.points3D[i].color for i in ids], np.uint8).reshape(-1, 3)
    angles = np.zeros(len(ids))
    for k, i in enumerate(ids):
        views = np.array([centre[e.image_id] for e in model.points3D[i].track.elements])
        views = (views - points[k]) / np.linalg.norm(views - points[k], axis=1, keepdims=True)
        angles[k] = np.arccos(np.clip((views @ views.T).min(), -1, 1))
    observations = []
    for image in images:
        seen = [(p.xy, order[p.point3D_id]) for p in image.points2D if p.has_point3D()]
        xy = np.array([s[0] for s in seen]).reshape(-1, 2)
        observations.append((xy, np.array([s[1] for s in seen], int)))
    return Model(
        frames=np.array([int(Path(image.name).stem) for image in images]),
        cam2world=cam2world,
        focal=float(next(iter(model.cameras.values())).params[0]),
        points=points,
        colors=colors,
        angles=angles,
        observations=observations,
        reprojection=float(model.compute_mean_reprojection_error()) if ids else 0.0,
        chosen=chosen,
        source=model,
    )


def describe(model, people, size, scale):
    """Numbers of a model, as `Gate.judge` reads them.

    people: `People`; size: (width, height) of the working picture; scale: its px over those of
    the video. The ground's tilt is left out where no ground or nobody upright is seen.
    """
    stats = {
        "sfm_registered_fraction": round(len(model.frames) / model.chosen, 3),
        "sfm_points": len(model.points),
        "sfm_reprojection_px": round(model.reprojection, 3),
        "sfm_triangulation_angle_deg": round(
            float(np.degrees(np.median(model.angles))) if len(model.angles) else 0.0, 2
        ),
        "sfm_focal_over_long_side": round(model.focal / max(size), 4),
    }
    intrinsics = camera.intrinsics_matrix(model.focal, *size)
    uprights, near = [], set()
    for k, frame in enumerate(model.frames):
        xy, index = model.observations[k]
        for pid, track in people.people.items():
            if not track.visible[frame]:
                continue
            x0, y0, x1, y1 = track.boxes[frame] * scale
            if y1 < size[1] - 2:
                reach = y1 - y0
                below = (xy[:, 1] > y1 - 0.1 * reach) & (np.abs(xy[:, 0] - (x0 + x1) / 2) < reach)
                near.update(index[below].tolist())
            axis = ground.mask_axis(people, pid, frame, size)
            if axis is not None:
                uprights.append((k, camera.rays(axis, intrinsics)))
    if not uprights:
        return stats
    ups, sides = [], []
    for k, (top, bottom) in uprights:
        middle = (top + bottom) / np.linalg.norm(top + bottom)
        up = top - bottom - ((top - bottom) @ middle) * middle
        side = np.cross(bottom, top)
        turned = model.cam2world[k, :3, :3]
        ups.append(turned @ up / np.linalg.norm(up))
        sides.append(turned @ side / np.linalg.norm(side))
    plane = _floor(model, sorted(near), np.median(ups, axis=0))
    if plane is None:
        return stats
    rolls = np.arcsin(np.abs(np.array(sides) @ plane.normal))
    tilts = np.arccos(np.clip(np.array(ups) @ plane.normal, -1, 1))
    stats["ground_roll_deg"] = round(float(np.degrees(np.median(rolls))), 1)
    stats["ground_tilt_deg"] = round(float(np.degrees(np.median(tilts))), 1)
    return stats


def _floor(model, near, up):
    """The plane below people among the points `near` them, or None.

    The front of furniture may hold more points than the floor, so a plane across `up` (3,) is
    taken unless another one has more than twice its points.
    """
    viewers = model.cam2world[:, :3, 3]
    level = ground.fit_plane(model.points[near], viewers, up=up / np.linalg.norm(up))
    other = ground.fit_plane(model.points[near], viewers)
    if level is None or (other is not None and other.inliers.sum() > 2 * level.inliers.sum()):
        return other
    return level


def place_frames(model, pictures, masks, size, turns):
    """Poses (T, 4, 4) of all frames in the model's axes and unit, and how many were tracked.

    pictures: iterable of all T gray images; masks: function from a frame index to its background
    (h, w); turns: rotations (T, 3, 3) that the background alone suggests. Frames between
    registered ones start from interpolated poses; the points seen in the nearest registered
    frames are tracked into them, and the pose that explains the tracks best is found near that
    start. A frame in which too few tracks agree keeps the start.
    """
    intrinsics = camera.intrinsics_matrix(model.focal, *size)
    guess = _interpolate(model.frames, model.cam2world, turns)
    half = np.array([0.5, 0.5])
    ahead = []
    behind = None
    out = guess.copy()
    registered = {int(frame): k for k, frame in enumerate(model.frames)}
    tracked = len(registered)

    def place(index, gray, views):
        points, pixels = [], []
        mask = masks(index)
        for key_gray, k in views:
            xy, ids = model.observations[k]
            start = camera.project(camera.to_camera(guess[index], model.points[ids]), intrinsics)
            usable = np.isfinite(start).all(1)
            start = np.where(usable[:, None], start, -1e3) - half
            end, good = camera.match(key_gray, gray, xy - half, start, mask)
            good &= usable
            points.append(model.points[ids[good]])
            pixels.append(end[good] + half)
        pose = refine_pose(guess[index], np.concatenate(points), np.concatenate(pixels), intrinsics)
        if pose is not None:
            out[index] = pose
        return pose is not None

    for index, gray in enumerate(pictures):
        if index not in registered:
            ahead.append((index, gray))
            continue
        here = (gray, registered[index])
        views = [view for view in (behind, here) if view is not None]
        tracked += sum(place(*waiting, views) for waiting in ahead)
        ahead, behind = [], here
    tracked += sum(place(*waiting, [behind]) for waiting in ahead)
    return out, tracked


def _interpolate(frames, cam2world, turns):
    """Poses of all frames between those of `frames`; constant beyond the first and last one.

    What is interpolated of the rotation is its difference to `turns`, so that shake remains.
    """
    count = len(turns)
    if len(frames) == 1:
        return np.tile(cam2world[0], (count, 1, 1))
    ticks = np.clip(np.arange(count), frames[0], frames[-1])
    rest = Rotation.from_matrix(cam2world[:, :3, :3] @ np.swapaxes(turns[frames], 1, 2))
    rotations = Slerp(frames, rest)(ticks).as_matrix() @ turns
    centres = np.stack([np.interp(ticks, frames, cam2world[:, i, 3]) for i in range(3)], -1)
    return camera.poses(rotations, centres)


def refine_pose(cam2world, points, pixels, intrinsics, rounds=12, sigma=1.0):
    """The pose near `cam2world` (4, 4) that projects points (N, 3) to pixels (N, 2).

    Gauss-Newton with Cauchy weights, of the errors' own scale at first and of `sigma` px in the
    end. None where fewer than 20 points agree.
    """
    pose = cam2world.copy()
    focal = intrinsics[0, 0]
    for _ in range(rounds):
        local = camera.to_camera(pose, points)
        front = local[:, 2] > 1e-6
        if front.sum() < 20:
            return None
        error = np.where(front[:, None], camera.project(local, intrinsics) - pixels, 0.0)
        distance = np.linalg.norm(error, axis=1)
        scale = max(sigma, np.median(distance[front]))
        weights = front / (1 + (distance / scale) ** 2)
        x, y, z = np.where(front[:, None], local, 1.0).T
        zero = np.zeros_like(z)
        slope = np.stack(
            [
                np.stack([focal / z, zero, -focal * x / z**2], -1),
                np.stack([zero, focal / z, -focal * y / z**2], -1),
            ],
            1,
        )
        # a turn d and a shift v of the camera in its own axes: local' = local - d x local - v
        cross = np.zeros((len(local), 3, 3))
        cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -z, y, -x
        cross -= np.swapaxes(cross, 1, 2)
        jacobian = slope @ np.concatenate([cross, -np.tile(np.eye(3), (len(local), 1, 1))], 2)
        weighted = jacobian * weights[:, None, None]
        normal = np.einsum("nki,nkj->ij", weighted, jacobian)
        step = -np.linalg.lstsq(normal, np.einsum("nki,nk->i", weighted, error), rcond=None)[0]
        pose[:3, 3] += pose[:3, :3] @ step[3:]
        pose[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec(step[:3]).as_matrix()
        if np.abs(step[:3]).max() < 1e-7:
            break
    error = camera.project(camera.to_camera(pose, points), intrinsics) - pixels
    agree = np.linalg.norm(error, axis=1) < 3 * sigma
    return pose if agree.sum() >= 20 else None
