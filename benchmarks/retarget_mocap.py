"""Measure how closely the robot follows recorded joint positions, by the measures of the field.

The recording is a .npy of SMPL joints with face and feet, (T, 45, 3), m, +Z up; definitions are
in scripts/pantograph/fidelity.py. --pareto retargets it with the weights of the main terms
multiplied by several factors and prints all measures of each: what one gains, others lose.
"""

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from pantograph import cli, contracts  # noqa: E402

MEASURES = {
    "position_mm": ("position mm", 1),
    "direction_deg": ("direction deg", 2),
    "acceleration_rad_s2": ("acceleration rad/s2", 2),
    "still_foot_m_s": ("still foot m/s", 3),
    "human_foot_m_s": ("human's m/s", 3),
    "limit_violations": ("beyond limits", 0),
    "velocity_violations": ("too fast", 0),
}
FACTORS = {
    "keypoints": (0.5, 1.0, 2.0),
    "directions": (0.5, 1.0, 2.0),
    "acceleration": (0.5, 1.0, 2.0),
    "contact": (0.25, 1.0, 4.0),
}


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("recording", type=Path, help=".npy of joints (T, 45, 3)")
    parser.add_argument(
        "--contacts",
        type=Path,
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        help=".npy (T,) of when each foot stands; without them no foot is held",
    )
    parser.add_argument("--fps", type=float, default=30.0, help="frames per second")
    parser.add_argument("--pareto", action="store_true", help="also with other weights")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    args = parser.parse_args(argv)

    from pantograph import fidelity
    from pantograph.retarget import Weights

    person, contact = fidelity.read_recording(args.recording, args.contacts)
    base = Weights()
    settings = [{}]
    if args.pareto:
        settings += [{name: x} for name in FACTORS for x in FACTORS[name] if x != 1.0]
        names = ("directions", "acceleration")
        corners = itertools.product(*([x for x in FACTORS[n] if x != 1.0] for n in names))
        settings += [dict(zip(names, corner, strict=True)) for corner in corners]
    rows = []
    print("  ".join(f"{title:>19}" for title, _ in MEASURES.values()) + "  weights")
    for factors in settings:
        weights = replace(base, **{k: getattr(base, k) * x for k, x in factors.items()})
        found = fidelity.follow(person, contact, args.fps, weights)
        rows.append({"factors": factors, **found})
        cells = [f"{found[name]:19.{digits}f}" for name, (_, digits) in MEASURES.items()]
        label = ", ".join(f"{name} x {x:g}" for name, x in factors.items()) or "default"
        print("  ".join(cells) + f"  {label}", flush=True)
    if args.json:
        content = json.dumps(rows, indent=1) + "\n"
        contracts.atomic_write(args.json, lambda path: Path(path).write_text(content))


if __name__ == "__main__":
    cli.run(main)
