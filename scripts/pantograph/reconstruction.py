"""What dense reconstruction methods give for a clip, and the `Scene` made of it.

Such a method works on a picture of its own, stretched or cropped from the video's, and on pixels
whose centres are at whole numbers. Here both are undone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import h5py
import numpy as np

from . import camera, pointfilter, scenes
from .contracts import Scene
from .errors import ContractError, PantographError
from .video import frames, scaled_size

STEEPEST = 20.0
"""Relative change of depth per radian above which a cell lies on an edge: floors have z / h."""

FEWEST_SIGHTS = 2
"""Samples that a cube needs to become a point, in clips of several frames."""

SAMPLED_FRAMES = 60
"""Most frames that points are taken from."""


FEWER_FRAMES = "set a larger stride, or start_frame and end_frame for fewer frames"
"""What helps where the GPU's memory is too small."""


@dataclass
class Window:
    """Where a method's picture lies in the video: px of the video = scale * px + offset.

    Both count pixels from the outer edge of the first one; pixel centres are at +0.5.
    """

    scale: np.ndarray
    """(2,), x and y."""
    offset: np.ndarray
    """(2,), px of the video."""


@dataclass
class Reconstruction:
    """Cameras and depth of T frames in a unit of their own, in px of the method's picture."""

    depth: np.ndarray
    """Distance along the camera's z, (T, h, w)."""
    intrinsics: np.ndarray
    """Camera matrices with pixel centres at whole numbers, (T, 3, 3)."""
    cam2world: np.ndarray
    """OpenCV poses in any world, (T, 4, 4)."""
    window: Window
    confidence: np.ndarray = None
    """Larger is surer, from 1 up, (T, h, w); None where the method has none."""


