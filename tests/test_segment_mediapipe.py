"""People keep their identity through crossings; whoever is no person of the clip is left out."""

from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

import ingest
import segment_mediapipe
from pantograph import tracking
from pantograph.contracts import People, Video
from pantograph.conventions import MEDIAPIPE_LANDMARKS
from pantograph.errors import PantographError
from pantograph.tracking import Fragment, Observation, Settings, Tracker

FPS = 30.0
ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "videos"
SHAPE = (200, 400)

# an upright body from the front, m from the mid-hip: y down
_HEIGHTS = {"hip": 0.0, "shoulder": -0.5, "elbow": -0.25, "wrist": 0.0, "knee": 0.42, "ankle": 0.82}
_HEIGHTS |= {"heel": 0.86, "foot_index": 0.86, "pinky": 0.06, "index": 0.06, "thumb": 0.05}
_WIDTHS = {"hip": 0.12, "knee": 0.12, "ankle": 0.12, "heel": 0.12, "foot_index": 0.15}


def body():
    """World landmarks (33, 3), m."""
    points = np.zeros((len(MEDIAPIPE_LANDMARKS), 3))
    for i, name in enumerate(MEDIAPIPE_LANDMARKS):
        kind = name.replace("left_", "").replace("right_", "")
        side = 1 if name.startswith("left") else -1
        points[i, 1] = _HEIGHTS.get(kind, -0.7)
        points[i, 0] = side * (_WIDTHS.get(kind, 0.2) if kind in _HEIGHTS else 0.05)
    return points


def colours(which):
    """Histograms of somebody dressed in colour number `which`."""
    rows = np.zeros((len(tracking.PARTS), int(np.prod(tracking.BINS))), np.float32)
    rows[:, 20 * which : 20 * which + 3] = 1 / 3
    return rows


def seen(frame, x, who=0, y=100.0, scale=60.0, mask=None):
    """An observation of a person whose mid-hip is at (x, y) px."""
    width, height = int(0.6 * scale), int(1.7 * scale)
    crop = np.full((height, width), 255, np.uint8) if mask is None else mask
    return Observation(
        frame=frame,
        xy=body()[:, :2] * scale + [x, y],
        visibility=np.ones(len(MEDIAPIPE_LANDMARKS)),
        region=np.array([x, y, 2.2 * scale, 0.0]),
        scale=scale,
        corner=(int(x - width / 2), int(y - 0.8 * scale)),
        mask=crop,
        colours=colours(who),
    )


def walk(first, last, at, who=0, source=0, **more):
    """A fragment of frames first to last; at(frame) gives x."""
    items = [
        seen(k, at(k), who(k) if callable(who) else who, **more) for k in range(first, last + 1)
    ]
    return Fragment(items, source)


def linked(fragments):
    """The people found, each as the sources of his fragments in time order."""
    chains = tracking.link(fragments, FPS)
    return sorted(list(dict.fromkeys(f.source for f in chain)) for chain in chains)


def test_a_hidden_person_is_taken_up_again():
    # 0 walks right in front, 1 walks left behind him and is lost in between
    chains = linked(
        [
            walk(0, 90, lambda k: 50 + 3 * k, who=0, source=0, scale=66),
            walk(0, 40, lambda k: 320 - 3 * k, who=1, source=1),
            walk(50, 90, lambda k: 320 - 3 * k, who=1, source=2),
        ]
    )
    assert chains == [[0], [1, 2]]


@pytest.mark.parametrize("swapped", [False, True])
def test_colours_decide_where_motion_cannot(swapped):
    # both stop behind a pillar and come out on either side
    left, right = (1, 0) if swapped else (0, 1)
    chains = linked(
        [
            walk(0, 30, lambda k: min(100 + 4 * k, 190), who=0, source=0),
            walk(0, 30, lambda k: max(300 - 4 * k, 210), who=1, source=1),
            walk(60, 90, lambda k: 190 - 3 * (k - 60), who=left, source=2),
            walk(60, 90, lambda k: 210 + 3 * (k - 60), who=right, source=3),
        ]
    )
    partner = {0: 3, 1: 2} if swapped else {0: 2, 1: 3}
    assert chains == [[0, partner[0]], [1, partner[1]]]


def test_motion_decides_for_people_dressed_alike():
    chains = linked(
        [
            walk(0, 30, lambda k: 60 + 3 * k, source=0),
            walk(0, 30, lambda k: 340 - 3 * k, source=1),
            walk(40, 90, lambda k: 340 - 3 * k, source=2),
            walk(40, 90, lambda k: 60 + 3 * k, source=3),
        ]
    )
    assert chains == [[0, 3], [1, 2]]


