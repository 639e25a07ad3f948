"""The workflow as a user runs it: plans, style, bad inputs, an interrupted run."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from conftest import ROOT
from standin_conda import Conda

DEMO = ("walk_turn", "sit_stand", "two_people")
STAGES = (
    "ingest",
    "segment_mediapipe",
    "pose2d_mediapipe",
    "scene_sfm",
    "body_landmarks",
    "contact_kinematic",
    "align_megahunter",
    "ground_plane",
    "mesh_poisson",
    "retarget_trajectory",
    "export_motion",
    "quality",
    "preview",
)


def command(*arguments):
    return [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), *map(str, arguments)]


def snakemake(folder, *arguments, **options):
    return subprocess.run(
        command("--directory", folder, *arguments), capture_output=True, text=True, **options
    )


def demo_table(folder):
    """The shipped table, with paths that hold in any folder."""
    table = folder / "videos.tsv"
    text = (ROOT / "config" / "videos.tsv").read_text()
    table.write_text(text.replace("resources/", f"{ROOT}/resources/"))
    return table


# ---------------------------------------------------------------------------------------------
# plans


def test_a_dry_run_lists_each_stage_once_per_clip(tmp_path):
    run = snakemake(tmp_path, "-n", "--config", f"videos={demo_table(tmp_path)}")
    assert run.returncode == 0, run.stderr
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.M))
    assert jobs.pop("total") == str(len(STAGES) * len(DEMO) + 2)
    assert jobs == {**dict.fromkeys(STAGES, "3"), "summary": "1", "all": "1"}


def test_the_graph_has_one_node_per_stage(tmp_path):
    arguments = ("--rulegraph", "dot", "--config", f"videos={demo_table(tmp_path)}")
    run = snakemake(tmp_path, *arguments)
    assert run.returncode == 0, run.stderr
    labels = re.findall(r'label = "([^"]+)"', run.stdout)
    assert sorted(labels) == sorted([*STAGES, "summary", "all"])


def test_the_command_line_chooses(tmp_path):
    run = snakemake(
        tmp_path,
        *("-n", "-p", "--config", f"videos={ROOT / 'resources/demo'}", "pattern=TWO"),
        *("start_frame=5", "end_frame=40", "height=1.8", "preview=false", "route=cpu"),
        *("betas=shapes.json", "robot_shape=g1"),
    )
    assert run.returncode == 0, run.stderr
    text = run.stdout + run.stderr
    assert "--start 5 --end 40 --stride 1" in text and "--height 1.8 --betas shapes.json" in text
    assert text.count("--robot-shape g1") == 1
    assert "results/cpu/two_people/quality.json" in text and "walk_turn" not in text
    assert "preview" not in re.findall(r"^rule (\w+):", text, re.M)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("route=gpu", "error: config: route: unknown route 'gpu' (did you mean 'cpu'?)"),
        ("patern=x", "error: config: unknown key 'patern' (did you mean 'pattern'?)"),
        ("videos=no/where", "error: config: videos: expected a table, a folder or a video file"),
    ],
)
def test_a_mistake_stops_with_one_line(tmp_path, setting, message):
    run = snakemake(tmp_path, "-n", "--config", setting)
    assert run.returncode == 1
    lines = [line for line in run.stderr.splitlines() if not line.startswith("Using workflow")]
    assert len(lines) == 1 and lines[0].startswith(message)


def test_conda_would_make_every_environment_in_use(tmp_path):
    conda = Conda(tmp_path / "conda")
    run = snakemake(
        tmp_path,
        *("-n", "--use-conda", "--config", f"videos={demo_table(tmp_path)}"),
        env=conda.environment,
    )
    assert run.returncode == 0, run.stderr
    listed = re.findall(r"Conda environment \S*?envs/(\S+\.yaml)", run.stdout + run.stderr)
    assert set(listed) == {"pantograph.yaml"}


# ---------------------------------------------------------------------------------------------
# style


def test_the_linter_is_content(tmp_path):
    arguments = ("--lint", "--config", f"videos={demo_table(tmp_path)}")
    run = snakemake(tmp_path, *arguments)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Congratulations" in run.stdout + run.stderr


def test_the_rules_are_formatted():
    snakefmt = shutil.which("snakefmt", path=os.path.dirname(sys.executable))
    if not snakefmt:
        pytest.skip("snakefmt is not installed")
    run = subprocess.run(
        [snakefmt, "--check", "Snakefile", "rules"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


# ---------------------------------------------------------------------------------------------
# one run over good and bad videos, interrupted and resumed


def write_audio(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(20):
            samples = np.zeros((1, 1024), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


TABLE = """video|path|start|end
Sänger 1_cam01|my clips/gut é.mp4|10|40
missing|my clips/missing.mp4||
empty|my clips/empty.mp4||
broken|my clips/broken.mp4||
audio only|my clips/audio.mp4||
missing|my clips/gut é.mp4||
reversed|my clips/gut é.mp4|20|10
a/b|my clips/gut é.mp4||
"""
GOOD = "Sänger 1_cam01"
REJECTED = ("missing", "empty", "broken", "audio only")
REFUSED = ("missing", "reversed", "a/b")


class Interrupted:
    """A run whose pose2d job is killed, and the run after it."""

    def __init__(self, folder):
        self.folder = folder
        clips = folder / "my clips"
        clips.mkdir()
        source = ROOT / "resources" / "demo" / "walk_turn.mp4"
        shutil.copy(source, clips / "gut é.mp4")
        shutil.copytree(source.with_suffix(".truth"), clips / "gut é.truth")
        (clips / "empty.mp4").touch()
        (clips / "broken.mp4").write_bytes(source.read_bytes()[:5000])
        write_audio(clips / "audio.mp4")
        (folder / "videos.tsv").write_text(TABLE.replace("|", "\t"), encoding="utf-8")
        cache = ROOT / ".cache" / "jax"
        self.arguments = ("-j2", "--config", "videos=videos.tsv", f"jax_cache={cache}")
        self.first = self.run_and_kill("pose2d_mediapipe")
        self.before = self.times()
        self.second = snakemake(folder, *self.arguments)
        self.third = snakemake(folder, *self.arguments)

    def run_and_kill(self, script):
        """Run the workflow and kill the script's process that works on the good clip."""
        arguments = command("--directory", self.folder, *self.arguments)
        # a pipe that nobody reads meanwhile would stop the run
        log = self.folder / "first.log"
        with log.open("w") as file:
            process = subprocess.Popen(arguments, stdout=file, stderr=subprocess.STDOUT)
            self.killed = False
            while process.poll() is None and not self.killed:
                for pid in descendants(process.pid):
                    words = command_line(pid)
                    if script in words[2:3] and GOOD in " ".join(words):
                        os.kill(pid, signal.SIGKILL)
                        self.killed = True
                time.sleep(0.02)
            process.wait()
        return subprocess.CompletedProcess(arguments, process.returncode, log.read_text(), "")

    def product(self, video, name):
        return self.folder / "results" / "cpu" / video / name

    def times(self):
        root = self.folder / "results" / "cpu"
        return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def descendants(pid):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        new = children.get(todo.pop(), [])
        found += new
        todo += new
    return found


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read().decode(errors="replace").split("\0")
    except OSError:
        return []


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc to find the job to kill")
    return Interrupted(tmp_path_factory.mktemp("run ä"))


