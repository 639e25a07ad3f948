"""Find, mask and follow what a text names with SAM 3 alone.

The clip goes by in windows; the tracks of successive windows are joined by their overlap, who was
lost is known again by motion and colours.
"""

from pantograph import cli
from pantograph.contracts import People, Video
from pantograph.errors import PantographError


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--out", required=True, help="people.h5 to write")
    parser.add_argument("--model", required=True, help="folder of SAM 3's video model")
    parser.add_argument(
        "--people", type=int, default=None, help="people to keep, 0: all; default: as video.json"
    )
    parser.add_argument("--text", default=None, help="what to look for; default: as video.json")
    parser.add_argument("--window", type=int, default=60, help="frames that go by at a time")
    parser.add_argument(
        "--score", type=float, default=None, help="least score of a person; default: the model's"
    )
    parser.add_argument(
        "--match-iou", type=float, default=0.8, help="overlap above which two masks are one person"
    )
    parser.add_argument("--size", type=int, default=1280, help="working long side, px")
    parser.add_argument("--min-seconds", type=float, default=0.5, help="shortest time in view, s")
    parser.add_argument("--device", default="", help="cuda, cuda:1, cpu; default: a GPU if any")
    parser.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="of SAM 3"
    )
    parser.add_argument(
        "--offload", type=int, choices=(0, 1), default=1, help="keep pictures in main memory"
    )
    args = parser.parse_args(argv)
    if args.window < 1:
        raise PantographError(f"--window: expected 1 or more, found {args.window}")
    video = Video.read(args.video)

    def compute(video):
        from pantograph import gpu, maskvideo

        gpu.check_files(args.model, "the folder of SAM 3")
        device = gpu.device(args.device)
        with gpu.memory("set a smaller --window or --size, or --precision bfloat16"):
            from pantograph.samvideo import Sam3

            model = Sam3(
                args.model,
                maskvideo.prompt(video.text if args.text is None else args.text),
                maskvideo.stored_shape(video),
                device,
                gpu.precision(args.precision, device),
                bool(args.offload),
                args.score,
            )
            record = maskvideo.follow_tracks(model, video, args.size, args.window, args.match_iou)
        limit = video.people_limit if args.people is None else args.people
        return record.product(video, args.min_seconds, limit)

    cli.stage(
        People,
        args.out,
        method="sam3",
        inputs=[video],
        compute=compute,
        parameters={
            key: value
            for key, value in {
                "text": video.text if args.text is None else args.text,
                "window": args.window,
                "score": args.score,
                "match_iou": args.match_iou,
                "size": args.size,
                "min_seconds": args.min_seconds,
                "precision": args.precision,
            }.items()
            if value is not None
        },
    )


if __name__ == "__main__":
    cli.run(main)