def test_a_follower_that_changed_person_is_put_right():
    # the follower of 0 goes on with 1 after they met; 0 is found anew
    def changing(k):
        return 60 + 3 * k if k <= 50 else 360 - 3 * k

    chains = linked(
        [
            walk(0, 90, changing, who=lambda k: 0 if k <= 50 else 1, source=0),
            walk(0, 50, lambda k: 360 - 3 * k, who=1, source=1),
            walk(58, 90, lambda k: 60 + 3 * k, who=0, source=2),
        ]
    )
    assert chains == [[0, 2], [1, 0]]
    first, second = (
        tracking.merge(chain)
        for chain in tracking.link(
            [
                walk(0, 90, changing, who=lambda k: 0 if k <= 50 else 1, source=0),
                walk(0, 50, lambda k: 360 - 3 * k, who=1, source=1),
                walk(58, 90, lambda k: 60 + 3 * k, who=0, source=2),
            ],
            FPS,
        )
    )
    for items, who in ((first, 0), (second, 1)):
        for item in items.values():
            assert np.array_equal(item.colours, colours(who))


def test_strangers_are_not_joined():
    chains = linked(
        [
            walk(0, 30, lambda k: 40, who=0, source=0),
            walk(33, 60, lambda k: 360, who=2, source=1),
        ]
    )
    assert len(chains) == 2


def test_short_and_doubtful_fragments_are_not_used():
    doubtful = walk(40, 80, lambda k: 300, source=1)
    for item in doubtful.items:
        item.visibility = np.full(33, 0.3)
    flash = walk(10, 12, lambda k: 200, source=2)
    assert linked([walk(0, 90, lambda k: 80), doubtful, flash]) == [[0]]


def test_a_second_track_of_one_person_is_dropped():
    first = tracking.merge([walk(0, 90, lambda k: 100 + k)])
    second = tracking.merge([walk(20, 60, lambda k: 101 + k, source=1)])
    other = tracking.merge([walk(20, 60, lambda k: 300, source=2)])
    kept = tracking.drop_duplicates([second, first, other])
    assert [(min(k), k[30].region[0]) for k in kept] == [(0, 130), (20, 300)]


def test_a_pixel_belongs_to_one_person():
    near, far = seen(0, 200, scale=70.0), seen(0, 215, scale=55.0)
    masks = tracking.own_masks([near, far], SHAPE)
    assert not (masks[0] & masks[1]).any()
    # the nearer one keeps his own trunk, the other one what sticks out
    assert masks[0][100, 200] and masks[1][100, 230]
    assert (masks[0] | masks[1]).sum() > 0.95 * (
        tracking.own_masks([near], SHAPE)[0] | tracking.own_masks([far], SHAPE)[0]
    ).sum()


def test_ranking_and_reasons():
    big = tracking.merge([walk(0, 59, lambda k: 100, scale=90.0)])
    small = tracking.merge([walk(0, 59, lambda k: 300, scale=60.0)])
    brief = tracking.merge([walk(0, 9, lambda k: 300, scale=60.0)])
    far = tracking.merge([walk(0, 59, lambda k: 300, scale=20.0)])
    ranked = tracking.rank([small, far, brief, big], 60, FPS, SHAPE)
    assert ranked.people == [big, small]
    reasons = " / ".join(reason for _, reason in ranked.dropped)
    assert "seen in 10 frames, expected 15" in reasons and "bystander: 0.22" in reasons
    assert tracking.rank([small, big], 60, FPS, SHAPE, limit=1).people == [big]


class Stage:
    """A picture world for the tracker: people at known places, each visible from some frame."""

    def __init__(self, people, hidden_until):
        self.people, self.hidden_until, self.frame = people, hidden_until, 0

    def pose(self, who):
        x = self.people[who](self.frame)
        mask = np.zeros(SHAPE, np.float32)
        mask[50:150, max(0, int(x) - 18) : int(x) + 18] = 1
        return SimpleNamespace(
            xy=body()[:, :2] * 60 + [x, 100],
            world=body(),
            visibility=np.ones(33),
            presence=np.ones(33),
            region=np.array([x, 100.0, 130.0, 0.0]),
            mask=mask,
        )

    def detect(self, rgb):
        return [
            (0.95, self.pose(who).region)
            for who in self.people
            if self.frame >= self.hidden_until.get(who, 0)
        ]

    def look(self, rgb, region):
        poses = [self.pose(who) for who in self.people]
        poses = [p for p in poses if abs(p.region[0] - region[0]) < 25]
        return min(poses, key=lambda p: abs(p.region[0] - region[0]), default=None)


