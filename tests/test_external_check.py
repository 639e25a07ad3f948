import shutil

import pytest
import yaml

import external_check
from conftest import ROOT
from pantograph.errors import PantographError


@pytest.fixture
def workflow(tmp_path):
    shutil.copytree(ROOT / "config/schemas", tmp_path / "config/schemas")
    (tmp_path / "external/weights").mkdir(parents=True)
    content = yaml.safe_load((ROOT / "external/manifest.yaml").read_text())
    common = {"origin": "the owner", "licence": "MIT", "registration": False, "methods": ["body_x"]}
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    content["weights"] = [
        {"name": "whole", "place": "whole.pt", "size": 3, "sha256": sha256, **common},
        {"name": "short", "place": "short.pt", "sha256": sha256[:8], **common},
    ]
    (tmp_path / "external/manifest.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_what_is_not_there_is_no_error(workflow, capsys):
    external_check.main(["--workflow", str(workflow)])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["whole", "short"])
def test_the_right_file_passes(workflow, capsys, name):
    (workflow / f"external/weights/{name}.pt").write_bytes(b"abc")
    external_check.main(["--workflow", str(workflow)])
    assert capsys.readouterr().out == f"external/weights/{name}.pt  ok  3 bytes, hash checked\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("whole", b"abcd", "whole.pt has 4 bytes, needs 3"),
        ("whole", b"abd", "whole.pt has another SHA-256 than ba7816bf8f01"),
        ("short", b"abd", "short.pt has another SHA-256 than ba7816bf"),
        ("short", b"", "short.pt is empty"),
        ("short", b"<!DOCTYPE html><html>", "short.pt is a web page"),
        ("short", b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    ],
)
def test_another_file_is_one_line(workflow, name, content, message):
    (workflow / f"external/weights/{name}.pt").write_bytes(content)
    with pytest.raises(PantographError) as error:
        external_check.main(["--workflow", str(workflow)])
    assert message in str(error.value) and "\n" not in str(error.value)
