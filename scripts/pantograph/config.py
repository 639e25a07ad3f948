"""What a run is made of: its settings, its routes and its videos, read and checked.

Mistakes in the settings end the run with one line (ConfigError). A mistake in one row of the
table of videos leaves the others alone: the row becomes a `Refused` entry with the reason.
"""

from __future__ import annotations

import ast
import csv
import difflib
import functools
import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import yaml

from .client import LIMIT, OWNER
from .errors import PantographError
from .worker import identity

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mpg", ".mpeg")

WORDS = ("route", "videos", "pattern", "text", "robot", "jax_cache", "pathvars", "lengths", "shard")
"""Settings that stay text; the others may come from the command line, where all is text."""


class ConfigError(PantographError):
    """A setting that cannot be followed; the message names it, what was expected and found."""


@dataclass(frozen=True)
class Clip:
    """One video of a run and what is known about it.

    start and end are frames of the file, counted from 0; end is the first one left out, or None.
    heights are statures in metres by rank of the person, betas a file of their shapes or None,
    robot_shape the robot whose size they get or None; people is the most to follow, 0 for all.
    """

    name: str
    path: str
    routes: tuple
    start: int
    end: int | None
    stride: int
    heights: tuple
    betas: str | None
    robot_shape: str | None
    people: int
    text: str

    @property
    def truth(self):
        """The folder with the clip's ground truth, or None: `X.truth` beside `X.mp4`."""
        folder = Path(self.path).with_suffix(".truth")
        return str(folder) if folder.is_dir() else None


@dataclass(frozen=True)
class Refused:
    """A row of the table that is not run; `where` is as in "videos.tsv line 4"."""

    name: str
    where: str
    reason: str

    def __str__(self):
        return f"{self.where} ({self.name}): {self.reason}; row skipped"


@dataclass(frozen=True)
class Plan:
    """A checked run: `routes[route][stage]` is a method, `clips[name]` a Clip.

    settings are those of config.yaml with what came on top; options are shell words by script.
    """

    settings: dict
    routes: dict
    clips: dict
    refused: tuple
    options: dict

    @property
    def shard(self):
        """(k, n) for the k-th of n parts of the videos, counted from 1; None for all of them."""
        chosen = self.settings["shard"]
        return None if chosen is None else tuple(map(int, chosen.split("/")))

    def targets(self):
        """Every (route, name) that is to be made, in the order of the table."""
        clips = list(self.clips.values())
        part, parts = self.shard or (1, 1)
        return [(route, clip.name) for clip in clips[part - 1 :: parts] for route in clip.routes]


def plan(settings, root):
    """Check `settings` (the merged config.yaml) against the workflow in folder `root`.

    Returns a Plan. Raises ConfigError for the first mistake found.
    """
    settings = {key: value if key in WORDS else _typed(value) for key, value in settings.items()}
    check(settings, root, "config", "config")
    routes = read_routes(root)
    chosen = settings["route"] if isinstance(settings["route"], list) else [settings["route"]]
    for route in chosen:
        if route not in routes:
            raise ConfigError(f"config: route: {unknown('route', route, routes)}")
    check_robot(settings["robot"], root, "config: robot")
    if settings["robot_shape"] is not None:
        check_robot(settings["robot_shape"], root, "config: robot_shape")
    if settings["shard"] is not None:
        part, parts = map(int, settings["shard"].split("/"))
        if not 1 <= part <= parts:
            raise ConfigError(
                f"config: shard: expected one of 1/{parts} to {parts}/{parts}, "
                f"got {settings['shard']!r}"
            )
    options = read_options(settings, root)
    clips, refused = read_clips(settings, tuple(chosen), routes, root)
    return Plan(settings, routes, clips, refused, options)


