"""Read the 133 keypoints of COCO-WholeBody of every person with ViTPose, many crops at a time."""

from pantograph import cli
from pantograph.contracts import Keypoints, People, Video
from pantograph.errors import PantographError


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--people", required=True, help="people.h5")
    parser.add_argument("--out", required=True, help="keypoints.h5 to write")
    parser.add_argument(
        "--model", required=True, help="folder of transformers' ViTPose, or the authors' .pth"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="crops at a time")
    parser.add_argument(
        "--flip",
        type=int,
        choices=(0, 1),
        default=1,
        help="average with the mirrored crop: less noise, twice the time",
    )
    parser.add_argument(
        "--min-score", type=float, default=0.3, help="least mean confidence of a visible body"
    )
    parser.add_argument(
        "--size", type=int, default=0, help="long side of the pictures, px; 0: that of the video"
    )
    parser.add_argument("--device", default="", help="cuda, cuda:1, cpu; default: a GPU if any")
    parser.add_argument(
        "--precision", choices=("float32", "float16", "bfloat16"), default="float32"
    )
    args = parser.parse_args(argv)
    if args.batch_size < 1:
        raise PantographError(f"--batch-size: expected 1 or more, found {args.batch_size}")
    inputs = [Video.read(args.video), People.read(args.people)]

    def compute(video, people):
        from pantograph import gpu, vitpose

        gpu.check_files(args.model, "ViTPose for 133 keypoints")
        device = gpu.device(args.device)
        with gpu.memory(f"set a --batch-size below {args.batch_size}"):
            model = vitpose.Model(
                args.model, device, gpu.precision(args.precision, device), bool(args.flip)
            )
            return vitpose.find_keypoints(
                *(model, video, people, args.batch_size, args.min_score, args.size or None)
            )

    cli.stage(
        Keypoints,
        args.out,
        method="vitpose",
        inputs=inputs,
        compute=compute,
        parameters={
            "batch_size": args.batch_size,
            "flip": args.flip,
            "min_score": args.min_score,
            "size": args.size,
            "precision": args.precision,
        },
    )


if __name__ == "__main__":
    cli.run(main)
