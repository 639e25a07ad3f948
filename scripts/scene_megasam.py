"""Find cameras and depth with MegaSam.

Needs a CUDA GPU. Whether the camera travels is judged by the background's motion; one that stands
still or turns on the spot is said to do so, whatever MegaSam finds. Lengths are in MegaSam's own
unit. Frames and their stride are those of video.json.
"""

from pantograph import cli
from pantograph.contracts import People, Scene, Video


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--people", required=True, help="people.h5")
    parser.add_argument("--out", required=True, help="scene.h5 to write")
    parser.add_argument("--repository", default="", help="clone of megasam-package")
    parser.add_argument("--dino", default="", help="clone of dinov2")
    parser.add_argument("--unidepth", default="", help="folder of UniDepth v2 (old, ViT-L)")
    parser.add_argument("--depth-anything", default="", help="weights of Depth Anything")
    parser.add_argument("--raft", default="", help="weights of RAFT (things)")
    parser.add_argument("--weights", default="", help="weights of MegaSam")
    parser.add_argument(
        "--camera",
        choices=("auto", "static", "rotation", "sfm"),
        default="auto",
        help="what the camera does; auto: find out; sfm: it travels",
    )
    parser.add_argument("--points", type=int, default=100_000, help="most points of the scene")
    parser.add_argument(
        "--gpu-gb",
        type=float,
        default=0.0,
        help="GPU memory that may be used, GB; 0: what is free",
    )
    parser.add_argument(
        "--gb-per-frame",
        type=float,
        default=0.08,
        help="GPU memory that a frame of 512 x 288 px needs, GB",
    )
    parser.add_argument(
        "--encoder", choices=("vits", "vitb", "vitl"), default="vitl", help="of Depth Anything"
    )
    parser.add_argument(
        "--small", action="store_true", help="the weights of RAFT are the small ones"
    )
    parser.add_argument("--w-grad", type=float, default=2.0, help="weight of depth gradients")
    parser.add_argument("--w-normal", type=float, default=5.0, help="weight of depth normals")
    parser.add_argument("--buffer", type=int, default=1024, help="SLAM: most keyframes")
    parser.add_argument("--beta", type=float, default=0.3, help="SLAM: weight of translation")
    parser.add_argument("--filter-thresh", type=float, default=2.0, help="SLAM: motion of a frame")
    parser.add_argument("--warmup", type=int, default=8, help="SLAM: frames before the first solve")
    parser.add_argument("--keyframe-thresh", type=float, default=2.0, help="SLAM: of a keyframe")
    parser.add_argument("--frontend-thresh", type=float, default=12.0, help="SLAM: of an edge")
    parser.add_argument("--frontend-window", type=int, default=25, help="SLAM: keyframes at once")
    parser.add_argument("--frontend-radius", type=int, default=2, help="SLAM: neighbours")
    parser.add_argument("--frontend-nms", type=int, default=1, help="SLAM: spread of edges")
    parser.add_argument("--backend-thresh", type=float, default=16.0, help="SLAM: of an edge, last")
    parser.add_argument("--backend-radius", type=int, default=2, help="SLAM: neighbours, last")
    parser.add_argument("--backend-nms", type=int, default=3, help="SLAM: spread of edges, last")
    parser.add_argument("--stereo", action="store_true", help="SLAM: pictures are stereo pairs")
    parser.add_argument("--depth", action="store_true", help="SLAM: depth is measured")
    parser.add_argument("--upsample", action="store_true", help="SLAM: learned upsampling")
    args = parser.parse_args(argv)
    slam = ("buffer", "beta", "filter_thresh", "warmup", "keyframe_thresh", "frontend_thresh")
    slam += ("frontend_window", "frontend_radius", "frontend_nms", "backend_thresh")
    slam += ("backend_radius", "backend_nms", "stereo", "depth", "upsample")
    plain = ("camera", "points", "encoder", "small", "w_grad", "w_normal")
    parameters = {name: getattr(args, name) for name in plain + slam}

    def compute(video, people):
        from pantograph import megasam, reconstruction

        options = {
            "slam": {name: getattr(args, name) for name in slam},
            **{name: getattr(args, name) for name in plain + ("gpu_gb", "gb_per_frame")},
        }
        names = ("repository", "dino", "unidepth", "depth_anything", "raft", "weights")
        files = {name: getattr(args, name) for name in names}
        found = megasam.reconstruct(video, people, files, options)
        return reconstruction.to_scene(found, video, people, model=args.camera, points=args.points)

    inputs = [Video.read(args.video), People.read(args.people)]
    cli.stage(
        Scene, args.out, method="megasam", inputs=inputs, compute=compute, parameters=parameters
    )


if __name__ == "__main__":
    cli.run(main)
