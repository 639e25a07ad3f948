"""The code and the checkpoints of other projects: found or named in one line, never run unasked.

Runs on Python 3.8, since those projects bring their own environments.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import sys
import types

from .errors import PantographError


def module(name, folder=""):
    """Import a module of another project, from the clone in `folder` where one is given.

    Raises PantographError where the module, or a package that it imports, is not there.
    """
    folder = os.path.abspath(folder) if folder else ""
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        place = f" from {folder}" if folder else ""
        raise PantographError(
            f"expected to import {name}{place}, found: {error}; run with --use-conda, "
            "complete the clone with its submodules; `pantograph doctor` says what is missing"
        ) from error


@contextlib.contextmanager
def hollow(*names):
    """Modules with nothing in them, in the place of those of `names` that are not installed.

    For packages that other projects import at their top and a job never uses, such as clients for
    downloads. Any attribute of a hollow module is an empty exception class.
    """
    made = []
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = _Hollow(name)
            made.append(name)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


class _Hollow(types.ModuleType):
    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


def load_checkpoint(path):
    """What a torch checkpoint holds, on the CPU, without running code that it may carry.

    Tensors, containers and plain values come through, and so do numpy's arrays, scalars and
    dtypes where torch lets a list of allowed classes be given (2.5 and later). Raises
    PantographError for a file that asks for anything else or is no checkpoint.
    """
    import torch

    allow = getattr(torch.serialization, "safe_globals", None)
    try:
        with allow(_numpy_classes()) if allow else contextlib.nullcontext():
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise PantographError(
            f"{path}: expected a checkpoint of tensors and plain values, found: {reason[0]}"
        ) from error


def _numpy_classes():
    import numpy as np

    try:
        from numpy._core import multiarray
    except ImportError:
        from numpy.core import multiarray
    names = getattr(getattr(np, "dtypes", None), "__all__", [])
    kinds = [getattr(np.dtypes, name) for name in names]
    return [multiarray.scalar, multiarray._reconstruct, np.ndarray, np.dtype, *kinds]


def load_parameters(network, state, needless=()):
    """Load a state dict into a torch module, all of whose parameters and buffers it must hold.

    needless: prefixes of names that may be missing. Names that the module lacks are ignored.
    Raises PantographError where one is missing or has another shape.
    """
    try:
        missing = network.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise PantographError(f"the checkpoint does not fit: {lines[1]}") from error
    missing = [name for name in missing if not name.startswith(tuple(needless))]
    if missing:
        raise PantographError(
            f"the checkpoint lacks {len(missing)} of the model's parameters, e.g. {missing[0]}"
        )
