"""Fit SMPL to 2D and 3D landmarks: one shape per person, a smooth pose per frame.

The 3D landmarks are turned by the viewing ray, exchanges of left and right are undone, and a
trajectory solver finds shape, pose and camera-frame position together. Keypoints without 3D
landmarks get those of the model packed with mediapipe, for which the people are needed.
"""

from pantograph import cli
from pantograph.contracts import Body, Keypoints, People, Scene, Video
from pantograph.errors import PantographError


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--keypoints", required=True, help="keypoints.h5")
    parser.add_argument("--scene", required=True, help="scene.h5, for the camera matrix")
    parser.add_argument("--people", default="", help="people.h5, for keypoints in 2D alone")
    parser.add_argument("--out", required=True, help="body.h5 to write")
    parser.add_argument("--body-model", default="", help="SMPL file; empty for the built-in body")
    parser.add_argument("--min-seconds", type=float, default=0.5, help="shortest track kept, s")
    parser.add_argument(
        "--bridge-seconds", type=float, default=0.5, help="longest gap that is filled, s"
    )
    parser.add_argument("--iterations", type=int, default=40, help="of the solver, at most")
    parser.add_argument(
        "--lengths", default="", help="lengths.json of plan_lengths.py (default: that of the run)"
    )
    args = parser.parse_args(argv)
    if args.iterations < 1:
        raise PantographError(f"--iterations: expected at least 1, found {args.iterations}")

    def compute(video, keypoints, scene):
        from pantograph import body, bodyfit, lengths

        if args.people and any(p.landmarks3d is None for p in keypoints.people.values()):
            from pantograph.keypoints import add_landmarks3d

            keypoints = add_landmarks3d(video, People.read(args.people), keypoints)
        return bodyfit.fit_people(
            body.load_body(args.body_model or None),
            video,
            keypoints,
            scene,
            min_seconds=args.min_seconds,
            bridge=args.bridge_seconds,
            iterations=args.iterations,
            lengths=lengths.planned(args.lengths),
        )

    cli.stage(
        Body,
        args.out,
        method="landmarks",
        inputs=[Video.read(args.video), Keypoints.read(args.keypoints), Scene.read(args.scene)],
        compute=compute,
        parameters={
            "body_model": args.body_model,
            "min_seconds": args.min_seconds,
            "bridge_seconds": args.bridge_seconds,
            "iterations": args.iterations,
        },
    )


if __name__ == "__main__":
    cli.run(main)
