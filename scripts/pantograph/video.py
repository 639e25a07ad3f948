"""Read video files with PyAV: what is in them, and the frames of a clip, upright and in order.

Frames are identified by their presentation time, never by counting what the decoder returns: a
damaged or open group of pictures may lose frames without a trace.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from .contracts import Video
from .errors import PantographError, Rejected

STANDARD_RATES = (
    *(24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60),
    *(90, 100, 120000 / 1001, 120, 240000 / 1001, 240),
)
"""Frames per second that cameras record at."""

SEEK_MARGIN = 2.0
"""Seconds of decoding that are cheaper than a seek."""

SAME_TIME = 1e-4
"""Seconds below which two presentation times are the same."""


@dataclass
class Probe:
    """What a video file holds.

    `times` are the presentation times of the distinct frames, ascending, in seconds of the
    file's own clock; `width` and `height` are those of the upright picture with square pixels.
    """

    width: int
    height: int
    rotation: int
    """Clockwise turn, degrees, that makes the stored picture upright."""
    mirrored: bool
    times: np.ndarray = field(repr=False)
    nominal_fps: float
    """Average rate that the container declares; 0 where it declares none."""
    focal_px: float
    """From the camera's metadata; 0 where there is none."""
    notes: list[str]
    """What is wrong with the file although it can be used."""


@dataclass
class Clip:
    """A choice of a file's frames: indices into `Probe.times`, at a constant rate."""

    indices: np.ndarray
    fps: float
    source_fps: float
    variable: bool


@dataclass(frozen=True)
class Orientation:
    """How the stored picture becomes upright: transpose first, then flip."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def rotation(self):
        """Clockwise turn in degrees; that of the turned picture where it is mirrored too."""
        if self.transpose:
            return 90 if self.flip_x else 270
        return 180 if self.flip_y else 0

    @property
    def mirrored(self):
        return self.transpose ^ self.flip_x ^ self.flip_y

    def apply(self, picture):
        """Turn a picture (H, W, ...)."""
        if self.transpose:
            picture = picture.swapaxes(0, 1)
        if self.flip_x:
            picture = picture[:, ::-1]
        if self.flip_y:
            picture = picture[::-1]
        return np.ascontiguousarray(picture)


def probe(path):
    """Read what a video file holds, by demuxing it and decoding its first frame and its tail.

    path: the file. Returns a Probe. Raises Rejected with a reason of one line where the file
    holds no video.
    """
    with _open(path) as (container, stream):
        declared = float(stream.average_rate or stream.guessed_rate or 0)
        metadata = {**container.metadata, **stream.metadata}
        times, keys, damage = _demux(container, stream)
    if times is None or _tail_is_lost(path, times, keys):
        times, lost = _decode_times(path)
        damage = damage or lost
    if len(times) == 0:
        raise Rejected(f"{path}: no frame can be decoded; the file is damaged or not a video")
    with _open(path) as (container, stream):
        first = next(_timed_frames(container, stream))[1]
        orientation = _orientation(first)
        width, height = _upright_size(first, orientation, stream.sample_aspect_ratio)
    notes = [damage] if damage else []
    return Probe(
        width=width,
        height=height,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        times=times,
        nominal_fps=declared,
        focal_px=_metadata_focal(metadata) * max(width, height),
        notes=notes,
    )


def frames(video: Video, long_side: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Decode the frames of a clip in order, one at a time.

    Yields (k, rgb): k = 0 .. T-1 and an upright uint8 picture (H, W, 3), reduced so that its
    longer side is at most `long_side` pixels (None: as it is). Raises PantographError where the
    file is gone or no longer gives the frames.
    """
    yield from _select(video, range(video.frame_count), long_side)


def read_frame(video: Video, k: int, long_side: int | None = None) -> np.ndarray:
    """Decode frame k of a clip, uint8 (H, W, 3), as `frames` gives it."""
    return next(_select(video, [k], long_side))[1]


def read_span(video: Video, first: int, last: int, long_side: int | None = None) -> list:
    """Decode frames first to last (inclusive) of a clip, as `frames` gives them."""
    return [picture for _, picture in _select(video, range(first, last + 1), long_side)]


