"""A method is one rule, one script, one env, one test file, all of one name."""

import ast
import dataclasses
import re
import sys
import tomllib

import pytest
import yaml

from conftest import ROOT
from pantograph import contracts
from pantograph.client import LOADED
from pantograph.config import script_options

SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
RULES = {
    name: (path, body)
    for path in sorted((ROOT / "rules").glob("*.smk"))
    for name, body in re.findall(r"^rule (\w+):\n((?:[ \t]+.*\n|\n)*)", path.read_text(), re.M)
}
ON_OLD_PYTHON = (
    "__init__",
    "client",
    "launch",
    "worker",
    "cli",
    "contracts",
    "conventions",
    "errors",
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_a_rule_and_a_test(name):
    assert name in RULES
    assert (ROOT / "tests" / f"test_{name}.py").is_file()


@pytest.mark.parametrize("name", RULES)
def test_a_rule_calls_its_script_and_says_what_it_needs(name):
    path, body = RULES[name]
    assert name in SCRIPTS
    assert name.split("_")[0] == path.stem
    for part in ("log:", "conda:", "threads:", "resources:", "shell:"):
        assert part in body, f"{path.name}: rule {name} lacks {part}"
    gpu = ", gpu=True" if "gpu=1" in body else ""
    assert f'method("{name}"{gpu})' in body or f'script("{name}")' in body
    environment = re.search(r'conda:\s+"([^"]+)"', body).group(1)
    assert (path.parent / environment).is_file()


@pytest.mark.parametrize("name", RULES)
def test_a_rule_gives_its_script_what_it_asks_for(name):
    known = script_options(str(ROOT / "scripts" / f"{name}.py"))
    text = RULES[name][1]
    elsewhere = re.search(r"\w+_arguments\b", text)
    if elsewhere:
        text += (ROOT / "rules" / "common.smk").read_text()
    given = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))
    needed = {option for option, words in known.items() if "required" in words}
    assert needed <= given
    if not elsewhere:
        assert given <= set(known)


def test_workers_know_what_methods_load():
    for name, (_, body) in RULES.items():
        loaded = re.findall(r"(\w+)=(?:weights|repository)\(", body)
        for word in (*loaded, "body_model"):
            for option in re.findall(rf"(--[a-z-]+) \{{params\.{word}:q\}}", body):
                assert option in LOADED, f"{name}: {option}"


def test_the_snakefile_is_short():
    assert len((ROOT / "Snakefile").read_text().splitlines()) < 60


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_starts_light(name):
    tree = ast.parse((ROOT / "scripts" / f"{name}.py").read_text())
    heavy = {"jax", "mediapipe", "cv2", "mujoco", "open3d", "pycolmap", "av", "torch"}
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None) or node.names[0].name
            assert module.split(".")[0] not in heavy


@pytest.mark.parametrize("name", ON_OLD_PYTHON)
def test_the_shared_modules_are_python_3_8(name):
    source = (ROOT / "scripts" / "pantograph" / f"{name}.py").read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    newer = {"graphlib", "tomllib", "zoneinfo"}
    allowed = set(sys.stdlib_module_names) - newer | {"h5py", "numpy", "pantograph"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        if isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module.split(".")[0] in allowed


def test_the_environment_has_the_locked_versions():
    lock = dict(
        line.split("==")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    for path in (ROOT / "envs").glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        assert content["channels"][-2:] == ["conda-forge", "nodefaults"]
        assert list(content["dependencies"][-1]) == ["pip"]
    pins = yaml.safe_load((ROOT / "envs/pantograph.yaml").read_text())["dependencies"][-1]["pip"]
    for pin in pins:
        name, version = pin.split("==")
        assert lock[name] == version
    assert "opencv-python" not in lock and "torch" not in lock


def test_the_environment_has_every_package_that_scripts_import():
    provided = {"pantograph"}
    for path in (ROOT / "envs").glob("*.yaml"):
        pins = yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]
        provided |= {re.match(r"[\w.-]+", pin)[0].lower() for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["body"] + project["optional-dependencies"]["smplx"]
    provided |= {re.match(r"[\w-]+", requirement)[0] for requirement in extra}
    distribution = {"cv2": "opencv-contrib-python", "yaml": "pyyaml"}
    for path in (ROOT / "scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            for module in modules:
                top = module.split(".")[0]
                known = top in sys.stdlib_module_names or distribution.get(top, top) in provided
                assert known, f"{path.name} imports {top}"


def test_the_documentation_names_every_field():
    text = (ROOT / "docs" / "conventions.md").read_text()
    common = {field.name for field in dataclasses.fields(contracts.Product)}
    for product in contracts.PRODUCTS.values():
        for owner in (product, product.PERSON):
            for field in dataclasses.fields(owner) if owner else ():
                documented = field.name in common | {"people"} or f"`{field.name}`" in text
                assert documented, f"{owner.__name__}.{field.name}"
    assert all(f"`{name}`" in text for name in common)