def test_a_person_found_late_is_followed_back():
    world = Stage({0: lambda k: 80 + k, 1: lambda k: 350 - k}, hidden_until={1: 25})
    tracker = Tracker(world.detect, world.look, lambda *_: True, FPS, Settings())
    blank = np.zeros((*SHAPE, 3), np.uint8)
    for frame in range(60):
        world.frame = frame
        tracker.forward(frame, blank)
    assert [(f.first, f.last) for f in tracker.fragments] == [(0, 59), (30, 59)]

    class Pictures(list):
        def __init__(self, first):
            self.first = first

        def __getitem__(self, index):
            world.frame = self.first + index
            return blank

    tracker.backward(lambda first, last: Pictures(first))
    assert [(f.first, f.last) for f in tracker.fragments] == [(0, 59), (0, 59)]
    x = [item.region[0] for item in tracker.fragments[1].items]
    assert x == [350 - k for k in range(60)]


def test_text_that_means_no_person_is_a_failure(tmp_path):
    video = Video(
        fps=30.0, width=64, height=48, source_frames=[0], source_times=[0.0], text="a red car"
    )
    video.write(tmp_path / "video.json")
    with pytest.raises(PantographError, match="knows people only"):
        segment_mediapipe.main(
            ["--video", str(tmp_path / "video.json"), "--out", str(tmp_path / "people.h5")]
        )


def test_a_rejected_video_is_passed_on(tmp_path):
    Video.rejection("one frame").write(tmp_path / "video.json")
    segment_mediapipe.main(
        ["--video", str(tmp_path / "video.json"), "--out", str(tmp_path / "people.h5")]
    )
    assert People.read(tmp_path / "people.h5").reason == "one frame"


def clip(tmp_path, path, start, end, stride=1):
    arguments = ["--path", path, "--name", "clip", "--out", tmp_path / "video.json"]
    arguments += ["--start", start, "--end", end, "--stride", stride]
    ingest.main([str(a) for a in arguments])
    segment_mediapipe.main(
        ["--video", str(tmp_path / "video.json"), "--out", str(tmp_path / "people.h5")]
    )
    return People.read(tmp_path / "people.h5")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/videos")
def test_two_people_cross(tmp_path):
    people = clip(tmp_path, SHARED / "two_people.mp4", 20, 80)
    assert people.ranking == [1, 2]
    front, back = people.people[1], people.people[2]
    assert front.visible.all() and back.visible.sum() >= 48
    # the one in front walks to the right, the other one to the left
    for person, direction in ((front, 1), (back, -1)):
        x = person.boxes[person.visible][:, [0, 2]].mean(1)
        assert direction * (x[-1] - x[0]) > 100
        assert np.max(np.abs(np.diff(x))) < 90
    for k in np.flatnonzero(front.visible & back.visible):
        assert not (people.mask(1, k) & people.mask(2, k)).any()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/videos")
def test_too_little_of_a_person_is_rejected(tmp_path):
    people = clip(tmp_path, SHARED / "two_people.mp4", 0, 12)
    assert people.rejected and "seen in 12 frames, expected 15" in people.reason


@pytest.mark.parametrize(
    ("person_frames", "reason"),
    [(0, "no person found in 25 frames"), (4, "seen in 4 frames, expected 15 or more")],
)
def test_nobody_or_too_briefly(tmp_path, person_frames, reason):
    source = ROOT / "resources" / "demo" / "walk_turn.mp4"
    if not source.is_file():
        pytest.skip("needs resources/demo")
    with av.open(str(source)) as container:
        frame = next(container.decode(video=0))
    person = frame.to_ndarray(format="rgb24")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
        for k in range(25):
            picture = person if 10 <= k < 10 + person_frames else np.full_like(person, 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    people = clip(tmp_path, tmp_path / "a.mp4", 0, -1)
    assert people.rejected and reason in people.reason


def test_identities_and_masks_of_a_rendered_crossing(tmp_path):
    path = ROOT / "resources" / "demo" / "two_people.mp4"
    if not path.is_file():
        pytest.skip("needs resources/demo")
    people = clip(tmp_path, path, 0, -1)
    truth = People.read(path.with_suffix(".truth") / "people.h5")
    assert len(people.people) == len(truth.people) == 2
    for pid, person in people.people.items():
        overlaps = {}
        for other in truth.people:
            overlaps[other] = [
                iou(people.mask(pid, k), truth.mask(other, k))
                for k in np.flatnonzero(person.visible)
            ]
        best = max(overlaps, key=lambda other: np.mean(overlaps[other]))
        assert np.mean(overlaps[best]) > 0.8
        # the same one in every frame, before, while and after they cross
        rest = [overlaps[other] for other in overlaps if other != best]
        assert np.mean(np.array(overlaps[best]) > np.array(rest[0])) > 0.97
        assert person.visible.sum() > 0.85 * people.frame_count


def iou(mask, truth):
    truth = cv2.resize(truth.astype(np.uint8), mask.shape[::-1]) > 0
    return (mask & truth).sum() / max((mask | truth).sum(), 1)
