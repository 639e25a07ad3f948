"""Our products as VideoMimic's files: every key, shape and dtype, and back again."""

import dataclasses
import json
import pickle

import h5py
import numpy as np
import pytest
import trimesh

import toyclip
from pantograph import body, contracts, masks, meshing, pickles
from pantograph.__main__ import main
from pantograph.contracts import Body, Gravity, Keypoints, Mesh, Motion, People, Scene, Video, World
from pantograph.conventions import COCO_WHOLEBODY, SMPL_JOINTS
from pantograph.errors import PantographError
from pantograph.videomimic import layout
from pantograph.videomimic.surface_points import joints45, vertices_of
from pantograph.videomimic.writer import Products, Writer, coco_columns, ray_depth

COUNT, SCALE, DEPTH = 14, 2.5, (48, 64)
STEM = f"megasam_reconstruction_results_toy_cam01_frame_0_{COUNT}_subsample_1"


def turned(pose, people, valid):
    """People in the axes of poses (T, 4, 4), whose world they are in."""
    found = {}
    for pid, person in people.items():
        here = valid[pid][:, None]
        rotation, centre = pose[:, :3, :3], pose[:, :3, 3]
        transl = np.einsum("tba,tb->ta", rotation, person.transl - centre)
        joints = np.einsum("tba,tjb->tja", rotation, person.joints - centre[:, None])
        found[pid] = dataclasses.replace(
            person,
            valid=valid[pid],
            global_orient=np.where(
                here[..., None], np.swapaxes(rotation, 1, 2) @ person.global_orient, np.eye(3)
            ),
            body_pose=np.where(here[..., None, None], person.body_pose, np.eye(3)),
            transl=np.where(here, transl, 0),
            joints=np.where(here[..., None], joints, 0),
        )
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of results with all products of two people, a travelling camera and depth maps;
    the second person is away for some frames."""
    root = tmp_path_factory.mktemp("made")
    folder = root / "results/cpu/toy"
    folder.mkdir(parents=True)
    parts = toyclip.make(folder, COUNT, step=(0.01, 0, 0))
    toyclip.write_video(folder / "toy.mp4", COUNT)
    people = parts["people"]
    factor = np.array([toyclip.WIDTH, toyclip.HEIGHT]) / toyclip.MASK
    # a pixel of VideoMimic's masks belongs to one person
    people.people[2].masks &= ~people.people[1].masks
    for pid, track in people.people.items():
        boxes = [masks.box(people.mask(pid, k)) * np.tile(factor, 2) for k in range(COUNT)]
        track.boxes = np.array(boxes)
    people.write(folder / "people.h5")
    rng = np.random.default_rng(5)
    model = body.load_body()
    gravity = parts["gravity"]
    cameras = gravity.cam2world.copy()
    cameras[:, 0, 3] += 0.02 * np.arange(COUNT)
    everywhere = np.ones(COUNT, bool)
    valid = {1: everywhere, 2: everywhere & ~np.isin(np.arange(COUNT), (4, 5))}
    for person in gravity.people.values():
        turns = 0.2 * rng.normal(size=(COUNT * 23, 3))
        pose = body_rotations(turns).reshape(COUNT, 23, 3, 3)
        person.body_pose = pose
        person.betas = np.array([0.4, -0.2, *np.zeros(8)])
        person.joints = body.joints(model, person.betas, person.global_orient, pose, person.transl)
    start = np.tile(cameras[0], (COUNT, 1, 1))
    world_cameras = np.linalg.inv(cameras[0]) @ cameras
    points = rng.normal(size=(300, 3)) + [0, 0, 4]
    colors = rng.integers(0, 255, (300, 3)).astype(np.uint8)
    common = {
        "camera_model": "sfm",
        "scale": SCALE,
        "scale_source": "height",
        "intrinsics": gravity.intrinsics,
        "colors": colors,
    }
    world = World(
        **common,
        cam2world=world_cameras,
        points=points,
        people=turned(start, gravity.people, valid),
    )
    scene_cameras = world_cameras.copy()
    scene_cameras[:, :3, 3] /= SCALE
    depth = (1 + np.add.outer(np.linspace(0, 1, DEPTH[0]), np.linspace(0, 2, DEPTH[1]))) / SCALE
    scene = Scene(
        camera_model="sfm",
        intrinsics=gravity.intrinsics,
        cam2world=scene_cameras,
        points=points / SCALE,
        colors=colors,
        depth=np.tile(depth, (COUNT, 1, 1)).astype(np.float16),
    )
    rotation, shift = cameras[0, :3, :3], cameras[0, :3, 3]
    for pid, person in gravity.people.items():
        here = valid[pid][:, None]
        person.valid = valid[pid]
        person.global_orient = np.where(here[..., None], person.global_orient, rotation)
        person.body_pose = np.where(here[..., None, None], person.body_pose, np.eye(3))
        person.transl = np.where(here, person.transl, 0)
        person.joints = np.where(here[..., None], person.joints, 0)
    products = {
        **parts,
        "scene": scene,
        "world": world,
        "body": Body(
            intrinsics=gravity.intrinsics[0], people=turned(cameras, gravity.people, valid)
        ),
        "gravity": Gravity(
            **common,
            cam2world=cameras,
            points=points @ rotation.T + shift,
            people=gravity.people,
            rotation=rotation,
            translation=shift,
        ),
    }
    products["mesh"] = meshing.build(products["gravity"], parts["contacts"], model, 30.0)
    (folder / "motion.h5").rename(folder / "motion_g1.h5")
    for name in ("scene", "world", "body", "gravity", "mesh"):
        products[name].write(folder / f"{name}.h5")
    return root, products


def body_rotations(rotvec):
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(rotvec).as_matrix()


@pytest.fixture(scope="module")
def exported(made):
    root, _ = made
    words = ["export", "videomimic", "toy", "--results", str(root / "results")]
    assert main([*words, "--out", str(root / "demo")]) == 0
    return root / "demo"


@pytest.fixture(scope="module")
def back(made, exported):
    root, _ = made
    words = ["import", "videomimic", str(exported), "--results", str(root / "again")]
    assert main([*words, "--route", "cpu"]) == 0
    return root / "again/cpu/toy"


@pytest.fixture(scope="module")
def result(exported):
    return exported / "output_calib_mesh" / f"megahunter_{STEM}"


# ---------------------------------------------------------------------------------------------
# there and back


def compare(before, after, where=""):
    """Arrays equal within 1e-5, everything else the same; quaternions up to their sign."""
    skipped = {"method", "parameters", "stats", "source_sha256", "dropped", "people"}
    # the layout has no place for these
    skipped |= {"confidence", "reprojection", "regions", "landmarks3d"}
    for spec in dataclasses.fields(before):
        name = spec.name
        if name in skipped:
            continue
        a, b = getattr(before, name), getattr(after, name)
        if "shape" not in spec.metadata:
            same = a == pytest.approx(b) if isinstance(a, float) else a == b
            assert same, f"{where}{name}: {a} became {b}"
            continue
        if a is None:
            assert b is None, f"{where}{name}"
            continue
        a, b = np.asarray(a), np.asarray(b)
        if name.endswith("quat"):
            b = b * np.sign((a * b).sum(-1, keepdims=True))
        np.testing.assert_allclose(a, b, atol=1e-5, err_msg=f"{where}{name}")
    for pid, person in (getattr(before, "people", None) or {}).items():
        compare(person, after.people[pid], f"{where}{pid}/")


@pytest.mark.parametrize("cls", [Video, People, Body, contracts.Contacts, World, Gravity, Mesh])
def test_products_come_back(made, back, cls):
    name = cls.SCHEMA
    file = "video.json" if name == "video" else f"{name}.h5"
    before = cls.read(made[0] / "results/cpu/toy" / file)
    compare(before, cls.read(back / file))


def test_motion_comes_back(made, back):
    before = Motion.read(made[0] / "results/cpu/toy/motion_g1.h5")
    after = Motion.read(back / "motion_g1.h5")
    compare(before, after)


def test_cameras_and_depth_come_back(made, back):
    before, after = made[1]["scene"], Scene.read(back / "scene.h5")
    assert after.camera_model == "sfm"
    np.testing.assert_allclose(after.cam2world, before.cam2world, atol=1e-6)
    np.testing.assert_allclose(after.intrinsics, before.intrinsics, atol=1e-4)
    np.testing.assert_array_equal(after.depth[3], before.depth[3])


def test_keypoints_come_back_by_the_names_of_133(made, back):
    before, after = made[1]["keypoints"], Keypoints.read(back / "keypoints.h5")
    source, target = coco_columns(before.keypoint_names)
    assert after.keypoint_names == list(COCO_WHOLEBODY)
    for pid, person in before.people.items():
        found = after.people[pid]
        np.testing.assert_allclose(found.score[:, target], person.score[:, source], atol=1e-6)
        np.testing.assert_allclose(found.xy[:, target], person.xy[:, source], atol=1e-3)
        others = np.setdiff1d(np.arange(133), target)
        assert (found.score[:, others] == 0).all()


def test_keypoints_of_mediapipe_find_their_places():
    names = ["nose", "left_eye", "mouth_right", "right_foot_index", "left_index", "left_thumb"]
    source, target = coco_columns(names)
    found = {names[s]: COCO_WHOLEBODY[t] for s, t in zip(source, target, strict=True)}
    assert found == {
        "nose": "nose",
        "left_eye": "left_eye",
        "mouth_right": "right_mouth_corner",
        "right_foot_index": "right_big_toe",
        "left_index": "left_forefinger1",
    }


def test_the_same_products_give_the_same_bytes(made, exported, tmp_path):
    words = ["export", "videomimic", "toy", "--results", str(made[0] / "results")]
    main([*words, "--out", str(tmp_path)])
    for path in sorted(exported.rglob("*")):
        if path.is_file() and path.suffix != ".npz":
            assert path.read_bytes() == (tmp_path / path.relative_to(exported)).read_bytes(), path


# ---------------------------------------------------------------------------------------------
# what VideoMimic's programs read


def test_masks_and_their_ranking(made, exported):
    folder = exported / "input_masks/toy/cam01"
    people = made[1]["people"]
    with np.load(folder / "mask_data/mask_00003.npz") as archive:
        mask = archive["mask"]
    assert mask.dtype == np.uint16 and mask.shape == (toyclip.HEIGHT, toyclip.WIDTH)
    content = json.loads((folder / "json_data/mask_00003.json").read_text())
    assert set(content) == {
        *("mask_name", "mask_height", "mask_width", "promote_type"),
        *("labels", "area_ranking", "areas"),
    }
    assert content["mask_name"] == "mask_00003.npy"
    for pid in people.ranking:
        label = content["labels"][str(pid)]
        assert set(label) == {
            *("instance_id", "class_name", "x1", "y1", "x2", "y2", "logit", "score")
        }
        ys, xs = np.nonzero(mask == pid)
        box = [xs.min(), ys.min(), xs.max(), ys.max()]
        assert [label[key] for key in ("x1", "y1", "x2", "y2")] == box
        assert content["areas"][str(pid)] == len(xs)
    meta = json.loads((folder / "meta_data.json").read_text())
    assert set(meta) == {
        *("most_persistent_id", "largest_area_id", "highest_confidence_id", "all_instance_ids"),
        *("sorted_by_avg_area", "avg_areas", "frame_counts", "total_areas"),
        layout.NOTES,
    }
    assert meta["sorted_by_avg_area"] == people.ranking
    assert meta["frame_counts"] == {"1": COUNT, "2": COUNT}


def test_files_of_stage_0(exported):
    pose = json.loads((exported / "input_2d_poses/toy/cam01/pose_00001.json").read_text())
    assert np.shape(pose["1"]["keypoints"]) == (133, 3) and len(pose["1"]["bbox"]) == 5
    path = exported / "input_3d_meshes/toy/cam01/smpl_params_00001.pkl"
    params = pickle.loads(path.read_bytes())[1]["smpl_params"]
    shapes = {key: (value.shape, value.dtype) for key, value in params.items()}
    assert shapes == {
        "global_orient": ((1, 3, 3), np.float32),
        "body_pose": ((23, 3, 3), np.float32),
        "betas": ((10,), np.float32),
    }
    folder = exported / "input_contacts/toy/cam01"
    # VideoMimic drops all contacts where a file is missing
    assert len(list(folder.glob("*.pkl"))) == COUNT
    with open(folder / "00005.pkl", "rb") as stream:
        touch = pickles.load(stream)[1]
    assert touch["frame_contact_vertices"].shape == (6890, 1)
    assert isinstance(touch["left_foot_contact"], np.bool_)
    assert (exported / "input_images/toy/cam01/00001.jpg").is_file()


FRAME = {
    "rgbimg": ((*DEPTH, 3), np.uint8),
    "intrinsic": ((3, 3), np.float32),
    "cam2world": ((4, 4), np.float32),
    "pts3d": ((*DEPTH, 3), np.float64),
    "depths": (DEPTH, np.float16),
    "msk": (DEPTH, np.float16),
    "conf": (DEPTH, np.float16),
    "dynamic_msk": (DEPTH, bool),
    "affine_matrix": ((2, 3), np.float64),
}


def check_frames(tree, single=False):
    assert list(tree) == [f"{k + 1:05d}" for k in range(COUNT)]
    for group in tree.values():
        found = {key: (data.shape, data.dtype) for key, data in group.items()}
        wanted = dict(FRAME)
        if single:
            real = [key for key in wanted if np.issubdtype(wanted[key][1], np.floating)]
            wanted.update({key: (wanted[key][0], np.dtype(np.float32)) for key in real})
        assert found == wanted


def check_points(group, unit):
    """pts3d is c2w K^-1 [u, v, 1] depth with pixel centres at whole numbers."""
    height, width = DEPTH
    v, u = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(group["intrinsic"][()]).T
    pose = group["cam2world"][()].astype(float)
    local = rays * group["depths"][()].astype(float)[..., None] * unit
    expected = local @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(group["pts3d"][()], expected, atol=1e-5)


def test_files_of_stages_1_and_2(made, exported):
    first = exported / f"input_megasam/{STEM}.h5"
    second = exported / f"output_smpl_and_points/megahunter_{STEM}.h5"
    with h5py.File(first, "r") as h5:
        check_frames(h5["monst3r_ga_output"])
        check_points(h5["monst3r_ga_output/00007"], 1.0)
        before = h5["monst3r_ga_output/00007/pts3d"][()]
    with h5py.File(second, "r") as h5:
        check_frames(h5["our_pred_world_cameras_and_structure"])
        check_points(h5["our_pred_world_cameras_and_structure/00007"], SCALE)
        after = h5["our_pred_world_cameras_and_structure/00007/pts3d"][()]
        ratio = np.linalg.norm(after) / np.linalg.norm(before)
        assert ratio == pytest.approx(SCALE, rel=1e-6)
        people = h5["our_pred_humans_smplx_params"]
        rows = {"1": COUNT, "2": COUNT - 2}
        for pid, count in rows.items():
            found = {key: (data.shape, data.dtype) for key, data in people[pid].items()}
            assert found == {
                "body_pose": ((count, 23, 3, 3), np.float32),
                "global_orient": ((count, 1, 3, 3), np.float32),
                "root_transl": ((count, 1, 3), np.float32),
                "betas": ((count, 10), np.float32),
            }
            names = h5.attrs[f"/person_frame_info_list/{pid}"]
            assert names.shape == (count, 1) and isinstance(names[0, 0], str)
        assert [name for (name,) in names[3:5]] == ["00004", "00007"]
        assert list(h5["person_frame_info_list"]) == []


def test_lists_of_frames_may_be_long(tmp_path, made):
    """An attribute of more than 64 KiB, in a file opened as the writer does."""
    count = 6000
    world, valid = made[1]["world"], np.ones(count, bool)
    person = dataclasses.replace(
        world.people[1],
        valid=valid,
        **{
            name: np.repeat(getattr(world.people[1], name)[:1], count, 0)
            for name in ("global_orient", "body_pose", "transl")
        },
    )
    long = dataclasses.replace(world, people={1: person})
    products = Products(video=made[1]["video"], world=long)
    with h5py.File(tmp_path / "a.h5", "w", track_order=True) as h5:
        Writer(products, tmp_path, body.load_body())._write_humans(h5, 1)
    with h5py.File(tmp_path / "a.h5", "r") as h5:
        names = layout.strings(h5, "person_frame_info_list/1")
    assert names == [f"{k + 1:05d}" for k in range(count)]


def test_files_of_stage_3(made, result):
    gravity = made[1]["gravity"]
    with h5py.File(result / "gravity_calibrated_megahunter.h5", "r") as h5:
        check_frames(h5["our_pred_world_cameras_and_structure"], single=True)
        factor = made[1]["motion"].world_scale
        check_points(h5["our_pred_world_cameras_and_structure/00002"], SCALE * factor)
        names = h5["person_frame_info_list/2"][()]
        assert names.shape == (COUNT - 2, 1) and names[0, 0] == b"00001"
        pose = h5["our_pred_world_cameras_and_structure/00001/cam2world"][()]
        np.testing.assert_allclose(pose[:3, 3], 0, atol=1e-6)
        roots = h5["our_pred_humans_smplx_params/1/root_transl"][()]
    with h5py.File(result / "gravity_calibrated_keypoints.h5", "r") as h5:
        joints = h5["joints/1"]
        assert joints.shape == (COUNT, 45, 3) and joints.dtype == np.float32
        np.testing.assert_allclose(joints[:, :1], roots, atol=1e-6)
        expected = factor * (gravity.people[1].joints - gravity.translation)
        np.testing.assert_allclose(joints[:, :24], expected, atol=1e-5)
        assert h5["root_orient/2"].shape == (COUNT - 2, 1, 3, 3)
        np.testing.assert_allclose(h5["world_rotation"], gravity.rotation, atol=1e-6)
        assert h5.attrs["/joint_names"].tolist()[:24] == list(SMPL_JOINTS)
        assert len(h5.attrs["/joint_names"]) == 45
    mesh = trimesh.load(result / "background_mesh.obj", process=False)
    assert mesh.is_watertight
    # the floor lies under the feet of people and robots in the same world
    low = joints_height(result, "left_foot")
    assert abs(mesh.bounds[1][2] - low) < 0.12
    for name in ("less", "more"):
        path = result / f"background_{name}_filtered_colored_pointcloud.ply"
        cloud = trimesh.load(path)
        assert cloud.colors.shape[1] == 4 and len(cloud.vertices) <= 300


def joints_height(result, name):
    with h5py.File(result / "gravity_calibrated_keypoints.h5", "r") as h5:
        return float(h5["joints/1"][:, SMPL_JOINTS.index(name), 2].min())


def test_the_simulators_loader_reads_the_motion(made, result):
    """As replay_data.py of VideoMimic's simulator does."""
    with h5py.File(result / "retarget_poses_g1.h5", "r") as data:
        replay = {
            key: data[key][:]
            for key in ("root_pos", "root_quat", "joints", "link_pos", "link_quat")
        }
        joint_names = data.attrs["/joint_names"].tolist()
        link_names = data.attrs["/link_names"].tolist()
        fps = data.attrs["/fps"]
        contacts = {foot: data["contacts"][foot][:] for foot in ("left_foot", "right_foot")}
        assert data.attrs["joint_names"].tolist() == joint_names
        assert data.attrs["link_names"].tolist() == link_names and data.attrs["fps"] == fps
    assert np.round(fps) == 30 and "waist_yaw_joint" in joint_names
    motion = made[1]["motion"]
    person = motion.people[1]
    assert replay["joints"].dtype == np.float32 and replay["root_pos"].dtype == np.float64
    columns = [joint_names.index(name) for name in motion.joint_names]
    np.testing.assert_allclose(replay["joints"][:, columns], person.joints, atol=1e-6)
    shift = motion.world_scale * made[1]["gravity"].translation
    np.testing.assert_allclose(replay["root_pos"], person.root_pos - shift, atol=1e-5)
    same = np.abs((replay["root_quat"][:, [3, 0, 1, 2]] * person.root_quat).sum(1))
    np.testing.assert_allclose(same, 1, atol=1e-6)
    links = [link_names.index(name) for name in motion.body_names]
    np.testing.assert_allclose(replay["link_pos"][:, links], person.link_pos - shift, atol=1e-5)
    assert replay["link_quat"].shape == (COUNT, len(link_names), 4)
    assert contacts["left_foot"].dtype == bool and contacts["left_foot"].all()


