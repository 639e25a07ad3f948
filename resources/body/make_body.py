"""Make the built-in body, resources/body/body.npz, and on request a file that smplx loads."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))

from pantograph import cli  # noqa: E402


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--out", default=HERE / "body.npz", type=Path, help="where to write the body (.npz)"
    )
    parser.add_argument(
        "--smplx", type=Path, help="also write a pickle for smplx, e.g. SMPL_NEUTRAL.pkl"
    )
    args = parser.parse_args(argv)

    from pantograph import body
    from pantograph.synthetic import anatomy

    body.write_npz(args.out, anatomy.build())
    if args.smplx:
        body.write_smpl_pickle(args.smplx, body.load_body(args.out))


if __name__ == "__main__":
    cli.run(main)
