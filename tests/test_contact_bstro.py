"""BSTRO's driver: what each crop shows, what its vertices say about a foot, what comes out."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import contact_bstro  # noqa: E402
import flow  # noqa: E402
import standins  # noqa: E402
import toyclip  # noqa: E402
from conftest import ROOT  # noqa: E402
from pantograph import body, bstro  # noqa: E402
from pantograph.contracts import Contacts, People, PersonTrack, Video  # noqa: E402
from pantograph.errors import PantographError  # noqa: E402

COUNT = 8

# ---------------------------------------------------------------------------------------------
# from vertices to feet


def test_a_foot_is_judged_by_the_part_of_its_vertices(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({**standins.FEET, **standins.TOES}))
    feet = bstro.foot_vertices(str(tmp_path / "s.json"))
    assert [ids.tolist() for ids in feet] == [[10, 11, 12, 13], [4000, 4001, 4002, 4003]]
    with_toes = bstro.foot_vertices(str(tmp_path / "s.json"), toes=True)
    assert with_toes[1].tolist() == [4000, 4001, 4002, 4003, 4010, 4011]
    probability = np.zeros((2, 6890))
    probability[0, [10, 11]] = [0.96, 0.95]
    probability[1, 4000:4004] = 1
    ratio, mean = bstro.pool(probability, feet, contact_thr=0.95)
    assert np.allclose(ratio, [[0.25, 0], [0, 1]])
    assert np.allclose(mean, [[(0.96 + 0.95) / 4, 0], [0, 1]])
    assert bstro.pool(probability, with_toes)[0][0, 0] == pytest.approx(1 / 6)


@pytest.mark.parametrize("content", ['{"leftFoot": [1]}', "[]", '{"leftFoot"', None])
def test_a_wrong_segmentation_is_named(tmp_path, content):
    path = tmp_path / "s.json"
    if content is None:
        content = json.dumps({"leftFoot": [1], "rightFoot": [6890]})
    path.write_text(content)
    with pytest.raises(PantographError, match=r"s\.json: expected"):
        bstro.foot_vertices(str(path))


def test_labels_are_upstreams_thresholds_by_default():
    ratio = np.array([[0.2, 0.21], [0.9, 0.0], [0.19, 0.5], [1.0, 1.0]])
    valid = np.array([True, True, True, False])
    flags = bstro.label(ratio, valid, threshold=0.2)
    assert flags.tolist() == [[False, True], [True, False], [False, True], [False, False]]


def test_labels_may_be_steadied_over_time():
    ratio = np.zeros((12, 2))
    ratio[2:10, 0] = 0.5
    ratio[5, 0] = 0.1
    ratio[7, 1] = 0.9
    valid = np.ones(12, bool)
    steady = np.zeros(12, bool)
    steady[2:10] = True
    assert np.array_equal(
        bstro.label(ratio, valid, median=3), np.stack([steady, steady & False], 1)
    )
    assert np.array_equal(bstro.label(ratio, valid, off=0.05)[:, 0], steady)
    assert np.array_equal(bstro.label(ratio, valid, shortest=2)[:, 0], steady)
    assert not bstro.label(ratio, valid, shortest=2)[:, 1].any()
    # a gap in the track is no neighbour
    gap = valid.copy()
    gap[5] = False
    assert np.array_equal(
        np.flatnonzero(bstro.label(ratio, gap, median=3)[:, 0]), [2, 3, 4, 6, 7, 8, 9]
    )


def test_hysteresis_starts_at_the_upper_threshold():
    values = np.array([0.15, 0.3, 0.15, 0.05, 0.15, 0.15, 0.25])
    flags = bstro.hysteresis(values, on=0.2, off=0.1)
    assert np.flatnonzero(flags).tolist() == [1, 2, 6]


# ---------------------------------------------------------------------------------------------
# what the network is given


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return standins.write_bstro(tmp_path_factory.mktemp("bstro"))


@pytest.fixture(scope="module")
def judge(paths):
    return bstro.load(paths["repository"], paths["weights"], paths["template"], "cpu")


def test_the_template_turns_about_its_pelvis(paths):
    model = body.load_body(paths["template"])
    template = bstro.Template(model, np.eye(17, 6890), "cpu")
    pose = torch.zeros(1, 72)
    rest = template(pose, torch.zeros(1, 10))
    assert np.allclose(rest[0], model.v_template, atol=1e-6)
    pose[:, 0] = np.pi
    turned = template(pose, torch.zeros(1, 10))[0].numpy()
    pelvis = model.J_template[0]
    expected = (model.v_template - pelvis) * [1, -1, -1] + pelvis
    assert np.allclose(turned, expected, atol=1e-5)
    assert np.allclose(template.get_h36m_joints(rest)[0], model.v_template[:17], atol=1e-6)


def test_a_wrong_sampling_is_named(tmp_path):
    np.savez(tmp_path / "plain.npz", D=np.zeros(3))
    with pytest.raises(PantographError, match="not a readable mesh sampling"):
        bstro.read_sampling(str(tmp_path / "plain.npz"))


def test_a_body_of_another_mesh_is_no_template(paths, tmp_path):
    content = body.smpl_dict(body.load_body())
    for key in ("v_template", "shapedirs", "posedirs", "weights"):
        content[key] = content[key][:100]
    content["J_regressor"] = content["J_regressor"][:, :100]
    body.write_npz(tmp_path / "small.npz", content)
    with pytest.raises(PantographError, match="expected SMPL's 6890 vertices, found 100"):
        bstro.load(paths["repository"], paths["weights"], str(tmp_path / "small.npz"), "cpu")


def test_code_that_wants_a_gpu_is_told_so(paths, tmp_path):
    clone = tmp_path / "repo"
    shutil.copytree(paths["repository"], clone)
    path = clone / "metro/modeling/bert/modeling_bstro.py"
    path.write_text(path.read_text().replace("(1, 72))", "(1, 72)).cuda()"))
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import torch;"
        "from pantograph import bstro, cli;"
        "cli.run(lambda _: bstro.load(*sys.argv[2:5], 'cpu')(torch.zeros(1, 3, 224, 224)) and 0)"
    )
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            ROOT / "scripts",
            clone,
            paths["weights"],
            paths["template"],
        ],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "error: --device cpu: expected a GPU, since BSTRO's own code asks for one" in run.stderr


class Pictures:
    """A clip of pictures in memory, in the place of `bstro.frames`."""

    def __init__(self, pictures):
        self.pictures = pictures

    def __call__(self, video):
        return enumerate(self.pictures)


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_every_crop_has_its_own_centre_and_scale(judge, monkeypatch, batch_size):
    """Two people whose boxes grow and move: the crop is their box in the middle, the rest black.

    Red is 255 in the first person's box and green in the second's, so that the stand-in's
    probability is the part of the crop that the box fills, whatever the first box was.
    """
    pictures, boxes, visible = [], np.zeros((2, COUNT, 4)), np.ones((2, COUNT), bool)
    visible[1, 3] = False
    for k in range(COUNT):
        boxes[0, k] = [10 + 5 * k, 20, 20 + 12 * k, 120]
        boxes[1, k] = [150, 30, 190 + 6 * k, 50 + 3 * k]
        picture = np.full((150, 260, 3), 0, np.uint8)
        for pid, (x0, y0, x1, y1) in enumerate(boxes[:, k].astype(int)):
            picture[y0:y1, x0:x1, pid] = 255
        pictures.append(picture)
    boxes[1, 3] = 0
    people = People(
        frame_count=COUNT,
        ranking=[2, 5],
        people={
            pid: PersonTrack(visible=visible[i], boxes=boxes[i], score=visible[i] * 1.0, masks=None)
            for i, pid in enumerate((2, 5))
        },
    )
    video = Video(name="x", fps=30.0, width=260, height=150, source_frames=list(range(COUNT)))
    monkeypatch.setattr(bstro, "frames", Pictures(pictures))
    feet = [np.array([10, 11]), np.array([4000])]
    found = bstro.find_contacts(video, people, judge, feet, contact_thr=0.5, batch_size=batch_size)
    for i, pid in enumerate((2, 5)):
        size = boxes[i, :, 2:] - boxes[i, :, :2]
        expected = np.where(visible[i], size.min(1) / np.maximum(size.max(1), 1), 0)
        person = found.people[pid]
        assert np.allclose(person.probability[:, i], expected, atol=0.02)
        assert np.allclose(person.probability[visible[i], 1 - i], 0, atol=0.02)
        assert np.array_equal(person.valid, visible[i])
        assert np.array_equal(person.contact[:, i], expected > 0.5)
    assert not found.people[5].contact[3].any()


# ---------------------------------------------------------------------------------------------
# the script and the rule


def clip(folder):
    products = toyclip.make(folder, count=COUNT)
    person = products["people"].people[2]
    person.visible = np.array([True] * (COUNT - 2) + [False] * 2)
    products["people"].write(toyclip.path_of(folder, "people"))
    toyclip.write_video(folder / "toy.mp4", COUNT, color=(250, 40, 0))
    return products


def arguments(folder, paths):
    words = toyclip.options(folder, "video", "people") + ["--out", str(folder / "contacts.h5")]
    return words + [word for name, path in paths.items() for word in (f"--{name}", path)]


def test_the_script_writes_contacts(tmp_path, paths):
    clip(tmp_path)
    words = ["--contact-thr", "0.3", "--toes", "--batch-size", "3"]
    contact_bstro.main([*arguments(tmp_path, paths), *words])
    found = Contacts.read(tmp_path / "contacts.h5")
    assert found.contact_names == ["left_foot", "right_foot"] and found.method == "bstro"
    assert found.stats["foot_vertices"] == [6, 6]
    assert found.people[1].valid.all() and found.people[1].contact[:, 0].all()
    assert not found.people[1].contact[:, 1].any()
    # the boxes of the toy are wider than a third of their height, and red
    assert found.people[1].probability[:, 0].min() > 0.3
    assert np.flatnonzero(~found.people[2].valid).tolist() == [COUNT - 2, COUNT - 1]
    assert (found.people[2].probability[-2:] == 0).all()
    assert found.parameters["contact_thr"] == 0.3 and found.parameters["toes"] is True


def test_the_thresholds_are_those_of_upstreams_shell_scripts(tmp_path, paths):
    clip(tmp_path)
    contact_bstro.main(arguments(tmp_path, paths))
    found = Contacts.read(tmp_path / "contacts.h5")
    assert found.parameters["contact_thr"] == 0.95
    assert found.parameters["feet_contact_ratio_thr"] == 0.2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--median", "4"], "--median: expected an odd number of frames, found 4"),
        (["--batch-size", "0"], "--batch-size: expected at least 1"),
        (["--off-ratio", "0.5"], "--off-ratio: expected at most"),
    ],
)
def test_wrong_options_are_named(tmp_path, paths, words, message):
    with pytest.raises(PantographError, match=message):
        contact_bstro.main([*arguments(tmp_path, paths), *words])


@pytest.mark.parametrize("missing", ["weights", "template", "segmentation", "repository"])
def test_a_missing_file_is_named(tmp_path, paths, missing):
    clip(tmp_path)
    paths = {**paths, missing: str(tmp_path / "nothing")}
    with pytest.raises(PantographError, match="nothing: expected .*doctor"):
        contact_bstro.main(arguments(tmp_path, paths))


def test_the_rule_makes_the_product(tmp_path, paths):
    place = tmp_path / "results" / "other" / "toy"
    place.mkdir(parents=True)
    clip(place)
    (place / "toy.mp4").rename(tmp_path / "toy.mp4")
    video = toyclip.path_of(place, "video")
    video.write_text(video.read_text().replace(str(place), str(tmp_path)))
    options = {"contact_bstro": {**paths, "contact-thr": 0.3, "toes": True, "device": "cpu"}}
    flow.write(tmp_path, "other", {"contact": "bstro"}, videos="toy.mp4", options=options)
    run = flow.run(tmp_path, "results/other/toy/contacts.h5", "contact_bstro")
    assert run.returncode == 0, run.stdout + run.stderr
    found = Contacts.read(place / "contacts.h5")
    assert found.method == "bstro" and found.stats["foot_vertices"] == [6, 6]
