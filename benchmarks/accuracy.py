"""Measure every stage of a route against clips whose truth is known, and print one table.

Clips are files X.mp4 with a folder X.truth beside them. The route runs through Snakemake in
--out and goes on where it was stopped. With --from-truth every stage also runs on the truth of
the stages before it; its own error stands in brackets beside the error of the whole chain.
"""

import csv
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from pantograph import cli, contracts, errors  # noqa: E402


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--route", default="cpu", help="a route of config/routes (default: cpu)")
    parser.add_argument(
        "--scenario", nargs="+", default=[], metavar="NAME", help="clips to run; default: all"
    )
    parser.add_argument(
        "--clips",
        type=Path,
        default=ROOT / "resources" / "demo",
        metavar="FOLDER",
        help="clips with truth (default: resources/demo); scenarios that it lacks are rendered",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table, too")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results/accuracy"),
        metavar="FOLDER",
        help="where the route runs (default: results/accuracy)",
    )
    parser.add_argument(
        "--from-truth",
        nargs="*",
        metavar="STAGE",
        help="run these stages (default: all) on the truth of those before, too",
    )
    parser.add_argument("--given-height", action="store_true", help="tell the true statures")
    parser.add_argument("--end", type=int, help="use the frames before this one only")
    parser.add_argument("--again", action="store_true", help="make what is there anew")
    parser.add_argument("--jobs", type=int, default=2, help="jobs at a time (default: 2)")
    args = parser.parse_args(argv)

    clips = find_clips(args.clips, args.scenario)
    run = Run(args.route, clips, args.out, args.given_height, args.end, args.jobs, args.again)
    figures = run.measure(run.alone(args.from_truth))
    shown = table(figures)
    print(text(shown))
    if args.json:
        content = json.dumps(figures, indent=1, allow_nan=False)
        contracts.atomic_write(args.json, lambda p: Path(p).write_text(content + "\n"))
    if args.markdown:
        content = markdown(shown)
        contracts.atomic_write(args.markdown, lambda p: Path(p).write_text(content + "\n"))


def find_clips(folder, names):
    """The clips in a folder, by name; those asked for that it lacks are rendered into it."""
    missing = [name for name in names if not (folder / f"{name}.mp4").is_file()]
    if missing:
        command = [sys.executable, ROOT / "benchmarks" / "make_scenarios.py"]
        command += ["--out", folder, *missing]
        if subprocess.run([str(word) for word in command]).returncode:
            raise errors.PantographError(f"{folder}: could not render {', '.join(missing)}")
    found = {path.stem: path.resolve() for path in sorted(folder.glob("*.mp4"))}
    clips = {name: path for name, path in found.items() if path.with_suffix(".truth").is_dir()}
    if not clips:
        raise errors.PantographError(f"{folder}: expected X.mp4 with X.truth beside it, found none")
    return {name: clips[name] for name in names} if names else clips


