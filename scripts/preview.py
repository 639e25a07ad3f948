"""Show the input with what was found in it beside the robots that follow it, as an MP4.

Left: the video with masks, skeletons, ids and foot contacts. Right: the robots in their scene,
seen from the side of the camera. A rejected clip gives a short MP4 that shows the reason.
"""

from pantograph import cli, contracts
from pantograph.errors import PantographError


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--people", required=True, help="people.h5")
    parser.add_argument("--keypoints", required=True, help="keypoints.h5")
    parser.add_argument("--gravity", required=True, help="gravity.h5")
    parser.add_argument("--mesh", required=True, help="mesh.h5")
    parser.add_argument("--motion", required=True, help="motion_<robot>.h5")
    parser.add_argument("--robot", help="robot or path of its YAML (default: the motion's)")
    parser.add_argument("--height", type=int, default=480, help="of the pictures, px (even)")
    parser.add_argument("--every", type=int, default=1, help="show each n-th frame")
    parser.add_argument("--out", required=True, help="MP4 to write")
    args = parser.parse_args(argv)
    if args.height < 120 or args.height % 2 or args.every < 1:
        raise PantographError(
            f"expected an even --height of at least 120 and --every of at least 1, "
            f"found {args.height} and {args.every}"
        )
    products = (
        contracts.Video.read(args.video),
        contracts.People.read(args.people),
        contracts.Keypoints.read(args.keypoints),
        contracts.Gravity.read(args.gravity),
        contracts.Mesh.read(args.mesh),
        contracts.Motion.read(args.motion),
    )
    refused = next((product for product in products if product.rejected), None)

    from pantograph import preview

    if refused is not None:
        preview.write_notice(args.out, products[0], refused.reason, args.height)
        return
    from pantograph import offscreen
    from pantograph.robot import load_robot

    offscreen.backend()
    robot = load_robot(args.robot or products[-1].robot)
    preview.write_preview(args.out, *products, robot, args.height, args.every)


if __name__ == "__main__":
    cli.run(main)
