"""Plan the padded lengths of the solvers from the frame counts of all videos.

Lengths in an --out that exists stay valid: adding videos may add lengths and changes none.
"""

from pantograph import cli
from pantograph.contracts import Video


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, nargs="+", help="video.json of every video")
    parser.add_argument("--out", required=True, help="lengths.json to write")
    parser.add_argument("--step", type=int, default=16, help="lengths are multiples of it, frames")
    parser.add_argument("--most", type=int, default=12, help="new lengths, at most")
    parser.add_argument(
        "--frame-ms", type=float, default=10.0, help="cost of a padded frame in all solvers, ms"
    )
    parser.add_argument(
        "--compile-s", type=float, default=25.0, help="cost of a length's compilation, s"
    )
    args = parser.parse_args(argv)

    from pantograph import lengths

    videos = [Video.read(path) for path in args.video]
    counts = [video.frame_count for video in videos if not video.rejected]
    costs = lengths.Costs(args.frame_ms / 1e3, args.compile_s)
    planned = lengths.add(args.out, counts, args.step, args.most, costs)
    print(f"{len(counts)} videos, lengths {', '.join(map(str, planned)) or 'none'}")


if __name__ == "__main__":
    cli.run(main)
