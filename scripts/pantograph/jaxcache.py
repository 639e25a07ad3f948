"""JAX's persistent compilation cache, in one place for all processes of a run."""

import os
from pathlib import Path

import jax
from jax._src import lru_cache

from .contracts import atomic_write


def directory():
    """Folder of the cache: $PANTOGRAPH_JAX_CACHE, else the user's cache folder."""
    chosen = os.environ.get("PANTOGRAPH_JAX_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else base / "pantograph" / "jax"


def enable():
    """Store every compiled function on disk and reuse what other processes compiled.

    Any number of processes and machines may share the folder.
    """
    lru_cache.LRUCache.put = _put
    jax.config.update("jax_compilation_cache_dir", str(directory()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _put(cache, key, value):
    # JAX writes in place and leaves what is there: writers on two machines could mix their bytes,
    # and an entry that a full disk cut short would be compiled again by every later process
    atomic_write(cache.path / f"{key}-cache", lambda path: Path(path).write_bytes(value))
