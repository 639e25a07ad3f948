"""Dense reconstructions made into scenes: every frame and every pixel where it belongs."""

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pantograph import align3r, camera, megasam, pointfilter, reconstruction
from pantograph.contracts import People, PersonTrack, Video, pack_mask
from pantograph.errors import ContractError

COUNT = 3
WORLD = np.eye(4)
WORLD[:3, :3] = Rotation.from_euler("xyz", [20, -35, 10], degrees=True).as_matrix()
WORLD[:3, 3] = [0.4, -1.0, 2.0]


def video(width, height, count=COUNT):
    return Video(
        name="clip",
        path="clip.mp4",
        fps=30,
        width=width,
        height=height,
        source_frames=list(range(count)),
        source_times=[k / 30 for k in range(count)],
    )


def people(width, height, count=COUNT, box=None):
    mask = np.zeros((height // 4, width // 4), bool)
    if box is not None:
        mask[box[1] // 4 : box[3] // 4, box[0] // 4 : box[2] // 4] = True
    track = PersonTrack(
        visible=np.full(count, box is not None),
        boxes=np.tile(np.float32(box or (0, 0, 0, 0)), (count, 1)),
        score=np.ones(count),
        masks=np.tile(pack_mask(mask), (count, 1, 1)),
    )
    return People(
        frame_count=count,
        mask_width=mask.shape[1],
        mask_height=mask.shape[0],
        ranking=[1],
        people={1: track},
    )


def poses(count=COUNT):
    out = np.tile(np.eye(4), (count, 1, 1))
    angles = np.outer(np.arange(count), [1.0, 4.0, -2.0])
    out[:, :3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    out[:, :3, 3] = np.outer(np.arange(count), [0.2, -0.01, 0.05])
    return WORLD @ out


def upstream_affine(width, height):
    """The affine matrix that VideoMimic's first stage writes: resize to 512, cut to 16 px."""
    scaled = [int(round(side * 512 / max(width, height))) for side in (width, height)]
    half = [2 * (side // 2) // 16 * 8 for side in scaled]
    if scaled[0] == scaled[1]:
        half[1] = 3 * half[0] // 4
    scale = [scaled[0] / width, scaled[1] / height]
    shift = [(scaled[k] // 2 - half[k]) / scale[k] for k in range(2)]
    affine = np.array([[1 / scale[0], 0, shift[0]], [0, 1 / scale[1], shift[1]]])
    return affine, (2 * half[0], 2 * half[1])


def write_upstream(path, kind, width, height):
    """A file as VideoMimic's first stage writes it; returns its pts3d (T, h, w, 3)."""
    affine, size = upstream_affine(width, height)
    if kind == "megasam":
        longer = max(width, height)
        size = [512 if s == longer else int(512.0 / longer * s) for s in (width, height)]
        size = [(s + 7) // 8 * 8 for s in size]
    w, h = size
    rng = np.random.default_rng(4)
    intrinsic = np.array([[430.0, 0, w / 2 + 3], [0, 425.0, h / 2 - 2], [0, 0, 1]], np.float32)
    cam2world = np.float32(poses())
    v, u = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(np.float64(intrinsic)).T
    points = []
    with h5py.File(path, "w") as h5:
        for k in range(COUNT):
            depth = 2 + np.add.outer(np.linspace(0, 1, h), np.linspace(0, 2, w)) + 0.1 * k
            depth = depth.astype(np.float16 if kind == "megasam" else np.float32)
            local = np.float64(depth)[..., None] * rays
            world = local @ np.float64(cam2world[k, :3, :3]).T + cam2world[k, :3, 3]
            points.append(world)
            group = h5.create_group(f"/monst3r_ga_output/{k + 1:05d}")
            picture = rng.integers(0, 255, (h, w, 3)).astype(np.uint8)
            group["rgbimg"] = picture if kind == "megasam" else np.float32(picture / 255)
            group["intrinsic"], group["cam2world"] = intrinsic, cam2world[k]
            group["pts3d"], group["depths"] = world, depth
            group["msk"] = np.ones((h, w), np.float16)
            group["conf"] = np.ones((h, w), np.float16)
            if kind == "align3r":
                group["conf"][...] = 4
            group["dynamic_msk"] = np.zeros((h, w), bool)
            group["affine_matrix"] = affine
    return np.array(points)


@pytest.mark.parametrize(
    ("kind", "width", "height"),
    [
        ("megasam", 1920, 1080),
        ("megasam", 1080, 1920),
        ("megasam", 1000, 666),
        ("megasam", 600, 600),
        ("align3r", 1920, 1080),
        ("align3r", 900, 600),
        ("align3r", 600, 600),
    ],
)
def test_points_of_an_upstream_file_come_back(tmp_path, kind, width, height):
    """Every depth cell through our camera is upstream's pts3d of its pixel."""
    expected = write_upstream(tmp_path / "a.h5", kind, width, height)
    clip = video(width, height)
    found = reconstruction.read_h5(tmp_path / "a.h5", clip, kind)
    scene = reconstruction.to_scene(found, clip, people(width, height), model="static")
    h, w = found.depth.shape[1:]
    size, shape = (width, height), scene.depth.shape[1:]
    x0, y0 = np.rint(found.window.offset / found.window.scale).astype(int)
    first = np.linalg.inv(np.float64(poses()[0]))
    for k in range(COUNT):
        matrix = pointfilter.cell_intrinsics(scene.intrinsics[k], size, shape)
        local = pointfilter.backproject(np.float32(scene.depth[k]), matrix)
        # the pose of a travelling camera: `model` leaves it out of the scene
        pose = first @ np.float64(found.cam2world[k])
        ours = camera.to_world(pose, local)[y0 : y0 + h, x0 : x0 + w]
        theirs = camera.to_world(first, expected[k])
        # depth is stored with 11 bits
        assert np.abs(ours - theirs).max() < 0.003
        outside = np.ones(shape, bool)
        outside[y0 : y0 + h, x0 : x0 + w] = False
        assert (scene.depth[k][outside] == 0).all()
    assert scene.depth.shape[1] / scene.depth.shape[2] == pytest.approx(height / width, rel=0.02)
    if kind == "align3r":
        inside = scene.depth_confidence[:, y0 : y0 + h, x0 : x0 + w]
        assert np.allclose(inside, 0.75)
    else:
        assert scene.depth_confidence is None


def test_a_square_video_is_stretched_by_megasam_and_cut_by_align3r(tmp_path):
    clip = video(600, 600)
    write_upstream(tmp_path / "a.h5", "megasam", 600, 600)
    stretched = reconstruction.read_h5(tmp_path / "a.h5", clip, "megasam")
    assert np.allclose(stretched.window.offset, 0)
    write_upstream(tmp_path / "b.h5", "align3r", 600, 600)
    cut = reconstruction.read_h5(tmp_path / "b.h5", clip, "align3r")
    assert np.allclose(cut.window.offset, [0, 75]) and cut.depth.shape[1:] == (384, 512)
    whole = reconstruction.whole_picture(cut.depth, cut.window, (600, 600))
    assert whole.shape[1:] == (512, 512)


def test_a_pixel_keeps_its_ray():
    """A pixel centre of a cut picture is where the same spot is in the video."""
    window = reconstruction.Window(np.array([2.0, 2.5]), np.array([10.0, 20.0]))
    matrix = np.array([[[300.0, 0, 128], [0, 240.0, 96], [0, 0, 1]]])
    ours = reconstruction.video_intrinsics(matrix, window)[0]
    column, row = 40, 70
    theirs = [(column - 128) / 300, (row - 96) / 240]
    x, y = 2.0 * (column + 0.5) + 10, 2.5 * (row + 0.5) + 20
    assert [(x - ours[0, 2]) / ours[0, 0], (y - ours[1, 2]) / ours[1, 1]] == pytest.approx(theirs)


@pytest.mark.parametrize(
    "size", [(1920, 1080), (1080, 1920), (640, 480), (900, 600), (854, 480), (1001, 333)]
)
def test_the_crop_is_upstreams(size):
    found, affine = align3r.crop(*size)
    expected, expected_size = upstream_affine(*size)
    assert found == expected_size and np.allclose(affine, expected)
    assert align3r.crop(500, 500)[0] == (512, 512)
    assert align3r.crop(500, 500, square=False)[0] == (512, 384)


def test_megasams_picture_has_sides_of_eights():
    assert megasam.picture_size(1920, 1080) == (512, 288)
    assert megasam.picture_size(432, 768) == (288, 512)
    assert megasam.picture_size(1000, 666) == (512, 344)


def test_the_first_camera_is_the_origin(tmp_path):
    write_upstream(tmp_path / "a.h5", "megasam", 640, 360)
    clip = video(640, 360)
    found = reconstruction.read_h5(tmp_path / "a.h5", clip, "megasam")
    found.depth = found.depth[:, :4, :4]
    found.window = reconstruction.stretched((640, 360), (4, 4))
    scene = reconstruction.to_scene(found, clip, people(640, 360), model="static")
    assert np.allclose(scene.cam2world, np.eye(4)) and len(scene.points) == 0
    assert not scene.metric and scene.camera_model == "static"


def test_another_number_of_frames_is_refused(tmp_path):
    write_upstream(tmp_path / "a.h5", "megasam", 640, 360)
    with pytest.raises(ContractError, match="expected 5 frames, found 3"):
        reconstruction.read_h5(tmp_path / "a.h5", video(640, 360, 5), "megasam")
    with h5py.File(tmp_path / "b.h5", "w") as h5:
        h5["other"] = 1
    with pytest.raises(ContractError, match="monst3r_ga_output"):
        reconstruction.read_h5(tmp_path / "b.h5", video(640, 360), "megasam")


def test_sureness_grows_from_nothing_to_certainty():
    assert reconstruction.sureness([0.5, 1, 1.5, 5, 1e6]) == pytest.approx(
        [0, 0, 1 / 3, 0.8, 1], abs=1e-5
    )
