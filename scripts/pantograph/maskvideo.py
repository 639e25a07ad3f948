"""Follow people through a clip of any length with models that give masks.

The clip goes by in windows that share one frame with the next; two windows of pictures are in
memory at most, and of the masks only the stored ones. The models come in as objects, so that this
module depends on none:

- a detector with a follower (`follow_detections`): `detect(picture)` gives boxes (n, 4) px and
  scores (n,); `segment(picture, boxes)` and `follow(pictures, masks)`, frame by frame, give mask
  logits (n, H, W) at the stored size;
- a model that does both (`follow_tracks`): `track(pictures)` gives, frame by frame, masks (H, W)
  bool and scores by ids of its own.
"""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass, field

import numpy as np

from . import masks
from .contracts import People, pack_mask
from .errors import Rejected
from .identities import Identities, Settings, Sighting, colours_of
from .video import frames, scaled_size

MASK_SIDE = 960
"""Long side of stored masks, px at most."""
LEAST_AREA = 1e-4
"""Smaller masks, over the picture, are none."""
INSIDE = 0.9
"""A mask that lies in another one with this share is a part of that person."""


@dataclass
class Found:
    """One person of the clip: packed masks and scores by frame."""

    masks: dict = field(default_factory=dict)
    scores: dict = field(default_factory=dict)
    area: int = 0


class Record:
    """The masks found so far, compressed."""

    def __init__(self, shape):
        self.shape = shape
        self.people = {}

    def put(self, pid, frame, mask, score):
        """Enter a mask (H, W) bool in place of what is there; a tiny one removes it."""
        person = self.people.setdefault(pid, Found())
        if frame in person.masks:
            person.area -= int(self.mask(pid, frame).sum())
            del person.masks[frame], person.scores[frame]
        if big(mask):
            person.masks[frame] = zlib.compress(pack_mask(mask).tobytes(), 1)
            person.scores[frame] = float(score)
            person.area += int(mask.sum())

    def clear(self, pid, frame):
        """Remove the mask of a person in a frame."""
        self.put(pid, frame, np.zeros(self.shape, bool), 0)

    def has(self, pid, frame):
        """Whether a person has a mask in a frame."""
        return pid in self.people and frame in self.people[pid].masks

    def mask(self, pid, frame):
        """The mask of a person in a frame, (H, W) bool; empty where there is none."""
        if not self.has(pid, frame):
            return np.zeros(self.shape, bool)
        packed = self.people[pid].masks[frame]
        bits = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self.shape[0], -1)
        return np.unpackbits(bits, axis=-1)[:, : self.shape[1]].astype(bool)

    def present(self, frame):
        """Ids of the people who have a mask in a frame."""
        return [pid for pid, person in self.people.items() if frame in person.masks]

    def product(self, video, min_seconds, limit):
        """People with ids from 1 by rank. Raises Rejected where nobody is left."""
        found = [pid for pid, person in self.people.items() if person.masks]
        if not found:
            raise Rejected(f"nobody found in {video.frame_count} frames")
        sizes = [
            masks.Size(self.people[pid].area / video.frame_count, len(self.people[pid].masks))
            for pid in found
        ]
        kept, dropped = masks.choose(sizes, video.fps, min_seconds, limit=limit)
        if not kept:
            reasons = "; ".join(reason for _, reason in dropped[:3])
            raise Rejected(f"nobody seen long enough in {video.frame_count} frames: {reasons}")
        factor = np.array([video.width / self.shape[1], video.height / self.shape[0]])
        tracks = {}
        for rank, i in enumerate(kept, 1):
            tracks[rank] = masks.empty_track(video.frame_count, self.shape)
            for frame, score in self.people[found[i]].scores.items():
                mask = self.mask(found[i], frame)
                masks.put(tracks[rank], frame, mask, np.clip(score, 0, 1), factor)
        first = len(kept) + 1
        return People(
            frame_count=video.frame_count,
            mask_width=self.shape[1],
            mask_height=self.shape[0],
            ranking=sorted(tracks),
            people=tracks,
            dropped={str(first + i): reason for i, (_, reason) in enumerate(dropped)},
            stats={
                "frames_seen": {str(pid): int(t.visible.sum()) for pid, t in tracks.items()},
            },
        )


def prompt(text):
    """What to look for as one phrase: lower case, without a full stop; "person" for none."""
    return text.lower().strip(" .") or "person"


def stored_shape(video):
    """(H, W) of the masks that are stored for a clip."""
    width, height = scaled_size(video.width, video.height, MASK_SIDE)
    return height, width


def windows(pictures, length):
    """Split (frame, picture) pairs into lists of `length` + 1, each starting with the last pair of
    the one before; the last one may be shorter."""
    held = []
    for pair in pictures:
        held.append(pair)
        if len(held) == length + 1:
            yield held
            held = held[-1:]
    if len(held) > 1 or (held and held[0][0] == 0):
        yield held


def own(logits):
    """Masks (n, H, W) bool of logits: positive, and each pixel the highest one's alone."""
    logits = np.asarray(logits, np.float32)
    positive = logits > 0
    if len(logits) > 1:
        positive &= np.arange(len(logits))[:, None, None] == logits.argmax(0)
    return positive


def big(mask):
    """Whether a mask is more than a speck."""
    return np.count_nonzero(mask) > LEAST_AREA * mask.size


