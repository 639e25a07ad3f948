import av
import numpy as np
import pytest

import preview as script
import toyclip
from pantograph import offscreen, preview
from pantograph.contracts import Gravity, Motion
from pantograph.errors import PantographError

STAGES = ("video", "people", "keypoints", "gravity", "mesh", "motion")
COUNT = 6


def show(folder, *words, name="preview.mp4"):
    out = folder / name
    script.main([*toyclip.options(folder, *STAGES), "--height", "240", "--out", str(out), *words])
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return stream, pictures


def middle(picture, color, tolerance=40):
    """Mean x of the pixels of about one hue and how many there are."""
    tint = picture.astype(float) / np.maximum(picture.max(-1, keepdims=True), 1)
    wanted = np.array(color) / max(color)
    near = (np.abs(tint - wanted).max(-1) < tolerance / 255) & (picture.max(-1) > 60)
    return np.nonzero(near)[1].mean() if near.any() else np.nan, np.count_nonzero(near)


def without_gl():
    try:
        offscreen.backend()
    except PantographError as error:
        return str(error)


needs_gl = pytest.mark.skipif(without_gl() is not None, reason=f"{without_gl()}")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    toyclip.make(folder, count=COUNT)
    toyclip.write_video(folder / "toy.mp4", COUNT)
    return folder


@needs_gl
def test_preview_plays_everywhere(toy):
    stream, pictures = show(toy)
    assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
    assert stream.average_rate == 30 and len(pictures) == COUNT
    assert pictures[0].shape == (240 + preview.BAR, 640, 3)
    content = (toy / "preview.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@needs_gl
def test_input_and_robots_agree(toy):
    """Person 1 stands to the left of person 2 in both pictures, each in its own colour."""
    _, pictures = show(toy)
    left, right = pictures[3][preview.BAR :, :320], pictures[3][preview.BAR :, 320:]
    for picture in (left, right):
        first, second = (middle(picture, color) for color in preview.COLORS[:2])
        assert min(first[1], second[1]) > 100
        assert first[0] < second[0]


@needs_gl
def test_a_robot_shows_only_while_its_motion_is_valid(toy, tmp_path):
    motion = toyclip.make(tmp_path, count=COUNT)["motion"]
    toyclip.write_video(tmp_path / "toy.mp4", COUNT)
    valid = np.ones(COUNT, bool)
    valid[:3] = False
    motion.people[2].valid = valid
    motion.write(toyclip.path_of(tmp_path, "motion"))
    _, pictures = show(tmp_path)
    shown = [middle(p[preview.BAR :, 320:], preview.COLORS[1], 25)[1] for p in pictures]
    assert max(shown[:3]) * 5 < min(shown[3:])


@needs_gl
def test_every_second_frame_at_half_the_rate(toy):
    stream, pictures = show(toy, "--every", "2", name="half.mp4")
    assert stream.average_rate == 15 and len(pictures) == COUNT // 2


@needs_gl
def test_same_clip_gives_the_same_bytes(toy):
    show(toy, name="a.mp4")
    show(toy, name="b.mp4")
    assert (toy / "a.mp4").read_bytes() == (toy / "b.mp4").read_bytes()


def test_view_is_from_the_camera_and_smooth(toy):
    gravity = Gravity.read(toyclip.path_of(toy, "gravity"))
    motion = Motion.read(toyclip.path_of(toy, "motion"))
    for target, distance, azimuth, elevation in preview.views(motion, gravity):
        assert azimuth == pytest.approx(90)
        assert -40 <= elevation <= -8
        assert np.linalg.norm(target[:2]) < 0.01 and 0.4 < target[2] < 0.8
        assert 1.5 < distance < 5


@pytest.mark.parametrize("name", STAGES)
def test_a_rejected_clip_shows_its_reason(toy, tmp_path, name):
    toyclip.make(tmp_path, count=COUNT)
    toyclip.write_video(tmp_path / "toy.mp4", COUNT, color=(200, 30, 30))
    path = toyclip.path_of(tmp_path, name)
    type(toyclip.make(tmp_path, count=COUNT)[name]).rejection("nobody was found").write(path)
    _, pictures = show(tmp_path)
    assert 5 <= len(pictures) <= 60
    words = pictures[0][preview.BAR :, -320:]
    assert np.count_nonzero((words[..., 0].astype(int) - words[..., 2]) > 60) > 50
    first = pictures[0][preview.BAR :, :300]
    assert (np.median(first[..., 0]) > 150) == (name != "video")


def test_a_rejected_clip_without_its_video_shows_its_reason(tmp_path):
    toyclip.make(tmp_path, count=COUNT)
    Motion.rejection("no camera solution").write(toyclip.path_of(tmp_path, "motion"))
    _, pictures = show(tmp_path)
    assert pictures[0].shape == (240 + preview.BAR, 320, 3)


def test_without_opengl_the_packages_are_named(toy, monkeypatch):
    monkeypatch.setattr(offscreen, "_works", lambda name: False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    offscreen.backend.cache_clear()
    with pytest.raises(PantographError, match="apt-get install libegl1 .* or .*osmesa6"):
        show(toy, name="none.mp4")
    assert not list(toy.glob("*none.mp4*"))
    offscreen.backend.cache_clear()


def test_backends_are_tried_in_order(monkeypatch):
    monkeypatch.setattr(offscreen, "_works", lambda name: name == "osmesa")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    offscreen.backend.cache_clear()
    assert offscreen.backend() == "osmesa"
    monkeypatch.setenv("MUJOCO_GL", "egl")
    offscreen.backend.cache_clear()
    with pytest.raises(PantographError, match="libegl1"):
        offscreen.backend()
    offscreen.backend.cache_clear()


@pytest.mark.parametrize("words", [("--every", "0"), ("--height", "121")])
def test_sizes_that_make_no_video_are_refused(toy, words):
    with pytest.raises(PantographError, match="expected an even --height"):
        show(toy, *words)


def test_reasons_are_wrapped():
    lines = preview.wrapped("a reason that is much too long for a single line of text", 200, 0.6)
    assert len(lines) > 2 and " ".join(lines).startswith("a reason that is")
