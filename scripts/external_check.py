"""Check what lies below external/: clones against their commits, weights against size and hash.

What is not there is not an error: `pantograph doctor` says what a route lacks.
"""

from pathlib import Path

from pantograph import cli
from pantograph.errors import PantographError


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--workflow", required=True, type=Path, help="the folder of external/manifest.yaml"
    )
    args = parser.parse_args(argv)

    from pantograph.diagnosis import MISSING, OK, clone_status, files_status
    from pantograph.external import read_manifest

    manifest = read_manifest(str(args.workflow))
    found = [(item, *clone_status(args.workflow, item)) for item in manifest.repositories.values()]
    found += [
        (item, *files_status(args.workflow, item, True)) for item in manifest.weights.values()
    ]
    bad = []
    for item, status, detail in found:
        if status != MISSING:
            print(f"{item.path}  {status}  {detail}")
        if status not in (MISSING, OK):
            bad.append(f"{item.path} ({detail})")
    if bad:
        raise PantographError(f"not as external/manifest.yaml says: {', '.join(bad)}")


if __name__ == "__main__":
    cli.run(main)
