"""What methods of other projects need: repositories and weights, read from external/manifest.yaml.

The manifest says where each thing belongs below external/, where it comes from and which methods
need it. Nothing here downloads anything.

`python -m pantograph.external FILE` writes the tables of the manifest anew into a Markdown file,
between the lines that start with `<!-- manifest` and `<!-- end`.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from .config import ConfigError, check, unknown

MANIFEST = "external/manifest.yaml"


@dataclass(frozen=True)
class Repository:
    """A git repository and the commit of it that the methods call."""

    name: str
    url: str
    commit: str
    licence: str
    methods: tuple
    submodules: bool = False
    note: str = ""

    @property
    def path(self):
        """Where its clone belongs, relative to the root of the workflow."""
        return f"external/repos/{self.name}"


@dataclass(frozen=True)
class Piece:
    """One file (or folder) of weights; size in bytes; sha256 may be its first digits only."""

    path: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Weights:
    """A file of weights, or a folder whose files are `pieces`.

    registration: the owner gives it only to people who have registered. optional says in words
    when it is needed; what is not needed always is never missing.
    """

    name: str
    place: str
    origin: str
    licence: str
    registration: bool
    methods: tuple
    pieces: tuple
    optional: str = ""

    @property
    def path(self):
        """Where it belongs, relative to the root of the workflow."""
        return f"external/weights/{self.place}"


@dataclass(frozen=True)
class Manifest:
    """Everything of external/manifest.yaml.

    repositories and weights by name; cuda and python are versions by environment; memory is
    (GB of the GPU, length of the clip in words) by method.
    """

    repositories: dict
    weights: dict
    cuda: dict
    python: dict
    memory: dict

    def repository(self, name):
        """A Repository; raises ConfigError for a name that the manifest lacks."""
        return _entry(self.repositories, name, "repository")

    def file(self, name):
        """A Weights; raises ConfigError for a name that the manifest lacks."""
        return _entry(self.weights, name, "weights")

    def needs(self, method):
        """What a method needs: (list of Repository, list of Weights)."""
        return (
            [item for item in self.repositories.values() if method in item.methods],
            [item for item in self.weights.values() if method in item.methods],
        )


@functools.cache
def read_manifest(root):
    """The Manifest of the workflow in folder `root`.

    Raises ConfigError when the file does not fit its schema or has a name twice.
    """
    try:
        text = (Path(root) / MANIFEST).read_text(encoding="utf-8")
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{MANIFEST}: not readable ({' '.join(str(error).split())})") from None
    check(content, root, "manifest", MANIFEST)
    for kind in ("repositories", "weights", "environments"):
        names = [item["name"] for item in content[kind]]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"{MANIFEST}: {kind}: the name {name!r} is there twice")
    repositories = [
        Repository(**{**item, "methods": tuple(item["methods"])})
        for item in content["repositories"]
    ]
    weights = [_weights(item) for item in content["weights"]]
    environments = content["environments"]
    return Manifest(
        repositories={item.name: item for item in repositories},
        weights={item.name: item for item in weights},
        cuda={item["name"]: item["cuda"] for item in environments if "cuda" in item},
        python={item["name"]: item["python"] for item in environments},
        memory={item["method"]: (item["gpu_gb"], item["for"]) for item in content["memory"]},
    )


def _weights(item):
    base = f"external/weights/{item['place']}"
    whole = {key: item.get(key) for key in ("size", "sha256")}
    if "files" in item:
        pieces = [
            Piece(f"{base}/{part['file']}", part.get("size"), part.get("sha256"))
            for part in item["files"]
        ]
    else:
        pieces = [Piece(base, **whole)]
    return Weights(
        name=item["name"],
        place=item["place"],
        origin=item["origin"],
        licence=item["licence"],
        registration=item["registration"],
        methods=tuple(item["methods"]),
        pieces=tuple(pieces),
        optional=item.get("optional", ""),
    )


def _entry(entries, name, what):
    if name not in entries:
        raise ConfigError(f"{MANIFEST}: {unknown(what, name, entries)}")
    return entries[name]


def file_hash(path):
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ---------------------------------------------------------------------------------------------
# the tables of external/README.md


def tables(manifest):
    """The repositories and weights of a Manifest as Markdown."""
    lines = [
        "| repository | commit | licence | needed by |",
        "|---|---|---|---|",
    ]
    for item in manifest.repositories.values():
        name = f"[{item.name}]({item.url})"
        users = _listed(item.methods) or item.note
        lines.append(f"| {name} | `{item.commit[:10]}` | {item.licence} | {users} |")
    lines += [
        "",
        "| file or folder in `external/weights` | from | licence | needed by |",
        "|---|---|---|---|",
    ]
    for item in manifest.weights.values():
        place = item.place
        if item.pieces[0].path != item.path:
            names = [piece.path.removeprefix(f"{item.path}/") for piece in item.pieces]
            place = ", ".join(f"{place}/{name}" for name in names[:2])
            place += f" and {len(names) - 2} more" if len(names) > 2 else ""
        origin = f"{item.origin}, **after registration**" if item.registration else item.origin
        users = _listed(item.methods) + (f" ({item.optional})" if item.optional else "")
        lines.append(f"| {place} | {origin} | {item.licence} | {users} |")
    return "\n".join(lines)


def _listed(methods):
    return ", ".join(f"`{method}`" for method in methods)


def with_tables(text, manifest):
    """A Markdown text with its tables made anew."""
    found = re.sub(
        r"(?s)(<!-- manifest[^\n]*-->\n).*?(\n<!-- end -->)",
        lambda match: f"{match[1]}\n{tables(manifest)}\n{match[2]}",
        text,
    )
    return found


if __name__ == "__main__":
    document = Path(sys.argv[1])
    root = Path(__file__).resolve().parents[2]
    made = with_tables(document.read_text(encoding="utf-8"), read_manifest(str(root)))
    document.write_text(made, encoding="utf-8")
