"""What a route needs of this machine, and what of it is missing or wrong.

Looks only: nothing is downloaded, made or changed.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from . import __version__
from .clones import flaw
from .external import file_hash, read_manifest

OK, MISSING, WRONG = "ok", "missing", "wrong"
HOST = "pantograph"
"""The environment whose packages the Python that runs Snakemake may have as well."""

MIN_CONDA = (24, 7, 1)
"""The oldest conda that Snakemake 9 takes."""

WIDTH = 100


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    kind: "machine", "environment", "repository" or "weights". status: "ok", "missing" or "wrong".
    step: the one thing to do next, where there is something to do. methods: the rules that need
    it. A route runs in spite of a finding that does not block.
    """

    kind: str
    name: str
    status: str
    detail: str = ""
    step: str = ""
    methods: tuple = ()
    blocks: bool = True

    @property
    def good(self):
        """Whether there is nothing to do."""
        return self.status == OK


@dataclass(frozen=True)
class Report:
    """The findings by route; methods[route] is {stage: rule}."""

    findings: dict
    methods: dict

    def ready(self, route):
        """Whether the route can run."""
        return all(item.good or not item.blocks for item in self.findings[route])

    def as_dict(self):
        """Everything, for JSON."""
        return {
            "version": __version__,
            "routes": {
                route: {
                    "ready": self.ready(route),
                    "stages": self.methods[route],
                    "findings": [dataclasses.asdict(item) for item in self.findings[route]],
                }
                for route in self.findings
            },
        }


@dataclass(frozen=True)
class Rule:
    """What a rule of rules/*.smk asks for: the name of its environment, and whether a GPU."""

    environment: str
    gpu: bool


def diagnose(root, routes, conda_prefix, hashes=False):
    """Look at everything that `routes` ({route: {stage: method}}) need.

    root: the folder of the Snakefile; conda_prefix: where Snakemake keeps its environments.
    hashes: read every file of weights whose SHA-256 is known. Returns a Report.
    """
    root = Path(root)
    rules = read_rules(root)
    manifest = read_manifest(str(root))
    methods = {
        route: {stage: f"{stage}_{method}" for stage, method in stages.items()}
        for route, stages in routes.items()
    }
    look = functools.cache(lambda check, *words: check(root, *words))
    findings = {}
    for route, names in methods.items():
        environments = {}
        for method in names.values():
            environments.setdefault(rules[method].environment, []).append(method)
        on_host = set(environments) == {HOST}
        found = []
        if on_host:
            found += [look(packages), look(libraries)]
        else:
            environments.setdefault(HOST, [])
            found += [look(libraries), look(conda)]
        if any(rules[method].gpu for method in names.values()):
            found += gpu(manifest, environments, names.values(), look(graphics))
        repositories, weights = _needs(manifest, names.values())
        wanted = [piece.size for item in weights for piece in item.pieces if _absent(root, piece)]
        found.append(look(disk, sum(size or 0 for size in wanted)))
        if not on_host:
            step = f"snakemake --use-conda --conda-create-envs-only --config route={route}"
            for name, users in environments.items():
                status = look(environment, name, conda_prefix)
                found.append(_finding("environment", name, status, step, users))
        for item in repositories:
            status = look(clone_status, item)
            step = f"snakemake external_{route}"
            if status[0] == WRONG:
                step = f"remove {item.path}, then {step}"
            found.append(_finding("repository", item.name, status, step, item.methods, names))
        for item in weights:
            status = look(files_status, item, hashes)
            step = f"{'register for' if item.registration else 'take'} {item.origin}"
            found.append(_finding("weights", item.name, status, step, item.methods, names))
        findings[route] = found
    return Report(findings, methods)


def _finding(kind, name, status, step, users, names=None):
    users = tuple(user for user in users if names is None or user in names.values())
    return Finding(kind, name, *status, "" if status[0] == OK else step, users)


def _needs(manifest, methods):
    repositories, weights = {}, {}
    for method in methods:
        of_method = manifest.needs(method)
        repositories.update({item.name: item for item in of_method[0]})
        weights.update({item.name: item for item in of_method[1] if not item.optional})
    return repositories.values(), weights.values()