def loaded(h5, path="/"):
    """A file as the loader of VideoMimic's viewers gives it: groups become dictionaries, which get
    every attribute of the root whose name starts with their path."""
    found = {}
    for key, item in h5[path].items():
        inner = f"{path}{key}"
        found[key] = loaded(h5, f"{inner}/") if isinstance(item, h5py.Group) else item[:]
    found.update({k[len(path) :]: v for k, v in h5.attrs.items() if k.startswith(path)})
    return found


def test_viewers_find_people_and_nothing_else(exported, result):
    with h5py.File(result / "retarget_poses_g1_multiperson.h5", "r") as h5:
        motion = loaded(h5)
    assert set(motion["persons"]) == {"1", "2"} and len(motion["joint_names"]) == 29
    with h5py.File(result / "gravity_calibrated_keypoints.h5", "r") as h5:
        keypoints = loaded(h5)
    assert set(keypoints["joints"]) == {"1", "2"} and len(keypoints["joint_names"]) == 45
    second = exported / f"output_smpl_and_points/megahunter_{STEM}.h5"
    for path in (second, result / "gravity_calibrated_megahunter.h5"):
        with h5py.File(path, "r") as h5:
            world = loaded(h5)
        assert set(world["person_frame_info_list"]) == {"1", "2"}
        assert world["person_frame_info_list"]["1"].astype(str)[0, 0] == "00001"
        assert set(world["our_pred_humans_smplx_params"]) == {"1", "2"}


