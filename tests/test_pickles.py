"""Pickles of arrays are read without running what they carry."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from scipy import sparse

from pantograph import pickles


def archive_of(name, values):
    """An open .npz with one object array, as numpy.savez writes it."""
    stream = io.BytesIO()
    array = np.empty(len(values), object)
    array[:] = values
    np.savez(stream, **{name: array})
    return zipfile.ZipFile(stream)


class Command:
    def __reduce__(self):
        return os.system, ("true",)


def test_arrays_and_sparse_matrices_come_through():
    matrix = sparse.random(5, 7, 0.4, format="csc", random_state=0)
    content = {"a": np.arange(3.0), "m": matrix, "b": np.float32(2.5), "t": "text"}
    found = pickles.load(io.BytesIO(pickle.dumps(content, protocol=2)))
    assert np.array_equal(found["a"], content["a"]) and found["t"] == "text"
    assert found["b"] == np.float32(2.5)
    assert np.array_equal(pickles.evaluate(found["m"]), matrix.toarray())
    assert (pickles.sparse(found["m"]) != matrix).nnz == 0
    assert pickles.sparse(found["a"]) is None


def test_the_objects_of_an_archive():
    matrices = [sparse.eye(3, format="csr"), sparse.eye(4, 2, format="csc")]
    found = pickles.load_objects(archive_of("D", matrices), "D")
    for got, wanted in zip(found, matrices, strict=True):
        assert np.array_equal(pickles.evaluate(got), wanted.toarray())


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"deep": [x]}])
def test_code_is_refused(wrap):
    with pytest.raises(pickle.UnpicklingError, match="system, which is not allowed"):
        pickles.load(io.BytesIO(pickle.dumps(wrap(Command()))))
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        pickles.load_objects(archive_of("D", [wrap(Command())]), "D")


def test_a_plain_array_is_no_array_of_objects():
    stream = io.BytesIO()
    np.savez(stream, D=np.arange(3))
    with pytest.raises(ValueError, match="expected an array of objects, found int64"):
        pickles.load_objects(zipfile.ZipFile(stream), "D")
