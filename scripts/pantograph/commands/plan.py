"""`pantograph plan`: what a run will take, stage by stage, before it is started."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import yaml

from .. import collection, config, costs, lengths
from ..diagnosis import read_rules

ROOT = Path(__file__).resolve().parents[3]


def add_arguments(parser):
    """The options of the sub-command."""
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="settings")
    parser.add_argument("--configfile", type=Path, help="a file with settings of the run")
    parser.add_argument(
        "--cores", type=int, default=os.cpu_count(), help="of the machine (default: %(default)s)"
    )
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of the machine (default: 0)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--workflow",
        default=ROOT,
        type=Path,
        help="the folder of the Snakefile (default: %(default)s)",
    )


def run(args):
    """Print the plan of a run that would start in this folder. Returns 0."""
    if args.cores < 1 or args.gpus < 0:
        raise config.ConfigError(
            f"expected --cores >= 1 and --gpus >= 0, found {args.cores} and {args.gpus}"
        )
    plan = config.plan(settings(args), args.workflow)
    folders = plan.settings.get("pathvars", {})
    results, logs = folders.get("results", "results"), folders.get("logs", "logs")
    on_gpu = {name for name, rule in read_rules(args.workflow).items() if rule.gpu}
    found = costs.stages(plan, args.workflow, results, logs, on_gpu)
    names = {name for _, name in plan.targets()}
    counts = {n: c for n, c in collection.frame_counts(plan, results).items() if n in names}
    report = {
        "videos": len(counts),
        "frames": sum(count or 0 for count in counts.values()),
        "uncounted": sorted(name for name, count in counts.items() if count is None),
        "refused": [str(row) for row in plan.refused],
        "stages": [dataclasses.asdict(stage) for stage in found],
        "total": {name: total(found, name) for name in ("cpu_s", "gpu_s", "disk_bytes")},
        "wall_s": wall(found, args.cores, args.gpus),
        "lengths": planned_lengths(plan, counts, results),
    }
    if args.json:
        json.dump(report, sys.stdout, indent=1)
        print()
    else:
        print(screen(report, found, args))
    return 0


def settings(args):
    """The merged settings, as Snakemake merges them."""
    merged = yaml.safe_load((args.workflow / "config" / "config.yaml").read_text(encoding="utf-8"))
    if args.configfile:
        merged.update(yaml.safe_load(args.configfile.read_text(encoding="utf-8")) or {})
    for setting in args.config:
        key, equals, value = setting.partition("=")
        if not equals:
            raise config.ConfigError(f"--config: expected KEY=VALUE, found {setting!r}")
        merged[key] = yaml.safe_load(value) if value.startswith("[") else value
    return merged


def total(stages, name):
    """{"low", "high", "unknown": stages that cannot tell} of a figure of all stages."""
    values = {stage: getattr(stage, name) for stage in stages if stage.done < stage.jobs}
    return {
        "low": sum(value.low for value in values.values() if value),
        "high": sum(value.high for value in values.values() if value),
        "unknown": [stage.method for stage, value in values.items() if value is None],
    }


def wall(stages, cores, gpus):
    """The least time a run can take, s, from what is known: {"low", "high", "unknown"}; or None.

    All processors and GPUs are busy all the time. None where there is no GPU for a job that
    needs one.
    """
    cpu, gpu = total(stages, "cpu_s"), total(stages, "gpu_s")
    needs_gpu = gpu["high"] > 0 or gpu["unknown"]
    if needs_gpu and not gpus:
        return None
    ends = {end: max(cpu[end] / cores, gpu[end] / max(gpus, 1)) for end in ("low", "high")}
    return {**ends, "unknown": sorted({*cpu["unknown"], *gpu["unknown"]})}


def planned_lengths(plan, counts, results):
    """The padded lengths that the run would have, where it plans them."""
    if plan.settings["lengths"] != "plan":
        return None
    path = Path(results) / "lengths.json"
    old = lengths.read(path) if path.is_file() else ()
    known = [count for count in counts.values() if count]
    return {"old": list(old), "all": list(lengths.plan(known, old))}


def screen(report, stages, args):
    """The report as text."""
    lines = list(report["refused"])
    lines.append(f"{report['videos']} videos, {report['frames']} frames")
    if report["uncounted"]:
        lines.append(f"not counted, as they cannot be read: {', '.join(report['uncounted'])}")
    head = f"  {'stage':22} {'jobs':>6} {'done':>6} {'frames':>9} "
    head += f"{'CPU h':>13} {'GPU h':>13} {'GB':>13}  from"
    notes = {}
    for route in dict.fromkeys(stage.route for stage in stages):
        lines += ["", f"route {route}", head]
        for stage in (stage for stage in stages if stage.route == route):
            source = stage.source
            if source.startswith("stated"):
                source = f"stated [{notes.setdefault(source, len(notes) + 1)}]"
            lines.append(
                f"  {stage.method:22} {stage.jobs:6} {stage.done:6} {stage.frames:9} "
                f"{_cell(stage.cpu_s, 3600)} {_cell(stage.gpu_s, 3600)} "
                f"{_cell(stage.disk_bytes, 1e9)}  {source}"
            )
    jobs, done = sum(s.jobs for s in stages), sum(s.done for s in stages)
    sums = [(report["total"][name], unit) for name, unit in UNITS]
    amounts = " ".join(_sum(value, unit) for value, unit in sums)
    lines += ["", f"  {'all that is to do':22} {jobs:6} {done:6} {'':9} {amounts}"]
    machine = f"{args.cores} cores and {args.gpus} GPUs"
    if report["wall_s"] is None:
        lines.append(f"{machine}: no GPU for the methods that need one; say how many with --gpus")
    else:
        lines.append(f"{machine}: {_sum(report['wall_s'], 3600).strip()} h at least")
    if report["lengths"]:
        planned = ", ".join(map(str, report["lengths"]["all"])) or "none"
        lines.append(f"padded lengths: {planned} frames")
    lines += [f"[{number}] {source}" for source, number in notes.items()]
    if any(value["unknown"] for value, _ in sums):
        lines.append("?: nothing measured here or stated in config/costs.yaml")
    return "\n".join(lines)


UNITS = (("cpu_s", 3600), ("gpu_s", 3600), ("disk_bytes", 1e9))


def _cell(value, unit):
    if value is None:
        return f"{'?':>13}"
    return f"{_between(value.low / unit, value.high / unit):>13}"


def _sum(value, unit):
    text = _between(value["low"] / unit, value["high"] / unit)
    return f"{text + (' + ?' if value['unknown'] else ''):>13}"


def _between(low, high):
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g}-{high:.3g}"
