"""Read pickles of arrays without running any of their code.

What is allowed: numpy's arrays, scalars and dtypes, bytes (`_codecs.encode`), and the plain state
of `scipy.sparse` csc and csr matrices and of `chumpy`'s `Ch` and `Select`, whose classes are not
loaded. Everything else in a file is refused.
"""

from __future__ import annotations

import pickle

import numpy as np


def load(stream):
    """What the pickle in a binary stream holds; `evaluate` turns its stubs into arrays.

    Raises pickle.UnpicklingError where the file asks for another class, and whatever a damaged
    file leads to.
    """
    return _Unpickler(stream, encoding="latin1").load()


def evaluate(value):
    """The array that a stub stands for, other values as they are; sparse matrices become dense."""
    matrix = sparse(value)
    if matrix is not None:
        return matrix.toarray()
    if not isinstance(value, _Stub):
        return value
    state = value.state
    if value.kind == "chumpy.ch.Ch":
        return np.asarray(state["x"])
    flat = np.asarray(evaluate(state["a"])).ravel()[np.asarray(state["idxs"])]
    return flat.reshape(state["preferred_shape"]) if "preferred_shape" in state else flat


def sparse(value):
    """The scipy.sparse matrix that a stub stands for, None for anything else."""
    name = type(value).__name__
    if not isinstance(value, _Stub) or name not in _SPARSE:
        return None
    from scipy import sparse as matrices

    state = value.state
    parts = (state["data"], state["indices"], state["indptr"])
    return getattr(matrices, name)(parts, shape=state["_shape"])


def load_objects(archive, name):
    """The list of objects in an object array `name` of an open `.npz` (a zipfile.ZipFile).

    The pickle inside is read as by `load`. Raises ValueError for another kind of array.
    """
    with archive.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0}
        readers[2, 0] = np.lib.format.read_array_header_2_0
        if version not in readers:
            raise ValueError(f"{name}: expected .npy version 1.0 or 2.0, found {version}")
        dtype = readers[version](stream)[2]
        if not dtype.hasobject:
            raise ValueError(f"{name}: expected an array of objects, found {dtype}")
        return list(load(stream))


# ---------------------------------------------------------------------------------------------

_SPARSE = ("csc_matrix", "csr_matrix")


class _Stub:
    # an object of a class that is not loaded: its name and what it holds
    kind = ""

    def __setstate__(self, state):
        self.state = state


def _stub(module, name):
    return type(name, (_Stub,), {"kind": f"{module}.{name}"})


def _reconstruct(cls, base, state):
    # copyreg's helper of old pickles, for stubs only
    if not (isinstance(cls, type) and issubclass(cls, _Stub)):
        raise pickle.UnpicklingError(f"refused to rebuild {cls!r}")
    return cls()


class _Unpickler(pickle.Unpickler):
    """Builds numpy arrays and stubs, and nothing else."""

    def find_class(self, module, name):
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            if name in ("_reconstruct", "scalar"):
                return getattr(np.core.multiarray, name)
        elif module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        elif module == "_codecs" and name == "encode":
            import _codecs

            return _codecs.encode
        elif module in ("copy_reg", "copyreg") and name == "_reconstructor":
            return _reconstruct
        elif module in ("__builtin__", "builtins") and name == "object":
            return object
        elif (module, name) in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select")):
            return _stub(module, name)
        elif module.startswith("scipy.sparse") and name in _SPARSE:
            return _stub(module, name)
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which is not allowed")
