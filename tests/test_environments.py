"""What can be said of envs/ without making an environment."""

import os
import re
import stat
import subprocess

import pytest
import yaml

from conftest import ROOT
from pantograph.external import read_manifest

FILES = sorted((ROOT / "envs").glob("*.yaml"))
SCRIPTS = sorted((ROOT / "envs").glob("*.post-deploy.sh"))
PIN = r"[A-Za-z0-9][\w.-]*(\[[\w,-]+\])?==[0-9][\w.]*(\+\w+)?"


def content(path):
    return yaml.safe_load(path.read_text())


def pins(path):
    return [pin for pin in content(path)["dependencies"][-1]["pip"] if not pin.startswith("--")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_version_is_pinned(path):
    for pin in pins(path):
        assert re.fullmatch(PIN, pin), pin
    names = [re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins(path)]
    assert len(names) == len(set(names))
    for words in content(path)["dependencies"][:-1]:
        assert words in ("pip", "git") or re.fullmatch(r"[\w-]+ =[0-9][0-9.]*", words), words


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_manifest_knows_python_and_cuda(path):
    manifest = read_manifest(str(ROOT))
    assert f"python ={manifest.python[path.stem]}" in content(path)["dependencies"]
    torch = next((pin for pin in pins(path) if pin.startswith("torch==")), None)
    assert bool(torch) == (path.stem in manifest.cuda)
    if torch and "+" in torch:
        assert torch.endswith("+cu" + manifest.cuda[path.stem].replace(".", ""))


def test_every_environment_is_in_use():
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    for path in FILES:
        assert f'"../envs/{path.name}"' in rules
    assert {path.name.partition(".")[0] for path in SCRIPTS} <= {path.stem for path in FILES}
    assert set(read_manifest(str(ROOT)).python) == {path.stem for path in FILES}


def test_every_environment_has_what_reads_and_writes_products():
    for path in FILES:
        names = {pin.partition("==")[0].lower() for pin in pins(path)}
        assert {"numpy", "h5py", "av", "scipy"} <= names
        assert len([name for name in names if name.startswith("opencv")]) == 1


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name.partition(".")[0])
def test_a_script_is_careful(path):
    text = path.read_text()
    assert text.startswith("#!/usr/bin/env bash\n") and "\nset -euo pipefail\n" in text
    assert path.stat().st_mode & stat.S_IXUSR
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
    for words in re.findall(r"[\w.-]+(?:\[\w+\])?==\S+", text):
        assert re.fullmatch(PIN, words.strip('"')), words


@pytest.mark.parametrize("path", [*FILES, *SCRIPTS], ids=lambda path: path.name)
def test_code_is_taken_at_the_commit_of_the_manifest(path):
    text = path.read_text()
    known = {item.commit: item.url for item in read_manifest(str(ROOT)).repositories.values()}
    addresses = set(re.findall(r"https://github\.com/[\w.-]+/[\w.-]+", text))
    commits = re.findall(r"\b[0-9a-f]{7,64}\b(?=[^0-9a-f.])", text)
    commits = [word for word in commits if re.search(r"\d", word) and re.search("[a-f]", word)]
    assert {known.get(commit) for commit in commits} == addresses
    for url in re.findall(r"git\+\S+", text):
        assert re.search(r"@[0-9a-f]{40}$", url), url


def test_what_is_installed_is_left_alone(tmp_path):
    """A second run of a script asks Python what is there, and calls nothing else."""
    calls = tmp_path / "calls"
    for name in ("python", "conda", "git"):
        program = tmp_path / name
        program.write_text(f'#!/bin/bash\necho {name} "$1" >>{calls}\n')
        program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    for script in SCRIPTS:
        environment = {**os.environ, "PATH": path, "CONDA_PREFIX": str(tmp_path)}
        run = subprocess.run([script], env=environment, capture_output=True, text=True)
        assert run.returncode == 0 and not run.stderr
        assert set(calls.read_text().splitlines()) == {"python -c"}
        del environment["CONDA_PREFIX"]
        run = subprocess.run([script], env=environment, capture_output=True, text=True)
        assert run.returncode == 1 and "run this inside the environment" in run.stderr
