"""Who is who among masks that are found anew, from frame to frame and after a gap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from . import masks

BINS = 8
"""Colour histogram, bins of red, green and blue each."""


@dataclass(frozen=True)
class Settings:
    """What tells that two masks show one person; lengths over the person's height."""

    same_iou: float = 0.8
    """Masks of one frame that overlap more are one person without any doubt."""
    least_iou: float = 0.2
    """Masks of one frame that overlap less are two."""
    drift: float = 0.12
    drift_speed: float = 0.6
    """Expected error of a predicted position: drift + drift_speed * gap in s."""
    growth: float = 0.25
    growth_speed: float = 0.2
    """Expected change of the height's logarithm: growth + growth_speed * gap in s."""
    colour_scale: float = 0.25
    """Distance of colour histograms (Bhattacharyya) that counts as one standard deviation."""
    max_gap: float = 4.0
    """After more seconds only the colours can tell."""
    max_cost: float = 6.0
    """Pairs that cost more, as a sum of squared standard scores, are two people."""


@dataclass
class Sighting:
    """One person in one frame."""

    frame: int
    mask: np.ndarray
    colours: np.ndarray | None = None
    """(2, BINS**3): upper and lower half of the mask, each of sum 1."""

    def __post_init__(self):
        self.box = masks.box(self.mask)

    @property
    def centre(self):
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def size(self):
        return np.maximum(self.box[2:] - self.box[:2], 1.0)


@dataclass
class Person:
    """Somebody known: the last sighting and the recent velocity of the box's centre."""

    last: Sighting
    velocity: np.ndarray
    """px per frame."""
    size: np.ndarray
    """Width and height, px, of the person when not hidden: the largest of the last sightings."""
    colours: np.ndarray | None = None


class Identities:
    """The people known so far, by id from 1."""

    def __init__(self, fps, settings=None):
        self.fps = fps
        self.settings = settings or Settings()
        self.people = {}

    def see(self, pid, sighting):
        """Enter the next sighting of a person, new or known."""
        known = self.people.get(pid)
        if known is None:
            self.people[pid] = Person(sighting, np.zeros(2), sighting.size, sighting.colours)
            return
        step = sighting.frame - known.last.frame
        if step > 0:
            moved = (sighting.centre - known.last.centre) / step
            # a sudden change of the box is an occlusion rather than a motion
            known.velocity = 0.7 * known.velocity + 0.3 * moved if step <= 3 else np.zeros(2)
        if sighting.colours is not None:
            old = known.colours
            known.colours = sighting.colours if old is None else 0.8 * old + 0.2 * sighting.colours
        known.size = np.maximum(0.98 * known.size, sighting.size)
        known.last = sighting

    def assign(self, sightings, but=()):
        """The id of each sighting, all of one frame: that of a known person or a new one.

        but: ids that are taken. One assignment of least cost (linear_sum_assignment).
        """
        known = [pid for pid in self.people if pid not in set(but)]
        limit = self.settings.max_cost
        costs = np.full((len(sightings), len(known) + len(sightings)), limit)
        for i, sighting in enumerate(sightings):
            for j, pid in enumerate(known):
                costs[i, j] = min(self.cost(self.people[pid], sighting), 1e3)
        rows, columns = linear_sum_assignment(costs)
        found = {}
        for i, j in zip(rows, columns, strict=True):
            if j < len(known) and costs[i, j] < limit:
                found[i] = known[j]
        new = max([0, *self.people, *but])
        for i in range(len(sightings)):
            if i not in found:
                new += 1
                found[i] = new
        return [found[i] for i in range(len(sightings))]

    def cost(self, person, sighting):
        """Cost of taking a sighting for a person, infinite where impossible."""
        settings = self.settings
        gap = (sighting.frame - person.last.frame) / self.fps
        overlap = masks.iou(person.last.mask, sighting.mask)
        distance = colour_distance(person.colours, sighting.colours)
        colour = 1.0 if distance is None else (distance / settings.colour_scale) ** 2
        if gap <= 0:
            if overlap >= settings.same_iou:
                return 0.0
            if overlap < settings.least_iou:
                return math.inf
            return (1 - overlap) / (1 - settings.same_iou) + 0.5 * colour
        if gap > settings.max_gap:
            return math.inf if distance is None else settings.max_cost / 2 + 2 * colour
        if overlap >= settings.same_iou:
            return colour
        # people stop and turn, so that the velocity counts for half a second at most
        ahead = min(gap, 0.5) * self.fps * person.velocity
        height = person.size[1]
        # of somebody half hidden, the middle may be anywhere in the visible part's reach
        hidden = np.clip(2 * person.size - person.last.size - sighting.size, 0, None) / 2
        places = [person.last.centre + ahead, person.last.centre]
        off = [np.clip(np.abs(sighting.centre - place) - hidden, 0, None) for place in places]
        miss = min(float(np.hypot(*value)) for value in off) / height
        known = (person.last.size[1], height)
        growth = min(abs(math.log(sighting.size[1] / value)) for value in known)
        return (
            (miss / (settings.drift + settings.drift_speed * gap)) ** 2
            + (growth / (settings.growth + settings.growth_speed * gap)) ** 2
            + colour
        )


def colours_of(rgb, mask):
    """Colour histograms of the upper and the lower half of a person, (2, BINS**3) float32.

    rgb: uint8 (H, W, 3) of any size; mask: bool (h, w), not empty, of the same picture.
    """
    rows, columns = np.nonzero(mask)
    factor = np.array(rgb.shape[:2]) / mask.shape
    pixels = rgb[((rows + 0.5) * factor[0]).astype(int), ((columns + 0.5) * factor[1]).astype(int)]
    bins = (pixels // (256 // BINS)).astype(int) @ np.array([BINS**2, BINS, 1])
    upper = rows < (rows.min() + rows.max() + 1) / 2
    halves = [np.bincount(bins[part], minlength=BINS**3) for part in (upper, ~upper)]
    return np.stack([half / max(half.sum(), 1) for half in halves]).astype(np.float32)


def colour_distance(a, b):
    """Bhattacharyya distance sqrt(1 - BC) in [0, 1], mean of both halves; None where unknown."""
    if a is None or b is None:
        return None
    overlap = np.sqrt(a * b).sum(1)
    return float(np.sqrt(np.clip(1 - overlap, 0, 1)).mean())
