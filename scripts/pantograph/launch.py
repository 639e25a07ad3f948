"""Run a method: `python launch.py [--gpu] METHOD LOG [its own arguments]`.

METHOD is a program of `scripts/`; its output goes to LOG, its use of time and memory to
LOG's name with the suffix `.usage.json`. It runs in this process, or, where PANTOGRAPH_WORKERS
says how many may live, in a warm worker of the same interpreter, code, weights and device, which
keeps what it has loaded and compiled for the next video. Products are the same either way.

Standard library only, and of that as little as possible: this starts once per job.
"""

import os
import sys
import time

SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(argv):
    began = time.time()
    gpu = argv[:1] == ["--gpu"]
    if len(argv) < 2 + gpu or argv[gpu].startswith("-"):
        sys.exit(f"error: expected [--gpu] METHOD LOG [arguments], found {' '.join(argv)!r}")
    method, log, arguments = argv[gpu], argv[1 + gpu], argv[2 + gpu :]
    if not os.path.isfile(os.path.join(SCRIPTS, f"{method}.py")):
        sys.exit(f"error: no method {method!r} in {SCRIPTS}")
    redirect(log)
    sys.path[0] = SCRIPTS
    if int(os.environ.get("PANTOGRAPH_WORKERS") or 0):
        from pantograph import client

        code, usage = client.request(method, arguments, gpu)
    else:
        from pantograph import worker

        worker.die_with(os.environ.get(worker.OWNER))
        code, usage = worker.execute(method, arguments)
    usage["wall_s"] = round(time.time() - began, 3)
    report(log, usage)
    return code


def redirect(log):
    """Send this process's output to a file, made anew."""
    os.makedirs(os.path.dirname(log) or ".", exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def report(log, usage):
    """Write the figures of a request beside its log."""
    pairs = ", ".join(f'"{name}": {value}' for name, value in usage.items())
    with open(f"{os.path.splitext(log)[0]}.usage.json", "w") as file:
        file.write("{" + pairs + "}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
