"""Follow several people through a clip and keep their identities where they hide one another.

Three passes, since the whole clip is at hand:

1. forward: everybody known is followed from frame to frame, the nearest first and each with the
   others erased from the picture; a detector looks for people who are not followed yet;
2. backward: everybody found late is followed back to where he came into view;
3. linking: the fragments, cut where two people touch, are joined to people by one assignment
   over motion, size and the colours of the body's parts.

Positions are px of the working picture. The pose models come in as callables, so that this
module depends on none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from .conventions import MEDIAPIPE_LANDMARKS
from .masks import Size, choose

_INDEX = {name: i for i, name in enumerate(MEDIAPIPE_LANDMARKS)}


def _points(*names):
    return [_INDEX[f"{side}_{name}"] for name in names for side in ("left", "right")]


TORSO = _points("shoulder", "hip")
BODY = _points("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PARTS = {
    "torso": (),
    "upper_arms": ("shoulder", "elbow"),
    "forearms": ("elbow", "wrist"),
    "thighs": ("hip", "knee"),
    "shanks": ("knee", "ankle"),
}
"""Parts whose colours tell people apart: limbs between two landmarks, and the torso."""

LIMB_RADIUS = {"upper_arms": 0.07, "forearms": 0.06, "thighs": 0.11, "shanks": 0.08}
"""Half widths of clothed limbs, m."""

BINS = (8, 8, 8)
"""Colour histogram, bins of L, a and b."""

CONTACT_OVERLAP = 0.25
"""Two people touch where their boxes share this part of the smaller one."""

DUPLICATE_IOU = 0.6
"""Two masks that overlap more are one person."""


@dataclass
class Settings:
    """Thresholds; times in seconds, lengths in metres unless said otherwise."""

    detect_every: float = 0.33
    search_time: float = 1.0
    """How long the detector looks in every other frame after somebody was lost."""
    min_core_visibility: float = 0.5
    min_fit: float = 0.45
    """Least intersection over union of the mask and the limbs; about 0.75 of a person seen well."""
    max_jump: float = 0.2
    """Largest step of the mid-hip in 1/30 s, over the side of the region."""
    max_people: int = 8
    """How many people are followed at once."""
    sure_detection: float = 0.9
    """Score of a detection that needs no second look."""
    min_fragment: float = 0.2
    """Shorter fragments are not used."""
    min_score: float = 0.55
    """Median visibility of the body that a fragment needs."""
    min_confirmed: float = 0.4
    """Part of the checks by the detector that a fragment has to pass."""
    max_gap: float = 4.0
    """Longest gap that motion and colours may bridge together."""
    drift: float = 0.2
    drift_speed: float = 1.0
    """Expected error of a predicted position: drift + drift_speed * gap, m."""
    colour_scale: float = 0.25
    """Distance of colour histograms (Bhattacharyya) that counts as one standard deviation."""
    max_cost: float = 6.0
    """Links that cost more are not made."""


@dataclass
class Observation:
    """One person in one frame."""

    frame: int
    xy: np.ndarray
    visibility: np.ndarray
    region: np.ndarray
    scale: float
    """px per metre: how near the person is."""
    corner: tuple[int, int]
    """x, y of the mask's crop."""
    mask: np.ndarray
    """Probability times 255, uint8, cropped."""
    colours: np.ndarray | None = None
    """(parts, bins), each a histogram of sum 1 or zeros where the part is not seen."""
    touching: bool = False

    @property
    def box(self):
        """x0, y0, x1, y1 of the mask."""
        (x, y), (height, width) = self.corner, self.mask.shape
        return np.array([x, y, x + width, y + height], float)

    @property
    def score(self):
        return float(np.mean(self.visibility[BODY]))


