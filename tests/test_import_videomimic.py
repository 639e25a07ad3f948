"""VideoMimic's files, as its own programs write them, become products at every stage."""

import importlib
import pickle
import re

import h5py
import numpy as np
import pytest

from conftest import ROOT
from pantograph import contracts
from pantograph.__main__ import main
from pantograph.contracts import (
    Body,
    Contacts,
    Gravity,
    Keypoints,
    Mesh,
    Motion,
    People,
    Scene,
    Video,
    World,
)
from pantograph.errors import PantographError
from pantograph.robot import load_robot
from pantograph.robotscene import Articulation
from pantograph.video import frames
from pantograph.videomimic import layout
from test_workflow import snakemake
from upstream import HEIGHT, SCALE, VIDEO, WIDTH, Upstream

STAGE0 = ("images", "masks", "poses", "meshes", "contacts")
STAGE1 = (*STAGE0, "megasam")
STAGE2 = (*STAGE1, "megahunter")
STAGE3 = (*STAGE2, "calibrated")


@pytest.fixture(scope="module")
def robot():
    return Articulation(load_robot("g1"))


def write(source, stages):
    for stage in stages:
        getattr(source, stage)()
    return source


def read(source, folder, *options):
    """Import; the folder of the video's results and what was said."""
    words = ["import", "videomimic", str(source.root), "--results", str(folder), *options]
    assert main(words) == 0
    return folder / "videomimic" / source.video


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_stage_0_gives_people_keypoints_and_contacts(tmp_path, capsys):
    source = write(Upstream(tmp_path / "demo"), STAGE0)
    folder = read(source, tmp_path / "results")
    assert names(folder) == {"video.json", "people.h5", "keypoints.h5", "contacts.h5"}
    video = Video.read(folder / "video.json")
    assert (video.width, video.height, video.fps) == (WIDTH, HEIGHT, 30)
    assert video.frame_count == source.count
    people = People.read(folder / "people.h5")
    assert people.ranking == [2, 1]
    for k in range(source.count):
        for pid in (1, 2):
            assert (people.mask(pid, k) == (source.mask(k) == pid)).all()
            ys, xs = np.nonzero(source.mask(k) == pid)
            box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            np.testing.assert_array_equal(people.people[pid].boxes[k], box)
    assert people.people[1].score.tolist() == [0.75] * source.count
    keypoints = Keypoints.read(folder / "keypoints.h5")
    assert len(keypoints.keypoint_names) == 133
    knee = keypoints.keypoint_names.index("left_knee")
    np.testing.assert_allclose(keypoints.people[1].xy[3, knee], source.pixels(1, 3)[4], atol=1e-3)
    contacts = Contacts.read(folder / "contacts.h5")
    assert contacts.people[1].contact.tolist() == [[k % 2 == 0, True] for k in range(16)]
    # bodies follow from the scene's camera, which comes with stage 1
    said = capsys.readouterr().out
    assert "body.h5: found, but it follows from scene.h5" in said


def test_bodies_come_once_the_scene_is_there(tmp_path):
    source = write(Upstream(tmp_path / "demo"), STAGE0)
    folder = read(source, tmp_path / "results")
    stamps = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    source.megasam()
    folder = read(source, tmp_path / "results")
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    body = Body.read(folder / "body.h5")
    # the built-in body keeps its mean shape, so that people of the same shape stand in place
    for pid, person in body.people.items():
        truth = source.bodies[pid]
        turn = np.swapaxes(source.cameras[:, :3, :3], 1, 2) @ truth["orient"]
        np.testing.assert_allclose(person.global_orient, turn, atol=1e-6)
        np.testing.assert_allclose(person.body_pose, truth["pose"], atol=1e-6)
        local = np.einsum(
            "tba,tb->ta", source.cameras[:, :3, :3], truth["transl"] - source.cameras[:, :3, 3]
        )
        assert np.abs(person.transl[:, 2] / local[:, 2] - 1).max() < 0.08
        assert person.valid.all()


def test_stage_1_gives_cameras_and_depth(tmp_path):
    source = write(Upstream(tmp_path / "demo"), STAGE1)
    scene = Scene.read(read(source, tmp_path / "results") / "scene.h5")
    expected = np.linalg.inv(source.cameras[0]) @ source.cameras
    expected[:, :3, 3] /= SCALE
    np.testing.assert_allclose(scene.cam2world[:, :3, :3], expected[:, :3, :3], atol=1e-6)
    if scene.camera_model == "sfm":
        np.testing.assert_allclose(scene.cam2world[:, :3, 3], expected[:, :3, 3], atol=1e-6)
    np.testing.assert_allclose(scene.intrinsics[0], source.intrinsics, atol=1e-4)
    np.testing.assert_array_equal(scene.depth[5], source.depth(5))


