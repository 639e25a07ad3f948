"""What a run does in which order, what it leaves on disk, and what it plans anew."""

import os
import re
import subprocess
import sys

import pytest
import yaml

from conftest import ROOT
from pantograph import collection, config, contracts, lengths

REAL = ("ingest", "plan_lengths")
DEMO_FRAMES = 120
"""Methods that run as they are; the others only write what their rules promise."""
METHOD = """
import os, sys

def main(argv=None):
    print(os.environ["PANTOGRAPH_LENGTHS"])
    for name, path in zip(argv, argv[1:]):
        if name in ("--out", "--obj", "--ply"):
            open(path, "w").write(name)
        if name == "--out-dir":
            os.mkdir(path)
"""
STAGES = (
    *("ingest", "segment_mediapipe", "pose2d_mediapipe", "scene_sfm", "body_landmarks"),
    *("contact_kinematic", "align_megahunter", "ground_plane", "mesh_poisson"),
    *("retarget_trajectory", "quality", "export_motion", "preview"),
)
RESULTS = {
    *("video.json", "gravity.h5", "mesh.h5", "scene.obj", "scene.ply", "motion_g1.h5"),
    *("quality.json", "preview.mp4", "export"),
}
INTERMEDIATE = {
    f"{name}.h5" for name in ("people", "keypoints", "scene", "body", "contacts", "world")
}


@pytest.fixture
def flow(tmp_path):
    """The project's workflow in a folder, with methods that do nothing."""
    for part in ("Snakefile", "rules", "config", "envs", "resources", "external"):
        os.symlink(ROOT / part, tmp_path / part)
    (tmp_path / "scripts").mkdir()
    os.symlink(ROOT / "scripts" / "pantograph", tmp_path / "scripts" / "pantograph")
    for path in (ROOT / "scripts").glob("*.py"):
        if path.stem in REAL:
            os.symlink(path, tmp_path / "scripts" / path.name)
        else:
            (tmp_path / "scripts" / path.name).write_text(METHOD)
    return Flow(tmp_path)


class Flow:
    def __init__(self, folder):
        self.folder = folder
        self.table = folder / "videos.tsv"
        self.table.write_text("video\tpath\tstart\tend\n")
        for name, frames in (("a", 30), ("b", 20), ("c", 10)):
            self.add(name, frames)

    def add(self, name, frames):
        clip = ROOT / "resources" / "demo" / "walk_turn.mp4"
        with self.table.open("a") as file:
            file.write(f"{name}\t{clip}\t0\t{frames}\n")

    def run(self, *words, dry=False, target=False):
        """Run with settings, or for a target: [(rule, video)] in the order of their start."""
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *(["-n"] if dry else [])]
        command += words[:target]
        command += ["--config", "videos=videos.tsv", *words[target:]]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        found = []
        for line in said.splitlines():
            if rule := re.fullmatch(r" *(?:local)?rule (\w+): *", line):
                found.append((rule[1], None))
            elif video := re.match(r" +wildcards: .*video=(\w+)", line):
                found[-1] = (found[-1][0], video[1])
        return [job for job in found if job[0] != "all"]

    def left(self, video):
        return {path.name for path in (self.folder / "results" / "cpu" / video).iterdir()}


def test_with_workers_a_run_goes_stage_by_stage(flow):
    jobs = flow.run("workers=true")
    assert [rule for rule, _ in jobs] == [*(s for s in STAGES for _ in range(3)), "summary"]


def test_without_workers_it_finishes_video_by_video(flow):
    jobs = flow.run()
    videos = [video for _, video in jobs[:-1]]
    assert jobs[-1][0] == "summary" and len(jobs) == 3 * len(STAGES) + 1
    assert len({*videos[: len(STAGES)]}) == 1
    assert sorted(videos, key=videos.index) == videos


def test_everything_stays_unless_results_alone_are_wanted(flow):
    flow.run()
    assert flow.left("a") == RESULTS | INTERMEDIATE


def test_results_alone_stay_and_are_enough(flow):
    flow.run("keep=results")
    for video in "abc":
        assert flow.left(video) == RESULTS
    assert flow.run("keep=results") == []
    flow.add("d", 12)
    jobs = flow.run("keep=results")
    assert {video for _, video in jobs} == {"d", None} and flow.left("d") == RESULTS


def test_another_video_adds_a_length_and_starts_nothing_else_anew(flow):
    planned = flow.folder / "results" / "lengths.json"
    assert flow.run("lengths=plan", dry=True) and not planned.exists()
    flow.run("lengths=plan")
    before = lengths.read(planned)
    assert before == (32,)
    assert flow.run("lengths=plan", dry=True) == []
    flow.add("long", 70)
    expected = {(rule, "long") for rule in STAGES} | {("summary", None)}
    assert set(flow.run("lengths=plan", dry=True)) == expected
    assert set(flow.run("lengths=plan")) == expected
    video = contracts.Video.read(flow.folder / "results" / "cpu" / "long" / "video.json")
    assert lengths.read(planned) == (*before, lengths.round_up(video.frame_count, 16))
    assert flow.run("lengths=plan") == []
    assert {rule for rule, _ in flow.run("plan_lengths", target=True)} == {"plan_lengths"}
    assert len(lengths.read(planned)) == 2


def test_what_was_left_undone_is_done_beside_another_video(flow):
    flow.run("lengths=plan")
    (flow.folder / "results" / "cpu" / "a" / "quality.json").unlink()
    flow.add("long", 70)
    jobs = flow.run("lengths=plan")
    assert [rule for rule, video in jobs if video == "a"] == ["quality"]
    assert {video for _, video in jobs} == {"a", "long", None}


@pytest.mark.parametrize("chosen", ["none", "plan", "mine.json"])
def test_the_solvers_are_told_the_file(flow, chosen):
    lengths.write(flow.folder / "mine.json", (48,))
    flow.run(f"lengths={chosen}")
    path = {"none": "", "plan": "results/lengths.json"}.get(chosen, chosen)
    path = str(flow.folder / path) if path else ""
    for rule in ("body_landmarks", "align_megahunter", "retarget_trajectory_g1"):
        log = flow.folder / "logs" / "cpu" / "a" / f"{rule}.log"
        assert log.read_text() == f"{path}\n"
    assert flow.run("lengths=none") == []


def test_parts_of_a_run_plan_into_one_file(flow):
    flow.add("long", 70)
    for part in ("1/2", "2/2"):
        flow.run("lengths=plan", f"shard={part}")
    assert lengths.read(flow.folder / "results" / "lengths.json") == (32, 80)
    assert flow.run("lengths=plan") == [("summary", None)]


def test_clips_are_counted_without_reading_them(flow):
    settings = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    flow.add("half", 1000)
    flow.add("missing", 10)
    flow.table.write_text(flow.table.read_text().replace("0\t30", "5\t30"))
    text = flow.table.read_text().splitlines()
    text[-1] = "missing\tnowhere.mp4\t0\t10"
    flow.table.write_text("\n".join(text))
    plan = config.plan({**settings, "videos": str(flow.table)}, ROOT)
    found = collection.frame_counts(plan, flow.folder / "results")
    assert found == {"a": 25, "b": 20, "c": 10, "half": DEMO_FRAMES, "missing": None}
    rejected = flow.folder / "results" / "cpu" / "a" / "video.json"
    contracts.Video.rejection("nothing in it").write(rejected)
    assert collection.frame_counts(plan, flow.folder / "results")["a"] == 0
