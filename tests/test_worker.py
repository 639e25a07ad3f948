"""Methods run by the launcher: in its own process and in warm workers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from conftest import ROOT
from pantograph.worker import alive, identity

METHOD = """
import os, sys, tempfile, time
from functools import lru_cache
from pantograph import cli
from pantograph.errors import PantographError

@lru_cache
def load(path):
    return open(path).read() if path else "none"

def main(argv=None):
    parser = cli.parser("a method")
    parser.add_argument("--out")
    parser.add_argument("--weights", default="")
    parser.add_argument("--do", default="")
    args = parser.parse_args(argv)
    if args.do == "fail":
        raise PantographError("expected a, found b")
    if args.do == "raise":
        raise ZeroDivisionError("why")
    if args.do == "crash":
        os._exit(9)
    if args.do == "fill":
        load.held = bytearray(300_000_000)
    if args.do in ("temporary", "sleep"):
        tempfile.mkstemp()
    if args.do == "sleep":
        print("asleep", os.getpid(), flush=True)
        time.sleep(60)
    sys.argv.append("left over")
    text = f"{load(args.weights)} {os.getcwd()} {os.environ.get('NOTE')} {argv} {VERSION}"
    with open(args.out, "w") as file:
        file.write(text)
    print("done", os.getpid())

VERSION = 1
if __name__ == "__main__":
    cli.run(main)
