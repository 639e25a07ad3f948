"""A workflow of its own for a test: the project's, with other routes."""

import os
import subprocess
import sys

import yaml

from conftest import ROOT

LINKED = ("rules", "scripts", "envs", "resources", "external")


def write(folder, name, route, **settings):
    """A copy of the workflow in `folder` with one more route; the rest of it is linked.

    route: {stage: method} that differ from those of the route `cpu`; settings: of the run.
    """
    for part in LINKED:
        os.symlink(ROOT / part, folder / part)
    (folder / "Snakefile").write_bytes((ROOT / "Snakefile").read_bytes())
    for path in sorted((ROOT / "config").rglob("*")):
        if path.is_file():
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    stages = {**yaml.safe_load((ROOT / "config/routes/cpu.yaml").read_text()), **route}
    (folder / f"config/routes/{name}.yaml").write_text(yaml.safe_dump(stages))
    (folder / "settings.yaml").write_text(yaml.safe_dump({"route": name, **settings}))


def run(folder, target, *rules):
    """Make `target` with the workflow that `write` put in `folder`, using `rules` only."""
    command = [sys.executable, "-m", "snakemake", "-s", "Snakefile", "-c", "1"]
    command += ["--configfile", "config/config.yaml", "settings.yaml", "--resources", "gpu=1"]
    command += ["--allowed-rules", *rules, "--", target]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)
