import dataclasses
import hashlib
import json
import os
import shutil
import subprocess

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ROOT
from pantograph import contracts
from pantograph.contracts import Gravity, Keypoints, Motion, People, Scene, Video, World
from pantograph.errors import ContractError

H5_PRODUCTS = [cls for cls in contracts.PRODUCTS.values() if cls is not Video]
SIZES = {"T": 4, "J": 3, "L": 5, "A": 6, "C": 2, "N": 7, "B": 1, "V": 4, "F": 2}
SIZES |= {"H": 3, "W8": 2, "h": 2, "w": 3}


def fill(owner, rng, sizes=SIZES):
    """Give every array and list of names of a product, or of a person, random valid content."""
    for field in dataclasses.fields(owner):
        if "shape" in field.metadata:
            shape = [int(k) if k.isdigit() else sizes[k] for k in field.metadata["shape"]]
            values = rng.normal(scale=100.0, size=shape)
            if field.metadata["limits"]:
                values = rng.uniform(*field.metadata["limits"], size=shape)
            if field.metadata["dtype"] in ("?", "u1", "i4"):
                values = rng.integers(0, 2, size=shape)
            setattr(owner, field.name, values.astype(field.metadata["dtype"]))
        elif "names" in field.metadata:
            axis = field.metadata["names"]
            setattr(owner, field.name, [f"{axis} ä{i}" for i in range(sizes[axis])])
    return owner


def example(cls, seed=0, people=(1, 12), sizes=SIZES):
    rng = np.random.default_rng(seed)
    product = fill(cls(method="test", source_sha256="ab", stats={"angle_deg": 1.5}), rng, sizes)
    product.dropped = {"3": "seen in 4 frames"}
    if cls.PERSON is not None:
        product.people = {pid: fill(cls.PERSON(), rng, sizes) for pid in people}
    return product


def assert_same(a, b):
    for field in dataclasses.fields(a):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if field.name == "people":
            assert list(left) == list(right)
            for pid in left:
                assert_same(left[pid], right[pid])
        elif isinstance(left, np.ndarray):
            assert isinstance(right, contracts.Frames) == field.metadata["lazy"]
            assert left.dtype == right.dtype, field.name
            np.testing.assert_array_equal(left, right, err_msg=field.name)
        else:
            assert left == right, field.name


def array_fields(owner):
    return [field for field in dataclasses.fields(owner) if "shape" in field.metadata]


@pytest.mark.parametrize("cls", H5_PRODUCTS, ids=lambda cls: cls.SCHEMA)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 40),
    people=st.lists(st.integers(0, 30), unique=True, max_size=3),
)
def test_what_is_written_is_read(tmp_path_factory, cls, seed, frames, people):
    folder = tmp_path_factory.mktemp("product")
    product = example(cls, seed, sorted(people), {**SIZES, "T": frames})
    product.write(folder / "new" / "a.h5")
    assert_same(product, cls.read(folder / "new" / "a.h5"))
    product.write(folder / "b.h5")
    digests = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "new" / "a.h5", folder / "b.h5")
    }
    assert len(digests) == 1
    shutil.rmtree(folder)


@pytest.mark.parametrize("cls", H5_PRODUCTS, ids=lambda cls: cls.SCHEMA)
def test_a_rejection_is_read_back(tmp_path, cls):
    cls.rejection("no person – none", dropped={"1": "left"}).write(tmp_path / "a.h5")
    product = cls.read(tmp_path / "a.h5")
    assert product.rejected
    assert (product.reason, product.dropped) == ("no person – none", {"1": "left"})
    with pytest.raises(ContractError, match="a rejected product needs a reason"):
        cls.rejection("").write(tmp_path / "b.h5")
    assert not (tmp_path / "b.h5").exists()


CASES = [
    (cls, part, field.name)
    for cls in H5_PRODUCTS
    for part in ("product", "person")
    if part == "product" or cls.PERSON
    for field in array_fields(cls if part == "product" else cls.PERSON)
]


@pytest.mark.parametrize(("cls", "part", "name"), CASES)
def test_a_wrong_array_is_named(tmp_path, cls, part, name):
    product = example(cls)
    owner = product if part == "product" else product.people[12]
    label = name if part == "product" else f"people/12/{name}"
    good = getattr(owner, name)
    field = next(field for field in array_fields(owner) if field.name == name)

    def message():
        with pytest.raises(ContractError) as error:
            product.write(tmp_path / "x.h5")
        assert not list(tmp_path.iterdir())
        assert f"{tmp_path / 'x.h5'}: {label}" in str(error.value)
        return str(error.value)

    setattr(owner, name, good[None])
    assert "expected shape" in message()
    setattr(owner, name, np.full(good.shape, "x"))
    assert "expected dtype" in message()
    if good.dtype.kind == "f":
        bad = good.copy()
        bad.flat[-1] = np.nan
        setattr(owner, name, bad)
        assert "expected finite values, found 1 that are not" in message()
    for axis, letter in enumerate(field.metadata["shape"]):
        if letter.isdigit():
            setattr(owner, name, np.repeat(good, 2, axis=axis))
            assert "expected shape" in message()
    setattr(owner, name, None)
    if field.metadata["optional"]:
        product.write(tmp_path / "x.h5")
        again = cls.read(tmp_path / "x.h5")
        assert getattr(again if part == "product" else again.people[12], name) is None
    else:
        assert "is missing" in message()


def test_people_have_the_same_frames(tmp_path):
    product = example(Keypoints)
    product.people[12] = fill(Keypoints.PERSON(), np.random.default_rng(1), {**SIZES, "T": 5})
    with pytest.raises(ContractError, match=r"people/12/visible: expected T = 4, found 5"):
        product.write(tmp_path / "x.h5")


