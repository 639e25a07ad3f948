"""Measure what one more video costs: fresh processes, warm workers, and one process for all.

Runs the route over N clips of one second, three ways: a process per job, warm workers, and the
ideal: one process that loads everything once and runs every job of the plan after another. All
share a filled compilation cache, so that they differ in loading and tracing alone. One job at a
time, so that times add up; CPU time counts workers, too.
"""

import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from pantograph import cli, contracts, errors  # noqa: E402

CLIPS = ("walk_turn", "sit_stand", "two_people")
FRAMES = 30
WAYS = ("fresh", "workers", "ideal")


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--videos", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--out", type=Path, default=Path("results/scaling"), metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    parser.add_argument("--commands", help=cli.argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.commands:
        ideal(json.loads(Path(args.commands).read_text()))
        return
    if sorted(args.videos)[0] < 1:
        raise errors.PantographError(f"--videos: expected at least 1, found {args.videos}")
    out = args.out.resolve()
    # one short run fills the cache with every shape
    run(out / "warming", len(CLIPS) * 2, "fresh")
    rows = []
    for way in args.ways:
        for count in sorted(args.videos):
            rows.append({"way": way, "videos": count, **run(out / f"{way}-{count}", count, way)})
            print(line(rows[-1]), flush=True)
    print(marginal(rows))
    if args.json:
        content = json.dumps(rows, indent=1) + "\n"
        contracts.atomic_write(args.json, lambda path: Path(path).write_text(content))


def run(folder, count, way):
    """Run `count` clips in a new folder: {"wall_s", "cpu_s", "stages": {method: CPU s}}."""
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.mkdir(parents=True)
    (folder / "videos.tsv").write_text(table(count))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", folder, "--cores", 1, "--config", "videos=videos.tsv"]
    command += [f"jax_cache={folder.parent / 'jax'}", f"workers={way == 'workers'}".lower()]
    command = [str(word) for word in command]
    plan = folder / "commands.json"
    if way == "ideal":
        shown = subprocess.run([*command, "-n", "-p"], capture_output=True, text=True, check=True)
        words = [shlex.split(text) for text in shown.stdout.splitlines() if "launch.py" in text]
        plan.write_text(json.dumps([found[found.index("python") + 2 :] for found in words]))
        command = [sys.executable, __file__, "--commands", str(plan)]
    environment = {**os.environ, "PANTOGRAPH_JAX_CACHE": str(folder.parent / "jax")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise errors.PantographError(f"{folder} failed:\n{done.stderr[-2000:]}")
    stages = defaultdict(float)
    elsewhere = 0.0
    for path in folder.glob("logs/**/*.usage.json"):
        usage = json.loads(path.read_text())
        stages[path.name.removesuffix(".usage.json")] += usage["cpu_s"]
        elsewhere += usage["cpu_s"] if "worker" in usage else 0.0
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall, "cpu_s": cpu + elsewhere, "stages_cpu_s": dict(stages)}


def table(count):
    """A table of videos: `count` different seconds of the demo clips."""
    lines = ["video\tpath\tstart\tend"]
    for k in range(count):
        name = CLIPS[k % len(CLIPS)]
        start = 2 * (k // len(CLIPS))
        path = ROOT / "resources" / "demo" / f"{name}.mp4"
        lines.append(f"clip{k:02d}\t{path}\t{start}\t{start + FRAMES}")
    return "\n".join(lines) + "\n"


def ideal(commands):
    """Run jobs, [method, log, arguments ...] each, one after another in this process."""
    from pantograph import launch, worker

    for method, log, *arguments in commands:
        for product in (Path(word) for word in arguments if word.startswith("results/")):
            product.parent.mkdir(parents=True, exist_ok=True)
        launch.redirect(log)
        began = time.time()
        code, usage = worker.execute(method, arguments)
        launch.report(log, {**usage, "wall_s": round(time.time() - began, 3)})
        if code:
            sys.exit(code)


def line(row):
    each = row["cpu_s"] / row["videos"]
    return (
        f"{row['way']:8} {row['videos']:3} videos: {row['wall_s']:7.1f} s, "
        f"{row['cpu_s']:7.1f} CPU s, {each:5.2f} CPU s a video"
    )


def marginal(rows):
    """What one more video costs, from the smallest and the largest number of videos."""
    lines = []
    for way in dict.fromkeys(row["way"] for row in rows):
        found = [row for row in rows if row["way"] == way]
        few, many = found[0], found[-1]
        more = (many["videos"] - few["videos"]) or 1
        wall, cpu = ((many[name] - few[name]) / more for name in ("wall_s", "cpu_s"))
        lines.append(f"{way:8} one more video: {wall:5.2f} s, {cpu:5.2f} CPU s")
        for stage, spent in few["stages_cpu_s"].items():
            last = (many["stages_cpu_s"][stage] - spent) / more
            lines.append(f"  {stage:24} {last:6.2f} CPU s")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