def read_rules(root):
    """Every rule of the workflow in folder `root`: {name: Rule}."""
    found = {}
    for path in sorted(Path(root).glob("rules/*.smk")):
        text = path.read_text(encoding="utf-8")
        for name, body in re.findall(r"^rule (\w+):\n((?:[ \t]+.*\n|\n)*)", text, re.M):
            used = re.search(r'conda:\s+"[^"]*?([^"/]+)\.yaml"', body)
            if used:
                found[name] = Rule(used[1], re.search(r"\bgpu=", body) is not None)
    return found


# ---------------------------------------------------------------------------------------------
# the machine


def packages(root):
    """The packages of the Python that runs this against pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    absent, old = [], []
    for words in project["dependencies"]:
        needed = Requirement(words)
        try:
            version = importlib.metadata.version(needed.name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(needed.name)
            continue
        if version not in needed.specifier:
            old.append(f"{needed.name} {version} (needs {needed.specifier})")
    step = "make venv, then source .venv/bin/activate"
    if absent or old:
        detail = ", ".join([*absent, *old])
        return Finding("machine", "packages", MISSING if absent else WRONG, detail, step)
    count = len(project["dependencies"])
    return Finding("machine", "packages", OK, f"all {count} Python packages of the cpu methods")


def libraries(root):
    """The system libraries that the Makefile lists."""
    if not shutil.which("make"):
        return Finding("machine", "libraries", MISSING, "make not found", "install make")
    command = ["make", "--no-print-directory", "-s", "-C", str(root), "packages"]
    run = subprocess.run(command, capture_output=True, text=True)
    absent = run.stdout.split()
    if absent:
        step = f"sudo apt-get install --no-install-recommends {' '.join(absent)}"
        return Finding("machine", "libraries", MISSING, " ".join(absent), step)
    return Finding("machine", "libraries", OK, "all system libraries for drawing without a screen")


def conda(root):
    """The conda that Snakemake would call."""
    name = "conda"
    program = shutil.which("conda")
    oldest = ".".join(map(str, MIN_CONDA))
    if not program:
        other = next((name for name in ("mamba", "micromamba") if shutil.which(name)), None)
        detail = f"{other} is there, but Snakemake calls conda" if other else "not found"
        return Finding("machine", name, MISSING, detail, f"install conda {oldest} or newer")
    run = subprocess.run([program, "--version"], capture_output=True, text=True)
    version = re.search(r"\d+(?:\.\d+)+", run.stdout)
    if not version:
        return Finding("machine", name, WRONG, "does not say its version", "run conda --version")
    if tuple(map(int, version[0].split("."))) < MIN_CONDA:
        return Finding("machine", name, WRONG, f"version {version[0]}", f"update to {oldest}")
    return Finding("machine", name, OK, f"version {version[0]}")


@dataclass(frozen=True)
class Graphics:
    """What nvidia-smi says: (name, GB of memory, driver) of each GPU; cuda of the driver or None.

    problem: why there is nothing to say.
    """

    cards: tuple = ()
    cuda: str | None = None
    problem: str = ""


def graphics(root):
    """The GPUs of this machine, as Graphics."""
    program = shutil.which("nvidia-smi")
    if not program:
        return Graphics(problem="nvidia-smi not found")
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        table = subprocess.run([program, *query], capture_output=True, text=True, timeout=60)
        head = subprocess.run([program], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return Graphics(problem="nvidia-smi does not answer")
    rows = [[cell.strip() for cell in line.split(",")] for line in table.stdout.splitlines()]
    cards = tuple(
        (row[0], int(row[1]) / 1024, row[2]) for row in rows if len(row) == 3 and row[1].isdigit()
    )
    if table.returncode or not cards:
        words = (table.stdout + table.stderr).strip().splitlines() or ["no GPU found"]
        return Graphics(problem=f"nvidia-smi: {words[0]}")
    version = re.search(r"CUDA[A-Za-z ]*Version:\s*([0-9.]+)", head)
    return Graphics(cards, version[1] if version else None)


def gpu(manifest, environments, methods, found):
    """Findings about the GPU for these environments and methods."""
    if found.problem:
        step = "install the driver of an NVIDIA GPU, or use the route cpu"
        return [Finding("machine", "GPU", MISSING, found.problem, step)]
    name, memory, driver = max(found.cards, key=lambda card: card[1])
    detail = f"{name}, {memory:.0f} GB, driver {driver}, CUDA {found.cuda or 'unknown'}"
    needed = max((manifest.cuda[item] for item in environments if item in manifest.cuda), default=0)
    findings = [Finding("machine", "GPU", OK, detail)]
    if found.cuda and needed and int(found.cuda.split(".")[0]) < int(needed.split(".")[0]):
        step = f"update the driver to one for CUDA {needed}"
        findings = [Finding("machine", "GPU", WRONG, detail, step)]
    for method in methods:
        least, clip = manifest.memory.get(method, (0, ""))
        # a card sold with 24 GB reports a little less
        if memory < 0.95 * least:
            text = f"{memory:.0f} GB; {method} takes {least} GB for {clip}"
            step = "take shorter clips or a stride"
            findings.append(
                Finding("machine", "GPU memory", WRONG, text, step, (method,), blocks=False)
            )
    return findings


def disk(root, wanted):
    """The free space beside the workflow, against the bytes that missing weights take."""
    free = shutil.disk_usage(root).free
    detail = f"{amount(free)} free"
    if free < wanted:
        text = f"{detail}, the missing weights take {amount(wanted)}"
        return Finding("machine", "disk", WRONG, text, "make room, or link external/weights")
    return Finding("machine", "disk", OK, detail)


# ---------------------------------------------------------------------------------------------
# environments, repositories, weights: each check returns (status, detail)


def environment(root, name, prefix):
    """Whether Snakemake has made envs/<name>.yaml as it is now, and what it holds."""
    wanted = (root / "envs" / f"{name}.yaml").read_bytes()
    script = root / "envs" / f"{name}.post-deploy.sh"
    deploy = script.read_bytes() if script.is_file() else None
    for copy in sorted(prefix.glob("*.yaml")):
        place = copy.with_suffix("")
        made = place.with_suffix(".post-deploy.sh")
        same = copy.read_bytes() == wanted
        same = same and (made.read_bytes() if made.is_file() else None) == deploy
        if same and place.with_suffix(".env_setup_done").exists() and place.is_dir():
            return _environment_packages(wanted, place)
    return MISSING, "not made"


def _environment_packages(wanted, place):
    pins = next(
        (item["pip"] for item in yaml.safe_load(wanted)["dependencies"] if isinstance(item, dict)),
        [],
    )
    site = [str(path) for path in place.glob("lib/python3.*/site-packages")]
    versions = {
        re.sub(r"[-_.]+", "-", item.metadata["Name"]).lower(): item.version
        for item in importlib.metadata.distributions(path=site)
        if item.metadata["Name"]
    }
    bad = []
    for pin in pins:
        match = re.match(r"([\w.-]+)(?:\[.*?\])?==([^;\s]+)", pin)
        if match:
            version = versions.get(re.sub(r"[-_.]+", "-", match[1]).lower())
            if version is None or version.split("+")[0] != match[2].split("+")[0]:
                bad.append(f"{match[1]} {version or 'absent'} (needs {match[2]})")
    if bad:
        return WRONG, f"{', '.join(bad)}; remove {place} first"
    return OK, str(place)


def clone_status(root, item):
    """Whether a repository is there, at its commit, with its submodules: (status, detail)."""
    path = root / item.path
    if not path.is_dir():
        return MISSING, "not cloned"
    found = flaw(path, item.commit, item.submodules)
    return (WRONG, found) if found else (OK, f"at {item.commit[:10]}")


def files_status(root, item, hashes):
    """Whether all files of an entry are there, with the right size and, if asked, hash."""
    names = {piece: piece.path.removeprefix(f"{item.path}/") for piece in item.pieces}
    absent = [names[piece] for piece in item.pieces if _absent(root, piece)]
    if item.pieces[0].path == item.path and absent:
        return MISSING, item.place
    if absent:
        some = ", ".join(absent) if len(absent) < 4 else f"{len(absent)} files"
        word = "with" if len(absent) == len(names) else "lacks"
        return MISSING, f"{item.place}/ {word} {some}"
    for piece in item.pieces:
        problem = _problem(root / piece.path, piece, hashes)
        if problem:
            return WRONG, f"{os.path.basename(piece.path)} {problem}"
    size = sum((root / piece.path).stat().st_size for piece in item.pieces)
    known = hashes and all(piece.sha256 for piece in item.pieces)
    return OK, amount(size) + (", hash checked" if known else "")


def amount(size):
    """A number of bytes in words."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _absent(root, piece):
    return not (root / piece.path).exists()