def check_memory(method, video, size, gb_per_frame, limit_gb=0.0):
    """Raise PantographError where the GPU's memory cannot hold a clip; return the GB it needs.

    size: (width, height) of the method's picture; gb_per_frame: at 512 x 288 px, in proportion to
    the pixels; limit_gb: how much may be used, 0 for what is free now.
    """
    import torch

    if not torch.cuda.is_available():
        raise PantographError(
            f"{method}: expected a CUDA GPU, found none that PyTorch can use; "
            "`pantograph doctor` says what is missing"
        )
    free = limit_gb or torch.cuda.mem_get_info()[0] / 1e9
    each = gb_per_frame * size[0] * size[1] / (512 * 288)
    need = each * video.frame_count
    if need > free:
        most = max(1, int(free / each))
        stride = video.parameters.get("stride", 1) * -(-video.frame_count // most)
        raise PantographError(
            f"{method}: {video.frame_count} frames of {size[0]} x {size[1]} px need about "
            f"{need:.1f} GB of GPU memory, found {free:.1f} GB free; set stride {stride}, or "
            f"start_frame and end_frame for at most {most} frames"
        )
    return need


def stretched(video_size, size):
    """The `Window` of a picture (width, height) that shows the whole video (width, height)."""
    return Window(np.array(video_size, float) / np.array(size, float), np.zeros(2))


def cropped(video_size, affine, given_size):
    """The `Window` of a picture cut out of a given one.

    affine: (2, 3), from px of the picture to px of the given one, which shows the whole video at
    given_size (width, height).
    """
    whole = np.array(video_size, float) / np.array(given_size, float)
    return Window(whole * np.diag(affine[:, :2]), whole * np.asarray(affine)[:, 2])


def video_intrinsics(intrinsics, window):
    """Camera matrices (T, 3, 3), px of the video with pixel centres at +0.5.

    intrinsics: (T, 3, 3), px of the window's picture with pixel centres at whole numbers.
    """
    out = np.array(intrinsics, float)
    out[:, 0] *= window.scale[0]
    out[:, 1] *= window.scale[1]
    out[:, :2, 2] += 0.5 * window.scale + window.offset
    return out


def whole_picture(maps, window, video_size):
    """Maps (T, h, w) with zeros added where the method's picture leaves out some of the video's.

    The result has cells of the same size and covers the video's picture, (width, height).
    """
    before = np.rint(window.offset / window.scale).astype(int)
    full = np.rint(np.array(video_size) / window.scale).astype(int)
    height, width = maps.shape[1:]
    after = full - before - (width, height)
    if (before < 0).any() or (after < 0).any():
        raise ContractError(
            f"expected a picture inside that of the video ({full[0]} x {full[1]} cells), found "
            f"{width} x {height} cells from {before[0]}, {before[1]}"
        )
    return np.pad(maps, ((0, 0), (before[1], after[1]), (before[0], after[0])))


def read_h5(path, video, kind):
    """The `Reconstruction` in a HDF5 file in VideoMimic's layout of its first stage.

    kind: "megasam" or "align3r". Group `monst3r_ga_output` holds one group per frame, in the
    order of their names. MegaSam stretches the whole picture, and the file's affine matrix is
    that of another crop: it is not used. Align3r's matrix holds.
    Raises ContractError where the file holds something else or another number of frames.
    """
    try:
        with h5py.File(path, "r") as h5:
            groups = h5["monst3r_ga_output"]
            names = sorted(groups)
            arrays = {
                key: np.stack([groups[name][key][...] for name in names])
                for key in ("depths", "intrinsic", "cam2world")
            }
            confidence = None
            if kind == "align3r":
                confidence = np.stack([groups[name]["conf"][...] for name in names])
                affine = groups[names[0]]["affine_matrix"][...]
    except (OSError, KeyError, ValueError) as error:
        raise ContractError(
            f"{path}: expected monst3r_ga_output/<frame>/depths, intrinsic and cam2world ({error})"
        ) from error
    if len(names) != video.frame_count:
        raise ContractError(f"{path}: expected {video.frame_count} frames, found {len(names)}")
    size, shape = (video.width, video.height), arrays["depths"].shape
    window = stretched(size, shape[:0:-1])
    if kind == "align3r":
        window = cropped(size, affine, size)
    return Reconstruction(
        depth=arrays["depths"],
        intrinsics=arrays["intrinsic"],
        cam2world=arrays["cam2world"],
        window=window,
        confidence=confidence,
    )


def sureness(confidence):
    """Confidence c in [1, inf) as DUSt3R's networks give it, mapped to 1 - 1 / c in [0, 1)."""
    return 1.0 - 1.0 / np.maximum(np.asarray(confidence, np.float32), 1.0)


def to_scene(found, video, people, long_side=640, model="auto", points=100_000, least=0.0):
    """The `Scene` product of a `Reconstruction`.

    long_side: working size, px, of the test whether the camera moves; model: "auto", "static",
    "rotation" or "sfm"; points: most of them; least: confidence in [0, 1] that points need.

    Whether the camera travels is judged by the background's motion in the pictures, as these
    methods let every camera drift. A camera that does not travel keeps the depth, but has no
    points: their unit could not be tied to that of the people.
    """
    size = (video.width, video.height)
    intrinsics = video_intrinsics(found.intrinsics, found.window)
    depth = whole_picture(np.nan_to_num(np.float32(found.depth), posinf=0.0), found.window, size)
    depth = np.clip(depth, 0, np.finfo(np.float16).max).astype(np.float16)
    confidence = None
    if found.confidence is not None:
        confidence = whole_picture(sureness(found.confidence), found.window, size)
        confidence = confidence.astype(np.float16)
    poses = np.linalg.inv(np.float64(found.cam2world[0])) @ np.float64(found.cam2world)
    poses[0] = np.eye(4)
    scene = Scene(
        metric=False,
        intrinsics=intrinsics,
        cam2world=poses,
        points=np.zeros((0, 3)),
        colors=np.zeros((0, 3), np.uint8),
        depth=depth,
        depth_confidence=confidence,
    )
    scene.stats["focal_over_long_side"] = round(float(intrinsics[:, 0, 0].mean()) / max(size), 4)
    scene.stats["depth_median"] = round(float(np.median(depth[depth > 0])), 4)
    turns = _judge(scene, video, people, intrinsics[0], long_side, model)
    if scene.camera_model == "sfm":
        scene.points, scene.colors = static_points(scene, video, people, points, least)
        centres = poses[:, :3, 3]
        reach = float(np.linalg.norm(centres - centres[0], axis=1).max())
        scene.stats["path_over_depth"] = round(reach / scene.stats["depth_median"], 4)
    else:
        scene.cam2world = camera.poses(turns)
    scene.stats["points"] = len(scene.points)
    return scene


def _judge(scene, video, people, intrinsics, long_side, model):
    """Set the camera model; the rotations (T, 3, 3) that the background suggests."""
    still = np.tile(np.eye(3), (video.frame_count, 1, 1))
    scene.camera_model = model
    if model in ("static", "sfm"):
        return still
    size = scaled_size(video.width, video.height, long_side)
    working = intrinsics * np.array([size[0] / video.width, size[1] / video.height, 1.0])[:, None]
    motion = camera.follow(
        scenes.gray_frames(video, long_side),
        lambda index: camera.background(people, index, size),
        working,
    )
    scene.stats.update(scenes.describe_motion(motion, size[0] / video.width))
    moves, travels = scenes.judge_motion(motion)
    if model == "auto":
        scene.camera_model = "sfm" if travels else "rotation" if moves else "static"
    return motion.rotations if scene.camera_model == "rotation" else still


def static_points(scene, video, people, most, least=0.0):
    """Points (N, 3) of the world that no person covers, and their colours (N, 3) uint8.

    One mean per cube, so that there are `most` points at most. Cells on edges, near people,
    without depth or with a confidence below `least` are left out.
    """
    size = (video.width, video.height)
    count = video.frame_count
    step = max(1, -(-count // SAMPLED_FRAMES))
    shape = scene.depth.shape[1:]
    found, shades = [], []
    for index, picture in frames(video, max(shape)):
        if index % step:
            continue
        depth = np.float32(scene.depth[index])
        intrinsics = pointfilter.cell_intrinsics(scene.intrinsics[index], size, shape)
        steep = pointfilter.slope(depth, intrinsics)
        good = (depth > 0) & (steep < STEEPEST * depth)
        good &= ~pointfilter.grow(pointfilter.person_mask(people, index, shape), 10)
        if scene.depth_confidence is not None:
            good &= scene.depth_confidence[index] >= least
        picture = cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA)
        local = pointfilter.backproject(depth, intrinsics)[good]
        found.append(np.float32(camera.to_world(np.float64(scene.cam2world[index]), local)))
        shades.append(picture[good])
    found, shades = np.concatenate(found), np.concatenate(shades)
    if len(found) == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    # about a cell's width at the median distance
    voxel = 2.0 * float(np.median(scene.depth[::step])) / (scene.intrinsics[0, 0, 0] / size[0])
    voxel /= shape[1]
    firm = pointfilter.dense(found, voxel, FEWEST_SIGHTS if count > step else 1)
    if not firm.any():
        return np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    found, shades = pointfilter.bounded(found[firm], most, voxel, shades[firm])
    return np.float32(found), np.rint(shades).astype(np.uint8)


def write_pictures(video, people, folder, long_side, masks=False):
    """Write the clip as <folder>/00001.jpg and so on; masks: and where people are, as npz.

    Returns the paths of the pictures and those of the masks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures, covers = [], []
    for index, rgb in frames(video, long_side):
        pictures.append(str(folder / f"{index + 1:05d}.jpg"))
        cv2.imwrite(pictures[-1], rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
        if masks:
            covers.append(str(folder / f"mask_{index + 1:05d}.npz"))
            mask = pointfilter.person_mask(people, index, rgb.shape[:2])
            np.savez_compressed(covers[-1], mask=mask.astype(np.uint8))
    return pictures, covers
