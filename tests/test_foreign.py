"""Code and checkpoints of other projects: what is missing is said, nothing is run unasked."""

import os

import numpy as np
import pytest

from pantograph import foreign
from pantograph.errors import PantographError

torch = pytest.importorskip("torch")


class Command:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_checkpoint_of_tensors_and_plain_values(tmp_path):
    content = {
        "model": {"a": torch.arange(3.0)},
        "epoch": 3,
        "best": np.float64(0.5),
        "curve": np.arange(4),
    }
    torch.save(content, tmp_path / "good.pth")
    found = foreign.load_checkpoint(tmp_path / "good.pth")
    assert torch.equal(found["model"]["a"], content["model"]["a"])
    assert found["best"] == 0.5 and np.array_equal(found["curve"], content["curve"])


def test_a_checkpoint_with_code_is_refused(tmp_path):
    torch.save({"model": Command()}, tmp_path / "bad.pth")
    with pytest.raises(PantographError, match="expected a checkpoint of tensors"):
        foreign.load_checkpoint(tmp_path / "bad.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(PantographError, match="expected a checkpoint of tensors"):
        foreign.load_checkpoint(tmp_path / "cut.pth")


def test_parameters_must_fit():
    network = torch.nn.Linear(2, 3)
    state = network.state_dict()
    foreign.load_parameters(network, {**state, "other": torch.zeros(1)})
    foreign.load_parameters(network, {"weight": state["weight"]}, needless=("bias",))
    with pytest.raises(PantographError, match="lacks 1 of the model's parameters, e.g. bias"):
        foreign.load_parameters(network, {"weight": state["weight"]})
    with pytest.raises(PantographError, match="does not fit: size mismatch for bias"):
        foreign.load_parameters(network, {**state, "bias": torch.zeros(5)})


def test_a_missing_package(tmp_path):
    with pytest.raises(PantographError, match="expected to import no_such_package from"):
        foreign.module("no_such_package", str(tmp_path))
    (tmp_path / "needy_package.py").write_text("import no_such_need")
    with pytest.raises(PantographError, match="found: No module named 'no_such_need'"):
        foreign.module("needy_package", str(tmp_path))


def test_a_hollow_module_lets_an_import_pass(tmp_path):
    (tmp_path / "downloading_package.py").write_text(
        "import no_such_client.errors\nimport json\nfrom no_such_client.errors import Broken\n"
    )
    with foreign.hollow("no_such_client", "no_such_client.errors", "json"):
        package = foreign.module("downloading_package", str(tmp_path))
    assert issubclass(package.Broken, Exception) and package.json.dumps([1]) == "[1]"
    with pytest.raises(PantographError, match="no_such_client"):
        foreign.module("no_such_client", str(tmp_path))
