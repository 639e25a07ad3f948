"""The cache of compiled functions, shared by processes."""

import json
import os
import subprocess
import sys

import pytest

from conftest import ROOT

FUNCTIONS = 6
PROGRAM = """
import json, os, sys, time, warnings
sys.path.insert(0, sys.argv[1])
import jax, jax.numpy as jnp
from pantograph import jaxcache
jaxcache.enable()
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name.endswith("/cache_hits")))
argument = jnp.arange(30.0) / 30

def function(k):
    def f(x):
        return jnp.linalg.inv(jnp.outer(x, x) + (k + 1) * jnp.eye(30)).sum() + jnp.sin(k * x)
    return f

functions = [jax.jit(function(k)) for k in range(int(sys.argv[2]))]
print("ready", flush=True)
while len(sys.argv) > 3 and not os.path.exists(sys.argv[3]):
    pass
hits.clear()
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    values = [float(f(argument).sum()) for f in functions]
print(json.dumps({"values": values, "hits": sum(hits), "said": [str(w.message) for w in said]}))
"""


def start(folder, *barrier):
    environment = {**os.environ, "PANTOGRAPH_JAX_CACHE": str(folder / "cache")}
    words = [sys.executable, "-c", PROGRAM, str(ROOT / "scripts"), str(FUNCTIONS)]
    return subprocess.Popen(
        [*words, *map(str, barrier)], env=environment, stdout=subprocess.PIPE, text=True
    )


def result(process):
    lines = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == 0
    return json.loads(lines[-1])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder whose cache was filled by four processes at once, and what they computed."""
    folder = tmp_path_factory.mktemp("shared")
    processes = [start(folder, folder / "go") for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    (folder / "go").touch()
    return folder, [result(process) for process in processes]


def entries(folder):
    return sorted((folder / "cache").glob("*-cache"))


def test_processes_may_fill_the_cache_at_the_same_time(shared):
    folder, results = shared
    assert all(found["values"] == results[0]["values"] for found in results)
    assert not any(found["said"] for found in results)
    # nothing that was begun is left, and everything is there for the next process
    assert len(entries(folder)) == len(list((folder / "cache").iterdir()))
    later = result(start(folder))
    assert later["values"] == results[0]["values"] and not later["said"]
    assert later["hits"] >= FUNCTIONS


@pytest.mark.parametrize("left", [0, 100])
def test_a_cut_entry_is_compiled_and_stored_again(shared, left):
    folder, results = shared
    whole = {path: path.stat().st_size for path in entries(folder)}
    for path in whole:
        with open(path, "r+b") as file:
            file.truncate(left)
    damaged = result(start(folder))
    assert damaged["values"] == results[0]["values"]
    assert "Error reading persistent compilation cache" in damaged["said"][0]
    again = result(start(folder))
    assert again["values"] == results[0]["values"] and not again["said"]
    assert again["hits"] >= FUNCTIONS
