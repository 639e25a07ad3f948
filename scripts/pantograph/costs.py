"""What the jobs of a run will take, from runs that were measured and from what others state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy.optimize import nnls

from . import collection
from .config import check

PRODUCTS = {
    "ingest": ("video.json",),
    "segment": ("people.h5",),
    "pose2d": ("keypoints.h5",),
    "scene": ("scene.h5",),
    "body": ("body.h5",),
    "contact": ("contacts.h5",),
    "align": ("world.h5",),
    "ground": ("gravity.h5",),
    "mesh": ("mesh.h5", "scene.obj", "scene.ply"),
    "retarget": ("motion_{robot}.h5",),
    "export": ("export",),
    "quality": ("quality.json",),
    "preview": ("preview.mp4",),
}
"""The files of every stage, in the order of the stages."""
INTERMEDIATE = ("segment", "pose2d", "scene", "body", "contact", "align")
"""Stages whose files go after their last use with `keep: results`."""
ALWAYS = {"ingest": "ingest", "export": "export_motion", "quality": "quality", "preview": "preview"}
"""Programs that belong to every route (the preview if it is wanted)."""


@dataclass(frozen=True)
class Range:
    """From the least to the most that something may be; sums and multiples keep both ends."""

    low: float
    high: float

    def __add__(self, other):
        return Range(self.low + other.low, self.high + other.high)

    def __mul__(self, factor):
        return Range(self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Rate:
    """What a job takes: `fixed` and, for each frame, `frame`; `load` once per job or worker."""

    fixed: Range
    frame: Range
    load: Range = Range(0.0, 0.0)

    def total(self, frames, loads):
        """All jobs of clips with `frames` frames each, of which `loads` load their models."""
        return self.fixed * len(frames) + self.frame * sum(frames) + self.load * loads


@dataclass(frozen=True)
class Stage:
    """The jobs of one stage of a route; Range or None (unknown) for what the ones to do take."""

    route: str
    stage: str
    method: str
    jobs: int
    done: int
    frames: int
    cpu_s: Range | None
    gpu_s: Range | None
    disk_bytes: Range | None
    source: str


def measured(points):
    """The Rate through points (frames, amount), by least squares without negative parts; or None.

    Points of one length alone tell nothing about the fixed part: all is laid to the frames.
    """
    points = [(frames, amount) for frames, amount in points if frames > 0]
    if not points:
        return None
    frames, amounts = np.array(points, float).T
    if len(set(frames)) < 2:
        fixed, each = 0.0, float(amounts.mean() / frames[0])
    else:
        fixed, each = nnls(np.stack([np.ones_like(frames), frames], 1), amounts)[0]
    return Rate(Range(fixed, fixed), Range(each, each))


def stated(root):
    """{method: (Rate in GPU seconds, source)} of config/costs.yaml in the workflow `root`."""
    path = Path(root) / "config" / "costs.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    check(content, root, "costs", "config/costs.yaml")
    found = {}
    for method, entry in content.items():
        load, clip, none = Range(*entry["load"]), Range(*entry["clip"]), Range(0.0, 0.0)
        frames = entry.get("frames")
        rate = Rate(none, clip * (1 / frames), load) if frames else Rate(clip, none, load)
        found[method] = rate, entry["source"]
    return found


def usages(logs, results, methods):
    """{method: [(frames, usage)]} of every job below `logs` whose clip is known in `results`."""
    counts, found = {}, {}
    for path in sorted(Path(logs).glob("*/*/*.usage.json")):
        name = path.name[: -len(".usage.json")]
        method = next((m for m in methods if name == m or name.startswith(f"{m}_")), None)
        clip = path.parent.parent.name, path.parent.name
        if clip not in counts:
            counts[clip] = collection.counted(Path(results, *clip, "video.json"))
        if method and counts[clip]:
            try:
                usage = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                continue
            found.setdefault(method, []).append((counts[clip], usage))
    return found


def stages(plan, root, results, logs, on_gpu):
    """The Stages of a `config.Plan`: what is left to do, and what that takes.

    on_gpu: the methods that need a GPU. A figure of a measured method comes from jobs that ran
    with workers if the run has them, else from those without, where there are any.
    """
    methods = {}
    for route, chosen in plan.routes.items():
        methods[route] = {stage: f"{stage}_{name}" for stage, name in chosen.items()}
        methods[route].update(ALWAYS)
        if "retarget" not in chosen:
            del methods[route]["export"]
        if "retarget" not in chosen or not plan.settings["preview"]:
            del methods[route]["preview"]
    counts = collection.frame_counts(plan, results)
    used = usages(logs, results, {m for chosen in methods.values() for m in chosen.values()})
    known = stated(root)
    clips = {}
    for route, name in plan.targets():
        clips.setdefault(route, []).append(name)
    return [
        _stage(plan, route, stage, methods[route][stage], clips[route], counts, used, known, on_gpu)
        for route in clips
        for stage in PRODUCTS
        if stage in methods[route]
    ]


def _stage(plan, route, stage, method, names, counts, used, known, on_gpu):
    results = plan.settings.get("pathvars", {}).get("results", "results")
    warm = plan.settings["workers"]
    removed = plan.settings["keep"] == "results" and stage in INTERMEDIATE
    files = [name.format(robot=plan.settings["robot"]) for name in PRODUCTS[stage]]
    sizes, todo = [], []
    for name in names:
        folder = Path(results) / route / name
        found = _size([folder / file for file in files])
        if found is not None and counts[name]:
            sizes.append((counts[name], found))
        # a finished clip needs its intermediate products no more
        ended = stage in INTERMEDIATE and (folder / "quality.json").is_file()
        if found is None and not ended:
            todo.append(name)
    frames = [counts[name] for name in todo if counts[name]]
    points = used.get(method, [])
    same = [(n, usage) for n, usage in points if ("worker" in usage) == warm]
    points = same or points
    cpu = measured([(n, usage["cpu_s"]) for n, usage in points])
    gpu = Rate(Range(0.0, 0.0), Range(0.0, 0.0))
    source = f"{len(points)} jobs here" if points else "unknown"
    if method in on_gpu:
        gpu = measured([(n, usage["wall_s"]) for n, usage in points])
        if gpu is None and method in known:
            gpu, source = known[method][0], f"stated: {known[method][1]}"
    disk = Rate(Range(0.0, 0.0), Range(0.0, 0.0)) if removed else measured(sizes)
    loads = min(1, len(frames)) if warm else len(frames)
    return Stage(
        route=route,
        stage=stage,
        method=method,
        jobs=len(names),
        done=len(names) - len(todo),
        frames=sum(frames),
        cpu_s=cpu and cpu.total(frames, loads),
        gpu_s=gpu and gpu.total(frames, loads),
        disk_bytes=disk and disk.total(frames, 0),
        source=source,
    )


def _size(paths):
    """Bytes of files and folders together; None unless all are there."""
    total = 0
    for path in paths:
        if not path.exists():
            return None
        inside = path.rglob("*") if path.is_dir() else [path]
        total += sum(item.stat().st_size for item in inside if item.is_file())
    return total