def job_environment(settings, cores):
    """Environment variables of every job.

    PATH starts with the folder of the Python that runs this, so that jobs find it also when its
    virtual environment is not activated; a conda environment of a rule still comes before it.
    Jobs and warm workers end when this process does; there are as many workers as cores.
    """
    here = os.path.dirname(sys.executable)
    return {
        "PATH": os.pathsep.join([here, os.environ.get("PATH", os.defpath)]),
        "PANTOGRAPH_JAX_CACHE": os.path.abspath(settings["jax_cache"]),
        OWNER: identity(os.getpid()),
        LIMIT: str(cores if settings["workers"] else 0),
    }


# ---------------------------------------------------------------------------------------------
# checks


def unknown(what, name, known):
    """'unknown <what> <name> (did you mean ...?); known: ...'"""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    listed = ", ".join(sorted(map(str, known))) or "none"
    return f"unknown {what} {name!r}{hint}; known: {listed}"


@functools.cache
def check_robot(name, root, where):
    """Raise ConfigError unless `name` is a robot of the workflow in folder `root`."""
    robots = {path.stem for path in (Path(root) / "resources" / "robots").iterdir()}
    if name not in robots:
        raise ConfigError(f"{where}: {unknown('robot', name, robots)}")


@functools.cache
def validator(root, schema):
    """The validator of config/schemas/<schema>.schema.yaml below `root`."""
    path = Path(root) / "config" / "schemas" / f"{schema}.schema.yaml"
    return jsonschema.Draft202012Validator(yaml.safe_load(path.read_text(encoding="utf-8")))


def check(value, root, schema, where):
    """Raise ConfigError for the first part of `value` that its schema forbids."""
    errors = sorted(
        validator(str(root), schema).iter_errors(value),
        key=lambda error: [str(part) for part in error.absolute_path],
    )
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ConfigError(f"{where}: {_describe(errors[0])}{more}")


def _typed(value):
    """`value` with every text in it read as YAML: "null" is None, "1.75" a number."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, str):
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError:
            return value
    return value


def _describe(error):
    place = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{place}: " if place else ""
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        key = next(key for key in error.instance if key not in known)
        return prefix + unknown("key", key, known)
    if error.validator == "required":
        key = next(key for key in error.validator_value if key not in error.instance)
        expected = error.schema["properties"][key]["description"]
        return f"{prefix}{key} is missing, expected {expected}"
    expected = error.schema.get("description") or error.message
    return f"{prefix}expected {expected}, got {error.instance!r}"


# ---------------------------------------------------------------------------------------------
# routes and scripts


def read_routes(root):
    """All routes of config/routes: {route: {stage: method}}.

    Raises ConfigError for a file that does not fit its schema or names a method without a script.
    """
    routes = {}
    for path in sorted((Path(root) / "config" / "routes").glob("*.yaml")):
        where = f"config/routes/{path.name}"
        try:
            route = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ConfigError(f"{where}: not readable as YAML ({_one_line(error)})") from None
        check(route, root, "route", where)
        for stage, method in route.items():
            known = methods(root, stage)
            if method not in known:
                raise ConfigError(f"{where}: {stage}: {unknown('method', method, known)}")
        routes[path.stem] = route
    return routes


def methods(root, stage):
    """The methods of a stage: the X of every scripts/<stage>_X.py."""
    return [p.stem[len(stage) + 1 :] for p in (Path(root) / "scripts").glob(f"{stage}_*.py")]


@functools.cache
def script_options(path):
    """The options of a script, {"--name": node of its add_argument call}, without running it."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and str(argument.value).startswith("--"):
                    found[argument.value] = {word.arg: word.value for word in node.keywords}
    return found


