"""What every method with a model of PyTorch needs: its device, its files and its memory."""

from __future__ import annotations

import contextlib
import os
import re

from .errors import PantographError


def device(name=""):
    """The torch.device of this name; without a name the GPU if there is one, else the CPU."""
    import torch

    there = torch.cuda.is_available()
    if not name:
        name = "cuda" if there else "cpu"
    if name.startswith("cuda") and not there:
        raise PantographError(
            f"--device {name}: expected a GPU, found none that PyTorch {torch.__version__} can "
            "use; check its driver, or set --device cpu"
        )
    return torch.device(name)


def precision(name, where):
    """The torch.dtype of `float32`, `float16`, `bfloat16` or, for the GPU's or the CPU's own
    choice, `auto`."""
    import torch

    if name == "auto":
        return torch.bfloat16 if where.type == "cuda" else torch.float32
    return getattr(torch, name)


def check_files(path, what, route="videomimic"):
    """Raise PantographError unless `path` exists; `what` says what belongs there."""
    if not os.path.exists(path):
        raise PantographError(
            f"{path}: expected {what}, found nothing; `pantograph doctor --route {route}` says "
            "how to get it"
        )


def stay_offline():
    """Keep the model libraries from looking for files on the network; call before importing
    them."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"


@contextlib.contextmanager
def memory(advice):
    """Turn a GPU that is full into a PantographError that says how much there is and was needed.

    advice: what to set.
    """
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        wanted = re.search(r"allocate ([\d.]+ [KMGT]iB)", str(error))
        free, total = torch.cuda.mem_get_info()
        raise PantographError(
            f"the GPU's memory is full: it has {total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB of "
            f"them free, and {wanted.group(1) if wanted else 'more'} was asked for; {advice}"
        ) from error