def test_align3r_has_confidence(tmp_path):
    source = write(Upstream(tmp_path / "demo", method="align3r"), STAGE2)
    folder = read(source, tmp_path / "results")
    scene = Scene.read(folder / "scene.h5")
    np.testing.assert_allclose(scene.depth_confidence[0], 0.75, atol=1e-3)
    np.testing.assert_allclose(scene.intrinsics[0], source.intrinsics, atol=1e-4)
    np.testing.assert_allclose(
        World.read(folder / "world.h5").intrinsics[3], source.intrinsics, atol=1e-4
    )


@pytest.mark.parametrize("method", ["megasam", "align3r"])
def test_without_pictures_those_of_the_reconstruction_do(tmp_path, capsys, method):
    source = write(Upstream(tmp_path / "demo", method=method), STAGE2[1:])
    video = Video.read(read(source, tmp_path / "results") / "video.json")
    assert (video.width, video.height) == (WIDTH, HEIGHT)
    shown = [rgb for _, rgb in frames(video)]
    assert len(shown) == 16 and shown[0].shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(shown[7], 90, atol=3)
    assert "made of the reconstruction's pictures" in capsys.readouterr().out


def test_one_bad_video_does_not_stop_the_others(tmp_path, capsys):
    write(Upstream(tmp_path / "demo", video="bad"), ("images", "masks"))
    write(Upstream(tmp_path / "demo", video="good"), ("images", "masks"))
    (tmp_path / "demo/input_masks/bad/cam01/meta_data.json").write_text("{")
    words = ["import", "videomimic", str(tmp_path / "demo"), "--results", str(tmp_path / "r")]
    assert main(words) == 1
    assert (tmp_path / "r/videomimic/good/people.h5").is_file()
    assert "bad: error: " in capsys.readouterr().err


@pytest.mark.parametrize("stages", [STAGE2, (*STAGE0, "megahunter")])
def test_stage_2_gives_the_world_and_its_scale(tmp_path, stages):
    source = write(Upstream(tmp_path / "demo"), stages)
    if "megasam" not in stages:
        # stage 1 was deleted, but its product is there
        write(Upstream(tmp_path / "before"), STAGE1)
        read(Upstream(tmp_path / "before"), tmp_path / "results")
    folder = read(source, tmp_path / "results")
    world = World.read(folder / "world.h5")
    assert world.scale == pytest.approx(SCALE, rel=1e-3 if "megasam" not in stages else 1e-9)
    np.testing.assert_allclose(
        world.cam2world, np.linalg.inv(source.cameras[0]) @ source.cameras, atol=2e-6
    )
    for pid, person in world.people.items():
        np.testing.assert_allclose(
            person.transl, source.world(source.bodies[pid]["transl"]), atol=2e-6
        )
        expected = source.cameras[0, :3, :3].T @ source.bodies[pid]["orient"]
        np.testing.assert_allclose(person.global_orient, expected, atol=1e-6)


def check_gravity(source, gravity, people=(1, 2)):
    """Against the truth, but for the height of the floor and the place of the origin."""
    np.testing.assert_allclose(gravity.rotation, source.cameras[0, :3, :3], atol=1e-6)
    shift = gravity.cam2world[0, :3, 3] - source.cameras[0, :3, 3]
    assert abs(shift[2]) < 0.05
    for pid in people:
        person, truth = gravity.people[pid], source.bodies[pid]
        np.testing.assert_allclose(person.transl - shift, truth["transl"], atol=1e-5)
        np.testing.assert_allclose(person.global_orient, truth["orient"], atol=1e-5)
        np.testing.assert_allclose(person.joints - shift, truth["joints"], atol=0.02)
    return shift


def test_stage_3_gives_gravity_and_the_ground(tmp_path, capsys):
    source = write(Upstream(tmp_path / "demo"), STAGE3)
    folder = read(source, tmp_path / "results")
    gravity = Gravity.read(folder / "gravity.h5")
    check_gravity(source, gravity)
    assert "the built-in body with the limbs of the file's joints" in capsys.readouterr().out
    mesh = Mesh.read(folder / "mesh.h5")
    assert mesh.box_names[0] == "floor"
    top = mesh.vertices[:, 2].max()
    assert abs(top) < 0.1
    assert {"scene.obj", "scene.ply"} <= names(folder)