def test_the_motion_of_several_people(result):
    with h5py.File(result / "retarget_poses_g1_multiperson.h5", "r") as h5:
        assert list(h5["persons"]) == ["1", "2"]
        assert h5.attrs["robot_name"] == "g1" and "/link_names" in h5.attrs
        for group in h5["persons"].values():
            assert group.attrs["fps"] == 30
            assert group["root_quat"].shape == (COUNT, 4)
            assert group["contacts/right_foot"].shape == (COUNT,)


# ---------------------------------------------------------------------------------------------
# parts


def test_surface_points_are_those_of_smplx():
    from smplx.vertex_ids import vertex_ids

    ids = set(vertex_ids["smplh"].values())
    assert set(layout.SMPL_VERTICES.values()) == ids
    for name, key in (
        *(("nose", "nose"), ("right_eye", "reye"), ("left_ear", "lear"), ("left_heel", "LHeel")),
        *(("right_small_toe", "RSmallToe"), ("left_pinky", "lpinky"), ("right_index", "rindex")),
    ):
        assert layout.SMPL_VERTICES[name] == vertex_ids["smplh"][key]


def test_surface_points_of_the_built_in_body_lie_where_they_belong():
    model = body.load_body()
    points = dict(zip(layout.SMPL_45[24:], model.v_template[vertices_of(model)], strict=True))
    joints = dict(zip(SMPL_JOINTS, model.J_template, strict=True))
    assert points["nose"][2] > joints["head"][2] + 0.05
    for side, sign in (("left", 1), ("right", -1)):
        assert sign * points[f"{side}_ear"][0] > 0.05
        assert sign * points[f"{side}_eye"][0] > 0.01
        heel, toe = points[f"{side}_heel"], points[f"{side}_big_toe"]
        assert heel[2] < joints[f"{side}_ankle"][2] < toe[2]
        assert sign * points[f"{side}_small_toe"][0] > sign * toe[0]
        assert points[f"{side}_thumb"][2] > points[f"{side}_pinky"][2]
        assert sign * points[f"{side}_middle"][0] > sign * joints[f"{side}_hand"][0]


