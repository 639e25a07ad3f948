"""Clones of other projects' repositories, each at one commit."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .errors import PantographError


class CloneError(PantographError):
    """A clone that could not be made, or is not what it should be."""


def flaw(path, commit, submodules=False):
    """What is wrong with the clone in folder `path`, in words; "" when it is at `commit`.

    submodules: whether they have to be there, too.
    """
    path = Path(path)
    if not shutil.which("git"):
        return "there, but git is not found to check it"
    if not (path / ".git").exists():
        return "not a clone of git"
    head = _read(path, "rev-parse", "HEAD")
    if head != commit:
        return f"at {head[:10] or 'no commit'}, needs {commit[:10]}"
    if submodules:
        # one line per submodule: a sign, its commit and its path
        lines = _read(path, "submodule", "status", "--recursive").splitlines()
        absent = [line.split()[1] for line in lines if line.startswith("-")]
        moved = [line.split()[1] for line in lines if line.startswith("+")]
        if absent:
            return f"without its submodules {', '.join(absent)}"
        if moved:
            return f"with other commits of its submodules {', '.join(moved)}"
    return ""


def clone(url, commit, path, submodules=False):
    """Clone `url` at `commit` into folder `path`; nothing is done where it is there already.

    Raises CloneError when it cannot be had, and for anything else that is there: nothing is
    overwritten.
    """
    path = Path(path)
    if not shutil.which("git"):
        raise CloneError("git not found; install it to clone repositories")
    if not path.is_symlink() and not any(found.is_file() for found in path.rglob("*")):
        # folders without a file are what Snakemake makes for the output of a rule
        shutil.rmtree(path, ignore_errors=True)
    if path.is_symlink() or path.exists():
        found = flaw(path, commit, submodules)
        if found:
            raise CloneError(f"{path}: {found}; move it away to have it cloned anew")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _run("clone", "--quiet", "--no-checkout", url, str(part))
        _run("-C", str(part), "checkout", "--quiet", "--detach", commit)
        if submodules:
            _run("-C", str(part), "submodule", "--quiet", "update", "--init", "--recursive")
        os.rename(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _run(*words):
    # git must fail rather than wait for a password
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    run = subprocess.run(["git", *words], capture_output=True, text=True, env=environment)
    if run.returncode:
        said = [line for line in run.stderr.splitlines() if line.startswith(("fatal", "error"))]
        reason = (said or run.stderr.splitlines() or ["no reason given"])[-1]
        raise CloneError(f"git {' '.join(words)}: {reason}")


def _read(path, *words):
    run = subprocess.run(["git", "-C", str(path), *words], capture_output=True, text=True)
    return run.stdout.rstrip("\n")
