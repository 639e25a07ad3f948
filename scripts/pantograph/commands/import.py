"""`pantograph import FORMAT DIR`: another project's files as results of a route.

Snakemake goes on from there: files are written in the order of the stages, so that what was
imported is not made again and what is missing is.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from ..config import ConfigError, read_routes, unknown
from ..errors import PantographError

ROOT = Path(__file__).resolve().parents[3]

FORMATS = {"videomimic": "VideoMimic's folders and files, of whatever stages there are"}
"""What each format is; `add_<format>` gives it its options and the function that runs."""

STAGES = {
    "video": "ingest",
    "people": "segment",
    "keypoints": "pose2d",
    "scene": "scene",
    "body": "body",
    "contacts": "contact",
    "world": "align",
    "gravity": "ground",
    "mesh": "mesh",
    "motion": "retarget",
}
"""The stage that makes each product, in the order in which products follow from one another."""

STEP = 10_000_000
"""Between the times of two files, ns."""


def add_arguments(parser):
    """The options of the sub-command."""
    formats = parser.add_subparsers(dest="format", metavar="FORMAT", required=True)
    for name, text in FORMATS.items():
        chosen = formats.add_parser(name, help=text, description=f"Read {text}.")
        chosen.set_defaults(read=globals()[f"add_{name}"](chosen))


def run(args):
    """Call the format's function. Returns the exit code."""
    return args.read(args)


def add_videomimic(parser):
    """Options of `pantograph import videomimic`."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder demo_data")
    parser.add_argument("--video", help="this video alone, by name")
    parser.add_argument(
        "--results", default="results", type=Path, help="folder of the results (%(default)s)"
    )
    parser.add_argument("--route", default="videomimic", help="route to enter (%(default)s)")
    parser.add_argument("--robot", default="g1", help="robot of the motion (%(default)s)")
    parser.add_argument(
        "--fps", type=float, default=30.0, help="rate of input_images, 1/s (%(default)s)"
    )
    parser.add_argument("--body-model", default="", help="SMPL file; empty for the built-in body")
    parser.add_argument("--force", action="store_true", help="replace results that are there")
    parser.add_argument("--workflow", default=ROOT, type=Path, help="the folder of the Snakefile")
    return read_videomimic


def read_videomimic(args):
    """Import the videos of VideoMimic's layout. Returns 0, or 1 where one of several failed."""
    from ..body import load_body
    from ..videomimic import layout

    if not args.folder.is_dir():
        raise PantographError(f"{args.folder}: expected a folder with input_images, found none")
    if not args.fps > 0:
        raise PantographError(f"--fps: expected more than 0, found {args.fps}")
    routes = read_routes(args.workflow)
    if args.route not in routes:
        raise ConfigError(f"--route: {unknown('route', args.route, routes)}")
    reads = inputs(args.workflow, routes[args.route])
    names = layout.videos(args.folder)
    if args.video is not None and args.video not in names:
        raise PantographError(f"--video: {unknown('video', args.video, names)}")
    model = load_body(args.body_model or None)
    method = "align3r" if routes[args.route].get("scene") == "align3r" else "megasam"
    chosen = [args.video] if args.video is not None else names
    failed = 0
    for name in chosen:
        try:
            read_video(args, layout.find(args.folder, name, method), model, reads)
        except PantographError as error:
            if len(chosen) == 1:
                raise
            failed += 1
            print(f"{name}: error: {error}", file=sys.stderr)
    return 1 if failed else 0


def read_video(args, files, model, reads):
    """Import one video and print what was read."""
    from ..videomimic.reader import Reader

    name = files.video
    reader = Reader(files, model, args.results / "videos", args.fps, args.robot)
    folder = args.results / args.route / name
    done, left = import_products(reader, reads, folder, args.robot, args.force)
    for note in reader.notes:
        print(f"{name}: note: {note}")
    for product, reason in left.items():
        print(f"{name}: {product}: {reason}")
    print(f"{name}: {', '.join(done) or 'nothing'} -> {folder}")
    print(f"{name}: video {reader.video.path}")


def import_products(reader, reads, folder, robot="g1", force=False):
    """Write every product that a reader has below `folder`.

    reads: {product: files that its rule reads}; a product whose rule reads a file that is not
    there would be made again as soon as that file is, and is left out. Returns the names of the
    files written and {product: why it was left out}.
    """
    done, left = [], {}
    stamp = time.time_ns()
    for product in STAGES:
        name = file_of(product, robot)
        path = folder / name
        if path.exists() and not force:
            left[name] = "is there already; --force replaces it"
            continue
        missing = [item for item in reads.get(product, ()) if not (folder / item).exists()]
        if missing and _has(reader, product):
            left[name] = (
                f"found, but it follows from {', '.join(missing)}, not found: make that with "
                f"`snakemake {folder / missing[0]}`, then import again"
            )
            continue
        found = getattr(reader, product) if not missing else None
        if found is None:
            continue
        for written in write(reader, product, found, path):
            done.append(written.name)
            stamp = max(stamp + STEP, time.time_ns())
            os.utime(written, ns=(stamp, stamp))
    return done, left


def write(reader, product, found, path):
    """Write a product, and what its rule writes beside it. Returns the paths."""
    import dataclasses

    first = reader.video
    found = dataclasses.replace(
        found,
        method=found.method or "videomimic",
        source_sha256=found.source_sha256 or first.source_sha256,
    )
    found.write(path)
    if product != "mesh":
        return [path]
    from .. import meshing, surface

    solid, looks = path.with_name("scene.obj"), path.with_name("scene.ply")
    by_box = reader.surface is None and len(found.vertices) == 8 * len(found.boxes)
    meshing.write_obj(found, solid, by_box=by_box)
    if reader.surface is None:
        meshing.write_ply(found, reader.gravity, looks)
    else:
        surface.write_ply(*reader.surface, reader.gravity, looks)
    return [path, solid, looks]


def file_of(product, robot="g1"):
    """The name of a product's file."""
    if product == "video":
        return "video.json"
    return f"motion_{robot}.h5" if product == "motion" else f"{product}.h5"


def inputs(root, route):
    """The files that the rule of each product reads in a route, {product: names}."""
    found = {}
    for product, stage in STAGES.items():
        if stage not in route:
            continue
        rules = (Path(root) / "rules" / f"{stage}.smk").read_text(encoding="utf-8")
        rule = rules.split(f"rule {stage}_{route[stage]}:")[1].split("    output:")[0]
        found[product] = re.findall(r"<results>/\{route\}/\{video\}/([\w.]+)\"", rule)
    return found


def _has(reader, product):
    """Whether the layout has a product, without reading it."""
    files = reader.files
    calibrated = files.calibrated
    there = {
        "people": files.masks,
        "keypoints": files.poses,
        "scene": files.world,
        "body": files.meshes,
        "contacts": files.contacts,
        "world": files.hunter or calibrated,
        "gravity": calibrated,
        "mesh": calibrated,
        "motion": calibrated and list(calibrated.glob(f"retarget_poses_{reader.robot}*.h5")),
    }
    return bool(there.get(product))
