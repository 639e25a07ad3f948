"""Render the demo clips with their truth; the same command gives the same files."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))

from pantograph import cli  # noqa: E402


def main(argv=None):
    from pantograph.synthetic.scenario import DEMO_CLIPS, SCENARIOS

    parser = cli.parser(__doc__)
    parser.add_argument("--out", default=HERE, type=Path, help="folder for clips and truth")
    parser.add_argument("--crf", default=22, type=int, help="H.264 quality, lower is better")
    parser.add_argument(
        "names", nargs="*", metavar="scenario", help=f"one of {', '.join(DEMO_CLIPS)}; default all"
    )
    args = parser.parse_args(argv)
    unknown = sorted(set(args.names) - set(DEMO_CLIPS))
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(DEMO_CLIPS)}")

    from pantograph.synthetic import clip

    for name in args.names or DEMO_CLIPS:
        print(clip.write(SCENARIOS[name](), args.out, args.crf))


if __name__ == "__main__":
    cli.run(main)