def scaled_size(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """Width and height after reducing the longer side to `long_side` at most."""
    if not long_side or max(width, height) <= long_side:
        return width, height
    scale = long_side / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def constant_rate(times, nominal_fps=0.0):
    """The constant frame rate that fits presentation times best.

    times: (n,) ascending seconds, n >= 2. Returns (fps, variable): frames per second, and
    whether the gaps differ by more than the rounding of time stamps explains. Rates that cameras
    use are recognised, so that 29.97 stays 29.97 although time stamps are rounded to
    milliseconds.
    """
    gaps = np.diff(times)
    median = float(np.median(gaps))
    variable = bool(np.any(np.abs(gaps - median) > max(0.25 * median, 1.5e-3)))
    average = (len(times) - 1) / float(times[-1] - times[0])
    rate = average
    if variable:
        # rounded time stamps spoil a median of gaps, not a mean of the gaps near it
        near = gaps[np.abs(gaps - median) <= 0.25 * median]
        rate = 1.0 / float(near.mean())
        if rate > 2 * average:
            rate = average
    rounding = 1e-3 / float(times[-1] - times[0])
    candidates = [*STANDARD_RATES, *([nominal_fps] if nominal_fps > 0 else [])]
    best = min(candidates, key=lambda c: abs(c - rate))
    if abs(nominal_fps - rate) <= rounding * rate:
        best = nominal_fps
    if abs(best - rate) <= max(5e-4, rounding) * rate:
        rate = best
    return round(rate, 3), variable


def clip_times(probe, fps=0.0, start=0, end=-1, stride=1):
    """Choose the frames of a clip.

    fps: constant rate to resample to (0: the file's own). start, end (exclusive, -1: to the
    end): frames at that rate; stride: keep every n-th of them, which divides the rate. Returns a
    Clip. Raises Rejected where nothing is left.
    """
    if len(probe.times) < 2:
        raise Rejected("the video has one frame; a motion needs more")
    source_fps, variable = constant_rate(probe.times, probe.nominal_fps)
    rate = fps or source_fps
    if variable or fps:
        indices = resample(probe.times, rate)
    else:
        indices = np.arange(len(probe.times))
    if start >= len(indices):
        raise Rejected(f"start is frame {start}, but the video has {len(indices)} frames")
    if 0 <= end <= start:
        raise Rejected(f"nothing is selected: start is frame {start} and end is frame {end}")
    chosen = indices[start : end if end >= 0 else None : stride]
    return Clip(chosen, round(rate / stride, 6), source_fps, variable)


def resample(times, fps):
    """Index of the frame on show at each tick of a constant rate, int (T,).

    times: (n,) ascending seconds; the first tick is at the first frame.
    """
    # time stamps are often rounded to milliseconds
    slack = min(1.5e-3, 0.25 * float(np.median(np.diff(times))))
    count = int(math.floor((times[-1] - times[0] + slack) * fps)) + 1
    ticks = times[0] + np.arange(count) / fps
    return np.clip(np.searchsorted(times, ticks + slack, side="right") - 1, 0, len(times) - 1)


# ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _open(path):
    """Open a file and its video stream. Raises Rejected where it holds none."""
    path = Path(path)
    if not path.is_file():
        raise Rejected(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise Rejected(f"{path}: the file is empty (0 bytes)")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        text = str(error.strerror or error)
        raise Rejected(f"{path}: not a video, or cut off before its index ({text})") from error
    try:
        streams = [s for s in container.streams.video if not _is_cover(s)]
        if not streams:
            kinds = sorted({s.type for s in container.streams}) or ["nothing"]
            raise Rejected(f"{path}: no video stream, only {' and '.join(kinds)}")
        stream = max(streams, key=lambda s: s.codec_context.width or 0)
        stream.thread_type = "AUTO"
        yield container, stream
    finally:
        container.close()


def _is_cover(stream):
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _demux(container, stream):
    """Presentation times of the packets, those of key frames, and a note on damage.

    Times are None where packets carry none.
    """
    pts, keys, damage, count = [], [], "", 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.error.FFmpegError as error:
            damage = f"the file is cut off or damaged ({error.strerror}); its readable part is used"
            break
        if packet.size == 0:
            continue
        count += 1
        if packet.is_discard:
            continue
        if packet.pts is None:
            return None, None, damage
        pts.append(packet.pts)
        if packet.is_keyframe:
            keys.append(packet.pts)
    if not damage and stream.frames > count:
        damage = f"the file promises {stream.frames} frames, {count} can be read"
    base = float(stream.time_base)
    return np.unique(np.array(pts, np.int64)) * base, np.unique(keys) * base, damage


def _tail_is_lost(path, times, keys):
    """Whether the frames from the last key frame on do not all decode."""
    if len(times) == 0 or len(keys) == 0:
        return True
    with _open(path) as (container, stream):
        _seek(container, stream, keys[-1])
        found = [t for t, frame in _timed_frames(container, stream) if not frame.is_corrupt]
    wanted = times[times >= keys[-1] - SAME_TIME]
    found = np.array([t for t in found if t >= keys[-1] - SAME_TIME])
    return len(found) != len(wanted) or bool(np.any(np.abs(found - wanted) > SAME_TIME))


def _decode_times(path):
    """Presentation times of the frames that decode, and a note where some do not."""
    with _open(path) as (container, stream):
        lost = []
        times = [t for t, frame in _timed_frames(container, stream, lost) if not frame.is_corrupt]
        damaged = len(lost) > 0
    note = "parts of the file do not decode; the rest is used" if damaged else ""
    return np.unique(np.array(times, np.float64)), note


def _timed_frames(container, stream, lost=None):
    """Yield (time, frame) for every frame that decodes; append to `lost` for each that fails."""
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    time = None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        try:
            decoded = packet.decode()
        except av.error.FFmpegError:
            if lost is not None:
                lost.append(packet.pts)
            continue
        for frame in decoded:
            if frame.pts is not None:
                time = float(frame.pts * frame.time_base)
            else:
                time = 0.0 if time is None else time + 1 / rate
            yield time, frame


def _seek(container, stream, time):
    container.seek(int(math.floor((time + SAME_TIME) / stream.time_base)), stream=stream)


def _from(container, stream, time):
    """Frames from `time` on at the latest; seeks where that saves decoding."""
    start = float((stream.start_time or 0) * stream.time_base)
    if time - start > SEEK_MARGIN:
        with contextlib.suppress(av.error.FFmpegError):
            _seek(container, stream, time)
            found = _timed_frames(container, stream)
            first = next(found, None)
            if first is not None and first[0] <= time + SAME_TIME and first[1].pts is not None:
                return itertools.chain([first], found)
        container.seek(0)
    return _timed_frames(container, stream)


def _select(video, ks, long_side):
    ks = list(ks)
    size = scaled_size(video.width, video.height, long_side)
    try:
        with _open(video.path) as (container, stream):
            source = _from(container, stream, video.source_times[ks[0]])
            shown, following = None, next(source, None)
            orientation, picture = None, None
            for k in ks:
                # the frame on show at the wanted time: the last one that is not later
                while following is not None and (
                    shown is None or following[0] <= video.source_times[k] + SAME_TIME
                ):
                    shown, following, picture = following, next(source, None), None
                if shown is None:
                    raise PantographError(f"{video.path}: expected frame {k}, found no frame")
                if picture is None:
                    orientation = orientation or _orientation(shown[1])
                    picture = _picture(shown[1], orientation, size)
                yield k, picture
    except Rejected as error:
        raise PantographError(f"{error}; it has changed since ingest: run ingest again") from error


def _picture(frame, orientation, size):
    width, height = size[::-1] if orientation.transpose else size
    shrink = width < frame.width or height < frame.height
    pixels = frame.to_ndarray(
        format="rgb24", width=width, height=height, interpolation="AREA" if shrink else "BICUBIC"
    )
    return orientation.apply(pixels)


def _orientation(frame):
    """Orientation from the display matrix of a frame, to the nearest quarter turn.

    The matrix maps (x, y, 1) of the stored picture, as a row, to the display
    (FFmpeg, libavutil/display.h).
    """
    data = next((d for d in frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
    if data is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(data), "<i4")[:5]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, bool(a < 0), bool(d < 0))
    return Orientation(True, bool(c < 0), bool(b < 0))


def _upright_size(frame, orientation, aspect):
    width, height = frame.width, frame.height
    if aspect:
        width = max(1, round(width * float(aspect)))
    return (height, width) if orientation.transpose else (width, height)


def _metadata_focal(metadata):
    """Focal length over the long side, from the 35 mm equivalent (36 mm wide); 0 if absent."""
    for key, value in metadata.items():
        if key.endswith("focal_length.35mm_equivalent"):
            with contextlib.suppress(ValueError):
                return max(0.0, float(value)) / 36.0
    return 0.0
