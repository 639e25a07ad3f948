"""`pantograph submit`: a run as a SLURM array, one Snakemake per shard of the videos.

Every task of the array runs a whole Snakemake with the local executor in its own allocation, on
its part of the videos, with warm workers; a last job adds the summary of all. To be preferred to
one SLURM job per Snakemake job where there are many short videos: models are loaded once per task.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import PantographError

ROOT = Path(__file__).resolve().parents[3]


def add_arguments(parser):
    """The options of the sub-command."""
    parser.add_argument("--shards", type=int, required=True, help="parts of the videos")
    parser.add_argument("--at-a-time", type=int, help="most tasks of the array that run at once")
    parser.add_argument("--cpus", type=int, default=4, help="cores of a task (default: 4)")
    parser.add_argument("--memory", default="16G", help="memory of a task (default: 16G)")
    parser.add_argument("--time", default="12:00:00", help="limit of a task (default: 12:00:00)")
    parser.add_argument("--partition", help="partition for the tasks")
    parser.add_argument("--account", help="account to charge")
    parser.add_argument("--gpus", help="GPUs of a task, as --gpus of sbatch: 1, a100:1")
    parser.add_argument(
        "--sbatch", default="", metavar="WORDS", help="more options, as in --sbatch='--qos=long'"
    )
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the run"
    )
    parser.add_argument("--configfile", help="a file with settings of the run")
    parser.add_argument(
        "--snakemake",
        default="",
        metavar="WORDS",
        help="more options, as in --snakemake='--sdm conda'",
    )
    parser.add_argument("--show", action="store_true", help="show the scripts, submit nothing")


def run(args):
    """Submit the array and the job after it; print their ids. Returns 0."""
    if args.shards < 1:
        raise PantographError(f"--shards: expected at least 1, found {args.shards}")
    for setting in args.config:
        if "=" not in setting or setting.startswith(("shard=", "workers=")):
            raise PantographError(
                f"--config: expected KEY=VALUE other than shard and workers, found {setting!r}"
            )
    scripts = array_script(args), last_script(args)
    if args.show:
        print("\n".join(scripts))
        return 0
    if shutil.which("sbatch") is None:
        raise PantographError("expected sbatch on PATH, found none; submit from a login node")
    logs = Path("logs/slurm")
    logs.mkdir(parents=True, exist_ok=True)
    array = submit(scripts[0])
    last = submit(scripts[1], f"--dependency=afterany:{array}")
    print(f"array {array}: {args.shards} tasks; job {last} follows it; logs in {logs}/")
    return 0


def submit(script, *options):
    """Give a script to sbatch; the id of its job."""
    command = ["sbatch", "--parsable", *options]
    done = subprocess.run(command, input=script, capture_output=True, text=True)
    if done.returncode:
        raise PantographError(f"sbatch refused: {' '.join(done.stderr.split())}")
    return done.stdout.strip().partition(";")[0]


def array_script(args):
    """The batch script of the array."""
    tasks = f"1-{args.shards}" + (f"%{args.at_a_time}" if args.at_a_time else "")
    options = [f"--array={tasks}", "--output=logs/slurm/shard-%a.log", *_resources(args)]
    settings = [f"shard=$SLURM_ARRAY_TASK_ID/{args.shards}", "workers=true"]
    return _script("pantograph-shard", options, args, settings)


def last_script(args):
    """The batch script of the job that adds what needs all videos, and what tasks left undone."""
    options = ["--output=logs/slurm/last.log", *_resources(args)]
    return _script("pantograph-last", options, args, ["workers=true"])


def _resources(args):
    named = {"partition": args.partition, "account": args.account, "gpus": args.gpus}
    options = [f"--{name}={value}" for name, value in named.items() if value]
    options += [f"--cpus-per-task={args.cpus}", f"--mem={args.memory}", f"--time={args.time}"]
    return options + shlex.split(args.sbatch)


def _script(name, options, args, settings):
    lines = ["#!/bin/bash", f"#SBATCH --job-name={name}", "#SBATCH --nodes=1", "#SBATCH --ntasks=1"]
    lines += [f"#SBATCH {option}" for option in options]
    words = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    words += ["--directory", os.getcwd()]
    words += ["--configfile", args.configfile] if args.configfile else []
    words += shlex.split(args.snakemake)
    chosen = " ".join([shlex.join(args.config), *settings]).strip()
    # a task that was killed leaves locks and unfinished files behind
    command = f'{shlex.join(words)} --cores "$SLURM_CPUS_PER_TASK" --rerun-incomplete --nolock'
    lines += ["set -euo pipefail", f"exec {command} --config {chosen}"]
    return "\n".join(lines) + "\n"
