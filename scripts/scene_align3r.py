"""Find cameras, depth and its confidence with Align3R.

Needs a CUDA GPU with much memory. Where people are is taken from people.h5. Whether the camera
travels is judged by the background's motion; one that stands still or turns on the spot is said to
do so, whatever Align3R finds. Lengths are in a unit of its own. Frames and their stride are those
of video.json.
"""

from pantograph import cli
from pantograph.contracts import People, Scene, Video


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--people", required=True, help="people.h5")
    parser.add_argument("--out", required=True, help="scene.h5 to write")
    parser.add_argument("--repository", default="", help="clone of monst3r-depth-package")
    parser.add_argument("--croco", default="", help="clone of croco_package")
    parser.add_argument("--depth-pro", default="", help="weights of Depth Pro")
    parser.add_argument("--raft", default="", help="weights of RAFT (Tartan ... M)")
    parser.add_argument("--weights", default="", help="weights of Align3R with Depth Pro")
    parser.add_argument(
        "--camera",
        choices=("auto", "static", "rotation", "sfm"),
        default="auto",
        help="what the camera does; auto: find out; sfm: it travels",
    )
    parser.add_argument("--points", type=int, default=100_000, help="most points of the scene")
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.33,
        help="of points, in [0, 1]: 1 - 1/c for the networks' c",
    )
    parser.add_argument(
        "--gpu-gb",
        type=float,
        default=0.0,
        help="GPU memory that may be used, GB; 0: what is free",
    )
    parser.add_argument(
        "--gb-per-frame",
        type=float,
        default=0.533,
        help="GPU memory that a frame of 512 x 288 px needs, GB",
    )
    parser.add_argument(
        "--scene-graph",
        choices=("swinstride", "swinstride-cyclic", "swin", "swin-cyclic", "oneref", "complete"),
        default="swinstride",
        help="which pairs of frames are compared",
    )
    parser.add_argument("--window", type=int, default=5, help="of the scene graph, frames")
    parser.add_argument("--reference", type=int, default=0, help="frame of the graph oneref")
    parser.add_argument("--batch-size", type=int, default=16, help="pairs at once")
    parser.add_argument("--iterations", type=int, default=300, help="of the optimisation")
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate of it")
    parser.add_argument("--no-flow-loss", action="store_true", help="leave optical flow out")
    parser.add_argument("--no-batchify", action="store_true", help="slower, with less memory")
    parser.add_argument("--empty-cache", action="store_true", help="slower, with less memory")
    args = parser.parse_args(argv)
    plain = ("scene_graph", "window", "reference", "batch_size", "iterations", "rate")
    options = {name: getattr(args, name) for name in plain + ("empty_cache",)}
    options.update(flow_loss=not args.no_flow_loss, batchify=not args.no_batchify)
    limits = ("camera", "points", "min_confidence")
    parameters = {**options, **{name: getattr(args, name) for name in limits}}

    def compute(video, people):
        from pantograph import align3r, reconstruction

        names = ("repository", "croco", "depth_pro", "raft", "weights")
        files = {name: getattr(args, name) for name in names}
        memory = {"gpu_gb": args.gpu_gb, "gb_per_frame": args.gb_per_frame}
        found = align3r.reconstruct(video, people, files, {**options, **memory})
        return reconstruction.to_scene(
            found,
            video,
            people,
            model=args.camera,
            points=args.points,
            least=args.min_confidence,
        )

    inputs = [Video.read(args.video), People.read(args.people)]
    cli.stage(
        Scene, args.out, method="align3r", inputs=inputs, compute=compute, parameters=parameters
    )


if __name__ == "__main__":
    cli.run(main)
