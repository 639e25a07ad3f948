"""Measure what planning a run costs: dry runs of many videos, against a bare workflow.

The bare one has the same jobs with the same files, as rules without functions, settings,
resources or environments. Both are planned by `snakemake -n -q` in an empty folder, in turns; the
least CPU time counts. Shards are planned one by one, each with the table of all videos.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from operator import itemgetter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from pantograph import cli, contracts, errors  # noqa: E402

CLIP = ROOT / "resources" / "demo" / "walk_turn.mp4"


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--route", default="videomimic")
    parser.add_argument("--videos", type=int, nargs="*", default=[1000], help="of whole runs")
    parser.add_argument("--sharded", type=int, default=10_000, help="videos in shards, 0 for none")
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3, help="of whole runs, at least 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    args = parser.parse_args(argv)
    rows = []
    print(f"{'':34} {'jobs':>7} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for count in args.videos:
            rows += whole(folder, args.route, count, args.repeats)
        if args.sharded:
            table(folder, args.sharded)
            for part in range(1, args.shards + 1):
                settings = [f"route={args.route}", f"shard={part}/{args.shards}"]
                row = plan(folder, ROOT / "Snakefile", settings)
                rows.append({"what": f"{args.sharded} videos, shard {part}/{args.shards}", **row})
                show(rows[-1])
    if args.json:
        content = json.dumps(rows, indent=1) + "\n"
        contracts.atomic_write(args.json, lambda path: Path(path).write_text(content))


def whole(folder, route, count, repeats):
    """The rows of a run of `count` videos: the workflow and the bare one."""
    names = table(folder, count)
    bare = folder / "bare.smk"
    bare.write_text(bare_workflow(folder, route, names))
    found = {"workflow": [], "bare": []}
    for _ in range(repeats):
        found["workflow"].append(plan(folder, ROOT / "Snakefile", [f"route={route}"]))
        found["bare"].append(plan(folder, bare))
    rows = []
    for name, measured in found.items():
        row = {"what": f"{count} videos, {name}"}
        row.update({key: min(m[key] for m in measured) for key in measured[0]})
        rows.append(row)
    if rows[0]["jobs"] != rows[1]["jobs"]:
        raise errors.PantographError(f"expected as many jobs, found {[r['jobs'] for r in rows]}")
    rows[0]["ratio"] = rows[0]["cpu_s"] / rows[1]["cpu_s"]
    for row in rows:
        show(row)
    return rows


def table(folder, count):
    """Write videos.tsv with `count` clips; their names."""
    names = [f"clip{k:05d}" for k in range(count)]
    lines = ["video\tpath\tstart\tend", *(f"{name}\t{CLIP}\t0\t60" for name in names)]
    (folder / "videos.tsv").write_text("\n".join(lines) + "\n")
    return names


def command(folder, snakefile, settings):
    words = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--dry-run"]
    words += ["--directory", str(folder), "--cores", "8"]
    return words + (["--config", "videos=videos.tsv", *settings] if settings else [])


def plan(folder, snakefile, settings=()):
    """{"jobs", "wall_s", "cpu_s", "peak_mb"} of a dry run."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        words = [*command(folder, snakefile, settings), "--quiet", "rules"]
        process = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        said.seek(0)
        text = said.read()
    jobs = re.search(r"^total +(\d+)", text, re.M)
    if process.returncode or not jobs:
        raise errors.PantographError(f"{' '.join(words)} failed:\n{text[-2000:]}")
    return {
        "jobs": int(jobs[1]),
        "wall_s": wall,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }


def bare_workflow(folder, route, names):
    """A Snakefile with the jobs that a run of the clips `names` has, read from one clip's."""
    settings = [f"route={route}", f"pattern={names[0]}"]
    shown = subprocess.run(command(folder, ROOT / "Snakefile", settings), **READ)
    jobs = []
    for line in shown.stdout.splitlines():
        if rule := re.fullmatch(r" *(?:local)?rule (\w+): *", line):
            jobs.append({"rule": rule[1]})
        elif files := re.match(r" +(input|output): (.*)", line):
            jobs[-1][files[1]] = re.sub(r" \(.*?\)", "", files[2]).split(", ")
    rules = [job for job in jobs if job["rule"] not in ("all", "summary")]
    targets = next(job["input"] for job in jobs if job["rule"] == "all")
    per_clip = [name for name in dict.fromkeys(targets) if names[0] in name]
    lines = [f"NAMES = {names!r}", "rule all:", "    input: 'results/summary.tsv',"]
    lines += [f"        expand({_pattern(name, names[0])}, video=NAMES)," for name in per_clip]
    quality = _pattern(next(n for n in per_clip if n.endswith("quality.json")), names[0])
    lines += ["rule summary:", f"    input: expand({quality}, video=NAMES)"]
    lines += ["    output: 'results/summary.tsv'", "    shell: 'touch {output}'"]
    for rule, inputs, outputs in map(itemgetter("rule", "input", "output"), rules):
        folders = [f"directory({_pattern(n, names[0])})" for n in outputs if n.endswith("export")]
        plain = [_pattern(name, names[0]) for name in outputs if not name.endswith("export")]
        lines += [f"rule {rule}:"]
        lines += [f"    input: {', '.join(_pattern(name, names[0]) for name in inputs)}"]
        lines += [f"    output: {', '.join(plain + folders)}", "    shell: 'touch {output}'"]
    return "\n".join(lines) + "\n"


READ = {"capture_output": True, "text": True, "check": True}


def _pattern(path, name):
    return repr(path.replace(f"/{name}/", "/{video}/"))


def show(row):
    ratio = f"{row['ratio']:6.2f}" if "ratio" in row else ""
    print(
        f"{row['what']:34} {row['jobs']:7} {row['wall_s']:8.1f} {row['cpu_s']:8.1f} "
        f"{row['peak_mb']:8.0f} {ratio}",
        flush=True,
    )


if __name__ == "__main__":
    cli.run(main)