def test_names_fit_their_axis(tmp_path):
    product = example(Motion)
    product.joint_names = product.joint_names[:-1]
    with pytest.raises(ContractError, match=r"expected A = 5, found 6"):
        product.write(tmp_path / "x.h5")


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "world.h5"
    example(World).write(path)
    with pytest.raises(ContractError, match="expected schema 'gravity', found 'world'"):
        Gravity.read(path)
    with h5py.File(path, "r+") as h5:
        h5.attrs["schema_version"] = 99
    with pytest.raises(ContractError, match="expected version 1 of 'world', found 99"):
        World.read(path)
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(ContractError, match="expected schema 'world', found None"):
        World.read(tmp_path / "other.h5")


@pytest.mark.parametrize("size", [0, 100, 0.5, 0.95])
def test_a_truncated_file_is_one_line(tmp_path, size):
    path = tmp_path / "world.h5"
    example(World).write(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(size if size > 1 else size * len(content))])
    with pytest.raises(ContractError) as error:
        World.read(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ContractError, match="no such file; run the stage that makes it first"):
        World.read(tmp_path / "world.h5")


def test_a_missing_array_in_a_file_is_named(tmp_path):
    path = tmp_path / "world.h5"
    example(World).write(path)
    with h5py.File(path, "r+") as h5:
        del h5["people/12/transl"]
    with pytest.raises(ContractError, match=r"people/12/transl is missing"):
        World.read(path)


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "world.h5"
    example(World, seed=1).write(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        example(World, seed=2).write(path)
    assert [item.name for item in tmp_path.iterdir()] == ["world.h5"]
    assert path.read_bytes() == before


def test_depth_stays_in_its_file_and_is_checked_when_read(tmp_path):
    path = tmp_path / "scene.h5"
    product = example(Scene, sizes={**SIZES, "T": 6, "h": 40, "w": 60})
    product.write(path)
    with h5py.File(path) as h5:
        assert h5["depth"].chunks == (1, 40, 60)
    scene = Scene.read(path)
    depth = scene.depth
    assert depth.shape == (6, 40, 60) and len(depth) == 6
    for index in (2, -1, slice(1, 5, 2), [4, 0, 0], np.arange(6) > 3):
        np.testing.assert_array_equal(depth[index], product.depth[index])
    scene.write(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()
    with h5py.File(path, "r+") as h5:
        h5["depth"][3] = np.nan
        h5["depth_confidence"][1] = 2
    scene = Scene.read(path)
    assert np.isfinite(scene.depth[:3]).all()
    with pytest.raises(ContractError, match="depth: expected finite values, found 2400"):
        scene.depth[2:4]
    with pytest.raises(ContractError, match="depth_confidence: expected values from 0 to 1"):
        scene.depth_confidence[1]
    with h5py.File(path, "r+") as h5:
        del h5["depth"]
        h5["depth"] = np.zeros((5, 40, 60))
    with pytest.raises(ContractError, match="depth: expected T = 6, found 5"):
        Scene.read(path)


@pytest.mark.parametrize("value", [-0.1, 1e5])
def test_a_depth_beyond_its_limits_is_refused(tmp_path, value):
    product = example(Scene)
    product.depth = np.full(product.depth.shape, value)
    with pytest.raises(ContractError, match="depth: expected values from 0 to 65504"):
        product.write(tmp_path / "x.h5")


@given(
    bits=st.lists(st.lists(st.booleans(), min_size=11, max_size=11), min_size=1, max_size=5),
)
def test_masks_are_packed_without_loss(bits):
    mask = np.array(bits)
    track = People.PERSON(masks=contracts.pack_mask(mask)[None])
    people = People(mask_width=mask.shape[1], mask_height=mask.shape[0], people={1: track})
    np.testing.assert_array_equal(people.mask(1, 0), mask)


def video(**changes):
    fields = {"name": "Sänger", "path": "/a b/ä.mp4", "fps": 30.0, "width": 64, "height": 48}
    return Video(**{**fields, "source_frames": [0, 1], "source_times": [0.0, 0.03], **changes})


def test_a_video_is_read_back(tmp_path):
    product = video(person_height=[1.75], text="dancer", stats={"clip_s": 0.1})
    product.write(tmp_path / "video.json")
    assert_same(product, Video.read(tmp_path / "video.json"))
    assert json.loads((tmp_path / "video.json").read_text())["schema"] == "video"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 0.0}, "expected fps, width, height > 0"),
        ({"source_frames": []}, "at least one frame"),
        ({"source_times": [0.0]}, "expected 2 source_times, found 1"),
        ({"source_times": [1.0, 0.5]}, "source_times go back in time"),
    ],
)
def test_a_wrong_video_is_refused(tmp_path, changes, message):
    with pytest.raises(ContractError, match=message):
        video(**changes).write(tmp_path / "video.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "people"}', "\xff"])
def test_a_wrong_video_file_is_one_line(tmp_path, content):
    path = tmp_path / "video.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ContractError) as error:
        Video.read(path)
    assert str(path) in str(error.value)


def test_old_python_reads_what_new_python_writes(tmp_path):
    python = shutil.which("python3.8")
    probe = python and subprocess.run([python, "-c", "import numpy, h5py"], capture_output=True)
    if not python or probe.returncode:
        pytest.skip("no python3.8 with numpy and h5py")
    example(Motion).write(tmp_path / "a.h5")
    code = (
        "import sys; from pantograph.contracts import Motion; "
        "Motion.read(sys.argv[1]).write(sys.argv[2])"
    )
    arguments = [python, "-c", code, str(tmp_path / "a.h5"), str(tmp_path / "b.h5")]
    subprocess.run(arguments, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")})
    assert_same(Motion.read(tmp_path / "a.h5"), Motion.read(tmp_path / "b.h5"))