@pytest.mark.slow
def test_a_killed_job_fails_the_run_and_names_its_log(interrupted):
    assert interrupted.killed
    assert interrupted.first.returncode == 1
    assert f"logs/cpu/{GOOD}/pose2d_mediapipe.log" in interrupted.first.stdout
    assert interrupted.product(GOOD, "keypoints.h5") not in interrupted.before


@pytest.mark.slow
def test_a_second_run_makes_only_what_is_missing(interrupted):
    run = interrupted.second
    assert run.returncode == 0, run.stdout + run.stderr
    finished = interrupted.product(GOOD, "people.h5")
    assert finished in interrupted.before
    after = interrupted.times()
    assert {path: after[path] for path in interrupted.before} == interrupted.before
    for name in ("motion_g1.h5", "scene.obj", "preview.mp4", "quality.json", "export"):
        assert interrupted.product(GOOD, name).exists()
    assert list(interrupted.product(GOOD, "export").glob("*.csv"))


@pytest.mark.slow
def test_a_third_run_has_nothing_to_do(interrupted):
    assert interrupted.third.returncode == 0
    assert "Nothing to be done" in interrupted.third.stdout + interrupted.third.stderr


@pytest.mark.slow
def test_every_bad_video_is_in_the_summary_with_its_reason(interrupted):
    text = (interrupted.folder / "results" / "summary.tsv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    note = {(row["video"], row["verdict"]): row["note"] for row in rows}
    assert {(name, "rejected") for name in (*REJECTED, *REFUSED)} <= set(note)
    assert len(rows) == 1 + len(REJECTED) + len(REFUSED)
    assert all(why for (_, verdict), why in note.items() if verdict == "rejected")
    assert "end 10 is before start 20" in note["reversed", "rejected"]
    lines = [line for line in interrupted.second.stderr.splitlines() if "row skipped" in line]
    assert len(lines) == len(REFUSED)
    for name in REJECTED:
        video = json.loads(interrupted.product(name, "video.json").read_text())
        assert video["status"] == "rejected" and video["reason"]


@pytest.mark.slow
def test_a_run_ends_with_the_table(interrupted):
    assert re.search(rf"^{GOOD} .* accepted", interrupted.second.stdout, re.M)
    assert "1 of 8 accepted" in interrupted.second.stdout


@pytest.mark.slow
def test_the_good_clip_is_accepted(interrupted):
    quality = json.loads(interrupted.product(GOOD, "quality.json").read_text())
    assert quality["status"] == "accepted", quality