@dataclass
class Fragment:
    """Observations of one person in ascending frames."""

    items: list[Observation] = field(default_factory=list)
    source: int = -1
    """Fragments with the same source were followed without a break."""
    checks: list[bool] = field(default_factory=list)
    """Whether the detector finds the person where he is followed, now and then."""

    @property
    def first(self):
        return self.items[0].frame

    @property
    def last(self):
        return self.items[-1].frame

    def __len__(self):
        return len(self.items)


class Tracker:
    """Passes 1 and 2.

    detect(rgb) gives (score, region (4,)) of people, best first; look(rgb, region) gives a pose
    with the fields of `mediapipe_graph.Pose`, or None for no person; confirm(rgb, region) says
    whether the detector finds a person just there.
    """

    def __init__(
        self,
        detect: Callable,
        look: Callable,
        confirm: Callable,
        fps: float,
        settings: Settings | None = None,
    ):
        self._detect, self._look, self._confirm = detect, look, confirm
        self._settings = settings or Settings()
        self._fps = fps
        self._every = max(1, round(self._settings.detect_every * fps))
        # at a low frame rate the step grows, but the person has to stay within the crop
        self._max_jump = min(0.4, self._settings.max_jump * max(1.0, 30 / fps))
        self._active: list[Fragment] = []
        self._search_until = -1
        self._count = 0
        self.fragments: list[Fragment] = []

    def forward(self, frame, rgb):
        """Take the next frame of the clip."""
        solved: list[Observation] = []
        kept = []
        for fragment in sorted(self._active, key=lambda f: -f.items[-1].scale):
            found = self._follow(frame, rgb, fragment.items[-1], solved)
            if found is None:
                self._search_until = frame + round(self._settings.search_time * self._fps)
                continue
            fragment.items.append(found)
            if (frame - fragment.first) % self._every == 0:
                fragment.checks.append(bool(self._confirm(rgb, found.region)))
                if len(fragment.checks) > 2 and not any(fragment.checks):
                    # what the landmark model sees in a bush or a car
                    self.fragments.remove(fragment)
                    continue
            solved.append(found)
            kept.append(fragment)
        self._active = kept
        searching = frame <= self._search_until and frame % 2 == 0
        if frame % self._every == 0 or searching:
            self._find_new(frame, rgb, solved)

    def backward(self, read):
        """Follow late fragments back. read(first, last): the pictures of those frames, a list."""
        by_frame: dict[int, list[Observation]] = {}
        for fragment in self.fragments:
            for item in fragment.items:
                by_frame.setdefault(item.frame, []).append(item)
        chunk = max(1, round(self._fps))
        for fragment in sorted(self.fragments, key=lambda f: f.first):
            alive = True
            while alive and fragment.first > 0:
                last = fragment.first - 1
                first = max(0, last + 1 - chunk)
                pictures = read(first, last)
                for frame in range(last, first - 1, -1):
                    others = by_frame.setdefault(frame, [])
                    rgb = pictures[frame - first]
                    found = self._follow(frame, rgb, fragment.items[0], others)
                    if found is None:
                        alive = False
                        break
                    fragment.items.insert(0, found)
                    others.append(found)

    def _follow(self, frame, rgb, previous, others):
        reach = previous.region[2]
        near = [
            o
            for o in others
            if np.hypot(*(o.region[:2] - previous.region[:2])) < 0.75 * (reach + o.region[2])
            and o.scale > 0.9 * previous.scale
        ]
        found = self._observe(frame, erase(rgb, near), previous.region)
        if found is None:
            return None
        step = np.hypot(*(found.region[:2] - previous.region[:2])) / reach
        growth = abs(math.log(found.scale / previous.scale))
        if step > self._max_jump or growth > 0.35:
            return None
        if any(same_person(found, other) for other in others):
            return None
        return found

    def _find_new(self, frame, rgb, solved):
        picture = erase(rgb, solved, whole=True)
        for score, region in self._detect(picture):
            if len(self._active) >= self._settings.max_people:
                return
            found = self._observe(frame, picture, region)
            if found is None:
                continue
            found = self._observe(frame, picture, found.region)
            if found is None or any(same_person(found, other) for other in solved):
                continue
            # what is left of a person who was erased, such as the shadow, looks like a person;
            # so does a real one in the untouched picture too
            if solved and score < self._settings.sure_detection:
                again = self._observe(frame, rgb, found.region)
                if (
                    again is None
                    or not same_person(found, again)
                    or any(same_person(again, o) for o in solved)
                ):
                    continue
            checks = [bool(self._confirm(rgb, found.region))]
            self._count += 1
            fragment = Fragment([found], self._count, checks)
            self.fragments.append(fragment)
            self._active.append(fragment)
            solved.append(found)

    def _observe(self, frame, rgb, region):
        pose = self._look(rgb, region)
        if pose is None or not plausible(pose, self._settings):
            return None
        scale = pixels_per_metre(pose.xy, pose.world, pose.visibility)
        x0, y0, width, height = cv2.boundingRect((pose.mask > 0.25).astype(np.uint8))
        if width * height < 100 or not scale > 0:
            return None
        window = pose.mask[y0 : y0 + height, x0 : x0 + width]
        crop = np.round(255 * np.clip(window, 0, 1)).astype(np.uint8)
        item = Observation(
            frame=frame,
            xy=pose.xy,
            visibility=pose.visibility * pose.presence,
            region=pose.region,
            scale=scale,
            corner=(x0, y0),
            mask=crop,
        )
        if not self._fits(item, rgb.shape[:2]):
            return None
        if frame % 3 == 0:
            item.colours = part_colours(rgb, item)
        return item

    def _fits(self, item, shape):
        """Whether limbs and mask are of one person; cuts off what lies far from the limbs."""
        (x, y), (height, width) = item.corner, item.mask.shape
        window = np.s_[y : y + height, x : x + width]
        limbs = silhouette(shape, item, seen=0.3) > 0
        inside = item.mask > 127
        shared = np.count_nonzero(inside & limbs[window])
        either = np.count_nonzero(inside) + np.count_nonzero(limbs) - shared
        if shared < self._settings.min_fit * either:
            return False
        item.mask[silhouette(shape, item, grow=2.0)[window] == 0] = 0
        return True


