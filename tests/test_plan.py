"""`pantograph plan`: what a run will take."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from pantograph import config, costs, diagnosis, lengths
from pantograph.__main__ import main
from pantograph.contracts import Video

STAGES = 13


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a table of four clips, of which two were run as far as the masks."""
    monkeypatch.chdir(tmp_path)
    clip = ROOT / "resources" / "demo" / "walk_turn.mp4"
    rows = [("a", 0, 40), ("b", 0, 80), ("c", 0, 60), ("d", 0, 100)]
    table = "".join(f"{name}\t{clip}\t{start}\t{end}\n" for name, start, end in rows)
    (tmp_path / "videos.tsv").write_text(f"video\tpath\tstart\tend\n{table}")
    for name, frames in (("a", 40), ("b", 80)):
        Video(
            name=name, path=str(clip), fps=30.0, width=64, height=48,
            source_frames=list(range(frames)), source_times=[k / 30 for k in range(frames)],
        ).write(f"results/cpu/{name}/video.json")  # fmt: skip
        (tmp_path / f"results/cpu/{name}/people.h5").write_bytes(bytes(1000 * frames))
        # 5 s for a process that loads its models, 0.1 s for a frame
        use(name, "segment_mediapipe", cpu_s=5 + 0.1 * frames, wall_s=1.0)
        use(name, "retarget_trajectory_g1", cpu_s=2.0 * frames, wall_s=1.0)
        use(name, "body_vimo", cpu_s=0.5 * frames, wall_s=3 + 0.2 * frames)
    return tmp_path


def use(video, name, route="cpu", **usage):
    path = f"logs/{route}/{video}/{name}.usage.json"
    with open_made(path) as file:
        json.dump(usage, file)


def open_made(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return open(path, "w")


def plan(capsys, *words, settings=()):
    main(["plan", "--json", *words, "--config", "videos=videos.tsv", *settings])
    report = json.loads(capsys.readouterr().out)
    return report, {stage["method"]: stage for stage in report["stages"]}


def test_what_is_left_is_foretold_from_what_was_measured(work, capsys):
    report, stages = plan(capsys)
    assert report["videos"] == 4 and report["frames"] == 280 and len(stages) == STAGES
    segment = stages["segment_mediapipe"]
    assert (segment["jobs"], segment["done"], segment["frames"]) == (4, 2, 160)
    assert segment["cpu_s"]["low"] == pytest.approx(2 * 5 + 0.1 * 160)
    assert segment["disk_bytes"]["high"] == pytest.approx(160e3)
    assert segment["gpu_s"] == {"low": 0, "high": 0}
    retarget = stages["retarget_trajectory"]
    assert retarget["cpu_s"]["high"] == pytest.approx(2.0 * 280) and retarget["done"] == 0
    assert stages["scene_sfm"]["cpu_s"] is None and stages["scene_sfm"]["disk_bytes"] is None
    total = report["total"]["cpu_s"]
    assert total["low"] == pytest.approx(26 + 560) and "scene_sfm" in total["unknown"]
    wall = plan(capsys, "--cores", "8")[0]["wall_s"]
    assert wall["low"] == pytest.approx(586 / 8)


def test_clips_that_are_done_take_nothing(work, capsys):
    for name in "ab":
        (work / f"results/cpu/{name}/people.h5").unlink()
        (work / f"results/cpu/{name}/quality.json").touch()
    stages = plan(capsys, settings=["keep=results"])[1]
    assert stages["segment_mediapipe"]["done"] == 2
    assert stages["segment_mediapipe"]["disk_bytes"] == {"low": 0, "high": 0}
    assert stages["quality"]["done"] == 2 and stages["preview"]["done"] == 0


def test_runs_with_workers_are_foretold_from_those(work, capsys):
    for name, frames in (("a", 40), ("b", 80)):
        use(name, "segment_mediapipe", cpu_s=0.1 * frames, wall_s=1.0, worker=1)
    assert plan(capsys, settings=["workers=true"])[1]["segment_mediapipe"]["cpu_s"]["low"] == (
        pytest.approx(16)
    )


def test_methods_on_a_gpu_are_measured_or_stated_or_unknown(work, capsys):
    report, stages = plan(capsys, settings=["route=videomimic"])
    # four clips of 280 frames
    assert stages["body_vimo"]["gpu_s"]["low"] == pytest.approx(4 * 3 + 0.2 * 280)
    assert stages["segment_sam2"]["gpu_s"] == {"low": 360, "high": 360}
    assert "VideoMimic" in stages["segment_sam2"]["source"]
    frames = 280 / 150
    assert stages["scene_megasam"]["gpu_s"]["low"] == pytest.approx(4 * 60 + 180 * frames)
    assert stages["scene_megasam"]["gpu_s"]["high"] == pytest.approx(4 * 300 + 240 * frames)
    assert stages["mesh_nksr"]["gpu_s"] is None and stages["mesh_nksr"]["source"] == "unknown"
    assert report["wall_s"] is None
    settings = ["route=videomimic", "workers=true"]
    report, warm = plan(capsys, "--gpus", "2", "--cores", "1000", settings=settings)
    assert warm["segment_sam2"]["gpu_s"]["low"] == 60 + 4 * 30
    assert report["wall_s"]["high"] == pytest.approx(report["total"]["gpu_s"]["high"] / 2)


def test_the_screen_says_what_is_not_known(work, capsys):
    with open("videos.tsv", "a") as file:
        file.write("lost\tnowhere.mp4\t\t\n")
    words = ["--config", "videos=videos.tsv", "route=[cpu, videomimic]", "lengths=plan"]
    main(["plan", "--gpus", "1", *words])
    text = capsys.readouterr().out
    assert "5 videos, 280 frames" in text and "cannot be read: lost" in text
    assert "route cpu" in text and "route videomimic" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("  ")}
    assert rows["mesh_nksr"][4:] == ["?", "?", "?", "unknown"]
    assert rows["segment_mediapipe"][-3:] == ["2", "jobs", "here"]
    assert "padded lengths: 112 frames" in text and "[1] stated: VideoMimic" in text
    main(["plan", *words])
    assert "no GPU for the methods that need one" in capsys.readouterr().out


