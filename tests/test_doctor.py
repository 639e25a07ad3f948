import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from conftest import ROOT
from pantograph.__main__ import COMMANDS, main

DOG = b"the quick brown fox jumps over the lazy dog"
DOG_SHA256 = "05c6e08f1d9fdafa03147fcb8f82f124c76d2f70e3d989dc8aadb5e7d7450bec"
ENVIRONMENT = """channels: [conda-forge, nodefaults]
dependencies:
  - python =3.12
  - pip
  - pip:
      - numpy==1.26.4
"""


class Workflow:
    """A small workflow with route `cpu` and route `far`, whose body and scene are others' methods.

    programs: a folder that is all of PATH; no GPU, no conda.
    """

    def __init__(self, folder):
        self.folder = folder
        for part in ("config/schemas", "config/routes"):
            shutil.copytree(ROOT / part, folder / part)
        for path in (folder / "config/routes").glob("*.yaml"):
            if path.stem != "cpu":
                path.unlink()
        for name in ("Snakefile", "Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)
        for name in ("scripts", "rules", "envs", "external"):
            (folder / name).mkdir()
        route = yaml.safe_load((ROOT / "config/routes/cpu.yaml").read_text())
        for stage, method in route.items():
            self.add(stage, method, "pantograph")
        shutil.copy(ROOT / "envs/pantograph.yaml", folder / "envs")
        (folder / "envs/far.yaml").write_text(ENVIRONMENT)
        self.add("body", "far", "far", gpu=True)
        self.add("scene", "far", "far", gpu=True)
        route.update(body="far", scene="far")
        (folder / "config/routes/far.yaml").write_text(yaml.safe_dump(route, sort_keys=False))
        self.origin = folder / "origin"
        self.commit = self.repository(self.origin)
        common = {"licence": "MIT", "registration": False}
        self.manifest = {
            "environments": [
                {"name": "pantograph", "python": "3.11"},
                {"name": "far", "python": "3.12", "cuda": "12.4"},
            ],
            "memory": [{"method": "scene_far", "gpu_gb": 24, "for": "300 frames"}],
            "repositories": [
                {
                    "name": "code",
                    "url": "https://example.org/code",
                    "commit": self.commit,
                    "licence": "MIT",
                    "methods": ["body_far"],
                }
            ],
            "weights": [
                {
                    "name": "net",
                    "place": "far/net.pt",
                    "size": len(DOG),
                    "sha256": DOG_SHA256,
                    "origin": "https://example.org/net.pt",
                    "methods": ["body_far", "scene_far"],
                    **common,
                },
                {
                    "name": "model",
                    "place": "far/model",
                    "files": [{"file": "config.json"}, {"file": "model.bin"}],
                    "origin": "https://example.org/model",
                    "methods": ["scene_far"],
                    **common,
                },
                {
                    "name": "person",
                    "place": "person.pkl",
                    "origin": "https://example.org/person",
                    "methods": ["body_far"],
                    "licence": "research only",
                    "registration": True,
                },
                {
                    "name": "extra",
                    "place": "extra.pt",
                    "origin": "https://example.org/extra",
                    "optional": "for moving cameras",
                    "methods": ["body_far"],
                    **common,
                },
            ],
        }
        self.save()
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name in ("git", "make", "bash", "sh", "env"):
            (self.programs / name).symlink_to(shutil.which(name))

    def add(self, stage, method, environment, gpu=False):
        (self.folder / f"scripts/{stage}_{method}.py").touch()
        with open(self.folder / f"rules/{stage}.smk", "a") as stream:
            stream.write(
                f'rule {stage}_{method}:\n    conda:\n        "../envs/{environment}.yaml"\n'
            )
            stream.write("    resources:\n        gpu=1,\n\n\n" if gpu else "\n\n")

    def save(self):
        text = yaml.safe_dump(self.manifest)
        (self.folder / "external/manifest.yaml").write_text(text)

    def repository(self, folder):
        folder.mkdir()
        git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder))
        for words in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "one")):
            subprocess.run([*git, *words], check=True)
        run = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        return run.stdout.strip()

    def program(self, name, text):
        path = self.programs / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def put(self, place, content):
        path = self.folder / "external/weights" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def clone(self):
        path = self.folder / "external/repos/code"
        path.parent.mkdir(parents=True)
        subprocess.run(["git", "clone", "-q", str(self.origin), str(path)], check=True)
        return path

    def environment(self, name, numpy="1.26.4"):
        """What Snakemake leaves of an environment that it has made."""
        place = self.folder / ".snakemake/conda" / f"{name}_"
        site = place / "lib/python3.12/site-packages"
        wanted = (self.folder / "envs" / f"{name}.yaml").read_text()
        for pin in yaml.safe_load(wanted)["dependencies"][-1]["pip"]:
            package, version = pin.split("==")
            version = numpy if package == "numpy" else version
            info = site / f"{package}-{version}.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Name: {package}\nVersion: {version}\n")
        place.with_suffix(".yaml").write_text(wanted)
        place.with_suffix(".env_setup_done").touch()

    def complete(self):
        """Everything that route `far` needs."""
        self.program("conda", "echo conda 25.1.0")
        self.gpu("NVIDIA A40, 46068, 550.54.15", "12.4")
        self.clone()
        self.put("far/net.pt", DOG)
        self.put("far/model/config.json", b"{}")
        self.put("far/model/model.bin", b"1234")
        self.put("person.pkl", b"person")
        self.environment("far")
        self.environment("pantograph")

    def gpu(self, row, cuda):
        head = f"| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: {cuda}   |"
        self.program("nvidia-smi", f"[[ $# == 0 ]] && echo '{head}' || echo '{row}'")


