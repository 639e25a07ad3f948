"""Any file in: an upright clip at a constant rate, or one clear line that says why not."""

from fractions import Fraction

import av
import numpy as np
import pytest

import ingest
from pantograph.contracts import Video, sha256
from pantograph.errors import PantographError
from pantograph.video import constant_rate, frames, read_frame, resample

WIDTH, HEIGHT = 96, 64


def picture(number, width=WIDTH, height=HEIGHT):
    """Four colours, one in each corner, and the number as brightness of a stripe."""
    out = np.zeros((height, width, 3), np.uint8)
    out[: height // 2, : width // 2, 0] = 255
    out[: height // 2, width // 2 :, 1] = 255
    out[height // 2 :, : width // 2, 2] = 255
    out[height // 2 :, width // 2 :] = 255
    out[:, int(0.35 * width) : int(0.65 * width)] = 10 * (number % 24) + 10
    return out


def number_of(rgb):
    """The number that `picture` wrote."""
    return round((level_of(rgb) - 10) / 10)


def level_of(rgb):
    """Brightness of the stripe."""
    y, x = rgb.shape[0] // 2, rgb.shape[1] // 2
    return float(rgb[y - 4 : y + 4, x - 3 : x + 3].mean())


def make(path, count=24, rate=30, pixels="yuv420p", codec="libx264", size=(WIDTH, HEIGHT), **more):
    """Write a video.

    more: rotation (degrees, counter-clockwise) and hflip, times (ms, one per frame), muxer
    (options of the container).
    """
    options = {"preset": "ultrafast", "g": "8"} if codec == "libx264" else {}
    with av.open(str(path), "w", options=more.get("muxer", {})) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.bit_rate = 4_000_000
        if "times" in more:
            stream.codec_context.time_base = Fraction(1, 1000)
        if "rotation" in more:
            stream.set_display_rotation(more["rotation"], hflip=more.get("hflip", False))
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(picture(k, *size), "rgb24").reformat(format=pixels)
            frame.pts = more["times"][k] if "times" in more else k
            frame.time_base = Fraction(1, 1000) if "times" in more else 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def run(path, tmp_path, *options):
    out = tmp_path / "out" / "video.json"
    ingest.main(["--path", str(path), "--name", "clip", "--out", str(out), *map(str, options)])
    return Video.read(out)


def numbers(video):
    return [number_of(rgb) for _, rgb in frames(video)]


def corners(rgb):
    """The colours of the corners, row by row."""
    height, width = rgb.shape[:2]
    letters = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}
    spots = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return "".join(letters[tuple(int(v) for v in rgb[spot] > 128)] for spot in spots)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.ts", "libx264"),
        ("a.webm", "libvpx"),
        ("ein schöner クリップ.mov", "libx264"),
    ],
)
def test_every_frame_of_common_containers(tmp_path, name, codec):
    path = make(tmp_path / name, codec=codec)
    video = run(path, tmp_path)
    assert (video.status, video.reason) == ("accepted", "")
    assert (video.width, video.height, video.fps, video.rotation) == (WIDTH, HEIGHT, 30.0, 0)
    assert not video.variable_frame_rate
    assert numbers(video) == list(range(24))
    assert video.source_sha256 == sha256(path)


@pytest.mark.parametrize(
    ("pixels", "codec", "size"),
    [
        ("gray", "libx264", (WIDTH, HEIGHT)),
        ("yuv420p10le", "libx264", (WIDTH, HEIGHT)),
        ("yuv444p", "libx264", (97, 65)),
        ("gray16le", "ffv1", (33, 21)),
    ],
)
def test_pixel_formats_and_odd_sizes(tmp_path, pixels, codec, size):
    video = run(make(tmp_path / "a.mkv", pixels=pixels, codec=codec, size=size), tmp_path)
    assert (video.width, video.height) == size
    # grey levels without a declared range are stretched, but keep their order
    levels = [level_of(rgb) for _, rgb in frames(video)]
    assert len(levels) == 24 and np.all(np.diff(levels[1:22]) > 5)
    for _, rgb in frames(video, long_side=30):
        assert rgb.dtype == np.uint8 and max(rgb.shape) == 30 and rgb.shape[2] == 3


@pytest.mark.parametrize(
    ("rotation", "hflip", "expected", "clockwise"),
    [
        (90, False, "GWRB", 270),
        (-90, False, "BRWG", 90),
        (180, False, "WBGR", 180),
        (0, True, "GRWB", 0),
        (90, True, "WGBR", 90),
    ],
)
def test_display_matrix(tmp_path, rotation, hflip, expected, clockwise):
    video = run(make(tmp_path / "a.mp4", rotation=rotation, hflip=hflip), tmp_path)
    upright = (HEIGHT, WIDTH) if abs(rotation) == 90 else (WIDTH, HEIGHT)
    assert (video.width, video.height, video.rotation) == (*upright, clockwise)
    assert corners(read_frame(video, 3)) == expected
    assert corners(read_frame(video, 3, long_side=48)) == expected


def test_4k_portrait(tmp_path):
    path = make(tmp_path / "a.mp4", count=10, size=(3840, 2160), rotation=-90)
    video = run(path, tmp_path)
    assert (video.width, video.height) == (2160, 3840)
    rgb = read_frame(video, 9, long_side=960)
    assert rgb.shape == (960, 540, 3)
    assert (number_of(rgb), corners(rgb)) == (9, "BRWG")


def test_selection(tmp_path):
    path = make(tmp_path / "a.mp4")
    video = run(path, tmp_path, "--start", 3, "--end", 23, "--stride", 2)
    assert (video.fps, numbers(video)) == (15.0, list(range(3, 23, 2)))
    assert video.source_frames == list(range(3, 23, 2))
    assert np.allclose(video.source_times, np.arange(3, 23, 2) / 30, atol=1e-4)
    assert (video.parameters["start"], video.parameters["stride"]) == (3, 2)
    slower = run(path, tmp_path, "--fps", 15)
    assert (slower.fps, numbers(slower)) == (15.0, list(range(0, 24, 2)))
    faster = run(path, tmp_path, "--fps", 60)
    assert numbers(faster) == [k // 2 for k in range(47)]


def test_known_facts_are_kept(tmp_path):
    (tmp_path / "betas.yaml").write_text(f"optimized_shape: [{[0.5] * 10}]")
    options = ["--height", "1.75,1.60", "--people", 2, "--text", "man", "--focal", 90.5]
    options += ["--betas", tmp_path / "betas.yaml"]
    video = run(make(tmp_path / "a.mp4"), tmp_path, *options)
    assert (video.person_height, video.people_limit) == ([1.75, 1.6], 2)
    assert video.person_betas == [[0.5] * 10]
    assert (video.text, video.focal_px, video.name) == ("man", 90.5, "clip")


def test_variable_rate_shows_the_frame_of_each_tick(tmp_path):
    # 25 per second, two frames lost, then a slower part
    times = [40 * k for k in range(20) if k not in (5, 6)] + [800 + 80 * k for k in range(6)]
    video = run(make(tmp_path / "a.mkv", times=times), tmp_path)
    assert (video.variable_frame_rate, video.fps) == (True, 25.0)
    ticks = [40 * k for k in range(times[-1] // 40 + 1)]
    expected = [max(i for i, t in enumerate(times) if t <= tick) for tick in ticks]
    assert video.source_frames == expected
    assert numbers(video) == expected


@pytest.mark.parametrize("rate", [24000 / 1001, 25, 30000 / 1001, 30, 59.94, 60, 12.5])
@pytest.mark.parametrize("digits", [3, 6])
def test_rates_survive_rounded_time_stamps(rate, digits):
    times = np.round(np.arange(300) / rate, digits)
    fps, variable = constant_rate(times)
    assert not variable
    assert fps == pytest.approx(rate, abs=2e-3)
    assert list(resample(times, fps)) == list(range(300))


def test_frames_far_into_the_file_are_the_right_ones(tmp_path):
    path = make(tmp_path / "a.mp4", count=150)
    video = run(path, tmp_path)
    late = run(path, tmp_path, "--start", 130)
    sequential = {k: rgb for k, rgb in frames(video) if k in (0, 99, 141)}
    for k, rgb in sequential.items():
        assert np.array_equal(read_frame(video, k), rgb)
    assert np.array_equal(read_frame(late, 11), sequential[141])


def audio_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut_off(path, share, muxer=None):
    make(path, count=120, muxer=muxer or {})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def written(path, content):
    path.write_bytes(content)
    return path


REJECTED = {
    "missing": (lambda d: d / "none.mp4", [], "no such file"),
    "empty": (lambda d: written(d / "a.mp4", b""), [], "empty"),
    "text": (lambda d: written(d / "a.mp4", b"not a video " * 99), [], "not a video"),
    "audio": (lambda d: audio_only(d / "a.m4a"), [], "no video stream, only audio"),
    "one frame": (lambda d: make(d / "a.mp4", count=1), [], "one frame"),
    "short": (lambda d: make(d / "a.mp4", count=7), [], "7 frames, expected 10"),
    "long": (lambda d: make(d / "a.mp4"), ["--max-frames", 23], "24 frames, expected 23 at most"),
    "no index": (lambda d: cut_off(d / "a.mp4", 0.6), [], "cut off"),
    "beyond": (lambda d: make(d / "a.mp4"), ["--start", 24], "has 24 frames"),
    "inverted": (lambda d: make(d / "a.mp4"), ["--start", 9, "--end", 9], "nothing is selected"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejected_with_a_reason(tmp_path, case):
    make_it, options, reason = REJECTED[case]
    video = run(make_it(tmp_path), tmp_path, *options)
    assert video.rejected
    assert reason in video.reason and "\n" not in video.reason


def test_the_readable_part_of_a_file_is_used(tmp_path):
    path = cut_off(tmp_path / "a.mp4", 0.7, {"movflags": "faststart"})
    video = run(path, tmp_path)
    assert not video.rejected
    assert 24 <= video.frame_count < 120
    assert video.stats["notes"]
    assert numbers(video)[:24] == list(range(24))


@pytest.mark.parametrize(
    "options", [["--stride", 0], ["--fps", -1], ["--start", -2], ["--height", "tall"]]
)
def test_wrong_options_are_failures(tmp_path, options):
    with pytest.raises(PantographError, match="expected"):
        run(make(tmp_path / "a.mp4"), tmp_path, *options)
