"""Find out how the camera moves: static, turning on the spot, or travelling.

The background of the clip is tracked. Where it shows parallax, structure from motion is tried;
its result is used only if it passes a gate on triangulation angle, registered frames, number of
points and the tilt of the ground. Otherwise the camera is taken to turn on the spot.
"""

from pantograph import cli
from pantograph.contracts import People, Scene, Video


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--people", required=True, help="people.h5")
    parser.add_argument("--out", required=True, help="scene.h5 to write")
    parser.add_argument("--long-side", type=int, default=640, help="working size, px")
    parser.add_argument(
        "--camera",
        choices=("auto", "static", "rotation", "sfm"),
        default="auto",
        help="what the camera does; auto: find out; sfm: try it even without visible parallax",
    )
    parser.add_argument(
        "--static-px",
        type=float,
        default=0.6,
        help="background shift below which the camera stands still, px of the working size",
    )
    parser.add_argument(
        "--parallax-px",
        type=float,
        default=1.0,
        help="residual of a pure turn above which SfM is tried, px of the working size",
    )
    parser.add_argument(
        "--min-angle", type=float, default=5.0, help="gate: median triangulation angle, deg"
    )
    parser.add_argument(
        "--min-registered", type=float, default=0.8, help="gate: part of the frames with a pose"
    )
    parser.add_argument("--min-points", type=int, default=500, help="gate: number of points")
    args = parser.parse_args(argv)
    parameters = {
        name: getattr(args, name)
        for name in (
            *("long_side", "camera", "static_px", "parallax_px"),
            *("min_angle", "min_registered", "min_points"),
        )
    }

    def compute(video, people):
        from pantograph import scenes, sfm

        gate = sfm.Gate(
            angle_deg=args.min_angle, registered=args.min_registered, points=args.min_points
        )
        return scenes.find_scene(
            video,
            people,
            gate,
            long_side=args.long_side,
            model=args.camera,
            static_px=args.static_px,
            parallax_px=args.parallax_px,
        )

    inputs = [Video.read(args.video), People.read(args.people)]
    cli.stage(Scene, args.out, method="sfm", inputs=inputs, compute=compute, parameters=parameters)


if __name__ == "__main__":
    cli.run(main)