# ---------------------------------------------------------------------------------------------
# one picture


def plausible(pose, settings):
    """Whether a pose may be one whole person: torso in sight and of a human size."""
    visibility = pose.visibility * pose.presence
    if visibility[TORSO].mean() < settings.min_core_visibility:
        return False

    def length(a, b):
        return float(np.linalg.norm(pose.world[_INDEX[a]] - pose.world[_INDEX[b]]))

    shoulders = length("left_shoulder", "right_shoulder")
    hips = length("left_hip", "right_hip")
    thigh = max(length(f"{side}_hip", f"{side}_knee") for side in ("left", "right"))
    return 0.15 < shoulders < 0.55 and 0.1 < hips < 0.4 and 0.15 < thigh < 0.65


def pixels_per_metre(xy, world, weights):
    """Scale of the weak-perspective camera that maps metric landmarks to the picture.

    xy: (J, 2) px, world: (J, 3) m, weights: (J,). The ratio of their spreads across the view.
    """
    weights = np.clip(weights[BODY], 0.05, 1)[:, None]
    spread = []
    for points in (xy[BODY], world[BODY][:, :2]):
        centred = points - (weights * points).sum(0) / weights.sum()
        spread.append(float(np.sqrt((weights * centred**2).sum())))
    return spread[0] / spread[1] if spread[1] > 0 else 0.0


