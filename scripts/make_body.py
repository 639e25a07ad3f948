"""Make the built-in body, resources/body/body.npz, and on request a file that smplx loads."""

from pathlib import Path

from pantograph import cli

DEFAULT = Path(__file__).resolve().parents[1] / "resources" / "body" / "body.npz"


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--out", default=DEFAULT, type=Path, help="where to write the body (.npz)")
    parser.add_argument("--smplx", type=Path, help="also write a pickle for smplx, e.g. SMPL_NEUTRAL.pkl")
    args = parser.parse_args(argv)

    from pantograph import body
    from pantograph.synthetic import anatomy

    body.write_npz(args.out, anatomy.build())
    if args.smplx:
        body.write_smpl_pickle(args.smplx, body.load_body(args.out))


if __name__ == "__main__":
    cli.run(main)
