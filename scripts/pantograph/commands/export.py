"""`pantograph export FORMAT VIDEO`: the results of a video as another project's files."""

from __future__ import annotations

from pathlib import Path

from ..errors import PantographError

FORMATS = {"videomimic": "VideoMimic's folders and files, of every stage that there is"}
"""What each format is; `add_<format>` gives it its options and the function that runs."""


def add_arguments(parser):
    """The options of the sub-command."""
    formats = parser.add_subparsers(dest="format", metavar="FORMAT", required=True)
    for name, text in FORMATS.items():
        chosen = formats.add_parser(name, help=text, description=f"Write {text}.")
        chosen.set_defaults(write=globals()[f"add_{name}"](chosen))


def run(args):
    """Call the format's function. Returns the exit code."""
    return args.write(args)


def add_videomimic(parser):
    """Options of `pantograph export videomimic`."""
    parser.add_argument("video", metavar="VIDEO", help="name of the video")
    parser.add_argument(
        "--results", default="results", type=Path, help="folder of the results (%(default)s)"
    )
    parser.add_argument("--route", default="cpu", help="route of the results (%(default)s)")
    parser.add_argument(
        "--out", type=Path, help="folder to write to (results/<route>/<video>/videomimic)"
    )
    parser.add_argument("--robot", default="g1", help="robot of the motion (%(default)s)")
    parser.add_argument(
        "--body-model", default="", help="the SMPL file of the run; empty for the built-in body"
    )
    return write_videomimic


def write_videomimic(args):
    """Write VideoMimic's layout; print what was written and what is missing. Returns 0."""
    from ..body import load_body, load_body_of
    from ..videomimic.writer import Products, Writer

    folder = args.results / args.route / args.video
    if not (folder / "video.json").is_file():
        known = sorted(path.parent.name for path in folder.parent.glob("*/video.json"))
        raise PantographError(
            f"expected {folder}/video.json, found none; videos there: {', '.join(known) or 'none'}"
        )
    products, notes = Products.read(folder, args.robot)
    solved = products.gravity or products.world or products.body
    model = load_body_of(solved, args.body_model) if solved else load_body(args.body_model or None)
    articulation = None
    if products.motion is not None:
        from ..robot import load_robot
        from ..robotscene import Articulation

        articulation = Articulation(load_robot(products.motion.robot))
    out = args.out or folder / "videomimic"
    writer = Writer(products, out, model, articulation)
    done = writer.write()
    for note in [*notes, *writer.notes]:
        print(f"note: {note}")
    print(f"{out}: {', '.join(done)}")
    return 0
