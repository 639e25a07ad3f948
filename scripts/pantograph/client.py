"""Hand a method to a warm worker, starting one where none waits.

Workers listen on Unix sockets in a folder that only their user can enter, one socket for each
key (interpreter, code, weights, device, settings that are read at start) and slot. Whoever holds
a slot's lock has its worker alone, so that requests never queue inside one. Standard library
only; imported by every job, so the light modules of it.
"""

import _socket
import array
import fcntl
import hashlib
import os
import sys
import time

SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OWNER = "PANTOGRAPH_OWNER"
"""Environment variable: pid and start of the process that jobs and workers must not survive."""
LIMIT = "PANTOGRAPH_WORKERS"
"""Environment variable: how many CPU workers may live; empty or 0 for none."""
LOADED = (
    *("--body-model", "--checkpoint", "--croco", "--depth-anything", "--depth-pro", "--detector"),
    *("--dino", "--model", "--raft", "--repository", "--segmentation", "--template"),
    *("--unidepth", "--weights"),
)
"""Options that name what a method loads and keeps; changed files make a worker stale."""
TAKEN = b"+"
"""A worker's first byte: it has the request and runs it."""
LEAVE = bytes(8)
"""What a client sends to make a worker end."""
START = 120.0
"""Longest time in s that a worker may take to start."""
SETTINGS = ("CUDA_", "HIP_", "JAX_", "XLA_", "TORCH_", "HF_", "PYTHON", "PANTOGRAPH_", "LD_")
"""Prefixes of environment variables that are read once, at start or at the first use."""


def request(method, arguments, gpu):
    """Run a method in a worker: its exit code and its figures."""
    path = take_slot(
        place(), key(method, arguments, gpu), 1 if gpu else int(os.environ[LIMIT]), gpu
    )
    message = repr((method, arguments, os.getcwd(), dict(os.environ))).encode("utf-8")
    connection = connect(path)
    # a worker that was on its way out does not take the request
    if connection is None or not send(connection, message):
        connection = start(path)
        if not send(connection, message):
            sys.exit(f"error: a new worker does not answer; its log is {path}.log")
    answer = b"".join(iter(lambda: connection.recv(4096), b""))
    if not answer:
        sys.exit(f"error: the worker of {method} died; its log is {path}.log")
    code, cpu, peak, pid, served = answer.decode().split()
    figures = {"cpu_s": cpu, "peak_rss_mb": peak, "worker": pid, "requests_before": served}
    return int(code), figures


def send(connection, message):
    """Send a request and this process's standard streams; False if nobody takes it."""
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    try:
        connection.sendmsg([len(message).to_bytes(8, "little")], rights)
        connection.sendall(message)
        return connection.recv(1) == TAKEN
    except OSError:
        return False


def place():
    """The folder of this run's sockets, ours alone; its path is short, as sockets need."""
    base = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/tmp"
    owner = os.environ.get(OWNER, "nobody").replace(":", "-")
    job = os.environ.get("SLURM_JOB_ID", "")
    if len(base) > 50:
        base = "/tmp"
    return own_folder(base, f"{job}.{owner}" if job else owner)


def own_folder(base, name):
    """A folder below `base` that only our user can enter, made where it is missing."""
    top = os.path.join(base, f"pantograph-{os.getuid()}")
    folder = os.path.join(top, name)
    for path in (top, folder):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        found = os.lstat(path)
        if found.st_uid != os.getuid() or found.st_mode & 0o170077 != 0o040000:
            sys.exit(f"error: {path}: expected a folder of ours with mode 0700; remove it")
    return folder


def key(method, arguments, gpu):
    """What a worker must agree with, as a short text.

    A GPU worker serves one method only: clones of research code fill the import path with names
    like `utils`, and models of two methods would not fit beside each other.
    """
    parts = [sys.executable, sys.version, method if gpu else ""]
    parts += sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith(SETTINGS))
    parts += stamps(SCRIPTS, (".py",))
    for k, option in enumerate(arguments[:-1]):
        if option in LOADED and arguments[k + 1]:
            parts += [arguments[k + 1], *stamps(arguments[k + 1])]
    digest = hashlib.sha1("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
    return ("gpu-" if gpu else "cpu-") + digest[:16]


def stamps(path, suffixes=None):
    """Name, size and time of change of a file, or of all files below a folder."""
    if not os.path.isdir(path):
        found = os.stat(path) if os.path.exists(path) else None
        return [f"{path} {found.st_size} {found.st_mtime_ns}" if found else f"{path} missing"]
    texts = []
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.is_dir():
            if entry.name != "__pycache__" and not entry.name.startswith("."):
                texts += stamps(entry.path, suffixes)
        elif suffixes is None or entry.name.endswith(suffixes):
            found = entry.stat()
            texts.append(f"{entry.name} {found.st_size} {found.st_mtime_ns}")
    return texts


def take_slot(folder, name, slots, gpu):
    """The path of a socket whose lock this process holds until it ends."""
    if gpu:
        # one resident worker per device: whoever else sits on it idle has to leave
        device = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace(",", "-")
        lock(os.path.join(folder, f"device-{device}.lock"), wait=True)
        evict(folder, name)
    while True:
        for slot in range(slots):
            path = os.path.join(folder, f"{name}-{slot}")
            if lock(f"{path}.lock"):
                return path
        time.sleep(0.02)


def lock(path, wait=False):
    """Lock a file until this process ends; False if another has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return False
    return True


def evict(folder, name):
    """End the idle GPU workers of other keys."""
    for entry in os.listdir(folder):
        if entry.startswith("gpu-") and entry.endswith("-0") and not entry.startswith(name):
            connection = connect(os.path.join(folder, entry))
            if connection:
                connection.sendall(LEAVE)
                while connection.recv(4096):
                    pass


def connect(path):
    """A connection to the worker that listens at a path, or None."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


def start(path):
    """Start a worker at a path whose lock we hold; a connection to it."""
    script = os.path.join(SCRIPTS, "pantograph", "worker.py")
    worker = os.fork()
    if worker == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        log = os.open(f"{path}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number, handle in enumerate((nothing, log, log)):
            os.dup2(handle, number)
        # a lock or a pipe that the worker inherited would outlive this job
        os.closerange(3, 1024)
        os.execv(sys.executable, [sys.executable, script, path])
    began = time.monotonic()
    while time.monotonic() - began < START and os.waitpid(worker, os.WNOHANG) == (0, 0):
        connection = connect(path)
        if connection:
            return connection
        time.sleep(0.01)
    sys.exit(f"error: no worker came up; its log is {path}.log")
