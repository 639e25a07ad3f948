"""Both routes in environments of their own, made by a stand-in for conda."""

import json
import re
import shutil

import pytest

from conftest import ROOT
from standin_conda import Conda
from test_workflow import snakemake

STAGES = {
    "cpu": {"pantograph"},
    "videomimic": {"pantograph", "vm1rs", "vm1recon"},
}


class Project:
    """The workflow with a damaged video, so that every stage runs and passes the reason on."""

    def __init__(self, folder):
        self.flow = folder / "flow"
        self.flow.mkdir()
        for name in ("Snakefile", "scripts", "profiles", "resources", "config"):
            (self.flow / name).symlink_to(ROOT / name)
        for name in ("rules", "envs"):
            shutil.copytree(ROOT / name, self.flow / name)
        # of a platform whose packages have gone since
        pins = self.flow / "envs" / "pantograph.linux-64.pin.txt"
        pins.write_text("@EXPLICIT\nhttps://channel.invalid/linux-64/python-3.11.0-0.conda\n")
        (self.flow / "external").mkdir()
        shutil.copy(ROOT / "external" / "manifest.yaml", self.flow / "external")
        self.conda = Conda(folder / "conda")
        self.prefix = folder / "environments"
        self.folder = folder / "work"
        self.folder.mkdir()
        (self.folder / "clip.mp4").write_text("no video")
        self.created = self.run("--conda-create-envs-only")

    def run(self, *arguments, settings=()):
        return snakemake(
            self.folder,
            *("-s", self.flow / "Snakefile", "-j2", "--sdm", "conda", *arguments),
            *("--conda-prefix", self.prefix, "--config", "videos=clip.mp4"),
            *("route=[cpu, videomimic]", *settings),
            env=self.conda.environment,
        )

    def environments(self):
        """{name of the file in envs: folder of the environment}"""
        found = {}
        for copy in self.prefix.glob("*.yaml"):
            name = next(p.stem for p in (ROOT / "envs").glob("*.yaml") if same(p, copy))
            found[name] = copy.with_suffix("")
        return found

    def starts(self, name):
        """(command, PYTHONPATH, CONDA_PREFIX) of each start of an environment's Python."""
        notes = self.environments()[name] / "starts"
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [json.loads(line) for line in lines]


def same(one, other):
    return one.read_bytes() == other.read_bytes()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("conda"))


def test_every_environment_is_made_once(project):
    assert project.created.returncode == 0, project.created.stderr
    assert set(project.environments()) == set.union(*STAGES.values())
    made = [words for words in project.conda.calls() if words[:2] == ["env", "create"]]
    assert len(made) == len(project.environments())


def test_an_environment_whose_pins_fail_is_made_from_its_file(project):
    tried = [words for words in project.conda.calls() if words[0] == "create"]
    assert len(tried) == 1 and "pantograph" in project.environments()
    assert "Trying regular environment definition file" in project.created.stderr


def test_what_conda_cannot_install_is_looked_for_inside_the_environment(project):
    # by envs/vm1recon.post-deploy.sh, which finds all of it there
    asked = [" ".join(words) for words, _, _ in project.starts("vm1recon")]
    for package in ("xformers", "torch_scatter", "lietorch", "droid_backends", "nksr"):
        assert any(f"import torch, {package}" in words for words in asked)
    prefix = str(project.environments()["vm1recon"])
    assert all(where == prefix for _, _, where in project.starts("vm1recon"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["false", "true"])
def test_every_method_runs_in_its_environment(project, workers):
    results, logs = project.folder / "results", project.folder / "logs"
    for folder in (results, logs):
        shutil.rmtree(folder, ignore_errors=True)
    before = {name: len(project.starts(name)) for name in STAGES["videomimic"]}
    run = project.run(settings=[f"workers={workers}"])
    assert run.returncode == 0, run.stdout + run.stderr
    assert (results / "summary.tsv").read_text().count("rejected") == 2
    ran = {}
    for name, environment in project.environments().items():
        for command, search_path, prefix in project.starts(name)[before[name] :]:
            assert search_path is None and prefix == str(environment)
            for word in map(str, command):
                if word.endswith("launch.py"):
                    words = [w for w in command[command.index(word) + 1 :] if w != "--gpu"]
                    ran.setdefault(words[0], set()).add(name)
    named = {}
    for path in (ROOT / "rules").glob("*.smk"):
        text = path.read_text()
        for rule, file in re.findall(r'^rule (\w+):.*?"../envs/(\w+)\.yaml"', text, re.M | re.S):
            named[rule] = {file}
    assert {rule: named[rule] for rule in ran} == ran
    assert len(ran) > 20
    usages = [json.loads(p.read_text()) for p in logs.glob("**/*.usage.json")]
    pids = [usage.get("worker") for usage in usages]
    assert all(pids) == (workers == "true")
    if workers == "true":
        launched = [
            command[0]
            for name in STAGES["videomimic"]
            for command, _, _ in project.starts(name)[before[name] :]
            if any(str(word).endswith("worker.py") for word in command)
        ]
        # the workers' Python is that of their environment
        homes = {str(folder / "bin") for folder in project.environments().values()}
        assert {path.rpartition("/")[0] for path in launched} == homes
