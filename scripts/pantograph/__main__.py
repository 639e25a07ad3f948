"""The command `pantograph`: one sub-command per module of `pantograph.commands`."""

from __future__ import annotations

import argparse
import importlib
import sys

from . import __version__, cli

COMMANDS = {
    "plan": "say what a run will take: jobs, time, disk",
    "submit": "run the videos as a SLURM array, one Snakemake per shard",
    "doctor": "say what each route needs, what is missing and how to get it",
    "import": "read another project's files as results of ours",
    "export": "write results of ours as another project's files",
}
"""What each sub-command does; its module has add_arguments(parser) and run(args)."""


def main(argv=None):
    """Run a sub-command; only its module is imported. Returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="pantograph", description="Casual videos in, motion out.")
    parser.add_argument("--version", action="version", version=f"pantograph {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    chosen = next((word for word in argv if word in COMMANDS), None)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
        if name == chosen:
            module = importlib.import_module(f".commands.{name}", __package__)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    return args.run(args)


def entry():
    """Where the installed command `pantograph` starts."""
    cli.run(main)


if __name__ == "__main__":
    entry()