def test_the_45_joints_move_with_the_body(made):
    model, person = body.load_body(), made[1]["gravity"].people[1]
    found = joints45(model, person, np.array([2, 7]))
    whole = body.vertices(
        *(model, person.betas, person.global_orient[[2, 7]], person.body_pose[[2, 7]]),
        person.transl[[2, 7]],
    )
    np.testing.assert_allclose(found[:, 24:], whole[:, vertices_of(model)], atol=1e-9)
    np.testing.assert_allclose(found[:, :24], person.joints[[2, 7]], atol=1e-6)


def test_rays_meet_the_nearest_box():
    rays = np.array([[[0.0, 0, -1], [1, 0, 0], [0, 0, 1]]])
    boxes = [[0, 0, -0.5, 4, 4, 1, 0], [0, 0, 0.2, 0.5, 0.5, 0.4, 0.7], [3, 0, 2, 2, 2, 2, 0]]
    found = ray_depth(rays, np.array([0, 0, 2.0]), boxes)
    np.testing.assert_allclose(found, [[1.6, 2, np.inf]])


def test_a_scene_without_depth_shows_floor_and_supports(made, tmp_path):
    root, products = made
    folder = tmp_path / "results/cpu/toy"
    folder.mkdir(parents=True)
    for path in (root / "results/cpu/toy").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "scene.h5").unlink()
    dataclasses.replace(products["scene"], depth=None).write(folder / "scene.h5")
    words = ["export", "videomimic", "toy", "--results", str(tmp_path / "results")]
    main([*words, "--out", str(tmp_path / "demo")])
    path = tmp_path / f"demo/output_calib_mesh/megahunter_{STEM}/gravity_calibrated_megahunter.h5"
    with h5py.File(path, "r") as h5:
        group = h5["our_pred_world_cameras_and_structure/00001"]
        assert group["pts3d"].shape == (384, 512, 3)
        near = group["depths"][()] < 99
        height = group["pts3d"][()][near][:, 2] / products["motion"].world_scale
        height = height + products["gravity"].translation[2]
        # every ray that meets anything meets the floor
        np.testing.assert_allclose(height, 0, atol=0.02)
    words = ["import", "videomimic", str(tmp_path / "demo"), "--results", str(tmp_path / "again")]
    main([*words, "--route", "cpu"])
    scene = Scene.read(tmp_path / "again/cpu/toy/scene.h5")
    assert scene.depth is None and scene.camera_model == "sfm"
    np.testing.assert_allclose(scene.points, products["scene"].points, atol=1e-5)


