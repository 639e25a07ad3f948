"""Write a motion in the formats that robot trainers and controllers read.

A format is a module with `FPS`, `write(path, trajectory, robot)`, `read(path, robot)` and
`describe(robot)`, named in `FORMATS`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from ..contracts import sweep, unfinished
from ..errors import PantographError
from . import tracking, unitree, videomimic
from .trajectory import Trajectory, continuous

__all__ = ["FORMATS", "Trajectory", "export_motion", "longest_run", "trajectory"]

MANIFEST = "manifest.json"


class Format(NamedTuple):
    suffix: str
    module: ModuleType


FORMATS = {
    "unitree": Format(".csv", unitree),
    "tracking": Format(".npz", tracking),
    "videomimic": Format(".h5", videomimic),
}
"""Formats by the name that ends their files."""


def longest_run(valid):
    """Start and stop of the longest run of True; the first of equals."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(valid, bool), [False]])))
    runs = [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
    return max(runs, key=lambda run: run[1] - run[0], default=(0, 0))


def trajectory(motion, pid):
    """The longest unbroken part of one person's motion, and its first and last frame + 1.

    motion: contracts.Motion. Raises PantographError if the person has no valid frame.
    """
    person = motion.people[pid]
    start, stop = longest_run(person.valid)
    if start == stop:
        raise PantographError(f"person {pid} of the motion has no valid frame; retarget again")
    part = slice(start, stop)
    quat = np.asarray(person.root_quat[part], float)
    quat = continuous(quat / np.linalg.norm(quat, axis=1, keepdims=True))
    values = np.asarray(person.root_pos[part], float), quat, np.asarray(person.joints[part], float)
    names, contact = tuple(motion.joint_names), np.asarray(person.contact[part], bool)
    return Trajectory(motion.fps, *values, names, contact), (start, stop)


def export_motion(motion, robot, out_dir, formats=tuple(FORMATS)):
    """Write every person of a motion in every format, with a manifest, to a new directory.

    motion: contracts.Motion, positions in the robot world; robot: robotscene.Articulation, None
    for a rejected motion, of which only the manifest is written. An earlier `out_dir` is
    replaced as a whole. Returns the manifest.
    """
    manifest = {
        "status": motion.status,
        "reason": motion.reason,
        "robot": motion.robot,
        "source_sha256": motion.source_sha256,
        "dropped": motion.dropped,
        "world_scale": motion.world_scale,
        "units": {"length": "m", "angle": "rad", "time": "s"},
        "world": "right-handed, +Z up, floor at z = 0; the scene of the human times world_scale",
        "motion_fps": motion.fps,
        "files": [],
    }
    out_dir = Path(out_dir)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    sweep(out_dir)
    scratch = Path(tempfile.mkdtemp(dir=out_dir.parent, prefix=unfinished(out_dir)))
    try:
        if not motion.rejected:
            manifest["files"] = list(_write_people(motion, robot, scratch, formats))
        text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
        (scratch / MANIFEST).write_text(text + "\n")
        _replace(scratch, out_dir)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def _write_people(motion, robot, folder, formats):
    for pid in sorted(motion.people):
        whole, frames = trajectory(motion, pid)
        for name in formats:
            suffix, module = FORMATS[name]
            path = folder / f"person{pid}_{name}{suffix}"
            sampled = whole.resampled(module.FPS)
            module.write(path, sampled, robot)
            yield {
                "file": path.name,
                "person": pid,
                "format": name,
                "fps": module.FPS,
                "frames": len(sampled),
                "clip_frames": list(frames),
                **module.describe(robot),
            }


def _replace(scratch, out_dir):
    os.chmod(scratch, 0o777 & ~_umask())
    for item in scratch.iterdir():
        with open(item, "rb") as stream:
            os.fsync(stream.fileno())
    if out_dir.exists():
        old = Path(tempfile.mkdtemp(dir=out_dir.parent, prefix=unfinished(out_dir)))
        os.replace(out_dir, old / "old")
        os.replace(scratch, out_dir)
        shutil.rmtree(old)
    else:
        os.replace(scratch, out_dir)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
