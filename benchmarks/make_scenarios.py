"""Render scenarios with their truth: DIR/<name>.mp4 and DIR/<name>.truth/.

Without names all scenarios are made. A clip that is finished is kept. Variations become part of
the name, as in squat-pan-1.50m-60fps. With --motion, a motion of your own is rendered instead.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from pantograph import cli  # noqa: E402
from pantograph.errors import PantographError  # noqa: E402


def main(argv=None):
    from pantograph.synthetic import clip
    from pantograph.synthetic.camera import CAMERA_MODELS
    from pantograph.synthetic.scenario import SCENARIOS, vary

    parser = cli.parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="scenario", help="default all; see --list")
    parser.add_argument("--out", type=Path, help="folder for clips and truth")
    parser.add_argument("--list", action="store_true", help="print the scenarios and stop")
    parser.add_argument("--camera", choices=CAMERA_MODELS, help="another camera path")
    parser.add_argument("--stature", type=float, help="of the first person, m (1.50 to 1.95)")
    parser.add_argument("--focal", type=float, help="focal length over the long side (0.65 to 1.1)")
    parser.add_argument("--fps", type=float, help="frames per second; of the motion with --motion")
    parser.add_argument(
        "--motion", type=Path, help=".npy of SMPL joints (T, 24 or more, 3), m, +Z up"
    )
    parser.add_argument(
        "--contacts",
        type=Path,
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        help=".npy (T,) of when each foot of the motion stands; found by its speed if not given",
    )
    parser.add_argument("--crf", default=22, type=int, help="H.264 quality, lower is better")
    args = parser.parse_args(argv)
    if args.list:
        for name, make in SCENARIOS.items():
            print(f"{name:16} {make.__doc__.strip()}")
        return
    if args.out is None:
        parser.error("--out is required")
    unknown = sorted(set(args.names) - set(SCENARIOS))
    if unknown:
        raise PantographError(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    if args.motion:
        from pantograph.synthetic.recorded import recorded_scenario

        fps = args.fps or 30.0
        chosen = [recorded_scenario(args.motion, args.contacts, fps, args.camera)]
        args.camera = args.fps = None
    else:
        chosen = [SCENARIOS[name]() for name in args.names or SCENARIOS]
    for base in chosen:
        scenario = vary(base, args.camera, args.stature, args.focal, args.fps)
        path = args.out / f"{scenario.name}.mp4"
        if clip.finished(path):
            print(f"{path} kept")
            continue
        begin = time.perf_counter()
        clip.write(scenario, args.out, args.crf)
        seconds = time.perf_counter() - begin
        frames = len(scenario.times)
        print(f"{path} {frames} frames, {frames / seconds:.1f} frames/s", flush=True)


if __name__ == "__main__":
    cli.run(main)
