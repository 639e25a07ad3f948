"""Read a video file and choose the clip that later stages see: upright, at a constant rate."""

from pathlib import Path

from pantograph import cli, contracts
from pantograph.contracts import Video
from pantograph.errors import PantographError, Rejected


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--path", required=True, help="video file")
    parser.add_argument("--name", required=True, help="name of the clip")
    parser.add_argument("--out", required=True, help="video.json to write")
    parser.add_argument("--start", type=int, default=0, help="first frame, at the constant rate")
    parser.add_argument("--end", type=int, default=-1, help="frame after the last; -1: to the end")
    parser.add_argument("--stride", type=int, default=1, help="keep every N-th frame")
    parser.add_argument(
        "--fps", type=float, default=0.0, help="constant rate to resample to, 1/s; 0: the file's"
    )
    parser.add_argument("--height", default="", help="known statures by rank, m: 1.75[,1.60]")
    parser.add_argument(
        "--betas", default="", help="JSON or YAML file of known shapes by rank, 10 numbers each"
    )
    parser.add_argument("--people", type=int, default=0, help="people to keep; 0: all")
    parser.add_argument("--text", default="", help="what to look for, in words")
    parser.add_argument("--focal", type=float, default=0.0, help="focal length, px; 0: unknown")
    parser.add_argument("--min-frames", type=int, default=10, help="reject shorter clips")
    parser.add_argument("--max-frames", type=int, default=0, help="reject longer clips; 0: none")
    args = parser.parse_args(argv)
    least = {"start": 0, "end": -1, "people": 0, "min_frames": 1, "max_frames": 0, "focal": 0}
    for option, low in least.items():
        if getattr(args, option) < low:
            name = "--" + option.replace("_", "-")
            raise PantographError(f"{name}: expected {low} or more, found {getattr(args, option)}")
    if args.stride < 1 or args.fps < 0:
        raise PantographError(
            f"expected --stride >= 1 and --fps >= 0, found {args.stride} and {args.fps}"
        )

    path = Path(args.path).absolute()
    request = Video(
        name=args.name,
        path=str(path),
        source_sha256=contracts.sha256(path) if path.is_file() else "",
        focal_px=args.focal,
        person_height=_heights(args.height),
        person_betas=_betas(args.betas),
        people_limit=args.people,
        text=args.text,
    )

    def compute(video):
        from pantograph.video import clip_times, probe

        found = probe(path)
        clip = clip_times(found, args.fps, args.start, args.end, args.stride)
        if len(clip.indices) < args.min_frames:
            raise Rejected(
                f"{path}: {len(clip.indices)} frames, expected {args.min_frames} or more"
            )
        if 0 < args.max_frames < len(clip.indices):
            raise Rejected(
                f"{path}: {len(clip.indices)} frames, expected {args.max_frames} at most; "
                "set start and end, or a stride"
            )
        video.fps = clip.fps
        video.width, video.height = found.width, found.height
        video.rotation = found.rotation
        video.variable_frame_rate = clip.variable
        video.source_fps = clip.source_fps
        video.source_frames = [int(i) for i in clip.indices]
        video.source_times = [round(float(t), 6) for t in found.times[clip.indices]]
        video.focal_px = args.focal or found.focal_px
        video.stats = {
            "file_frames": len(found.times),
            "clip_s": round(len(clip.indices) / clip.fps, 3),
        }
        if found.notes:
            video.stats["notes"] = found.notes
        return video

    kept = ("start", "end", "stride", "fps", "min_frames", "max_frames")
    parameters = {key: getattr(args, key) for key in kept}
    cli.stage(
        Video, args.out, method="ingest", inputs=[request], compute=compute, parameters=parameters
    )


def _betas(path):
    if not path:
        return []
    from pantograph.shape import read_betas

    return read_betas(path)


def _heights(text):
    try:
        heights = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise PantographError(
            f"--height: expected metres such as 1.75,1.60, found {text!r}"
        ) from None
    for height in heights:
        if not 0.5 < height < 2.5:
            raise PantographError(f"--height: expected 0.5 to 2.5 m, found {height:g}")
    return heights


if __name__ == "__main__":
    cli.run(main)
