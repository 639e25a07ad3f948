"""Planned lengths: what they cost, and that they stay."""

import itertools

import numpy as np
import pytest

import plan_lengths
from pantograph import lengths
from pantograph.contracts import Video
from pantograph.errors import PantographError

COSTS = lengths.Costs(frame_s=0.01, compile_s=2.0)


def cheapest(counts, step, most, costs):
    """The least total over every set of lengths that could be planned."""
    options = sorted({lengths.round_up(count, step) for count in counts})
    subsets = (s for k in range(1, most + 1) for s in itertools.combinations(options, k))
    fitting = (s for s in subsets if max(s) >= max(counts))
    return min(lengths.total(counts, s, costs) for s in fitting)


@pytest.mark.parametrize("seed", range(6))
def test_a_plan_costs_least(seed):
    random = np.random.default_rng(seed)
    counts = random.integers(1, 200, random.integers(1, 30)).tolist()
    most = int(random.integers(1, 4))
    planned = lengths.plan(counts, step=16, most=most, costs=COSTS)
    assert len(planned) <= most and all(length % 16 == 0 for length in planned)
    assert all(lengths.choose(count, planned) >= count for count in counts)
    assert lengths.total(counts, planned, COSTS) == pytest.approx(cheapest(counts, 16, most, COSTS))


def test_dear_compilation_gives_one_length_and_cheap_one_many():
    counts = [30, 60, 90, 300]
    assert lengths.plan(counts, costs=lengths.Costs(0.01, 1e4)) == (304,)
    assert lengths.plan(counts, costs=lengths.Costs(0.01, 0.0)) == (32, 64, 96, 304)


def test_old_lengths_stay_and_are_used_where_they_fit():
    first = lengths.plan([100] * 50, costs=COSTS)
    assert first == (112,)
    more = lengths.plan([100] * 50 + [105, 500], old=first, costs=COSTS)
    assert more == (112, 512)
    assert lengths.plan([100], old=more, costs=COSTS) == more
    assert [lengths.choose(n, more) for n in (1, 112, 113, 513)] == [112, 112, 512, None]


def test_many_clips_of_all_lengths_are_planned():
    counts = np.random.default_rng(0).integers(10, 3000, 10_000).tolist()
    planned = lengths.plan(counts, costs=COSTS)
    assert len(planned) == 12 and planned[-1] >= max(counts)
    hundreds = {lengths.round_up(count, 100) for count in counts}
    assert lengths.total(counts, planned, COSTS) <= lengths.total(counts, (max(hundreds),), COSTS)


def write_video(folder, name, frames):
    path = folder / name / "video.json"
    video = Video(
        name=name, path=f"{name}.mp4", fps=30.0, width=10, height=10,
        source_frames=list(range(frames)), source_times=[k / 30 for k in range(frames)],
    )  # fmt: skip
    video.write(path)
    return str(path)


def test_the_program_adds_to_its_own_file(tmp_path):
    out = tmp_path / "lengths.json"
    paths = [write_video(tmp_path, f"v{k}", 100) for k in range(3)]
    plan_lengths.main(["--out", str(out), "--video", *paths])
    assert lengths.read(out) == (112,)
    rejected = tmp_path / "none" / "video.json"
    Video.rejection("nothing in it").write(rejected)
    paths += [write_video(tmp_path, "long", 4000), str(rejected)]
    plan_lengths.main(["--out", str(out), "--video", *paths, "--compile-s", "1"])
    assert lengths.read(out) == (112, 4000)


def test_a_run_names_its_lengths_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PANTOGRAPH_LENGTHS", "")
    assert lengths.planned() == ()
    for name, chosen in (("run.json", (48, 96)), ("own.json", (32,))):
        lengths.write(tmp_path / name, chosen)
    monkeypatch.setenv("PANTOGRAPH_LENGTHS", str(tmp_path / "run.json"))
    assert lengths.planned() == (48, 96)
    assert lengths.planned(str(tmp_path / "own.json")) == (32,)


@pytest.mark.parametrize("text", ["", "[]", '{"lengths": ["a"]}', '{"lengths": [0]}', "{}"])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "lengths.json"
    path.write_text(text)
    with pytest.raises(PantographError, match="expected"):
        lengths.read(path)