@pytest.fixture
def workflow(tmp_path, monkeypatch):
    made = Workflow(tmp_path)
    monkeypatch.setenv("PATH", str(made.programs))
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def doctor(workflow, capsys):
    def run(*words):
        code = main(["doctor", "--workflow", str(workflow.folder), *words])
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def found(doctor):
    """{(kind, name): finding} of route `far`, and the exit code."""

    def run(*words):
        code, out = doctor("--route", "far", "--json", *words)
        route = json.loads(out)["routes"]["far"]
        assert route["ready"] == (code == 0)
        findings = {(item["kind"], item["name"]): item for item in route["findings"]}
        assert len(findings) == len(route["findings"])
        for item in findings.values():
            assert bool(item["step"]) == (item["status"] != "ok"), item
        return findings, code

    return run


# ---------------------------------------------------------------------------------------------
# a bare machine


def test_a_bare_machine_can_run_cpu_and_hears_what_the_other_route_lacks(doctor):
    code, out = doctor()
    assert code == 0
    assert "route cpu: can run\n" in out
    assert "route far: cannot run, 8 things missing or wrong\n" in out
    assert re.search(r"^  GPU +missing  nvidia-smi not found", out, re.M)
    assert re.search(r"^  conda +missing  not found; install conda 24.7.1 or newer", out, re.M)
    assert re.search(
        r"^  needs first +conda, GPU, environment pantograph, environment far$", out, re.M
    )
    assert re.search(r"^  body far +repository code, net, person$", out, re.M)
    assert re.search(r"^  scene far +net, model$", out, re.M)
    assert "extra" not in out


def test_one_route_says_where_each_thing_is_from(doctor):
    code, out = doctor("--route", "far")
    assert code == 1
    lines = [line.strip() for line in out.splitlines()]
    for step, item in [
        ("snakemake external_far", "code    missing  not cloned"),
        ("take https://example.org/net.pt", "net     missing  far/net.pt"),
        (
            "take https://example.org/model",
            "model   missing  far/model/ with config.json, model.bin",
        ),
        ("register for https://example.org/person", "person  missing  person.pkl"),
    ]:
        assert re.sub(" +", " ", lines[lines.index(step) + 1]) == re.sub(" +", " ", item)
    step = "snakemake --use-conda --conda-create-envs-only --config route=far"
    made = lines[lines.index(step) + 1 :][:2]
    assert [line.split() for line in made] == [
        ["pantograph", "missing", "not", "made"],
        ["far", "missing", "not", "made"],
    ]


