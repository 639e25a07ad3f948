"""A warm worker: serves one method at a time with everything loaded and compiled before.

It ends, and its request with it, when the client hangs up or its owner (the Snakemake process)
is gone; after `IDLE` seconds without a request; after `REQUESTS` of them, or when it holds more
than `MEMORY` after one, so that what leaks stays bounded. A crash ends it, too: the client sees
the connection close, and Snakemake's retry gets a new one. Standard library only, Python 3.8.
"""

from __future__ import annotations

import array
import ast
import importlib
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import types

if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from pantograph import THREADS  # noqa: E402
from pantograph.client import LEAVE, OWNER, SCRIPTS, TAKEN, own_folder  # noqa: E402

WATCH = 1.0
"""Seconds between two looks at owner and client."""


def limit(name, default):
    """A limit of workers, from the environment variable PANTOGRAPH_WORKER_<name>."""
    return float(os.environ.get(f"PANTOGRAPH_WORKER_{name}") or default)


IDLE = limit("IDLE_S", 120)
REQUESTS = limit("REQUESTS", 500)
MEMORY = limit("MEMORY_MB", 6000)

scratch = types.SimpleNamespace(path=None, base=None)
"""The folder of temporary files now in use, and where they belong otherwise."""


def execute(method, arguments):
    """Run `scripts/<method>.py` in this process.

    Returns its exit code and {"cpu_s", "peak_rss_mb"}; what it prints goes to this process's
    output.
    """
    forget_peak()
    before = cpu_seconds()
    argv = sys.argv
    sys.argv = [os.path.join(SCRIPTS, f"{method}.py"), *arguments]
    try:
        make_scratch()
        cli = importlib.import_module("pantograph.cli")
        cli.run(importlib.import_module(method).main, arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.argv = argv
        remove_scratch()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    spent = round(cpu_seconds() - before, 3)
    return code, {"cpu_s": spent, "peak_rss_mb": round(memory("VmHWM"), 1)}


def make_scratch():
    """A folder for this process's temporary files, which goes with its request.

    What processes left that were killed is removed.
    """
    name = identity(os.getpid()).replace(":", "-")
    if name:
        scratch.base = os.environ.get("TMPDIR")
        scratch.path = own_folder(scratch.base or "/tmp", name)
        sweep(os.path.dirname(scratch.path))
        _put_temporary(scratch.path)


def remove_scratch():
    """Remove what `make_scratch` made."""
    if scratch.path:
        shutil.rmtree(scratch.path, ignore_errors=True)
        _put_temporary(scratch.base)
        scratch.path = None


def _put_temporary(folder):
    if folder is None:
        os.environ.pop("TMPDIR", None)
    else:
        os.environ["TMPDIR"] = folder
    # read anew at the next use
    tempfile.tempdir = None


def cpu_seconds():
    """CPU time of this process and of the children that it has waited for, s."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def forget_peak():
    """Let the peak of memory start from what is held now."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def memory(field):
    """VmRSS or VmHWM of this process, MB; the peak of its life where there is no /proc."""
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith(field):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def identity(pid):
    """ "pid:start" of a process: a pid that is used again is another process; "" if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    # a zombie has ended already
    return "" if fields[0] == "Z" else f"{pid}:{fields[19]}"


def alive(owner):
    """Whether the process of an `identity` lives; one that nobody named does."""
    return not owner or identity(owner.partition(":")[0]) == owner


def die_with(owner):
    """End this process, and the group's others if it leads one, once its owner is gone."""
    if owner:
        threading.Thread(target=_watch, args=(owner,), daemon=True).start()


def _watch(owner):
    while alive(owner):
        time.sleep(WATCH)
    end()


def end():
    """End this process and, if it leads its group, the group, at once."""
    if scratch.path:
        shutil.rmtree(scratch.path, ignore_errors=True)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class Worker:
    """Serves requests on a Unix socket at `path`."""

    def __init__(self, path):
        self.path = path
        self.owner = os.environ.get(OWNER)
        self.client = None
        self.served = 0
        sweep(os.path.dirname(os.path.dirname(path)))
        self.listener = socket.socket(socket.AF_UNIX)
        remove(f"{path}.new")
        self.listener.bind(f"{path}.new")
        self.listener.listen(1)
        # clients must never find a socket that nobody listens on yet
        os.rename(f"{path}.new", path)

    def serve(self):
        """Serve until one of the limits is reached."""
        threading.Thread(target=self.watch, daemon=True).start()
        more = True
        while more and select.select([self.listener], [], [], IDLE)[0]:
            connection, _ = self.listener.accept()
            with connection:
                more = self.answer(connection)
        remove(self.path)

    def watch(self):
        """End at once when the owner is gone or the client of a request hangs up."""
        while alive(self.owner):
            client = self.client
            if client is None:
                time.sleep(WATCH / 10)
                continue
            try:
                # nothing is ever sent during a request but the end of the connection
                hung_up = select.select([client], [], [], WATCH)[0]
            except (OSError, ValueError):
                continue
            if hung_up and client is self.client:
                remove(self.path)
                end()
        shutil.rmtree(os.path.dirname(self.path), ignore_errors=True)
        end()

    def answer(self, connection):
        """Serve one request; whether to wait for another."""
        handles = array.array("i")
        head, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_LEN(3 * handles.itemsize))
        for _, _, data in ancillary:
            handles.frombytes(data[: len(data) - len(data) % handles.itemsize])
        if head == LEAVE:
            return False
        message = b"".join(_parts(connection, int.from_bytes(head, "little")))
        if not message:
            return True
        method, arguments, folder, environment = ast.literal_eval(message.decode("utf-8"))
        connection.sendall(TAKEN)
        self.client = connection
        code, figures = self.run(method, arguments, folder, environment, handles)
        self.client = None
        answer = (code, figures["cpu_s"], figures["peak_rss_mb"], os.getpid(), self.served)
        self.served += 1
        more = self.served < REQUESTS and memory("VmRSS") < MEMORY
        if not more:
            # before the answer, since the next client comes right after it
            remove(self.path)
        connection.sendall(" ".join(map(str, answer)).encode())
        # closing alone would wait for the thread that still watches this connection
        connection.shutdown(socket.SHUT_RDWR)
        return more

    def run(self, method, arguments, folder, environment, handles):
        """`execute` with the client's folder, environment and output."""
        kept = [os.dup(number) for number in range(3)]
        for number, handle in enumerate(handles):
            os.dup2(handle, number)
            os.close(handle)
        os.environ.clear()
        os.environ.update(environment)
        os.environ.setdefault(*THREADS)
        os.chdir(folder)
        try:
            return execute(method, arguments)
        finally:
            # the client's folder may be removed while this process waits
            os.chdir("/")
            for number, handle in enumerate(kept):
                os.dup2(handle, number)
                os.close(handle)


def _parts(connection, size):
    while size > 0:
        part = connection.recv(size)
        if not part:
            return
        size -= len(part)
        yield part


def remove(path):
    """Remove a file, if it is there."""
    try:
        os.unlink(path)
    except OSError:
        pass


def sweep(top):
    """Remove the folders of owners that are gone."""
    for name in os.listdir(top):
        owner = name.rpartition(".")[2].replace("-", ":")
        if ":" in owner and not alive(owner):
            shutil.rmtree(os.path.join(top, name), ignore_errors=True)


if __name__ == "__main__":
    Worker(sys.argv[1]).serve()
