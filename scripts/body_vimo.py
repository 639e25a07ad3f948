"""SMPL pose and shape of people with VIMO, and their place from 2D keypoints.

VIMO looks at 16 frames of a person at a time; it is called as a package, from a clone or installed.
Its pose has no place that other stages could rely on: the position of the pelvis is the one that
brings the body's landmarks onto the keypoints, in the scene's camera. Joints come from the SMPL
file in --body-model; without one from the built-in body, whose proportions are an average.
"""

from pantograph import cli
from pantograph.contracts import Body, Keypoints, People, Scene, Video
from pantograph.errors import PantographError


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--people", required=True, help="people.h5")
    parser.add_argument("--keypoints", required=True, help="keypoints.h5")
    parser.add_argument("--scene", required=True, help="scene.h5, for the camera matrix")
    parser.add_argument("--out", required=True, help="body.h5 to write")
    parser.add_argument("--weights", default="", help="vimo_checkpoint.pth.tar")
    parser.add_argument(
        "--repository", default="", help="clone of VIMO; empty for the installed package"
    )
    parser.add_argument("--body-model", default="", help="SMPL file; empty for the built-in body")
    parser.add_argument(
        "--focal",
        default="scene",
        choices=("scene", "guess"),
        help="camera told to the network; guess: focal length of the frame's diagonal",
    )
    parser.add_argument(
        "--max-gap", type=int, default=8, help="longest gap in a track that is bridged, frames"
    )
    parser.add_argument(
        "--step", type=int, default=1, help="frames from one window to the next, 1 to 8"
    )
    parser.add_argument("--crop-batch", type=int, default=32, help="crops at a time")
    parser.add_argument("--window-batch", type=int, default=8, help="windows at a time")
    parser.add_argument("--device", default="", help="default: the GPU if there is one")
    args = parser.parse_args(argv)
    for name, low, high in (("max_gap", 0, 10**6), ("step", 1, 8)):
        if not low <= getattr(args, name) <= high:
            raise PantographError(
                f"--{name.replace('_', '-')}: expected {low} to {high}, found {getattr(args, name)}"
            )
    for name in ("crop_batch", "window_batch"):
        if getattr(args, name) < 1:
            raise PantographError(
                f"--{name.replace('_', '-')}: expected at least 1, found {getattr(args, name)}"
            )

    def compute(video, people, keypoints, scene):
        from pantograph import gpu, vimo
        from pantograph.body import load_body

        device = gpu.device(args.device)
        return vimo.find_bodies(
            *(video, people, keypoints, scene, load_body(args.body_model or None)),
            vimo.load(args.repository, args.weights, str(device)),
            device,
            focal=args.focal,
            max_gap=args.max_gap,
            step=args.step,
            crop_batch=args.crop_batch,
            window_batch=args.window_batch,
        )

    inputs = [
        Video.read(args.video),
        People.read(args.people),
        Keypoints.read(args.keypoints),
        Scene.read(args.scene),
    ]
    cli.stage(
        Body,
        args.out,
        method="vimo",
        inputs=inputs,
        compute=compute,
        parameters={
            "body_model": args.body_model,
            "focal": args.focal,
            "max_gap": args.max_gap,
            "step": args.step,
        },
    )


if __name__ == "__main__":
    cli.run(main)
