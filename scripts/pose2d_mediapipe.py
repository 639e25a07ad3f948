"""Read the 33 landmarks of every person, in the picture and in metres, on a clean crop."""

from pantograph import cli
from pantograph.contracts import Keypoints, People, Video


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--people", required=True, help="people.h5")
    parser.add_argument("--out", required=True, help="keypoints.h5 to write")
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
    parser.add_argument("--size", type=int, default=960, help="least working long side, px")
    parser.add_argument("--threads", type=int, default=1, help="threads of the model")
    args = parser.parse_args(argv)
    inputs = [Video.read(args.video), People.read(args.people)]

    def compute(video, people):
        from pantograph.keypoints import find_keypoints

        return find_keypoints(
            video,
            people,
            flip=bool(args.flip),
            min_score=args.min_score,
            long_side=args.size,
            threads=args.threads,
        )

    cli.stage(
        Keypoints,
        args.out,
        method="mediapipe",
        inputs=inputs,
        compute=compute,
        parameters={"flip": args.flip, "min_score": args.min_score, "size": args.size},
    )


if __name__ == "__main__":
    cli.run(main)
