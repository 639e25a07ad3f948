"""People of a clip with the models packed with mediapipe."""

from __future__ import annotations

import math

import numpy as np

from . import masks, tracking
from .contracts import People, Video
from .errors import Rejected
from .mediapipe_graph import PoseDetector, PoseLandmarker, confirms, detect_in_tiles
from .video import frames, read_span, scaled_size

MASK_AREA = 0.01
"""Least area of a mask, m2 at the person's distance; a visible person shows about 0.5."""

VISIBLE_SHARE = 0.5
"""Least part of a person's limbs that another person may leave in sight."""


def find_people(
    video: Video,
    long_side=960,
    min_seconds=0.5,
    min_height=0.1,
    bystander=0.3,
    limit=0,
    threads=1,
) -> People:
    """Find, follow and mask the people of a clip.

    long_side: working size, px; min_seconds, min_height, bystander, limit: see `tracking.rank`.
    Returns People with ids from 1 by rank. Raises Rejected where nobody is left, with the reason.
    """
    width, height = scaled_size(video.width, video.height, long_side)
    shape = (height, width)
    detector, landmarker = PoseDetector(threads=threads), PoseLandmarker(threads=threads)

    def detect(rgb):
        found = detect_in_tiles(detector, rgb)
        if not found and not tracker.fragments:
            found = detect_in_tiles(detector, rgb, fine=True)
        return [(item.score, item.region) for item in found]

    def confirm(rgb, region):
        return confirms(detector, rgb, region)

    tracker = tracking.Tracker(detect, landmarker, confirm, video.fps)
    for frame, rgb in frames(video, long_side):
        tracker.forward(frame, rgb)
    if not tracker.fragments:
        raise Rejected(f"no person found in {video.frame_count} frames")
    tracker.backward(lambda first, last: read_span(video, first, last, long_side))
    chains = tracking.link(tracker.fragments, video.fps)
    people = tracking.drop_duplicates([tracking.merge(chain) for chain in chains])
    ranked = tracking.rank(
        people, video.frame_count, video.fps, shape, min_seconds, min_height, bystander, limit
    )
    if not ranked.people:
        longest = max(len(fragment) for fragment in tracker.fragments)
        expected = math.ceil(min_seconds * video.fps)
        reasons = [reason for _, reason in ranked.dropped[:3]]
        if not reasons and longest < expected:
            reasons = [f"seen in {longest} frames, expected {expected} or more"]
        reasons = "; ".join(reasons or ["seen too uncertainly"])
        raise Rejected(f"no person seen well enough in {video.frame_count} frames: {reasons}")
    tracks = _tracks(ranked.people, video, shape)
    first_dropped = len(tracks) + 1
    return People(
        frame_count=video.frame_count,
        mask_width=width,
        mask_height=height,
        ranking=sorted(tracks),
        people=tracks,
        dropped={str(first_dropped + i): reason for i, (_, reason) in enumerate(ranked.dropped)},
        stats={
            "fragments": len(tracker.fragments),
            "frames_seen": {str(pid): int(track.visible.sum()) for pid, track in tracks.items()},
        },
    )


def _tracks(people, video, shape):
    count = video.frame_count
    factor = np.array([video.width / shape[1], video.height / shape[0]])
    tracks = {
        pid: masks.empty_track(count, shape, regions=True) for pid in range(1, len(people) + 1)
    }
    for frame in range(count):
        present = [(pid, items[frame]) for pid, items in enumerate(people, 1) if frame in items]
        owned = tracking.own_masks([item for _, item in present], shape)
        for (pid, item), mask in zip(present, owned, strict=True):
            if mask.sum() < MASK_AREA * item.scale**2:
                continue
            if item.touching and tracking.visible_share(item, mask) < VISIBLE_SHARE:
                continue
            masks.put(tracks[pid], frame, mask, item.score, factor)
            tracks[pid].regions[frame] = (
                *item.region[:2] * factor,
                item.region[2] * factor[0],
                item.region[3],
            )
    return tracks