def read_options(settings, root):
    """The arguments that the settings add to each script: {script: shell words}.

    `options: {ingest: {"min-frames": 3}}` gives {"ingest": "--min-frames=3"}; true gives the flag
    alone, false leaves it out, and a mapping is passed as JSON. `body_model` goes to every script
    that has a --body-model.
    """
    scripts = {path.stem: path for path in (Path(root) / "scripts").glob("*.py")}
    words = {}
    if settings["body_model"] is not None:
        path = os.path.expanduser(settings["body_model"])
        if not os.path.isfile(path):
            raise ConfigError(f"config: body_model: expected an SMPL file, but {path!r} is none")
        takers = [name for name in scripts if "--body-model" in script_options(str(scripts[name]))]
        words = {name: [f"--body-model={path}"] for name in takers}
    for script, values in settings["options"].items():
        if script not in scripts:
            raise ConfigError(f"config: options: {unknown('script', script, scripts)}")
        known = script_options(str(scripts[script]))
        tunable = {name: known[name] for name in known if not _is_product(known[name])}
        where = f"config: options.{script}"
        for key, value in values.items():
            name = "--" + key.replace("_", "-")
            if name not in tunable:
                names = [option[2:] for option in tunable]
                raise ConfigError(f"{where}: {unknown('option', key, names)}")
            added = _option_words(name, value, tunable[name], f"{where}.{key}")
            words.setdefault(script, []).extend(added)
    return {script: shlex.join(added) for script, added in words.items()}


def _is_product(words):
    required = words.get("required")
    return isinstance(required, ast.Constant) and bool(required.value)


def _option_words(name, value, words, where):
    """Check one option against its add_argument call and return its shell words."""
    action = getattr(words.get("action"), "value", "store")
    kind = getattr(words.get("type"), "id", "str")
    if action in ("store_true", "store_false"):
        if not isinstance(value, bool):
            raise ConfigError(f"{where}: expected true or false, got {value!r}")
        return [name] if value else []
    if isinstance(value, bool):
        raise ConfigError(f"{where}: expected a value, got {str(value).lower()}")
    if isinstance(value, dict):
        value = json.dumps(value)
    items = value if isinstance(value, list) else [value]
    if isinstance(value, list) and "nargs" not in words:
        raise ConfigError(f"{where}: expected one value, got {value!r}")
    expected = {"int": "a whole number", "float": "a number"}.get(kind)
    for item in items:
        good = not expected or isinstance(item, int if kind == "int" else (int, float))
        if not good:
            raise ConfigError(f"{where}: expected {expected}, got {item!r}")
    if isinstance(words.get("choices"), (ast.List, ast.Tuple)):
        choices = [getattr(node, "value", None) for node in words["choices"].elts]
        for item in items:
            if item not in choices:
                raise ConfigError(f"{where}: {unknown('choice', item, choices)}")
    if len(items) == 1:
        # one word, so that a negative number is not taken for an option
        return [f"{name}={items[0]}"]
    return [name, *map(str, items)]


# ---------------------------------------------------------------------------------------------
# videos


def read_clips(settings, chosen, routes, root):
    """The videos of the run: ({name: Clip}, tuple of Refused).

    Of the rows whose name contains `pattern`, those from `start_idx` up to `end_idx` are taken.
    """
    source = Path(settings["videos"]).expanduser()
    if source.is_dir():
        rows = _folder_rows(source)
    elif source.suffix.lower() in VIDEO_SUFFIXES:
        rows = [(source.name, {"video": source.stem, "path": str(source)})]
    elif source.is_file():
        rows = _table_rows(source, root)
    else:
        raise ConfigError(
            f"config: videos: expected a table, a folder or a video file, "
            f"but {str(source)!r} does not exist"
        )
    pattern = str(settings["pattern"]).casefold()
    named = [(where, row) for where, row in rows if pattern in row.get("video", "").casefold()]
    if rows and not named:
        raise ConfigError(
            f"config: pattern: {settings['pattern']!r} is in none of the {len(rows)} names of "
            f"{source}"
        )
    first, last = settings["start_idx"], settings["end_idx"]
    if 0 <= last <= first:
        raise ConfigError(f"config: end_idx: expected more than start_idx {first}, got {last}")
    if named and first >= len(named):
        raise ConfigError(
            f"config: start_idx: expected less than {len(named)}, the number of videos, got {first}"
        )
    clips, refused, places = {}, [], {}
    for where, row in named[first : None if last < 0 else last]:
        name = row.get("video", "")
        try:
            clip = _clip(row, settings, chosen, routes, root)
            if name in clips:
                raise ConfigError(f"the name is taken by {places[name]}")
            clips[name] = clip
            places[name] = where
        except ConfigError as error:
            refused.append(Refused(name or "no name", where, str(error)))
    return clips, tuple(refused)