class Run:
    """A route over some clips, in one folder."""

    def __init__(self, route, clips, out, given_height=False, end=None, jobs=2, again=False):
        from pantograph.comparison import PRODUCT, STAGES

        self.route, self.clips, self.jobs, self.again = route, clips, jobs, again
        self.out = Path(out).resolve() / ("given_height" if given_height else "unknown_height")
        self.given_height, self.end = given_height, end
        self.methods = route_methods(route)
        self.files = {name: f"{name}.h5" for name in PRODUCT.values()}
        self.files.update(mesh="mesh.h5", motion="motion_g1.h5")
        self.products = {stage: PRODUCT[stage] for stage in STAGES}

    def alone(self, asked):
        """The stages to run on truth: None for none, an empty list for all that read products."""
        possible = list(self.products)[1:]
        for stage in asked or ():
            if stage not in possible:
                raise errors.PantographError(
                    f"--from-truth: no stage {stage!r}; expected {', '.join(possible)}"
                )
        return [] if asked is None else asked or possible

    def measure(self, alone=()):
        """The figures of all clips, as --json has them; alone: stages to run on truth, too."""
        from pantograph import comparison, truth

        self.snakemake(self.out, list(self.files.values()))
        figures = {"route": self.route, "given_height": self.given_height, "scenarios": {}}
        state = {}
        for name in self.clips:
            video = contracts.Video.read(self.folder(self.out, name) / "video.json")
            exact = truth.read(self.clips[name].with_suffix(".truth"), video)
            products = self.read(self.folder(self.out, name))
            state[name] = (video, exact)
            pairs = comparison.match(products, exact)
            figures["scenarios"][name] = {
                "frames": video.frame_count,
                "camera": exact["scene"].camera_model,
                "people": self.people(
                    "chain",
                    {
                        stage: comparison.measure(stage, products, exact, pairs, video)
                        for stage in self.products
                    },
                ),
            }
        for stage in alone:
            self.add_own(stage, state, figures)
        return figures

    def add_own(self, stage, state, figures):
        """Run one stage of all clips on the truth before it and add its figures."""
        from pantograph import comparison, truth

        base = self.out / "from_truth" / stage
        given = {}
        for name, (video, exact) in state.items():
            given[name] = truth.inputs(exact, video)
            folder = self.folder(base, name)
            put(folder / "video.json", (self.folder(self.out, name) / "video.json").read_bytes())
            for before in list(self.products)[: list(self.products).index(stage)]:
                key = self.products[before]
                write(folder / self.files[key], given[name][key])
        self.snakemake(base, [self.files[self.products[stage]]], f"{stage}_{self.methods[stage]}")
        for name, (video, exact) in state.items():
            made = self.read(self.folder(base, name), [self.products[stage]])
            products = {**given[name], **made}
            same = {pid: pid for pid in exact["people"].people}
            found = comparison.measure(stage, products, exact, same, video)
            for pid, values in self.people("own", {stage: found}).items():
                figures["scenarios"][name]["people"][pid].setdefault("from_truth", {}).update(
                    values["own"]
                )

    def people(self, key, found):
        """{id: {key: {stage: {name: number or None}}}} from {stage: {id: {name: number}}}."""
        result = {}
        for stage, people in found.items():
            for pid, values in people.items():
                numbers = {k: v if math.isfinite(v) else None for k, v in values.items()}
                result.setdefault(str(pid), {key: {}})[key][stage] = numbers
        return result

    def folder(self, base, name):
        return base / "results" / self.route / name

    def read(self, folder, names=None):
        """{name: product} of the files that exist."""
        paths = {name: folder / self.files[name] for name in names or self.files}
        return {
            name: contracts.PRODUCTS[name].read(path)
            for name, path in paths.items()
            if path.is_file()
        }

    def snakemake(self, base, names, rule=None):
        """Make files of all clips in a folder; with `rule`, by that rule from what is there."""
        base.mkdir(parents=True, exist_ok=True)
        put(base / "videos.tsv", self.videos().encode())
        targets = [
            os.path.relpath(self.folder(base, name) / file, base)
            for name in self.clips
            for file in names
        ]
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
        command += ["--directory", base, "--jobs", self.jobs, "--quiet", "all"]
        command += ["--rerun-triggers", "mtime"]
        command += ["--allowed-rules", rule] if rule else []
        command += ["--forceall"] if self.again else []
        command += ["--config", "videos=videos.tsv", f"route={self.route}", "preview=false"]
        command += [f"jax_cache={ROOT / '.cache' / 'jax'}", "--", *targets]
        run = subprocess.run([str(word) for word in command], stdout=sys.stderr)
        if run.returncode:
            print(f"some jobs failed in {base}; what they lack is left out", file=sys.stderr)

    def videos(self):
        """The table of clips that Snakemake reads."""
        stream = io.StringIO()
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["video", "path", "end", "height"])
        for name, path in self.clips.items():
            writer.writerow([name, path, self.end or "", self.statures(path)])
        return stream.getvalue()

    def statures(self, path):
        """The true statures by rank, as the table has them; empty unless they are told."""
        if not self.given_height:
            return ""
        from pantograph import body

        folder = path.with_suffix(".truth")
        solved = contracts.Body.read(folder / "body.h5")
        model = body.load_body_of(solved)
        ranking = contracts.People.read(folder / "people.h5").ranking
        return ",".join(f"{body.stature(model, solved.people[k].betas):.3f}" for k in ranking)


def route_methods(route):
    """{stage: method} of a route."""
    import yaml

    path = ROOT / "config" / "routes" / f"{route}.yaml"
    if not path.is_file():
        raise errors.PantographError(f"no route {route!r}: {path} does not exist")
    return yaml.safe_load(path.read_text())


def put(path, content):
    """Write bytes unless the file holds them already: its time tells what must be made anew."""
    if not path.is_file() or path.read_bytes() != content:
        contracts.atomic_write(path, lambda p: Path(p).write_bytes(content))


def write(path, product):
    """Write a product unless the file holds the same."""
    fresh = path.with_suffix(".fresh")
    product.write(fresh)
    put(path, fresh.read_bytes())
    fresh.unlink()


# ---------------------------------------------------------------------------------------------
# the table


def table(figures):
    """Rows of cells: two lines of heading, then one row per figure with its stage and unit."""
    from pantograph.comparison import FIGURES

    columns = [
        (name, pid, person)
        for name, scenario in figures["scenarios"].items()
        for pid, person in scenario["people"].items()
    ]
    rows = [["stage", "figure", "unit", "goal", *(f"{name} {pid}" for name, pid, _ in columns)]]
    stage = None
    for figure in FIGURES:
        label = figure.name.removesuffix("_" + _suffix(figure.unit))
        goal = "" if figure.goal is None else f"{'>=' if figure.goal_is_least else '<='} "
        goal += "" if figure.goal is None else f"{figure.goal:g}"
        row = ["" if figure.stage == stage else figure.stage, label, figure.unit, goal]
        rows.append(row + [_cell(figure, person) for _, _, person in columns])
        stage = figure.stage
    return rows


def _suffix(unit):
    return (
        unit.replace("%", "percent")
        .replace("10 m/s^3", "10m_s3")
        .replace("/", "_")
        .replace("^", "")
    )


def _cell(figure, person):
    shown = []
    for key in ("chain", "from_truth"):
        if key in person and figure.stage in person[key]:
            value = person[key][figure.stage].get(figure.name)
            missed = value is not None and figure.missed(value)
            number = "-" if value is None else f"{value:.{figure.decimals}f}"
            shown.append(number + ("!" if missed else ""))
    return shown[0] + (f" ({shown[1]})" if len(shown) > 1 else "")


def text(rows):
    """The table, aligned."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k < 4 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown(rows):
    """The table in Markdown."""
    aligned = ["---"] * 4 + ["---:"] * (len(rows[0]) - 4)
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], aligned, *rows[1:]])


if __name__ == "__main__":
    cli.run(main)
