"""MegaHunter: people, cameras and scene in one metric world by one joint optimisation."""

import sys

from pantograph import cli
from pantograph.contracts import Body, Contacts, Keypoints, Scene, Video, World
from pantograph.errors import PantographError


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--keypoints", required=True, help="keypoints.h5")
    parser.add_argument("--body", required=True, help="body.h5")
    parser.add_argument("--contacts", required=True, help="contacts.h5")
    parser.add_argument("--scene", required=True, help="scene.h5")
    parser.add_argument("--out", required=True, help="world.h5 to write")
    parser.add_argument("--body-model", default="", help="SMPL file; empty for the built-in body")
    parser.add_argument(
        "--robot-shape", default="", help="robot whose proportions and size people and world get"
    )
    parser.add_argument("--iterations", type=int, default=40, help="of the solver, at most")
    parser.add_argument(
        "--lengths", default="", help="lengths.json of plan_lengths.py (default: that of the run)"
    )
    args = parser.parse_args(argv)
    if args.iterations < 1:
        raise PantographError(f"--iterations: expected at least 1, found {args.iterations}")

    def compute(video, keypoints, body_product, contacts, scene):
        from pantograph import lengths, megahunter
        from pantograph.body import load_body_of
        from pantograph.robot import load_robot

        model = load_body_of(body_product, args.body_model)
        world = megahunter.align(
            model,
            video,
            keypoints,
            body_product,
            contacts,
            scene,
            robot=load_robot(args.robot_shape) if args.robot_shape else None,
            iterations=args.iterations,
            lengths=lengths.planned(args.lengths),
        )
        if not world.stats["converged"]:
            print(f"not converged after {world.stats['iterations']} iterations", file=sys.stderr)
        return world

    cli.stage(
        World,
        args.out,
        method="megahunter",
        inputs=[
            Video.read(args.video),
            Keypoints.read(args.keypoints),
            Body.read(args.body),
            Contacts.read(args.contacts),
            Scene.read(args.scene),
        ],
        compute=compute,
        parameters={
            "body_model": args.body_model,
            "robot_shape": args.robot_shape,
            "iterations": args.iterations,
        },
    )


if __name__ == "__main__":
    cli.run(main)