def silhouette(shape, item, parts=tuple(PARTS), grow=1.0, seen=0.0):
    """Picture (H, W) uint8 of the body's parts as capsules around the landmarks.

    The mask of the landmark model covers whoever touches its person; this does not. seen: least
    visibility of both ends of a limb that is drawn.
    """
    picture = np.zeros(shape, np.uint8)
    unit = item.scale * grow
    # out-of-frame landmarks can lie far off; drawing needs bounded integers
    spots = np.clip(np.round(item.xy), -4 * max(shape), 4 * max(shape)).astype(np.int32)

    def limb(first, second, radius):
        a, b = _INDEX[first], _INDEX[second]
        if min(item.visibility[a], item.visibility[b]) >= seen:
            width = max(1, round(2 * radius * unit))
            cv2.line(picture, spots[a].tolist(), spots[b].tolist(), 1, width)

    for part in parts:
        if part == "torso":
            corners = spots[[TORSO[0], TORSO[1], TORSO[3], TORSO[2]]]
            cv2.fillPoly(picture, [corners], 1)
            cv2.polylines(picture, [corners], True, 1, max(1, round(0.14 * unit)))
            ears = spots[[_INDEX["left_ear"], _INDEX["right_ear"]]].mean(0)
            cv2.circle(
                picture, np.round(ears).astype(int).tolist(), max(1, round(0.14 * unit)), 1, -1
            )
            continue
        for side in ("left", "right"):
            limb(*(f"{side}_{end}" for end in PARTS[part]), LIMB_RADIUS[part])
    if len(parts) == len(PARTS):
        for side in ("left", "right"):
            limb(f"{side}_heel", f"{side}_foot_index", 0.06)
            limb(f"{side}_wrist", f"{side}_index", 0.05)
    return picture


def erase(rgb, items, whole=False):
    """Fill people with the colours around them.

    whole: their whole mask; else only the part of it near their own skeleton, which leaves
    whoever stands behind them.
    """
    if not items:
        return rgb
    shape = rgb.shape[:2]
    gone = np.zeros(shape, np.uint8)
    for item in items:
        (x, y), (height, width) = item.corner, item.mask.shape
        crop = (item.mask > 80).astype(np.uint8)
        if not whole:
            crop &= silhouette(shape, item, grow=1.25)[y : y + height, x : x + width]
        gone[y : y + height, x : x + width] |= crop
    return fill(rgb, cv2.dilate(gone, np.ones((7, 7), np.uint8)))