def _problem(path, piece, hashes):
    if path.is_dir():
        return "" if any(path.iterdir()) else "is empty"
    size = path.stat().st_size
    if piece.size is not None and size != piece.size:
        return f"has {size} bytes, needs {piece.size}"
    if not size:
        return "is empty"
    with open(path, "rb") as stream:
        start = stream.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "is a web page"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS; fetch the file itself"
    if hashes and piece.sha256 and not file_hash(path).startswith(piece.sha256):
        return f"has another SHA-256 than {piece.sha256[:12]}"
    return ""


# ---------------------------------------------------------------------------------------------
# screens


def overview(report):
    """All routes on one screen: what each method lacks."""
    machine = {}
    for found in report.findings.values():
        for item in found:
            if item.kind == "machine":
                machine.setdefault((item.name, item.detail), item)
    lines = ["machine", *_table(machine.values())]
    for route, methods in report.methods.items():
        lines += ["", f"route {route}: {_verdict(report, route)}"]
        lines += _by_method(report.findings[route], methods)
    unready = [route for route in report.findings if not report.ready(route)]
    for route in unready:
        lines += ["", f"how to get what {route} lacks: pantograph doctor --route {route}"]
    return "\n".join(lines)


def screen(report, route):
    """One route: everything that it needs, with the next step for what is missing."""
    found = report.findings[route]
    stages = ", ".join(f"{stage} {_short(rule)}" for stage, rule in report.methods[route].items())
    text = f"route {route}: {_verdict(report, route)} ({stages})"
    lines = textwrap.wrap(text, WIDTH, subsequent_indent="  ")
    for kind, title in (
        ("machine", "machine"),
        ("environment", "environments"),
        ("repository", "repositories, in external/repos"),
        ("weights", "weights, in external/weights"),
    ):
        items = [item for item in found if item.kind == kind]
        if items:
            lines += ["", title, *_table(items, shared=kind != "machine")]
    return "\n".join(lines)


