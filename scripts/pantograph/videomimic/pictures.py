"""Pictures of a clip as files, and as the video that later stages read."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from ..contracts import atomic_write
from ..errors import PantographError

TICK = Fraction(1, 90_000)
"""Unit of time of the video, s."""


def size(path):
    """(width, height) of a picture file."""
    try:
        with av.open(str(path)) as source:
            context = source.streams.video[0].codec_context
            return context.width, context.height
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise PantographError(f"{path}: not a readable picture ({error})") from error


def pack(pictures, times, out):
    """Write pictures as a video, a QuickTime file of the same bytes: nothing is encoded anew.

    pictures: paths of JPEG or PNG files, or bytes of them, all of one kind; times: s, ascending.
    """
    kinds = {Path(p).suffix.lower().replace("jpeg", "jpg") for p in pictures if _is_path(p)}
    if len(kinds) > 1:
        raise PantographError(
            f"{Path(pictures[0]).parent}: expected pictures of one kind, found "
            f"{' and '.join(sorted(kinds))}; convert them to one"
        )
    atomic_write(out, lambda temporary: _pack(pictures, times, temporary))


def _pack(pictures, times, out):
    import io

    first = str(pictures[0]) if _is_path(pictures[0]) else io.BytesIO(pictures[0])
    options = {"fflags": "+bitexact"}
    with av.open(first) as one, av.open(out, "w", format="mov", options=options) as whole:
        stream = whole.add_stream_from_template(one.streams.video[0])
        stream.time_base = TICK
        ticks = [round(time / TICK) for time in times]
        last = ticks[-1] + (ticks[1] - ticks[0] if len(ticks) > 1 else 1)
        for picture, start, end in zip(pictures, ticks, [*ticks[1:], last], strict=True):
            packet = av.Packet(Path(picture).read_bytes() if _is_path(picture) else picture)
            packet.stream, packet.time_base = stream, TICK
            packet.pts = packet.dts = start
            packet.duration = end - start
            packet.is_keyframe = True
            whole.mux(packet)


def _is_path(picture):
    return isinstance(picture, (str, os.PathLike))


def as_png(rgb):
    """The bytes of a PNG file of a picture (H, W, 3), uint8 or float in [0, 1]."""
    if rgb.dtype != np.uint8:
        rgb = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()


def write_jpeg(path, rgb):
    """Write a picture (H, W, 3) as JPEG, quality 95."""
    if not cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]), [1, 95]):
        raise PantographError(f"{path}: cannot be written")


def nearest(shape, target):
    """Rows and columns of a map of `shape` (h, w) that lie below the pixels of one of `target`.

    Enlarging with them and reducing again gives the same map.
    """
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for old, new in zip(shape, target, strict=True)
    )
    return np.ix_(rows, columns)
