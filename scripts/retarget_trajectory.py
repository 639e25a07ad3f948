"""Retarget the people of a clip to a robot: one solve over all frames, limits hard, feet held."""

from pantograph import cli
from pantograph.contracts import Contacts, Gravity, Mesh, Motion, Video


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json, for the frame rate")
    parser.add_argument("--gravity", required=True, help="gravity.h5")
    parser.add_argument("--contacts", required=True, help="contacts.h5")
    parser.add_argument("--mesh", required=True, help="mesh.h5, for its support boxes")
    parser.add_argument("--out", required=True, help="motion_<robot>.h5 to write")
    parser.add_argument("--robot", default="g1", help="a robot of resources/robots, or a YAML")
    parser.add_argument("--iterations", type=int, default=40, help="most solver iterations")
    parser.add_argument(
        "--smoothness", type=float, default=1.0, help="factor on the smoothness terms"
    )
    parser.add_argument(
        "--weights", default="{}", help='factors on the weights of terms, JSON: {"contact": 0.5}'
    )
    parser.add_argument(
        "--no-self-collision", action="store_true", help="let the robot's limbs touch each other"
    )
    parser.add_argument(
        "--no-scene-collision", action="store_true", help="let the robot enter floor and boxes"
    )
    parser.add_argument(
        "--lengths", default="", help="lengths.json of plan_lengths.py (default: that of the run)"
    )
    args = parser.parse_args(argv)

    def compute(gravity, contacts, mesh, video):
        from pantograph import lengths
        from pantograph.retarget import retarget
        from pantograph.robot import load_robot

        weights = chosen_weights(args.weights, args.smoothness)
        robot = load_robot(args.robot)
        return retarget(
            robot,
            gravity,
            contacts,
            mesh,
            video.fps,
            weights,
            args.iterations,
            self_collision=not args.no_self_collision,
            scene_collision=not args.no_scene_collision,
            lengths=lengths.planned(args.lengths),
        )

    cli.stage(
        Motion,
        args.out,
        method="trajectory",
        inputs=[
            Gravity.read(args.gravity),
            Contacts.read(args.contacts),
            Mesh.read(args.mesh),
            Video.read(args.video),
        ],
        compute=compute,
        parameters={
            "robot": args.robot,
            "iterations": args.iterations,
            "smoothness": args.smoothness,
            "weights": args.weights,
            "self_collision": not args.no_self_collision,
            "scene_collision": not args.no_scene_collision,
        },
    )


def chosen_weights(factors, smoothness=1.0):
    """The robotcosts.Weights times factors, given as a JSON object of numbers by name, those of
    accelerations times `smoothness` too. Raises PantographError for anything else."""
    import json
    from dataclasses import asdict

    from pantograph.errors import PantographError
    from pantograph.retarget import Weights

    known = asdict(Weights())
    try:
        given = {name: float(value) for name, value in json.loads(factors).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise PantographError(
            f'--weights: expected JSON such as {{"contact": 0.5}}, found {factors!r}'
        ) from error
    for name, value in given.items():
        if name not in known or not value >= 0:
            raise PantographError(
                f"--weights: expected factors of 0 or more on {', '.join(known)}; "
                f"found {name}: {value:g}"
            )
    for name in ("acceleration", "root_acceleration"):
        given[name] = given.get(name, 1.0) * smoothness
    return Weights(**{name: value * given.get(name, 1.0) for name, value in known.items()})


if __name__ == "__main__":
    cli.run(main)