"""


@pytest.fixture
def lab(tmp_path):
    # pytest's own folders have paths too long for sockets
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        lab = Lab(tmp_path, Path(runtime))
        yield lab
        lab.owner.kill()
        lab.owner.wait()


class Lab:
    """A folder of methods of its own, a process that owns the workers, and their sockets."""

    def __init__(self, folder, runtime):
        self.folder = folder
        package = folder / "scripts" / "pantograph"
        package.mkdir(parents=True)
        for name in ("__init__", "cli", "errors", "launch", "client", "worker"):
            shutil.copy(ROOT / "scripts" / "pantograph" / f"{name}.py", package)
        (folder / "scripts" / "method.py").write_text(METHOD)
        self.runtime = runtime
        self.owner = subprocess.Popen(["sleep", "600"])
        self.environment = {
            **os.environ,
            "TMPDIR": str(self.runtime),
            "PANTOGRAPH_OWNER": identity(self.owner.pid),
            "PANTOGRAPH_WORKERS": "1",
        }
        self.environment.pop("XDG_RUNTIME_DIR", None)

    def command(self, *arguments, gpu=False, log="log"):
        launcher = self.folder / "scripts" / "pantograph" / "launch.py"
        flags = ["--gpu"] if gpu else []
        return [sys.executable, str(launcher), *flags, "method", f"{log}.log", *arguments]

    def start(self, *arguments, gpu=False, log="log", **environment):
        return subprocess.Popen(
            self.command(*arguments, gpu=gpu, log=log),
            cwd=self.folder,
            env={**self.environment, **environment},
            stderr=subprocess.PIPE,
            text=True,
            # shells start what runs in the background with interrupts ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *arguments, log="log", **options):
        """(exit code, log, usage) of a job."""
        job = self.start(*arguments, log=log, **options)
        self.said = job.communicate(timeout=60)[1]
        usage = self.folder / f"{log}.usage.json"
        found = json.loads(usage.read_text()) if usage.is_file() else {}
        usage.unlink(missing_ok=True)
        return job.returncode, (self.folder / f"{log}.log").read_text(), found

    def until_asleep(self, log="log"):
        """Wait for a `--do sleep` job to be inside its work; the pid that does it."""
        return int(wait_for(lambda: self.asleep(log)))

    def asleep(self, log):
        path = self.folder / f"{log}.log"
        words = path.read_text().split() if path.is_file() else []
        return words[1] if words[:1] == ["asleep"] else None


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def gone(pid):
    return not identity(pid)


def test_a_worker_and_a_process_of_its_own_make_the_same(lab):
    code, log, usage = lab.run("--out", "a b", PANTOGRAPH_WORKERS="0", NOTE="x")
    assert code == 0 and log.startswith("done") and "worker" not in usage
    fresh = (lab.folder / "a b").read_bytes()
    pids = []
    for served in range(3):
        (lab.folder / "a b").unlink()
        code, log, usage = lab.run("--out", "a b", NOTE="x")
        assert code == 0 and (lab.folder / "a b").read_bytes() == fresh
        assert usage["requests_before"] == served
        assert usage["cpu_s"] >= 0 and usage["peak_rss_mb"] > 5 and usage["wall_s"] > 0
        pids.append(usage["worker"])
        assert log.split() == ["done", str(pids[0])]
    assert len(set(pids)) == 1


def test_a_request_sees_its_own_folder_and_environment(lab):
    lab.run("--out", "one", NOTE="first")
    lab.run("--out", "two", NOTE="second", log="deep/er/log")
    assert " first " in (lab.folder / "one").read_text()
    assert " second " in (lab.folder / "two").read_text()
    assert str(lab.folder) in (lab.folder / "two").read_text()
    assert (lab.folder / "deep/er/log.log").is_file()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_failures_are_those_of_the_method(lab, workers):
    code, log, _ = lab.run("--do", "fail", PANTOGRAPH_WORKERS=workers)
    assert code == 1 and log == "error: expected a, found b\n"
    code, log, _ = lab.run("--do", "raise", PANTOGRAPH_WORKERS=workers)
    assert code == 1 and "ZeroDivisionError: why" in log
    code, log, _ = lab.run("--unknown", PANTOGRAPH_WORKERS=workers)
    assert code == 2 and "unrecognized arguments: --unknown" in log
    code, _, usage = lab.run("--out", "fine", PANTOGRAPH_WORKERS=workers)
    assert code == 0 and usage.get("requests_before", 3) == 3


def test_a_crash_ends_the_worker_and_the_next_job_gets_another(lab):
    _, _, usage = lab.run("--out", "one")
    code, log, _ = lab.run("--do", "crash")
    assert code == 1 and "the worker of method died" in log
    code, _, after = lab.run("--out", "two")
    assert code == 0 and after["worker"] != usage["worker"] and gone(usage["worker"])


@pytest.mark.parametrize("workers", ["0", "1"])
def test_temporary_files_go_with_their_request_or_with_the_next(lab, workers):
    def temporary():
        return [path.name for path in lab.runtime.glob("**/tmp*")]

    assert lab.run("--out", "one", "--do", "temporary", PANTOGRAPH_WORKERS=workers)[0] == 0
    assert not temporary()
    job = lab.start("--out", "never", "--do", "sleep", PANTOGRAPH_WORKERS=workers)
    pid = lab.until_asleep()
    assert len(temporary()) == 1
    os.kill(pid, signal.SIGKILL)
    assert job.wait(5) != 0 and len(temporary()) == 1
    assert lab.run("--out", "next", PANTOGRAPH_WORKERS=workers)[0] == 0
    assert not temporary()


def test_a_killed_client_takes_its_request_along(lab):
    job = lab.start("--out", "never", "--do", "sleep")
    worker = lab.until_asleep()
    assert worker != job.pid
    job.kill()
    job.wait()
    wait_for(lambda: gone(worker), 5)
    assert not (lab.folder / "never").exists()
    assert lab.run("--out", "next")[0] == 0


@pytest.mark.parametrize("workers", ["0", "1"])
def test_nothing_survives_the_owner(lab, workers):
    job = lab.start("--out", "never", "--do", "sleep", PANTOGRAPH_WORKERS=workers)
    pid = lab.until_asleep()
    lab.owner.kill()
    lab.owner.wait()
    wait_for(lambda: gone(pid), 5)
    assert job.wait(5) == 1
    assert not (lab.folder / "never").exists()
    wait_for(lambda: not list(lab.runtime.glob("*/*")), 5)


def test_an_idle_worker_ends(lab):
    _, _, usage = lab.run("--out", "one", PANTOGRAPH_WORKER_IDLE_S="0.3")
    wait_for(lambda: gone(usage["worker"]), 5)
    assert lab.run("--out", "two", PANTOGRAPH_WORKER_IDLE_S="0.3")[2]["requests_before"] == 0


def test_workers_are_renewed_after_some_requests_and_above_some_memory(lab):
    few = {"PANTOGRAPH_WORKER_REQUESTS": "2"}
    served = [lab.run("--out", "one", **few)[2]["requests_before"] for _ in range(5)]
    assert served == [0, 1, 0, 1, 0]
    small = {"PANTOGRAPH_WORKER_MEMORY_MB": "250"}
    lab.run("--out", "one", **small)
    _, _, fat = lab.run("--out", "one", "--do", "fill", **small)
    assert fat["requests_before"] == 1 and fat["peak_rss_mb"] > 300
    _, _, lean = lab.run("--out", "one", **small)
    assert lean["requests_before"] == 0 and lean["peak_rss_mb"] < 250


def test_changed_code_never_runs_stale(lab):
    lab.run("--out", "one")
    path = lab.folder / "scripts" / "method.py"
    path.write_text(path.read_text().replace("VERSION = 1", "VERSION = 22"))
    _, _, usage = lab.run("--out", "one")
    assert (lab.folder / "one").read_text().endswith(" 22")
    assert usage["requests_before"] == 0


def test_changed_weights_are_loaded_anew(lab):
    weights = lab.folder / "weights"
    for text in ("good", "better"):
        weights.write_text(text)
        lab.run("--out", "one", "--weights", str(weights))
        assert (lab.folder / "one").read_text().startswith(f"{text} ")


def test_settings_that_are_read_at_start_make_another_worker(lab):
    _, _, usage = lab.run("--out", "one", JAX_ENABLE_X64="0")
    _, _, other = lab.run("--out", "one", JAX_ENABLE_X64="1")
    _, _, again = lab.run("--out", "one", JAX_ENABLE_X64="0")
    assert usage["worker"] != other["worker"] and again["worker"] == usage["worker"]


def test_a_gpu_has_one_resident_worker(lab):
    _, _, one = lab.run("--out", "one", gpu=True, JAX_A="1", CUDA_VISIBLE_DEVICES="0")
    _, _, cpu = lab.run("--out", "two")
    _, _, two = lab.run("--out", "one", gpu=True, JAX_A="2", CUDA_VISIBLE_DEVICES="0")
    assert gone(one["worker"]) and not gone(two["worker"]) and not gone(cpu["worker"])


def test_jobs_at_a_time_have_a_worker_each(lab):
    jobs = [
        lab.start("--out", f"{k}", "--do", "sleep", log=f"{k}", PANTOGRAPH_WORKERS="2")
        for k in range(2)
    ]
    pids = {lab.until_asleep(f"{k}") for k in range(2)}
    assert len(pids) == 2
    third = lab.start("--out", "third", log="third", PANTOGRAPH_WORKERS="2")
    time.sleep(0.3)
    assert third.poll() is None and not (lab.folder / "third").exists()
    jobs[0].kill()
    assert third.wait(20) == 0
    jobs[1].kill()
    for job in jobs:
        job.wait()


def test_many_clients_at_once_share_one_worker(lab):
    jobs = [lab.start("--out", f"{k}", log=f"{k}") for k in range(8)]
    assert [job.wait(60) for job in jobs] == [0] * 8
    usages = [json.loads((lab.folder / f"{k}.usage.json").read_text()) for k in range(8)]
    assert len({usage["worker"] for usage in usages}) == 1
    assert sorted(usage["requests_before"] for usage in usages) == list(range(8))


def test_an_interrupt_ends_job_and_request(lab):
    job = lab.start("--out", "never", "--do", "sleep")
    worker = lab.until_asleep()
    job.send_signal(signal.SIGINT)
    assert job.wait(5) != 0
    wait_for(lambda: gone(worker), 5)


def test_the_sockets_are_ours_alone(lab):
    lab.run("--out", "one")
    top = next(lab.runtime.iterdir())
    for folder in (top, *top.glob("*")):
        assert folder.stat().st_mode & 0o777 == 0o700
    top.chmod(0o777)
    code, log, _ = lab.run("--out", "two")
    assert code == 1 and "expected a folder of ours with mode 0700" in log
    top.chmod(0o700)


def test_folders_of_owners_that_are_gone_are_swept(lab):
    lab.run("--out", "one")
    left = next(lab.runtime.iterdir()) / "1-1"
    left.mkdir()
    assert not alive("1:1")
    lab.run("--out", "two", JAX_A="new")
    assert not left.exists()


def test_the_launcher_says_what_it_expects(lab):
    command = lab.command()[:2]
    for words in ([], ["method"], ["nothing", "x.log"], ["--gpu", "method"]):
        run = subprocess.run([*command, *words], cwd=lab.folder, capture_output=True, text=True)
        assert run.returncode == 1 and run.stderr.startswith("error: ")
        assert not Path(lab.folder, "x.log").exists()
