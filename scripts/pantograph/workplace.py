"""A place to run code of other projects that looks for files beside it and writes more there."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path


def importable(*folders):
    """Make the modules in `folders` importable, before those of the same name elsewhere."""
    for folder in reversed(folders):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


@contextlib.contextmanager
def workplace(links=None):
    """A temporary folder as the working directory; yields its Path.

    links: {path in the folder: where it leads}.
    """
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="pantograph") as folder:
        folder = Path(folder)
        for name, target in (links or {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(Path(target).absolute())
        os.chdir(str(folder))
        try:
            yield folder
        finally:
            os.chdir(before)