def test_people_left_behind_in_stage_3_are_turned_too(tmp_path):
    source = write(Upstream(tmp_path / "demo"), STAGE2)
    source.calibrated(turned=(1,))
    gravity = Gravity.read(read(source, tmp_path / "results") / "gravity.h5")
    shift = gravity.cam2world[0, :3, 3] - source.cameras[0, :3, 3]
    for pid in (1, 2):
        truth = source.bodies[pid]
        np.testing.assert_allclose(gravity.people[pid].transl - shift, truth["transl"], atol=1e-5)


def test_without_stage_2_its_world_follows_from_stage_3(tmp_path):
    source = write(Upstream(tmp_path / "demo"), STAGE1)
    source.calibrated(turned=(1,))
    folder = read(source, tmp_path / "results")
    world = World.read(folder / "world.h5")
    assert world.scale == pytest.approx(SCALE, rel=1e-3)
    for pid, person in world.people.items():
        np.testing.assert_allclose(
            person.transl, source.world(source.bodies[pid]["transl"]), atol=5e-6
        )


def test_a_world_scale_factor_is_found_and_undone(tmp_path):
    source = write(Upstream(tmp_path / "demo"), STAGE2)
    source.calibrated(factor=0.8)
    gravity = Gravity.read(read(source, tmp_path / "results") / "gravity.h5")
    shift = gravity.cam2world[0, :3, 3] - source.cameras[0, :3, 3]
    truth = source.bodies[1]["transl"]
    np.testing.assert_allclose(gravity.people[1].transl - shift, truth, atol=1e-5)


@pytest.mark.parametrize("several", [False, True])
def test_stage_4_gives_motion_with_poses_of_the_moving_robot(tmp_path, robot, several):
    source = write(Upstream(tmp_path / "demo"), STAGE3)
    known = [name for name in robot.joint_names if "wrist" not in name]
    found = source.retarget(known, several)
    folder = read(source, tmp_path / "results")
    motion = Motion.read(folder / "motion_g1.h5")
    gravity = Gravity.read(folder / "gravity.h5")
    shift = gravity.cam2world[0, :3, 3] - source.cameras[0, :3, 3]
    assert (motion.fps, motion.world_scale) == (30, 1)
    assert set(motion.people) == set(found)
    for pid, (place, xyzw, joints) in found.items():
        person = motion.people[pid]
        np.testing.assert_allclose(person.root_pos - shift, place, atol=1e-5)
        same = np.abs((person.root_quat * xyzw[:, [3, 0, 1, 2]]).sum(1))
        np.testing.assert_allclose(same, 1, atol=1e-6)
        columns = [motion.joint_names.index(name) for name in known]
        np.testing.assert_allclose(person.joints[:, columns], joints, atol=1e-6)
        assert (person.joints[:, motion.joint_names.index("left_wrist_roll_joint")] == 0).all()
        state = robot.forward(
            *(person.root_pos, person.root_quat, person.joints, robot.joint_names),
            motion.body_names,
        )
        np.testing.assert_allclose(person.link_pos, state.pos, atol=1e-5)
        assert person.contact[:, 1].all() and not person.contact[:, 0].any()


def test_the_stride_in_the_name_says_frames_and_rate(tmp_path):
    source = write(Upstream(tmp_path / "demo", stride=2, suffix=".png"), STAGE0)
    # all pictures are there, stage 1 saw every second one
    every = write(Upstream(tmp_path / "every", count=31), ("images",))
    for path in (every.root / "input_images" / VIDEO / "cam01").iterdir():
        path.replace(source.root / "input_images" / VIDEO / "cam01" / path.name)
    for path in (source.root / "input_images" / VIDEO / "cam01").glob("*.png"):
        path.unlink()
    source.megasam()
    folder = read(source, tmp_path / "results")
    video = Video.read(folder / "video.json")
    assert (video.fps, video.frame_count) == (15, 16)
    assert Keypoints.read(folder / "keypoints.h5").people[1].visible.sum() == 16
    assert Scene.read(folder / "scene.h5").depth.shape[0] == 16


def test_holes_keep_their_time(tmp_path, capsys):
    source = write(Upstream(tmp_path / "demo", missing=(5, 6)), STAGE2)
    folder = read(source, tmp_path / "results")
    video = Video.read(folder / "video.json")
    assert video.frame_count == 16
    assert video.source_times[6] == video.source_times[4] != video.source_times[7]
    for name, cls in (("people", People), ("keypoints", Keypoints)):
        person = cls.read(folder / f"{name}.h5").people[1]
        assert np.flatnonzero(~person.visible).tolist() == [5, 6]
    world = World.read(folder / "world.h5")
    assert np.flatnonzero(~world.people[1].valid).tolist() == [5, 6]
    truth = source.world(source.bodies[1]["transl"])
    np.testing.assert_allclose(world.people[1].transl[7:], truth[7:], atol=2e-6)
    assert len(list(frames(video))) == 16
    assert "2 frames are missing" in capsys.readouterr().out


