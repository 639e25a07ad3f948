"""Runs that are interrupted at random moments: whole products, nothing left behind, and an end."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from pantograph import contracts

CLIPS = {"walk": ("walk_turn", 0, 24), "sit": ("sit_stand", 30, 54)}
MARK = "PANTOGRAPH_TEST"
"""Environment variable by which the processes of a test's runs are known."""
WAYS = (
    *(("snakemake", name) for name in ("SIGINT", "SIGTERM", "SIGKILL")),
    *(("client", name) for name in ("SIGINT", "SIGTERM", "SIGKILL")),
    *(("worker", name) for name in ("SIGTERM", "SIGKILL")),
)
GONE_AFTER = 5.0
"""Seconds after which nothing of an interrupted run may live."""


@pytest.fixture
def lab(tmp_path):
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc to find the processes of a run")
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        lab = Lab(tmp_path, Path(runtime))
        yield lab
        for pid in lab.processes():
            os.kill(pid, signal.SIGKILL)


class Lab:
    """A run over two short clips, its processes and what it leaves."""

    def __init__(self, folder, runtime):
        self.folder, self.runtime = folder, runtime
        lines = ["video\tpath\tstart\tend"]
        for name, (clip, start, end) in CLIPS.items():
            lines.append(f"{name}\t{ROOT}/resources/demo/{clip}.mp4\t{start}\t{end}")
        (folder / "videos.tsv").write_text("\n".join(lines) + "\n")
        self.environment = {**os.environ, "TMPDIR": str(runtime), MARK: uuid.uuid4().hex}
        self.environment.pop("XDG_RUNTIME_DIR", None)
        self.settings = ["videos=videos.tsv", f"jax_cache={ROOT}/.cache/jax", "preview=false"]

    def start(self, *words, workers=False):
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(self.folder), "--cores", "2", *words, "--config"]
        return subprocess.Popen(
            [*command, *self.settings, f"workers={workers}".lower()],
            env=self.environment,
            stdout=(self.folder / "said").open("w"),
            stderr=subprocess.STDOUT,
            # a group of its own, as a terminal gives it
            start_new_session=True,
            # shells start what runs in the background with interrupts ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def finish(self, *words, workers=False):
        assert self.start(*words, workers=workers).wait(300) == 0, self.said()

    def said(self):
        return (self.folder / "said").read_text()[-3000:]

    def processes(self):
        """{pid: command line} of everything that our runs started and that lives."""
        mark = f"{MARK}={self.environment[MARK]}".encode()
        found = {}
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    ours = mark in file.read()
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().replace(b"\0", b" ").decode(errors="replace")
            except (OSError, ValueError):
                continue
            if ours and words:
                found[int(entry)] = words
        return found

    def victims(self, kind):
        script = {"client": "pantograph/launch.py", "worker": "pantograph/worker.py"}[kind]
        # the shell that waits for a client has its words, too
        return [p for p, words in self.processes().items() if script in words.split(" ")[1]]

    def interrupt(self, way, name, seconds, workers):
        """Start a run, interrupt it after some seconds; what was done to it, "" if it ended."""
        number = getattr(signal, name)
        run = self.start(workers=workers)
        try:
            assert run.wait(seconds) == 0, self.said()
            return ""
        except subprocess.TimeoutExpired:
            pass
        victims = [] if way == "snakemake" else self.victims(way)
        if victims:
            os.kill(victims[0], number)
            deadline = time.monotonic() + GONE_AFTER
            while victims[0] in self.processes():
                assert time.monotonic() < deadline, f"{way} {victims[0]} survives {name}"
                time.sleep(0.1)
            number, name = signal.SIGINT, f"{name}, then SIGINT"
        if number == signal.SIGINT:
            os.killpg(run.pid, number)
        else:
            os.kill(run.pid, number)
        # after SIGTERM Snakemake waits for the jobs that run
        run.wait(120)
        self.nothing_lives()
        return f"{way if victims else 'snakemake'} {name}"

    def nothing_lives(self):
        deadline = time.monotonic() + GONE_AFTER
        while alive := self.processes():
            assert time.monotonic() < deadline, f"left running: {alive}"
            time.sleep(0.1)

    def products(self):
        """Every product that lies below results/, read by its contract; their paths."""
        found = [path for path in self.folder.glob("results/**/*") if path.name[0] != "."]
        for path in found:
            check(path)
        return found

    def leftovers(self):
        """Temporary files beside the products and in the temporary folder."""
        beside = [p for p in self.folder.glob("results/**/.*") if ".snakemake" not in p.name]
        kept = self.runtime.glob("*") if not self.processes() else ()
        inside = [p for folder in kept for p in folder.glob("*")]
        return beside + [p for p in inside if p.is_file() or any(p.rglob("*"))]


def check(path):
    """Fail unless a file is a whole product."""
    readers = {f"{product.SCHEMA}.h5": product for product in contracts.PRODUCTS.values()}
    if path.is_dir():
        return
    if path.parent.name == "export":
        manifest = json.loads((path.parent / "manifest.json").read_text())
        listed = {item["file"] for item in manifest["files"]} | {"manifest.json"}
        assert path.name in listed
        assert {p.name for p in path.parent.iterdir() if p.name[0] != "."} == listed
    elif path.name == "video.json":
        contracts.Video.read(path)
    elif path.name.startswith("motion_"):
        contracts.Motion.read(path)
    elif path.suffix == ".h5":
        readers[path.name].read(path)
    elif path.name == "quality.json":
        assert json.loads(path.read_text())["status"] in ("accepted", "rejected")
    elif path.suffix == ".tsv":
        assert path.read_text().endswith("\n")
    elif path.suffix in (".obj", ".ply"):
        import trimesh

        assert np.isfinite(trimesh.load(path).vertices).all()
    else:
        raise AssertionError(f"unknown product {path}")


def interrupt_often(lab, times, seed, longest=14.0):
    """Interrupt a run many times, each time going on where it stopped; then let it end."""
    chance = random.Random(seed)
    ways = []
    while len(ways) < times:
        ways += chance.sample(WAYS, len(WAYS))
    done = []
    while len(done) < times:
        way, name = ways[len(done)]
        workers = way == "worker" or chance.random() < 0.5
        seconds = chance.uniform(1.5, longest)
        try:
            what = lab.interrupt(way, name, seconds, workers)
            products = lab.products()
            if what:
                done.append(f"{what} after {seconds:.1f} s, {'warm' if workers else 'cold'}")
        except (AssertionError, subprocess.TimeoutExpired, contracts.ContractError) as error:
            raise AssertionError(f"seed {seed}, after {done}: {way} {name}: {error}") from error
        if not what or any(path.name == "summary.tsv" for path in products):
            shutil.rmtree(lab.folder / "results")
        lab.finish("--unlock")
    print("\n".join(done))
    lab.finish(workers=True)
    lab.nothing_lives()
    names = {str(path.relative_to(lab.folder / "results")) for path in lab.products()}
    for clip in CLIPS:
        for name in ("quality.json", "motion_g1.h5", "export/manifest.json", "scene.obj"):
            assert f"cpu/{clip}/{name}" in names, f"seed {seed}"
    assert lab.leftovers() == [], f"seed {seed}"
    lab.finish("--dry-run")
    assert "Nothing to be done" in lab.said(), f"seed {seed}: {lab.said()}"


def test_a_run_survives_some_interruptions(lab):
    interrupt_often(lab, 6, random.SystemRandom().randrange(10**6))


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("PANTOGRAPH_INTERRUPTIONS"),
    reason="takes ten minutes: set PANTOGRAPH_INTERRUPTIONS to their number, such as 50",
)
@pytest.mark.timeout(3600)
def test_a_run_survives_many_interruptions(lab):
    times = int(os.environ["PANTOGRAPH_INTERRUPTIONS"])
    interrupt_often(lab, times, random.SystemRandom().randrange(10**6))


def test_a_killed_writer_leaves_nothing_for_long(tmp_path):
    code = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pantograph.contracts import atomic_write
def write(path):
    open(path, "w").write("half")
    os.kill(os.getpid(), signal.SIGKILL)
atomic_write(sys.argv[2], write)
"""
    path = tmp_path / "product.h5"
    other = tmp_path / ".product.h5.elsewhere-1.abcdefgh"
    other.touch()
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(ROOT / "scripts"), str(path)])
        assert len(list(tmp_path.iterdir())) == 2 and not path.exists()
    own = []
    contracts.atomic_write(path, lambda temporary: own.append(Path(temporary).write_text("x")))
    assert own and sorted(tmp_path.iterdir()) == [other, path]
