"""Find what a text names with GroundingDINO, and mask and follow it with SAM 2.

The detector looks at every n-th frame; the masks of the people followed are matched to those it
finds by their overlap, who was lost is known again by motion and colours.
"""

from pantograph import cli
from pantograph.contracts import People, Video
from pantograph.errors import PantographError


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--out", required=True, help="people.h5 to write")
    parser.add_argument("--detector", required=True, help="folder of GroundingDINO")
    parser.add_argument("--model", required=True, help="folder of SAM 2's video model")
    parser.add_argument(
        "--people", type=int, default=None, help="people to keep, 0: all; default: as video.json"
    )
    parser.add_argument("--text", default=None, help="what to look for; default: as video.json")
    parser.add_argument("--box-threshold", type=float, default=0.25, help="least score of a box")
    parser.add_argument(
        "--text-threshold", type=float, default=0.25, help="least score of one of its words"
    )
    parser.add_argument(
        "--detection-step", type=int, default=20, help="look for people in every n-th frame"
    )
    parser.add_argument(
        "--match-iou", type=float, default=0.8, help="overlap above which two masks are one person"
    )
    parser.add_argument(
        "--carry", type=int, default=5, help="detections that somebody followed may miss in a row"
    )
    parser.add_argument("--size", type=int, default=1280, help="working long side, px")
    parser.add_argument("--min-seconds", type=float, default=0.5, help="shortest time in view, s")
    parser.add_argument("--device", default="", help="cuda, cuda:1, cpu; default: a GPU if any")
    parser.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="of SAM 2"
    )
    parser.add_argument(
        "--offload", type=int, choices=(0, 1), default=1, help="keep pictures in main memory"
    )
    args = parser.parse_args(argv)
    if args.detection_step < 1:
        raise PantographError(f"--detection-step: expected 1 or more, found {args.detection_step}")
    video = Video.read(args.video)

    def compute(video):
        from pantograph import gpu, maskvideo

        gpu.check_files(args.detector, "the folder of GroundingDINO")
        gpu.check_files(args.model, "the folder of SAM 2")
        device = gpu.device(args.device)
        with gpu.memory("set a smaller --size or --precision bfloat16"):
            from pantograph.samvideo import GroundedSam2

            model = GroundedSam2(
                args.detector,
                args.model,
                maskvideo.prompt(video.text if args.text is None else args.text) + ".",
                maskvideo.stored_shape(video),
                args.box_threshold,
                args.text_threshold,
                device,
                gpu.precision(args.precision, device),
                bool(args.offload),
            )
            record = maskvideo.follow_detections(
                *(model, video, args.size, args.detection_step, args.match_iou, args.carry)
            )
        limit = video.people_limit if args.people is None else args.people
        return record.product(video, args.min_seconds, limit)

    cli.stage(
        People,
        args.out,
        method="sam2",
        inputs=[video],
        compute=compute,
        parameters={
            "text": video.text if args.text is None else args.text,
            "box_threshold": args.box_threshold,
            "text_threshold": args.text_threshold,
            "detection_step": args.detection_step,
            "match_iou": args.match_iou,
            "carry": args.carry,
            "size": args.size,
            "min_seconds": args.min_seconds,
            "precision": args.precision,
        },
    )


if __name__ == "__main__":
    cli.run(main)