def _folder_rows(folder):
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and path.name[0] != "."
    )
    if not files:
        raise ConfigError(
            f"config: videos: no videos in {str(folder)!r}; expected files that end in "
            + " ".join(VIDEO_SUFFIXES)
        )
    return [(path.name, {"video": path.stem, "path": str(path)}) for path in files]


def _table_rows(table, root):
    """Rows as (place, {column: text}), without empty cells; # starts a comment line."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(
            f"{table.name}: not a table in UTF-8; save it as tab-separated text"
        ) from None
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        raise ConfigError(f"{table.name}: the table is empty; expected a header line")
    cells = list(csv.reader((line for _, line in lines), delimiter="\t", quoting=csv.QUOTE_NONE))
    header = [cell.strip() for cell in cells[0]]
    known = validator(str(root), "videos").schema["properties"]
    for column in header:
        if column not in known:
            raise ConfigError(f"{table.name}: {unknown('column', column, known)}")
    for column in ("video", "path"):
        if column not in header:
            raise ConfigError(f"{table.name}: column {column!r} is missing")
    rows = []
    for (number, _), line in zip(lines[1:], cells[1:], strict=True):
        row = {key: cell.strip() for key, cell in zip(header, line, strict=False) if cell.strip()}
        if any(cell.strip() for cell in line[len(header) :]):
            row["?"] = f"expected {len(header)} cells, got {len(line)}"
        rows.append((f"{table.name} line {number}", row))
    return rows


def _clip(row, settings, chosen, routes, root):
    if "?" in row:
        raise ConfigError(row["?"])
    values = {key: _parse(key, text) for key, text in row.items()}
    check(values, root, "videos", "row")
    names = tuple(values.get("route", chosen))
    for route in names:
        if route not in routes:
            raise ConfigError(f"route: {unknown('route', route, routes)}")
    start = values.get("start", settings["start_frame"])
    end = values.get("end", settings["end_frame"])
    if end is not None and end <= start:
        relation = "before" if end < start else "not after"
        raise ConfigError(f"end {end} is {relation} start {start}")
    height = values.get("height", settings["height"])
    heights = height if isinstance(height, list) else [] if height is None else [height]
    betas = values.get("betas", settings["betas"])
    robot_shape = values.get("robot_shape", settings["robot_shape"])
    if robot_shape is not None:
        check_robot(robot_shape, root, "robot_shape")
    limit = settings["top_k"] if settings["multihuman"] else 1
    return Clip(
        name=values["video"],
        path=str(Path(values["path"]).expanduser()),
        routes=names,
        start=start,
        end=end,
        stride=values.get("stride", settings["stride"]),
        heights=tuple(heights),
        betas=betas and str(Path(betas).expanduser()),
        robot_shape=robot_shape,
        people=values.get("people", limit),
        text=values.get("text", settings["text"]),
    )


def _parse(column, text):
    """The value of a cell; what is no number stays text, for the schema to refuse."""
    if column in ("start", "end", "stride", "people"):
        return _number(text, int)
    if column == "height":
        return [_number(part, float) for part in text.split(",")]
    if column == "route":
        return [part.strip() for part in text.split(",")]
    return text


def _number(text, kind):
    try:
        return kind(text)
    except ValueError:
        return text.strip()


def _one_line(error):
    return " ".join(str(error).split())
