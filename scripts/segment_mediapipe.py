"""Find the people of a clip, follow them and give each a mask in every frame.

The detector, landmark model and masks are those packed with mediapipe; identities are kept
through crossings by motion and the colours of the body's parts.
"""

from pantograph import cli
from pantograph.contracts import People, Video
from pantograph.errors import PantographError

PERSON_WORDS = frozenset(
    "person persons people human humans man men woman women boy boys girl girls child children "
    "adult adults pedestrian pedestrians actor actors dancer dancers a the an of all".split()
)


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--out", required=True, help="people.h5 to write")
    parser.add_argument(
        "--people", type=int, default=None, help="people to keep, 0: all; default: as video.json"
    )
    parser.add_argument("--text", default=None, help="what to look for; default: as video.json")
    parser.add_argument("--size", type=int, default=960, help="working long side, px")
    parser.add_argument("--min-seconds", type=float, default=0.5, help="shortest time in view, s")
    parser.add_argument(
        "--min-height", type=float, default=0.1, help="least stature over the frame's short side"
    )
    parser.add_argument(
        "--bystander", type=float, default=0.3, help="least stature over the tallest person's"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of the models")
    args = parser.parse_args(argv)
    video = Video.read(args.video)
    text = video.text if args.text is None else args.text
    unknown = [w for w in text.lower().replace(",", " ").replace(".", " ").split()]
    unknown = [w for w in unknown if w not in PERSON_WORDS]
    if unknown:
        raise PantographError(
            f"text {text!r}: this detector knows people only; leave the text empty or use a "
            "route with a text detector"
        )

    def compute(video):
        from pantograph.people import find_people

        limit = video.people_limit if args.people is None else args.people
        return find_people(
            video,
            long_side=args.size,
            min_seconds=args.min_seconds,
            min_height=args.min_height,
            bystander=args.bystander,
            limit=limit,
            threads=args.threads,
        )

    parameters = {
        "size": args.size,
        "people": args.people,
        "min_seconds": args.min_seconds,
        "min_height": args.min_height,
        "bystander": args.bystander,
    }
    cli.stage(
        People,
        args.out,
        method="mediapipe",
        inputs=[video],
        compute=compute,
        parameters={k: v for k, v in parameters.items() if v is not None},
    )


if __name__ == "__main__":
    cli.run(main)