def test_route_cpu_needs_the_packages_only(doctor):
    code, out = doctor("--route", "cpu")
    assert code == 0 and "GPU" not in out and "conda" not in out


def test_a_missing_package_stops_route_cpu(doctor, workflow, monkeypatch):
    version = importlib.metadata.version
    lies = {"jax": "0.4.1"}

    def told(name):
        if name == "mujoco":
            raise importlib.metadata.PackageNotFoundError(name)
        return lies.get(name) or version(name)

    monkeypatch.setattr(importlib.metadata, "version", told)
    code, out = doctor("--route", "cpu")
    assert code == 1
    assert re.search(r"packages +missing  mujoco, jax 0.4.1 \(needs <0.8,>=0.6\); make venv", out)
    code, out = doctor()
    assert code == 1


# ---------------------------------------------------------------------------------------------
# a machine with everything, then one thing spoiled


def test_a_complete_machine_can_run(found, workflow):
    workflow.complete()
    findings, code = found("--hash")
    assert code == 0
    assert {item["status"] for item in findings.values()} == {"ok"}
    detail = findings["machine", "GPU"]["detail"]
    assert detail == "NVIDIA A40, 45 GB, driver 550.54.15, CUDA 12.4"
    assert findings["weights", "net"]["detail"] == "43 bytes, hash checked"
    assert findings["weights", "model"]["detail"] == "6 bytes"
    assert findings["weights", "net"]["methods"] == ["body_far", "scene_far"]


def spoil_hash(workflow):
    workflow.put("far/net.pt", DOG.replace(b"dog", b"cat"))


def spoil_size(workflow):
    workflow.put("far/net.pt", DOG + b"!")


def spoil_licensed(workflow):
    (workflow.folder / "external/weights/person.pkl").unlink()


def spoil_part(workflow):
    (workflow.folder / "external/weights/far/model/model.bin").unlink()


def spoil_page(workflow):
    workflow.put("person.pkl", b"\n<!DOCTYPE html><title>Sign in</title>")


def spoil_link(workflow):
    path = workflow.folder / "external/weights/person.pkl"
    path.unlink()
    path.symlink_to("gone.pkl")


def spoil_commit(workflow):
    workflow.manifest["repositories"][0]["commit"] = "1" * 40
    workflow.save()


def spoil_clone(workflow):
    path = workflow.folder / "external/repos/code"
    shutil.rmtree(path / ".git")


def spoil_driver(workflow):
    workflow.gpu("NVIDIA A40, 46068, 470.82.01", "11.4")


def spoil_card(workflow):
    workflow.program("nvidia-smi", "echo 'No devices were found'; exit 6")


def spoil_conda(workflow):
    workflow.program("conda", "echo conda 23.11.0")


def spoil_recipe(workflow):
    path = workflow.folder / "envs/far.yaml"
    path.write_text(path.read_text().replace("1.26.4", "1.26.3"))


def spoil_deploy(workflow):
    (workflow.folder / "envs/far.post-deploy.sh").write_text("#!/bin/bash\n")


def spoil_package(workflow):
    shutil.rmtree(workflow.folder / ".snakemake/conda/far_")
    workflow.environment("far", numpy="2.1.0")


