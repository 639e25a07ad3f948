import re
import shutil

import pytest
import yaml

from conftest import ROOT
from pantograph.config import ConfigError
from pantograph.external import file_hash, read_manifest, with_tables

STAGES = {path.stem for path in (ROOT / "rules").glob("*.smk")} | {"hands", "egohmr"}
RULES = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))


@pytest.fixture(scope="module")
def manifest():
    return read_manifest(str(ROOT))


def changed(tmp_path, change):
    """The error of a manifest after change(content)."""
    shutil.copytree(ROOT / "config/schemas", tmp_path / "config/schemas")
    content = yaml.safe_load((ROOT / "external/manifest.yaml").read_text())
    change(content)
    (tmp_path / "external").mkdir()
    (tmp_path / "external/manifest.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError) as error:
        read_manifest(str(tmp_path))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_entry_says_which_stage_needs_it(manifest):
    entries = [*manifest.repositories.values(), *manifest.weights.values()]
    for item in entries:
        for method in item.methods:
            assert method.partition("_")[0] in STAGES, f"{item.name}: {method}"
    for item in manifest.repositories.values():
        assert item.methods or item.note
    assert all(item.methods for item in manifest.weights.values())


def test_two_entries_never_claim_one_file(manifest):
    places = [piece.path for item in manifest.weights.values() for piece in item.pieces]
    assert len(places) == len(set(places))
    folders = [item.path for item in manifest.repositories.values()]
    assert len(folders) == len({folder.lower() for folder in folders})


def test_body_models_need_registration(manifest):
    models = r"(SMPLX?|MANO)_(NEUTRAL|MALE|FEMALE|LEFT|RIGHT)\.(pkl|npz)"
    for item in manifest.weights.values():
        if any(re.fullmatch(f".*/{models}", piece.path) for piece in item.pieces):
            assert item.registration, item.name


def test_rules_name_what_the_manifest_says_they_need(manifest):
    used = {"weights": set(), "repository": set()}
    for name, body in re.findall(r"^rule (\w+):\n((?:[ \t]+.*\n|\n)*)", RULES, re.M):
        for kind, entry in re.findall(r'\b(weights|repository)\("([^"]+)"\)', body):
            find = manifest.file if kind == "weights" else manifest.repository
            assert name in find(entry).methods, f"{name}: {kind} {entry}"
            used[kind].add((name, entry))
        for word in re.findall(r'(\w+)=(?:weights|repository)\("', body):
            assert f"{{params.{word}:q}}" in body, f"{name}: {word} is not quoted"
    methods = {name for name, _ in used["weights"]}
    for item in manifest.weights.values():
        for method in methods & set(item.methods):
            needed = (method, item.name) in used["weights"] or item.optional
            assert needed, f"the manifest says that {method} needs {item.name}"


def test_an_unknown_name_is_one_line(manifest):
    with pytest.raises(ConfigError, match=r"unknown weights 'vino' \(did you mean 'vimo'\?\)"):
        manifest.file("vino")
    with pytest.raises(ConfigError, match="unknown repository 'x'; known: "):
        manifest.repository("x")


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        ("repositories", "commit", "44fbc19", "commit: expected 40 hexadecimal digits"),
        ("repositories", "url", "git@github.com:a/b", "url: expected an https address"),
        ("repositories", "licens", "MIT", "unknown key 'licens' (did you mean 'licence'?)"),
        ("weights", "place", "../x.pt", "place: expected a path without .. inside"),
        ("weights", "place", "/x.pt", "place: expected a path without .. inside"),
        ("weights", "sha256", "XYZ", "sha256: expected 8 to 64 hexadecimal digits"),
        ("weights", "registration", "no", "registration: expected true or false"),
    ],
)
def test_a_mistake_in_the_manifest_is_one_line(tmp_path, kind, key, value, message):
    error = changed(tmp_path, lambda content: content[kind][0].update({key: value}))
    assert error.startswith(f"external/manifest.yaml: {kind}.0") and message in error


def test_a_name_is_there_once(tmp_path):
    error = changed(tmp_path, lambda content: content["weights"].append(content["weights"][0]))
    assert error == "external/manifest.yaml: weights: the name 'smpl' is there twice"


def test_a_manifest_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="external/manifest.yaml: not readable"):
        read_manifest(str(tmp_path))


def test_a_hash_is_sha_256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_hash(tmp_path / "abc") == expected


def test_the_documentation_has_the_tables_of_the_manifest(manifest):
    text = (ROOT / "external/README.md").read_text()
    assert with_tables(text, manifest) == text
    assert all(f"]({item.url})" in text for item in manifest.repositories.values())