def test_pictures_come_through_unchanged(tmp_path):
    import cv2

    for suffix in (".png", ".jpg"):
        source = write(Upstream(tmp_path / suffix[1:], suffix=suffix), ("images", "masks"))
        folder = read(source, tmp_path / f"results{suffix}")
        video = Video.read(folder / "video.json")
        shown = [rgb for _, rgb in frames(video)]
        for k in (0, 9):
            path = source.root / "input_images" / VIDEO / "cam01" / f"{k + 1:05d}{suffix}"
            wanted = cv2.imread(str(path))[..., ::-1].astype(int)
            # two decoders of JPEG differ in how they enlarge colours
            assert np.abs(shown[k] - wanted).mean() < (0.01 if suffix == ".png" else 3)


def test_empty_windows_and_missing_ids_are_no_mistake(tmp_path):
    source = write(Upstream(tmp_path / "demo"), ("images",))
    source.masks(ranked=False, empty=(0, 1, 2))
    people = People.read(read(source, tmp_path / "results") / "people.h5")
    assert sorted(people.ranking) == [1, 2]
    assert np.flatnonzero(~people.people[1].visible).tolist() == [0, 1, 2]


def test_nobody_is_a_result(tmp_path):
    source = write(Upstream(tmp_path / "demo"), ("images",))
    source.masks(ranked=False, empty=range(16))
    people = People.read(read(source, tmp_path / "results") / "people.h5")
    assert people.rejected and people.reason == "no mask holds anybody"


def test_stems_may_say_frame(tmp_path):
    source = write(Upstream(tmp_path / "demo", stem_prefix="frame_"), STAGE3)
    folder = read(source, tmp_path / "results")
    assert Gravity.read(folder / "gravity.h5").people[1].valid.all()
    assert Contacts.read(folder / "contacts.h5").people[1].valid.all()


@pytest.mark.parametrize(
    "name", ["a_cam_b", "x_results_y_frame_3_4", "jump_subsample_2_cam01_frame"]
)
def test_names_of_videos_may_hold_the_words_of_the_pattern(tmp_path, name):
    source = write(Upstream(tmp_path / "demo", video=name), STAGE2)
    assert layout.videos(source.root) == [name]
    assert World.read(read(source, tmp_path / "results") / "world.h5").people


def test_known_betas_are_used_with_a_body_of_their_kind(tmp_path, capsys):
    from pantograph.body import write_smpl_pickle

    source = write(Upstream(tmp_path / "demo"), STAGE1)
    source.meshes(known="optimized_smpl_shape.json")
    read(source, tmp_path / "results")
    assert "shapes of SMPL need --body-model" in capsys.readouterr().out
    write_smpl_pickle(tmp_path / "MINE.pkl")
    folder = read(source, tmp_path / "again", "--body-model", str(tmp_path / "MINE.pkl"))
    body = Body.read(folder / "body.h5")
    assert body.body_model == "MINE"
    np.testing.assert_allclose(body.people[1].betas, 0.5, atol=1e-6)


def test_a_smpl_file_keeps_the_shapes_of_stage_2(tmp_path):
    from pantograph.body import write_smpl_pickle

    source = write(Upstream(tmp_path / "demo"), STAGE2)
    write_smpl_pickle(tmp_path / "MINE.pkl")
    folder = read(source, tmp_path / "results", "--body-model", str(tmp_path / "MINE.pkl"))
    np.testing.assert_allclose(World.read(folder / "world.h5").people[1].betas, 0.3, atol=1e-6)


# ---------------------------------------------------------------------------------------------
# the workflow goes on


def planned(folder):
    run = snakemake(
        folder, "-n", "--config", "videos=results/videos", "route=videomimic", "preview=false"
    )
    text = run.stdout + run.stderr
    assert run.returncode == 0, text
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", text, re.M))
    return set(jobs) - {"all", "total", "summary", "quality", "export_motion"}


@pytest.mark.parametrize(
    ("stages", "left"),
    [
        (
            STAGE0,
            {"scene_megasam", "body_vimo", "align_megahunter", "ground_geocalib", "mesh_nksr"},
        ),
        (STAGE1, {"align_megahunter", "ground_geocalib", "mesh_nksr"}),
        (STAGE2, {"ground_geocalib", "mesh_nksr"}),
    ],
)
def test_snakemake_makes_what_is_missing_alone(tmp_path, stages, left):
    source = write(Upstream(tmp_path / "demo"), stages)
    read(source, tmp_path / "results")
    assert planned(tmp_path) == left | {"retarget_trajectory"}


