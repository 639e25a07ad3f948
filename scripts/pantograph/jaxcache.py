"""JAX's persistent compilation cache, in one place for all processes of a run."""

import os
from pathlib import Path

import jax


def directory():
    """Folder of the cache: $PANTOGRAPH_JAX_CACHE, else the user's cache folder."""
    chosen = os.environ.get("PANTOGRAPH_JAX_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else base / "pantograph" / "jax"


def enable():
    """Store every compiled function on disk and reuse what other processes compiled."""
    jax.config.update("jax_compilation_cache_dir", str(directory()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