def distinct(found, scores):
    """Indices of the masks (n, H, W) that show different people, the best scores first.

    A mask is left out where it is tiny, the same as a better one, or a part of it.
    """
    kept = []
    for i in sorted(range(len(found)), key=lambda i: -scores[i]):
        area = np.count_nonzero(found[i])
        if not big(found[i]):
            continue
        shared = [np.count_nonzero(found[i] & found[j]) for j in kept]
        smaller = [min(area, np.count_nonzero(found[j])) for j in kept]
        if all(s <= INSIDE * a for s, a in zip(shared, smaller, strict=True)):
            kept.append(i)
    return kept


def follow_detections(model, video, size, step=20, same_iou=0.8, carry=5) -> Record:
    """Find people every `step` frames and follow their masks in between.

    model: see the module; size: long side of the pictures, px; same_iou: see
    `identities.Settings`; carry: for how many windows somebody is followed whom the detector does
    not find again. Who is found late is followed back through one window.
    """
    record = Record(stored_shape(video))
    identities = Identities(video.fps, Settings(same_iou=same_iou))
    score, unseen, before = {}, {}, None
    for window in windows(frames(video, size), step):
        first, picture = window[0]
        found, scores = _people(model, picture)
        seen = [Sighting(first, mask, colours_of(picture, mask)) for mask in found]
        ids = identities.assign(seen)
        prompts = {pid: sighting.mask for pid, sighting in zip(ids, seen, strict=True)}
        for pid, value in zip(ids, scores, strict=True):
            score[pid], unseen[pid] = value, 0
        new = [pid for pid in ids if not record.has(pid, first)]
        for pid in record.present(first):
            unseen[pid] += pid not in prompts
            mask = record.mask(pid, first)
            if pid in prompts or unseen[pid] > carry:
                continue
            if all(np.count_nonzero(mask & m) < 0.5 * mask.sum() for m in prompts.values()):
                prompts[pid] = mask
        for pid in record.present(first):
            if pid not in prompts:
                record.clear(pid, first)
        for pid, sighting in zip(ids, seen, strict=True):
            identities.see(pid, sighting)
        if new and before is not None:
            back = {pid: prompts[pid] for pid in new}
            _follow_back(model, record, [*before[:-1], window[0]], back, score)
        if prompts:
            order = sorted(prompts)
            pictures = [picture for _, picture in window]
            for k, logits in model.follow(pictures, np.stack([prompts[p] for p in order])):
                frame = first + k
                for pid, mask in zip(order, own(logits), strict=True):
                    record.put(pid, frame, mask, score[pid])
                    if big(mask):
                        identities.see(pid, Sighting(frame, mask))
        print(f"frame {window[-1][0] + 1} of {video.frame_count}: {len(prompts)}", file=sys.stderr)
        before = window
    return record


def _people(model, picture):
    """Masks (n, H, W) bool and scores (n,) of the people that a detector finds."""
    boxes, scores = model.detect(picture)
    if len(boxes) == 0:
        return np.zeros((0, 1, 1), bool), np.zeros(0)
    logits = np.asarray(model.segment(picture, boxes), np.float32)
    kept = distinct(logits > 0, scores)
    found = own(logits[kept])
    there = [i for i, mask in enumerate(found) if big(mask)]
    return found[there], np.asarray(scores)[kept][there]


def _follow_back(model, record, window, prompts, score):
    """Follow people back from the last frame of a window, until each is lost or meets somebody."""
    order = sorted(prompts)
    lost = set()
    pictures = [picture for _, picture in reversed(window)]
    last = window[-1][0]
    for k, logits in model.follow(pictures, np.stack([prompts[p] for p in order])):
        frame = last - k
        if k == 0:
            continue
        for pid, mask in zip(order, own(logits), strict=True):
            taken = np.zeros(record.shape, bool)
            for other in record.present(frame):
                taken |= record.mask(other, frame)
            shared = np.count_nonzero(mask & taken)
            if not big(mask) or shared > 0.5 * mask.sum() or record.has(pid, frame):
                lost.add(pid)
            if pid not in lost:
                record.put(pid, frame, mask & ~taken, score[pid])
        if len(lost) == len(order):
            return


def follow_tracks(model, video, size, length=60, same_iou=0.8) -> Record:
    """Join the tracks that a model gives for each window of `length` frames to people."""
    record = Record(stored_shape(video))
    identities = Identities(video.fps, Settings(same_iou=same_iou))
    for window in windows(frames(video, size), length):
        names = {}
        for k, found, scores in model.track([picture for _, picture in window]):
            frame, picture = window[k]
            present = [name for name in sorted(found) if big(found[name])]
            new = [name for name in present if name not in names]
            seen = [Sighting(frame, found[name], colours_of(picture, found[name])) for name in new]
            here = [names[name] for name in present if name in names]
            names.update(zip(new, identities.assign(seen, but=here), strict=True))
            if k == 0:
                for pid in record.present(frame):
                    if pid not in names.values():
                        record.clear(pid, frame)
            taken = set()
            for name in present:
                pid = names[name]
                if pid in taken:
                    continue
                taken.add(pid)
                # the colours are looked at now and then: they change little
                look = name in new or frame % 10 == 0
                colours = colours_of(picture, found[name]) if look else None
                record.put(pid, frame, found[name], scores[name])
                identities.see(pid, Sighting(frame, found[name], colours))
        print(f"frame {window[-1][0] + 1} of {video.frame_count}: {len(names)}", file=sys.stderr)
    return record
