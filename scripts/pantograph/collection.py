"""How long the clips of a run are, before and after they are read."""

from __future__ import annotations

import json
from pathlib import Path


def frame_counts(plan, results):
    """{name: frames} of every clip of a `config.Plan`; None where the video cannot tell.

    From a clip's video.json below the folder `results`, where a run has made one: 0 if it was
    rejected. Otherwise from what the file promises: no frame is decoded, so that a video of
    varying frame rate may have a few frames more or less.
    """
    counts = {}
    for clip in plan.clips.values():
        made = [Path(results) / route / clip.name / "video.json" for route in clip.routes]
        counts[clip.name] = next((counted(path) for path in made if path.is_file()), None)
        if counts[clip.name] is None:
            promised = promised_frames(clip.path)
            if promised is not None:
                end = promised if clip.end is None else min(promised, clip.end)
                counts[clip.name] = len(range(clip.start, end, clip.stride))
    return counts


def counted(path):
    """Frames of a video.json, 0 if it was rejected; None if it cannot be read.

    Not by its contract: thousands of them are counted before a run starts.
    """
    try:
        return len(json.loads(path.read_text(encoding="utf-8")).get("source_frames", ()))
    except (OSError, ValueError):
        return None


def promised_frames(path):
    """How many frames a video file says it has, by its number of frames or its duration; or None.

    The rate is the one that `ingest` resamples to: the nominal one.
    """
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            if stream.frames:
                return stream.frames
            if stream.duration and rate:
                return round(float(stream.duration * stream.time_base * rate))
            if container.duration and rate:
                return round(float(container.duration / av.time_base * rate))
    except (OSError, IndexError, av.FFmpegError):
        pass
    return None
