"""Compare planned lengths with other paddings, on made-up collections of clips.

The cost is that of `pantograph.lengths.Costs`: seconds per padded frame and per compiled length.
"""

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from pantograph import cli, contracts, lengths, solver  # noqa: E402


def collections(clips, seed=0):
    """{name: frame counts}: what people have, 30 frames a second."""
    random = np.random.default_rng(seed)
    half = clips // 2
    return {
        "uniform, 1 to 10 s": random.integers(30, 301, clips).tolist(),
        "log-normal, median 8 s": np.clip(240 * np.exp(0.6 * random.normal(size=clips)), 30, 3000)
        .astype(int)
        .tolist(),
        "half 4 s, half 15 to 20 s": [120] * half
        + random.integers(450, 601, clips - half).tolist(),
    }


def paddings(counts, costs):
    """{name: lengths} of the ways to pad."""
    least = {lengths.round_up(count, 16) for count in counts}
    return {
        "every multiple of 100": tuple({lengths.round_up(count, 100) for count in counts}),
        "every multiple of 16": tuple(least),
        "steps of 1.5 (without a plan)": tuple({solver.pad_length(count) for count in counts}),
        "the longest": (max(least),),
        "planned": lengths.plan(counts, costs=costs),
    }


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--frame-ms", type=float, default=1e3 * lengths.Costs.frame_s)
    parser.add_argument("--compile-s", type=float, default=lengths.Costs.compile_s)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    args = parser.parse_args(argv)
    costs = lengths.Costs(args.frame_ms / 1e3, args.compile_s)
    rows = []
    for clips in args.clips:
        for name, counts in collections(clips).items():
            print(f"\n{clips} clips, {name}: {sum(counts)} frames")
            for way, chosen in paddings(counts, costs).items():
                padded = sum(lengths.choose(count, chosen) for count in counts)
                row = {
                    "clips": clips,
                    "collection": name,
                    "padding": way,
                    "lengths": len(chosen),
                    "padded_percent": 100 * (padded / sum(counts) - 1),
                    "total_s": lengths.total(counts, chosen, costs),
                }
                rows.append(row)
                print(
                    f"  {way:30} {row['lengths']:4} lengths, {row['padded_percent']:6.1f} % more "
                    f"frames, {row['total_s']:8.0f} s"
                )
    if args.json:
        content = json.dumps(rows, indent=1) + "\n"
        contracts.atomic_write(args.json, lambda path: Path(path).write_text(content))


if __name__ == "__main__":
    cli.run(main)
