"""Tracks of successive windows are joined to people."""

import numpy as np
import pytest

import segment_sam3
from pantograph import masks, maskvideo
from pantograph.contracts import Video
from pantograph.errors import PantographError
from test_segment_sam2 import SHAPE, World, agree


@pytest.fixture
def follow(monkeypatch):
    def run(world, length):
        monkeypatch.setattr(maskvideo, "frames", world.pictures)
        monkeypatch.setattr(maskvideo, "stored_shape", lambda video: SHAPE)
        return maskvideo.follow_tracks(world, world.video(), 960, length)

    return run


def test_ids_go_on_from_window_to_window(follow):
    world = World([lambda k: 10 + k, lambda k: 120 - k])
    assert sorted(agree(world, follow(world, 30)).values()) == [1, 2]
    assert world.longest == 31


@pytest.mark.parametrize("back", [45, 75])
def test_somebody_who_comes_back_keeps_the_id(follow, back):
    world = World([lambda k: 10, lambda k: None if 33 <= k < back else 60 + 0.3 * k])
    record = follow(world, 30)
    assert agree(world, record) == {0: 1, 1: 2}
    assert [k for k in range(100) if not record.has(2, k)] == list(range(33, back))


def test_scores_and_boxes_are_those_of_the_tracks(follow):
    world = World([lambda k: 30], count=40)
    people = follow(world, 25).product(world.video(), 0.5, 0)
    assert np.allclose(people.people[1].score, 0.8)
    assert np.allclose(people.people[1].boxes, 2 * masks.box(world.masks(0)[0]))


def test_missing_weights_are_named(tmp_path):
    video = Video(fps=30.0, width=64, height=48, source_frames=[0], source_times=[0.0])
    video.write(tmp_path / "video.json")
    with pytest.raises(PantographError, match="sam3: expected the folder of SAM 3, found nothing"):
        segment_sam3.main(
            ["--video", str(tmp_path / "video.json"), "--out", str(tmp_path / "people.h5")]
            + ["--model", str(tmp_path / "sam3")]
        )