def test_a_body_of_ones_own_is_asked_for_again(made, tmp_path, capsys):
    root, products = made
    folder = tmp_path / "results/cpu/toy"
    folder.mkdir(parents=True)
    for path in (root / "results/cpu/toy").iterdir():
        (folder / path.name).symlink_to(path)
    for name in ("body", "world", "gravity"):
        (folder / f"{name}.h5").unlink()
        dataclasses.replace(products[name], body_model="MINE").write(folder / f"{name}.h5")
    body.write_smpl_pickle(tmp_path / "MINE.pkl")
    words = ["export", "videomimic", "toy", "--results", str(tmp_path / "results")]
    with pytest.raises(PantographError, match="solved with 'MINE'"):
        main(words)
    mine = ["--body-model", str(tmp_path / "MINE.pkl")]
    main([*words, *mine, "--out", str(tmp_path / "demo")])
    assert "joints 24 to 44 are vertices of SMPL MINE" in capsys.readouterr().out
    words = ["import", "videomimic", str(tmp_path / "demo"), "--results", str(tmp_path / "again")]
    with pytest.raises(PantographError, match="shapes of 'MINE'; import with its --body-model"):
        main([*words, "--route", "cpu"])
    main([*words, "--route", "cpu", "--force", *mine])
    world = World.read(tmp_path / "again/cpu/toy/world.h5")
    assert world.body_model == "MINE"
    np.testing.assert_allclose(world.people[1].betas, products["world"].people[1].betas, atol=1e-6)