def fill(rgb, gone):
    """Replace the pixels where `gone` (H, W) is set by a blur of those around them."""
    shape = rgb.shape[:2]
    gone = np.asarray(gone, bool)
    size = (max(1, shape[1] // 8), max(1, shape[0] // 8))
    keep = cv2.resize(1.0 - gone.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    shown = np.where(gone[..., None], 0, rgb).astype(np.float32)
    small = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
    weight = cv2.GaussianBlur(keep, (0, 0), 4) + 1e-6
    blurred = cv2.GaussianBlur(small, (0, 0), 4) / weight[..., None]
    blurred = cv2.resize(blurred, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(gone[..., None], np.clip(blurred, 0, 255).astype(np.uint8), rgb)


def part_colours(rgb, item):
    """Colour histograms of the body's parts, (parts, bins) float32, from the mask's inside."""
    shape = rgb.shape[:2]
    (x, y), (height, width) = item.corner, item.mask.shape
    window = np.s_[y : y + height, x : x + width]
    lab = cv2.cvtColor(np.ascontiguousarray(rgb[window]), cv2.COLOR_RGB2LAB)
    inside = (item.mask > 150).astype(np.uint8)
    rows = []
    for part, ends in PARTS.items():
        names = ends or ("shoulder", "hip")
        seen = item.visibility[_points(*names)].mean() > 0.4
        area = silhouette(shape, item, (part,), grow=0.7)[window] & inside
        if not seen or area.sum() < 30:
            rows.append(np.zeros(int(np.prod(BINS)), np.float32))
            continue
        counts = cv2.calcHist([lab], [0, 1, 2], area, list(BINS), [0, 256, 88, 168, 88, 168])
        for axis in range(3):
            # neighbouring bins share their counts: light changes shift colours a little
            padded = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)], "edge")
            low, mid, high = (np.take(padded, range(i, i + BINS[axis]), axis) for i in range(3))
            counts = 0.25 * low + 0.5 * mid + 0.25 * high
        rows.append((counts / max(counts.sum(), 1e-6)).ravel().astype(np.float32))
    return np.stack(rows)


def mask_iou(a, b):
    """Intersection over union of two observations' masks, and intersection over the smaller."""
    x0, y0 = max(a.corner[0], b.corner[0]), max(a.corner[1], b.corner[1])
    x1, y1 = np.minimum(a.box[2:], b.box[2:]).astype(int)
    areas = [int((o.mask > 127).sum()) for o in (a, b)]
    if x1 <= x0 or y1 <= y0 or min(areas) == 0:
        return 0.0, 0.0
    crops = [
        o.mask[y0 - o.corner[1] : y1 - o.corner[1], x0 - o.corner[0] : x1 - o.corner[0]] > 127
        for o in (a, b)
    ]
    shared = int((crops[0] & crops[1]).sum())
    return shared / (sum(areas) - shared), shared / min(areas)


def same_person(a, b):
    """Whether two observations of a frame are one person."""
    close = np.linalg.norm(a.xy[BODY] - b.xy[BODY], axis=1)
    if np.median(close) < 0.08 * (a.scale + b.scale):
        return True
    return mask_iou(a, b)[0] > DUPLICATE_IOU


# ---------------------------------------------------------------------------------------------
# linking


def mark_contacts(fragments):
    """Set `touching` where the boxes of two people overlap."""
    by_frame: dict[int, list[Observation]] = {}
    for fragment in fragments:
        for item in fragment.items:
            by_frame.setdefault(item.frame, []).append(item)
    for items in by_frame.values():
        for i, a in enumerate(items):
            for b in items[:i]:
                low = np.maximum(a.box[:2], b.box[:2])
                high = np.minimum(a.box[2:], b.box[2:])
                shared = float(np.prod(np.clip(high - low, 0, None)))
                smaller = min(np.prod(o.box[2:] - o.box[:2]) for o in (a, b))
                if shared > CONTACT_OVERLAP * smaller:
                    a.touching = b.touching = True


def cut(fragments, shortest=3):
    """Cut fragments after every contact, since a follower may have gone on with the other person.

    A piece keeps the contact that follows it; `shortest`: frames without contact that a piece
    needs to be judged.
    """
    pieces = []
    for fragment in fragments:
        start = 0
        clear = 0
        for i, item in enumerate(fragment.items):
            ends = i > start and fragment.items[i - 1].touching and not item.touching
            rest = sum(not later.touching for later in fragment.items[i : i + shortest])
            if ends and clear >= shortest and rest >= shortest:
                pieces.append(Fragment(fragment.items[start:i], fragment.source))
                start, clear = i, 0
            clear += not item.touching
        pieces.append(Fragment(fragment.items[start:], fragment.source))
    return pieces


def colours_of(fragment):
    """Mean histograms (parts, bins) and how often each part was seen (parts,)."""
    items = [o for o in fragment.items if o.colours is not None and not o.touching]
    items = items or [o for o in fragment.items if o.colours is not None]
    if not items:
        return np.zeros((len(PARTS), int(np.prod(BINS)))), np.zeros(len(PARTS))
    stack = np.stack([o.colours for o in items]).astype(np.float64)
    seen = stack.sum(2) > 0
    mean = stack.sum(0) / np.maximum(seen.sum(0), 1)[:, None]
    return mean, seen.sum(0)


def colour_distance(a, b):
    """Bhattacharyya distance sqrt(1 - BC) in [0, 1], mean over the parts that both show.

    None where they share none.
    """
    (first, seen_first), (second, seen_second) = colours_of(a), colours_of(b)
    both = (seen_first > 0) & (seen_second > 0)
    if not both.any():
        return None
    overlap = np.sqrt(first[both] * second[both]).sum(1)
    return float(np.sqrt(np.clip(1 - overlap, 0, 1)).mean())


def link_cost(a, b, fps, settings):
    """Cost of taking fragment b for the continuation of fragment a; infinite where impossible.

    A sum of squared standard scores: position against constant velocity, size, colours.
    """
    gap = (b.first - a.last) / fps
    if gap <= 0:
        return math.inf
    colour = colour_distance(a, b)
    colour_cost = 1.0 if colour is None else (colour / settings.colour_scale) ** 2
    if a.source == b.source and gap <= 1.5 / fps:
        return colour_cost
    if gap > settings.max_gap:
        # after that long only the colours can tell, and they have to agree well
        return settings.max_cost / 2 + 2 * colour_cost if colour is not None else math.inf
    scale = 0.5 * (a.items[-1].scale + b.items[0].scale)
    # people stop and turn, so that the velocity counts for half a second at most
    ahead = min(gap, 0.5)
    forward = a.items[-1].region[:2] + _velocity(a.items[-8:], fps) * ahead
    back = b.items[0].region[:2] - _velocity(b.items[:8], fps) * ahead
    misses = [forward - b.items[0].region[:2], back - a.items[-1].region[:2]]
    miss = min(float(np.hypot(*m)) for m in misses) / scale
    sigma = settings.drift + settings.drift_speed * gap
    growth = abs(math.log(b.items[0].scale / a.items[-1].scale)) / (0.15 + 0.1 * gap)
    return (miss / sigma) ** 2 + growth**2 + colour_cost


def _velocity(items, fps):
    """px per second of the mid-hip."""
    if len(items) < 3:
        return np.zeros(2)
    times = np.array([o.frame for o in items]) / fps
    return np.polyfit(times, np.stack([o.region[:2] for o in items]), 1)[0]


def link(fragments, fps, settings=None):
    """Join fragments to people: lists of Fragment in time order.

    Each end goes to at most one start such that the sum of costs is least
    (linear_sum_assignment); a link that costs more than `max_cost` is left open.
    """
    settings = settings or Settings()
    mark_contacts(fragments)
    shortest = max(1, round(settings.min_fragment * fps))
    usable = [
        f
        for f in fragments
        if len(f) >= shortest
        and np.median([o.score for o in f.items]) >= settings.min_score
        and (not f.checks or np.mean(f.checks) >= settings.min_confirmed)
    ]
    pieces = sorted(cut(usable), key=lambda f: (f.first, f.last))
    count = len(pieces)
    if count == 0:
        return []
    # columns count .. 2 count - 1 stand for "nothing follows"
    cost = np.full((count, 2 * count), settings.max_cost)
    for i, a in enumerate(pieces):
        for j, b in enumerate(pieces):
            found = link_cost(a, b, fps, settings) if i != j else math.inf
            cost[i, j] = min(found, 1e3)
    rows, columns = linear_sum_assignment(cost)
    after = {
        i: j
        for i, j in zip(rows, columns, strict=True)
        if j < count and cost[i, j] < settings.max_cost
    }
    starts = sorted(set(range(count)) - set(after.values()))
    people = []
    for i in starts:
        chain = [pieces[i]]
        while i in after:
            i = after[i]
            chain.append(pieces[i])
        people.append(chain)
    return people


def merge(chain):
    """One person's observations by frame, from his fragments in time order.

    Where two fragments that were not followed into one another meet, the contact at their seam
    is left out: it may show the other person.
    """
    items: dict[int, Observation] = {}
    for index, fragment in enumerate(chain):
        kept = list(fragment.items)
        following = chain[index + 1] if index + 1 < len(chain) else None
        if (
            following
            and following.source != fragment.source
            and following.first - kept[-1].frame < 2
        ):
            while kept and kept[-1].touching:
                kept.pop()
        items.update({o.frame: o for o in kept})
    return items


def drop_duplicates(people):
    """Remove observations of a longer person from a shorter one; people by frame dicts."""
    kept: list[dict[int, Observation]] = []
    for items in sorted(people, key=len, reverse=True):
        for other in kept:
            shared = [k for k in items if k in other]
            twins = [k for k in shared if same_person(items[k], other[k])]
            if len(twins) > 0.5 * len(items):
                items = {}
                break
            items = {k: o for k, o in items.items() if k not in set(twins)}
        if items:
            kept.append(items)
    return kept


def own_masks(items, shape):
    """Masks (H, W) bool of people in one frame, each pixel given to one person at most.

    A pixel that several masks claim goes to the nearest person whose limbs cover it; where no
    limb does, to the person with the highest probability. Where people touch, the mask of the
    nearer one covers the other as well: what only the other one's limbs cover is given back.
    """
    if not items:
        return []
    full = np.zeros((len(items), *shape), np.uint8)
    for i, item in enumerate(items):
        (x, y), (height, width) = item.corner, item.mask.shape
        full[i, y : y + height, x : x + width] = item.mask
    claims = full > 127
    if len(items) > 1 and (claims.sum(0) > 1).any():
        anyone = claims.any(0)
        owner = np.where(anyone, full.argmax(0), -1)
        for i in sorted(range(len(items)), key=lambda i: items[i].scale):
            limbs = silhouette(shape, items[i]) > 0
            owner[limbs & (anyone if items[i].touching else claims[i])] = i
        claims = np.stack([owner == i for i in range(len(items))])
    kept = np.stack([_without_islands(claims[i], items[i]) for i in range(len(items))])
    # a lost island may belong to whoever else claimed it
    free = (full > 127) & ~kept.any(0)
    free &= free.sum(0) == 1
    free &= ~(claims & ~kept)
    return list(kept | free)


def visible_share(item, mask):
    """How much of the limbs that a person's mask covers is left after `own_masks`, in [0, 1]."""
    limbs = silhouette(mask.shape, item) > 0
    (x, y), (height, width) = item.corner, item.mask.shape
    window = np.s_[y : y + height, x : x + width]
    before = np.count_nonzero(limbs[window] & (item.mask > 127))
    return np.count_nonzero(limbs & mask) / max(before, 1)


def _without_islands(mask, item):
    """Drop the pieces of a mask that lie away from the person's own limbs."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    if count <= 2:
        return mask
    touched = np.unique(labels[(silhouette(mask.shape, item) > 0) & mask])
    keep = np.zeros(count, bool)
    keep[touched] = True
    keep[0] = False
    return keep[labels]


@dataclass
class Ranked:
    """People worth keeping, by average mask area over the clip, largest first."""

    people: list[dict[int, Observation]]
    dropped: list[tuple[dict[int, Observation], str]]
    """People left out and why."""


def rank(people, frame_count, fps, shape, min_seconds=0.5, min_height=0.1, bystander=0.3, limit=0):
    """Choose the people to keep.

    people: dicts of Observation by frame; shape: (H, W) of the working picture. min_seconds:
    shortest time in view; min_height: least height over the picture's shorter side; bystander:
    least height over that of the tallest person kept; limit: how many people to keep, 0 for all.
    """

    def area(items):
        return sum(int((o.mask > 127).sum()) for o in items.values()) / frame_count

    def stature(items):
        # 1.7 m at the person's scale: a squat does not make a person small
        return 1.7 * float(np.median([o.scale for o in items.values()]))

    sizes = [Size(area(items), len(items), stature(items)) for items in people]
    kept, dropped = choose(sizes, fps, min_seconds, min_height * min(shape), bystander, limit)
    return Ranked([people[i] for i in kept], [(people[i], reason) for i, reason in dropped])
