"""Clone a repository of another project at one commit, and check that it is there."""

from pathlib import Path

from pantograph import cli


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--url", required=True, help="address of the repository")
    parser.add_argument("--commit", required=True, help="the commit, 40 hexadecimal digits")
    parser.add_argument("--path", required=True, type=Path, help="folder of the clone")
    parser.add_argument("--submodules", action="store_true", help="clone its submodules, too")
    parser.add_argument(
        "--out", required=True, type=Path, help="file that gets the commit once it is there"
    )
    args = parser.parse_args(argv)

    from pantograph.clones import clone

    clone(args.url, args.commit, args.path, args.submodules)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(f"{args.commit}\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
