"""Print one table of all videos and people of a run, and write it as tab-separated values.

A quality.json lies in the folder of its video, and that in the folder of its route.
"""

from pathlib import Path

from pantograph import cli


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--quality", nargs="*", default=[], help="quality.json of every clip")
    parser.add_argument(
        "--refused",
        nargs=2,
        action="append",
        default=[],
        metavar=("VIDEO", "REASON"),
        help="a video that was not run, and why; may be given many times",
    )
    parser.add_argument("--out", required=True, help="summary.tsv to write")
    args = parser.parse_args(argv)

    from pantograph import table
    from pantograph.quality import Quality

    found = []
    for path in args.quality:
        _, video, route = Path(path).absolute().parts[:-4:-1]
        found.append((route, video, Quality.read(path)))
    rows = table.rows(found, args.refused)
    table.write_tsv(args.out, rows)
    print(table.text(rows))


if __name__ == "__main__":
    cli.run(main)
