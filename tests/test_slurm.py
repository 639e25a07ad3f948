"""Runs on a real SLURM: through the executor with groups, through arrays, and as shards."""

import csv
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT
from slurm import Cluster, lacking
from test_worker import wait_for

SETTINGS = ("preview=false", "end_frame=30", f"jax_cache={ROOT / '.cache' / 'jax'}")
CLIP = ROOT / "resources" / "demo" / "walk_turn.mp4"
long = pytest.mark.skipif(
    not os.environ.get("PANTOGRAPH_CLUSTER"), reason="some minutes each: make test-cluster"
)


@pytest.fixture(scope="module")
def cluster():
    if why := lacking():
        pytest.skip(why)
    # enough for everything but GPUs, so that they are what GPU jobs wait for
    cluster = Cluster(cpus=16, memory=100000, gpus=2)
    runtime = cluster.folder / "tmp"
    runtime.mkdir()
    cluster.environment["TMPDIR"] = str(runtime)
    cluster.environment.pop("XDG_RUNTIME_DIR", None)
    yield cluster
    cluster.stop()


@pytest.fixture
def lab(cluster, tmp_path):
    lab = Lab(cluster, tmp_path)
    yield lab
    lab.end()


class Lab:
    """A folder with some clips, and what is run in it on the cluster."""

    def __init__(self, cluster, folder):
        self.cluster = cluster
        self.folder = folder
        self.before = {job["id"] for job in self.everything()}
        self.started = []

    def clips(self, count, path=CLIP):
        """Write a table of so many clips of one file."""
        rows = [f"clip_{k}\t{path}\n" for k in range(count)]
        (self.folder / "videos.tsv").write_text("video\tpath\n" + "".join(rows))

    def start(self, *arguments, targets=(), settings=()):
        """Snakemake with the SLURM executor, in the background."""
        if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
            pytest.skip("needs the package snakemake-executor-plugin-slurm")
        words = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile"]
        words += ["--directory", self.folder, "--workflow-profile", ROOT / "profiles/slurm"]
        words += ["--slurm-init-seconds-before-status-checks", 5, "--latency-wait", 5, *arguments]
        words += ["--config", "videos=videos.tsv", *SETTINGS, *settings, "--", *targets]
        self.output = self.folder / f"snakemake-{len(self.started)}.log"
        with open(self.output, "w") as output:
            process = subprocess.Popen(
                list(map(str, words)),
                env=self.cluster.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process

    def finish(self, process, seconds=600):
        """Wait for Snakemake; its exit code and what it printed."""
        return process.wait(seconds), self.output.read_text()

    def everything(self):
        """The jobs that the cluster remembers: id, state, GPUs, comment."""
        names = ("id", "state", "gpus", "comment")
        return [dict(zip(names, row, strict=True)) for row in self.cluster.queue()]

    def jobs(self, *states):
        """The jobs of this lab, in these states or in any."""
        found = [job for job in self.everything() if job["id"] not in self.before]
        return [job for job in found if not states or job["state"] in states]

    def survivors(self):
        """Processes of SLURM jobs of this cluster that run although their job has ended."""
        here = f"SLURM_CONF={self.cluster.folder}/slurm.conf".encode()
        ended = {
            f"SLURM_JOB_ID={job['id']}".encode()
            for job in self.everything()
            if job["state"] not in ("RUNNING", "COMPLETING", "PENDING")
        }
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    words = set(file.read().split(b"\0"))
            except OSError:
                continue
            if here in words and words & ended:
                found.append(int(pid))
        return found

    def verdicts(self):
        """{video: verdict} of the summary."""
        text = (self.folder / "results" / "summary.tsv").read_text()
        rows = csv.DictReader(text.splitlines(), delimiter="\t")
        return {row["video"]: row["verdict"] for row in rows}

    def usages(self):
        """{worker: how many jobs it has done} as the jobs' figures tell."""
        text = "".join(p.read_text() for p in self.folder.glob("logs/cpu/*/*.usage.json"))
        pids = re.findall(r'"worker": (\d+)', text)
        return {pid: pids.count(pid) for pid in pids}

    def end(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        for job in self.jobs("RUNNING", "PENDING"):
            self.cluster.ask("scancel", job["id"])
        wait_for(lambda: not self.jobs("RUNNING", "PENDING", "COMPLETING"), 30)


def targets(count, product):
    return [f"results/cpu/clip_{k}/{product}" for k in range(count)]


def accepted(count):
    return {f"clip_{k}": "accepted" for k in range(count)}


# ---------------------------------------------------------------------------------------------
# the executor


@pytest.mark.slow
def test_groups_make_an_accepted_motion(lab):
    lab.clips(1)
    code, said = lab.finish(lab.start(settings=["workers=true"]))
    assert code == 0, said
    assert lab.verdicts() == accepted(1)
    kinds = sorted(job["comment"].split("_")[1] for job in lab.jobs())
    assert kinds == ["ingest", "motion", "reconstruct"]
    # a worker of each group's own did all of its stages
    assert max(lab.usages().values()) >= 5
    wait_for(lambda: not lab.survivors(), 10)


@pytest.mark.slow
def test_the_gpu_stages_of_a_video_share_one_gpu(lab):
    # every stage passes on that there is no video, and none needs its weights for that
    damaged = lab.folder / "damaged.mp4"
    damaged.write_text("no video")
    lab.clips(3, damaged)
    process = lab.start(settings=["route=videomimic"])
    most = 0
    while process.poll() is None:
        running = lab.jobs("RUNNING", "COMPLETING")
        most = max(most, sum(job["gpus"] == "gres:gpu:1" for job in running))
        time.sleep(0.1)
    code, said = lab.finish(process)
    assert code == 0, said
    assert lab.verdicts() == {f"clip_{k}": "rejected" for k in range(3)}
    kinds = sorted((job["comment"].split("_")[1], job["gpus"]) for job in lab.jobs())
    assert kinds == [
        *[("ingest", "N/A")] * 3,
        *[("motion", "N/A")] * 3,
        *[("reconstruct", "gres:gpu:1")] * 3,
    ]
    assert most == 2


@pytest.mark.slow
def test_a_cancelled_job_and_a_drained_node_do_not_stop_a_run(lab):
    lab.clips(2)
    host = lab.cluster.host
    process = lab.start("--slurm-array-jobs", "none", targets=targets(2, "video.json"))
    job = wait_for(lambda: lab.jobs("RUNNING"), 60)[0]
    lab.cluster.ask("scontrol", "update", f"NodeName={host}", "State=DRAIN", "Reason=test")
    lab.cluster.ask("scancel", job["id"])
    try:
        # the next attempt waits for a node
        wait_for(lambda: len(lab.jobs()) == 3 and lab.jobs("PENDING"), 90)
        time.sleep(2)
        assert not lab.jobs("RUNNING") and process.poll() is None
    finally:
        lab.cluster.ask("scontrol", "update", f"NodeName={host}", "State=RESUME")
    code, said = lab.finish(process)
    assert code == 0, said
    assert sorted(job["state"] for job in lab.jobs()) == ["CANCELLED", "COMPLETED", "COMPLETED"]
    assert all((lab.folder / path).is_file() for path in targets(2, "video.json"))
    wait_for(lambda: not lab.survivors(), 10)


@pytest.mark.cluster
@long
def test_four_clips_in_groups_interrupted_and_run_again(lab):
    lab.clips(4)
    process = lab.start(settings=["workers=true"])
    wait_for(lambda: list(lab.folder.glob("results/cpu/*/keypoints.h5")), 300)
    process.send_signal(signal.SIGINT)
    code, said = lab.finish(process)
    assert code == 1, said
    wait_for(lambda: not lab.jobs("RUNNING", "PENDING", "COMPLETING"), 60)
    wait_for(lambda: not lab.survivors(), 10)
    done = {path: path.stat().st_mtime_ns for path in lab.folder.glob("results/cpu/*/video.json")}
    code, said = lab.finish(lab.start(settings=["workers=true"]), 900)
    assert code == 0, said
    assert lab.verdicts() == accepted(4)
    assert len(done) == 4
    assert {path: path.stat().st_mtime_ns for path in done} == done


@pytest.mark.cluster
@long
def test_four_clips_in_arrays(lab):
    lab.clips(4)
    process = lab.start("--slurm-array-jobs", "all", settings=["groups=false"])
    code, said = lab.finish(process, 900)
    assert code == 0, said
    assert lab.verdicts() == accepted(4)
    stages = [job["comment"].split("_wildcards")[0] for job in lab.jobs()]
    assert len(stages) == 4 * len(set(stages)) > 40


# ---------------------------------------------------------------------------------------------
# shards


@pytest.mark.slow
def test_shards_with_warm_workers_survive_a_cancelled_task(lab):
    lab.clips(3)
    submit = [sys.executable, "-m", "pantograph", "submit", "--shards", "2", "--cpus", "1"]
    submit += ["--memory", "4G", "--time", "0:30:00", "--config", "videos=videos.tsv", *SETTINGS]
    environment = {**lab.cluster.environment, "PYTHONPATH": str(ROOT / "scripts")}
    run = subprocess.run(
        submit, cwd=lab.folder, env=environment, capture_output=True, text=True, check=True
    )
    array = re.match(r"array (\d+): 2 tasks; job \d+ follows it", run.stdout).group(1)
    # the second task has clip 1
    wait_for(lambda: (lab.folder / "results/cpu/clip_1/people.h5").exists(), 120)
    lab.cluster.ask("scancel", f"{array}_2")
    wait_for(lambda: lab.jobs("CANCELLED"), 20)
    wait_for(lambda: not lab.survivors(), 10)
    assert lab.jobs("RUNNING")
    wait_for(lambda: not lab.jobs("RUNNING", "PENDING", "COMPLETING"), 600)
    states = sorted(job["state"] for job in lab.jobs())
    logs = [path.read_text() for path in sorted(lab.folder.glob("logs/slurm/*.log"))]
    assert states == ["CANCELLED", "COMPLETED", "COMPLETED"], logs
    assert lab.verdicts() == accepted(3)
    # one worker did the stages of several clips
    assert max(lab.usages().values()) > 13
    wait_for(lambda: not lab.survivors(), 10)