def test_products_follow_each_other_in_time(tmp_path, robot):
    source = write(Upstream(tmp_path / "demo"), STAGE3)
    source.retarget(robot.joint_names)
    folder = read(source, tmp_path / "results")
    assert planned(tmp_path) == set()
    command = importlib.import_module("pantograph.commands.import")
    order = [folder / command.file_of(product) for product in command.STAGES]
    stamps = [path.stat().st_mtime_ns for path in order]
    assert all(later > earlier for earlier, later in zip(stamps, stamps[1:], strict=False))
    video = Video.read(folder / "video.json")
    assert (tmp_path / "results/videos" / f"{VIDEO}.mov").stat().st_mtime_ns < stamps[0]
    assert video.path == str(tmp_path / "results/videos" / f"{VIDEO}.mov")


def test_what_each_rule_reads_is_taken_from_the_rules():
    from pantograph.config import read_routes

    command = importlib.import_module("pantograph.commands.import")
    found = command.inputs(ROOT, read_routes(ROOT)["videomimic"])
    assert found["contacts"] == ["video.json", "people.h5"]
    assert found["world"] == ["video.json", "keypoints.h5", "body.h5", "contacts.h5", "scene.h5"]
    assert set(found) == set(command.STAGES) - {"video"}


# ---------------------------------------------------------------------------------------------
# what cannot be read


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("run",)

    source = write(Upstream(tmp_path / "demo"), ("images", "masks", "poses"))
    folder = source.folder("input_contacts", VIDEO, "cam01")
    (folder / "00001.pkl").write_bytes(pickle.dumps({1: Trap()}))
    with pytest.raises(PantographError, match="00001.pkl: .*not allowed"):
        read(source, tmp_path / "results")


def test_mistakes_are_one_line_each(tmp_path, robot):
    with pytest.raises(PantographError, match="found none"):
        main(["import", "videomimic", str(tmp_path), "--results", str(tmp_path / "r")])
    source = write(Upstream(tmp_path / "demo"), STAGE3)
    with pytest.raises(PantographError, match="unknown video 'jmp_01' .did you mean 'jump_01'"):
        read(source, tmp_path / "r", "--video", "jmp_01")
    with pytest.raises(PantographError, match="--route: unknown route"):
        read(source, tmp_path / "r", "--route", "nowhere")
    source.retarget(["left_hip_pitch_joint", "tail_joint"])
    with pytest.raises(PantographError, match="expected joints of g1 .* tail_joint among them"):
        read(source, tmp_path / "r")
    source.retarget(robot.joint_names, wrong=3)
    with pytest.raises(PantographError, match="expected 16 rows for person 1.*, found 19"):
        read(source, tmp_path / "r")
    mask = source.root / "input_masks" / VIDEO / "cam01/mask_data/mask_00003.npz"
    np.savez(mask, mask=np.zeros((HEIGHT // 2, WIDTH), np.uint16))
    with pytest.raises(PantographError, match="expected a mask of 320 x 240, found 320 x 120"):
        read(source, tmp_path / "r", "--force")
    mask.write_bytes(b"no archive")
    with pytest.raises(PantographError, match="expected an array 'mask'"):
        read(source, tmp_path / "r", "--force")


def test_a_damaged_file_of_stage_2_is_one_line(tmp_path):
    source = write(Upstream(tmp_path / "demo"), STAGE2)
    path = source.root / "output_smpl_and_points" / f"megahunter_{source.stem}.h5"
    with h5py.File(path, "a") as h5:
        del h5.attrs["/person_frame_info_list/1"]
    with pytest.raises(PantographError, match="person_frame_info_list/1, found none"):
        read(source, tmp_path / "results")
    path.write_bytes(b"cut off")
    with pytest.raises(PantographError, match=f"{path.name}: "):
        read(source, tmp_path / "results")


def test_every_product_is_read_by_its_contract(tmp_path, robot):
    source = write(Upstream(tmp_path / "demo"), STAGE3)
    source.retarget(robot.joint_names, several=True)
    folder = read(source, tmp_path / "results")
    for name, product in contracts.PRODUCTS.items():
        file = {"video": "video.json", "motion": "motion_g1.h5"}.get(name, f"{name}.h5")
        assert not product.read(folder / file).rejected