def test_what_is_missing_ends_the_export_early(made, tmp_path, capsys):
    root, _ = made
    folder = tmp_path / "results/cpu/toy"
    folder.mkdir(parents=True)
    for name in ("video.json", "people.h5", "keypoints.h5"):
        (folder / name).symlink_to(root / "results/cpu/toy" / name)
    contracts.Scene.rejection("no camera").write(folder / "scene.h5")
    main(["export", "videomimic", "toy", "--results", str(tmp_path / "results")])
    assert sorted(path.name for path in (folder / "videomimic").iterdir()) == [
        *("input_2d_poses", "input_images", "input_masks")
    ]
    said = capsys.readouterr().out
    assert "scene.h5 is rejected: no camera" in said and "body.h5 is not there" in said


def test_a_video_that_is_not_there_is_one_line(made):
    with pytest.raises(PantographError, match="videos there: toy"):
        main(["export", "videomimic", "tie", "--results", str(made[0] / "results")])


@pytest.mark.parametrize("name", ["a_cam_b", "in_frame_9", "x_results_y_subsample_2"])
def test_names_that_break_parsing_are_changed(name):
    safe = layout.safe_name(name)
    assert not any(trap in safe for trap in layout.TRAPS)
    stem = layout.Stem("megasam", safe, 0, 9, 1)
    assert layout.Stem.parse(str(stem)) == stem
