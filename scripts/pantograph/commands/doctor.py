"""`pantograph doctor`: what each route needs, what is missing and how to get it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ..config import ConfigError, read_routes, unknown
from ..diagnosis import diagnose, overview, screen

ROOT = Path(__file__).resolve().parents[3]


def add_arguments(parser):
    """The options of the sub-command."""
    parser.add_argument(
        "--route", help="look at this route alone, and say where each thing is from"
    )
    parser.add_argument("--json", action="store_true", help="print everything found as JSON")
    parser.add_argument(
        "--hash", action="store_true", help="check the SHA-256 of weights, where it is known"
    )
    parser.add_argument(
        "--conda-prefix",
        default=os.environ.get("SNAKEMAKE_CONDA_PREFIX", ".snakemake/conda"),
        help="where Snakemake keeps its environments (default: %(default)s)",
    )
    parser.add_argument(
        "--workflow",
        default=ROOT,
        type=Path,
        help="the folder of the Snakefile (default: %(default)s)",
    )


def run(args):
    """Print the screen. Returns 0 if the route (without --route: any route) can run, else 1."""
    if not (args.workflow / "Snakefile").is_file():
        raise ConfigError(
            f"--workflow: expected the folder of the Snakefile, but {str(args.workflow)!r} has none"
        )
    routes = read_routes(args.workflow)
    if args.route is not None:
        if args.route not in routes:
            raise ConfigError(f"--route: {unknown('route', args.route, routes)}")
        routes = {args.route: routes[args.route]}
    report = diagnose(args.workflow, routes, Path(args.conda_prefix), args.hash)
    if args.json:
        json.dump(report.as_dict(), sys.stdout, indent=2)
        print()
    else:
        print(overview(report) if args.route is None else screen(report, args.route))
    return 0 if any(report.ready(route) for route in routes) else 1
