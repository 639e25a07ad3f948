import os
import subprocess
import sys

import pytest
import yaml

import external_clone
from conftest import ROOT
from pantograph.clones import CloneError, flaw

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")


def git(folder, *words):
    run = subprocess.run([*GIT, *words], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def repository(folder, submodule=None):
    """A repository with two commits; returns the first one."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    if submodule:
        git(folder, "submodule", "--quiet", "add", str(submodule), "part")
    (folder / "code.py").write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    first = git(folder, "rev-parse", "HEAD")
    (folder / "code.py").write_text("two\n")
    git(folder, "commit", "--quiet", "-am", "two")
    return first


@pytest.fixture
def origin(tmp_path):
    commit = repository(tmp_path / "origin")
    return tmp_path / "origin", commit


def arguments(tmp_path, url, commit):
    path = tmp_path / "repos" / "clone"
    out = path / ".git" / "pantograph"
    words = ["--url", url, "--commit", commit, "--path", path, "--out", out]
    return path, out, [str(word) for word in words]


def test_a_clone_is_at_its_commit(tmp_path, origin):
    path, out, words = arguments(tmp_path, *origin)
    # as Snakemake does for the output
    out.parent.mkdir(parents=True)
    external_clone.main(words)
    assert (path / "code.py").read_text() == "one\n"
    assert out.read_text().strip() == origin[1]
    assert flaw(path, origin[1]) == ""
    assert git(path, "status", "--porcelain") == ""
    assert [item.name for item in path.parent.iterdir()] == ["clone"]


def test_a_second_time_keeps_what_is_there(tmp_path, origin):
    path, out, words = arguments(tmp_path, *origin)
    external_clone.main(words)
    (path / "mine.txt").write_text("keep")
    out.unlink()
    external_clone.main(words)
    assert (path / "mine.txt").read_text() == "keep" and out.is_file()


def test_another_commit_is_not_overwritten(tmp_path, origin):
    path, _, words = arguments(tmp_path, *origin)
    external_clone.main(words)
    latest = git(origin[0], "rev-parse", "HEAD")
    words[words.index(origin[1])] = latest
    with pytest.raises(CloneError) as error:
        external_clone.main(words)
    expected = f"at {origin[1][:10]}, needs {latest[:10]}; move it away to have it cloned anew"
    assert str(error.value) == f"{path}: {expected}"
    assert (path / "code.py").read_text() == "one\n"


def test_a_folder_of_the_user_is_not_overwritten(tmp_path, origin):
    path, _, words = arguments(tmp_path, *origin)
    path.mkdir(parents=True)
    (path / "mine.txt").write_text("keep")
    with pytest.raises(CloneError, match="not a clone of git; move it away"):
        external_clone.main(words)
    assert (path / "mine.txt").read_text() == "keep"


def test_a_clone_without_its_submodules_is_not_whole(tmp_path, origin, monkeypatch):
    for number, (key, value) in enumerate([("protocol.file.allow", "always")]):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    outer = repository(tmp_path / "outer", origin[0])
    path, _, words = arguments(tmp_path, tmp_path / "outer", outer)
    external_clone.main(words)
    assert flaw(path, outer) == ""
    assert flaw(path, outer, submodules=True) == "without its submodules part"
    external_clone.main([*words[:5], str(tmp_path / "whole"), *words[6:], "--submodules"])
    assert flaw(tmp_path / "whole", outer, submodules=True) == ""
    git(tmp_path / "whole" / "part", "checkout", "--quiet", "HEAD~1")
    found = flaw(tmp_path / "whole", outer, submodules=True)
    assert found == "with other commits of its submodules part"


@pytest.mark.parametrize("broken", ["url", "commit"])
def test_what_cannot_be_had_is_one_line_and_leaves_nothing(tmp_path, origin, broken):
    url, commit = origin
    if broken == "url":
        url = tmp_path / "nowhere"
    else:
        commit = "0" * 40
    path, _, words = arguments(tmp_path, url, commit)
    program = [sys.executable, str(ROOT / "scripts" / "external_clone.py"), *words]
    run = subprocess.run(program, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("error: git ") and run.stderr.count("\n") == 1
    assert list(path.parent.iterdir()) == []


def snakemake(workflow, *words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", str(workflow / "Snakefile"), *words],
        cwd=workflow,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_clones_are_made_on_request_only(tmp_path, origin):
    for name in ("Snakefile", "rules", "scripts", "config", "profiles", "resources", "envs"):
        (tmp_path / "flow").mkdir(exist_ok=True)
        (tmp_path / "flow" / name).symlink_to(ROOT / name)
    flow = tmp_path / "flow"
    content = yaml.safe_load((ROOT / "external/manifest.yaml").read_text())
    content["repositories"][0]["commit"] = origin[1]
    content["repositories"][0]["methods"] = ["body_landmarks"]
    (flow / "external").mkdir()
    (flow / "external/manifest.yaml").write_text(yaml.safe_dump(content))
    url = content["repositories"][0]["url"]
    elsewhere = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{origin[0]}.insteadOf",
        "GIT_CONFIG_VALUE_0": url,
    }
    assert "external_" not in snakemake(flow, "-n").stdout
    path = flow / "external/repos" / content["repositories"][0]["name"]
    run = snakemake(flow, "-j1", "external_cpu", **elsewhere)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (path / "code.py").read_text() == "one\n"
    run = snakemake(flow, "-j1", "external_check")
    assert run.returncode == 0 and f"at {origin[1][:10]}" in run.stdout
    git(path, "checkout", "--quiet", git(origin[0], "rev-parse", "HEAD"))
    run = snakemake(flow, "-j1", "external_check")
    assert run.returncode == 1 and "not as external/manifest.yaml says" in run.stdout + run.stderr