def test_planned_lengths_go_on_from_those_there_are(work, capsys):
    lengths.write("results/lengths.json", (48, 96))
    found = plan(capsys, settings=["lengths=plan"])[0]["lengths"]
    assert found["old"] == [48, 96] and set(found["all"]) == {48, 96, 112}
    assert lengths.read("results/lengths.json") == (48, 96)


def test_a_shard_is_planned_alone(work, capsys):
    report, stages = plan(capsys, settings=["shard=2/2"])
    assert report["videos"] == 2 and report["frames"] == 180
    assert stages["ingest"]["jobs"] == 2


def test_a_line_through_the_points():
    rate = costs.measured([(10, 7.0), (20, 9.0), (40, 13.0)])
    assert rate.fixed.low == pytest.approx(5) and rate.frame.high == pytest.approx(0.2)
    falling = costs.measured([(10, 9.0), (20, 8.0)])
    assert falling.fixed.low >= 0 and falling.frame.low >= 0
    one = costs.measured([(10, 4.0), (10, 6.0), (0, 99.0)])
    assert one.total([10, 10], 2).low == pytest.approx(10)
    assert costs.measured([]) is None and costs.measured([(0, 1.0)]) is None


def test_stated_costs_are_of_methods_on_a_gpu(tmp_path):
    on_gpu = {name for name, rule in diagnosis.read_rules(ROOT).items() if rule.gpu}
    assert set(costs.stated(ROOT)) <= on_gpu
    shutil.copytree(ROOT / "config", tmp_path / "config")
    path = tmp_path / "config" / "costs.yaml"
    path.write_text(yaml.safe_dump({"segment_sam2": {"load": [1], "clip": [1, 2], "source": "x."}}))
    with pytest.raises(config.ConfigError, match=r"config/costs.yaml: segment_sam2.load: expected"):
        costs.stated(tmp_path)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--cores", "0"], "expected --cores >= 1"),
        (["--config", "videos"], "expected KEY=VALUE"),
        (["--config", "route=gpu"], "unknown route"),
    ],
)
def test_mistakes_are_told(work, words, said):
    with pytest.raises(config.ConfigError, match=said):
        main(["plan", *words])