def _verdict(report, route):
    if report.ready(route):
        return "can run"
    count = sum(not item.good and item.blocks for item in report.findings[route])
    return f"cannot run, {count} thing{'s' * (count > 1)} missing or wrong"


def _short(rule):
    return rule.partition("_")[2]


def _by_method(found, methods):
    lacking = [item for item in found if not item.good]
    lines = []
    general = [item for item in lacking if item.kind == "machine" and item.blocks]
    general += [item for item in lacking if item.kind == "environment"]
    if general:
        lines += _wrapped("needs first", ", ".join(_label(item) for item in general))
    for stage, rule in methods.items():
        own = [item for item in lacking if rule in item.methods and item.kind != "environment"]
        if own:
            lines += _wrapped(f"{stage} {_short(rule)}", ", ".join(_label(item) for item in own))
    return lines


def _label(item):
    kind = {"machine": "", "environment": "environment ", "repository": "repository "}
    text = f"{kind.get(item.kind, '')}{item.name}"
    return f"{text} (wrong)" if item.status == WRONG else text


def _wrapped(head, text):
    lines = textwrap.wrap(text, WIDTH - 22)
    return [f"  {head:<20}{lines[0]}", *(" " * 22 + line for line in lines[1:])]


def _table(items, shared=False):
    """Lines of aligned columns; shared: a step of several things is said once, over them."""
    items = list(items)
    width = max(len(item.name) for item in items)
    groups = {}
    for item in items:
        groups.setdefault(item.step if shared else "", []).append(item)
    lines = []
    for step, group in groups.items():
        lines += [f"  {step}"] if step else []
        for item in group:
            words = [part for part in (item.detail, "" if shared else item.step) if part]
            line = f"  {item.name:<{width}}  {item.status:<7}  {'; '.join(words)}"
            lines.append("  " * bool(step) + line.rstrip())
    return lines