@pytest.mark.parametrize(
    ("spoil", "name", "status", "detail", "step"),
    [
        (spoil_size, "net", "wrong", "net.pt has 44 bytes, needs 43", "take https://"),
        (spoil_licensed, "person", "missing", "person.pkl", "register for https://example.org/"),
        (spoil_part, "model", "missing", "far/model/ lacks model.bin", "take https://"),
        (spoil_page, "person", "wrong", "person.pkl is a web page", "register for"),
        (spoil_link, "person", "missing", "person.pkl", "register for"),
        (spoil_commit, "code", "wrong", "needs 1111111111", "remove external/repos/code, then"),
        (spoil_clone, "code", "wrong", "not a clone of git", "remove external/repos/code, then"),
        (spoil_driver, "GPU", "wrong", "CUDA 11.4", "update the driver to one for CUDA 12.4"),
        (spoil_card, "GPU", "missing", "nvidia-smi: No devices were found", "install the driver"),
        (spoil_conda, "conda", "wrong", "version 23.11.0", "update to 24.7.1"),
        (spoil_recipe, "far", "missing", "not made", "snakemake --use-conda"),
        (spoil_deploy, "far", "missing", "not made", "snakemake --use-conda"),
        (spoil_package, "far", "wrong", "numpy 2.1.0 (needs 1.26.4)", "snakemake --use-conda"),
    ],
)
def test_one_spoiled_thing_is_named(found, workflow, spoil, name, status, detail, step):
    workflow.complete()
    spoil(workflow)
    findings, code = found()
    bad = [item for item in findings.values() if item["status"] != "ok"]
    assert code == 1
    assert [(item["name"], item["status"]) for item in bad] == [(name, status)]
    assert detail in bad[0]["detail"] and bad[0]["step"].startswith(step)


def test_a_wrong_hash_is_found_when_asked(found, workflow):
    workflow.complete()
    spoil_hash(workflow)
    assert found()[1] == 0
    findings, code = found("--hash")
    assert code == 1
    item = findings["weights", "net"]
    assert item["status"] == "wrong"
    assert item["detail"] == f"net.pt has another SHA-256 than {DOG_SHA256[:12]}"


def test_little_memory_is_said_but_no_obstacle(found, workflow):
    workflow.complete()
    workflow.gpu("NVIDIA GeForce RTX 3060, 12288, 550.54.15", "12.4")
    findings, code = found()
    item = findings["machine", "GPU memory"]
    assert code == 0 and item["status"] == "wrong"
    assert item["detail"] == "12 GB; scene_far takes 24 GB for 300 frames"


def test_a_full_disk_is_named(found, workflow):
    free = shutil.disk_usage(workflow.folder).free
    workflow.manifest["weights"][0]["size"] = 10 * free
    workflow.save()
    item = found()[0]["machine", "disk"]
    assert item["status"] == "wrong" and "the missing weights take" in item["detail"]


def test_nothing_is_changed(doctor, workflow):
    def state():
        paths = sorted(workflow.folder.rglob("*"))
        return [(path, path.lstat().st_mtime_ns) for path in paths]

    workflow.complete()
    before = state()
    doctor("--hash")
    doctor("--route", "far")
    assert state() == before


# ---------------------------------------------------------------------------------------------
# the command


def pantograph(*words):
    return subprocess.run(
        [sys.executable, "-m", "pantograph", *words],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--route", "cpuu"), "error: --route: unknown route 'cpuu' (did you mean 'cpu'?)"),
        (("--workflow", "/"), "error: --workflow: expected the folder of the Snakefile"),
    ],
)
def test_a_mistake_is_one_line(words, message):
    run = pantograph("doctor", *words)
    assert run.returncode == 1 and run.stderr.startswith(message) and run.stderr.count("\n") == 1


def test_this_project_fits_on_one_screen():
    lines = pantograph("doctor").stdout.splitlines()
    assert len(lines) <= 50 and max(map(len, lines)) <= 110
    routes = [path.stem for path in (ROOT / "config/routes").glob("*.yaml")]
    for route in routes:
        assert any(line.startswith(f"route {route}: ") for line in lines)
        assert len(pantograph("doctor", "--route", route).stdout.splitlines()) <= 60


def test_commands_are_listed_without_importing_them():
    code = (
        "import sys; from pantograph.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "loaded = [name for name in sys.modules if name.startswith('pantograph.commands')]\n"
        "assert not loaded, loaded"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert all(f"    {name} " in run.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_module(name):
    assert os.path.isfile(ROOT / "scripts/pantograph/commands" / f"{name}.py")
    run = pantograph(name, "--help")
    assert run.returncode == 0 and COMMANDS[name].capitalize()[:30] in run.stdout
