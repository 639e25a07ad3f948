"""Turn the world so that +Z is up, as GeoCalib sees it, and the floor is z = 0.

Up is what several frames of the clip agree on, each turned into the world by its camera and
weighed by its uncertainty. The floor is at the height at which feet rest most, as with method
plane.
"""

from pantograph import cli
from pantograph.contracts import Contacts, Gravity, Keypoints, Video, World


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--world", required=True, help="world.h5")
    parser.add_argument("--contacts", required=True, help="contacts.h5")
    parser.add_argument("--keypoints", required=True, help="keypoints.h5")
    parser.add_argument("--out", required=True, help="gravity.h5 to write")
    parser.add_argument("--weights", default="", help="GeoCalib's weights, pinhole.tar")
    parser.add_argument("--repository", default="", help="clone of GeoCalib; empty if installed")
    parser.add_argument("--frames", type=int, default=8, help="how many frames are looked at")
    parser.add_argument(
        "--focal",
        choices=("estimate", "scene"),
        default="estimate",
        help="focal length: estimated with the up direction, or the scene's",
    )
    parser.add_argument("--body-model", default="", help="SMPL file; empty for the built-in body")
    parser.add_argument("--device", default="", help="cuda or cpu; empty: cuda where there is one")
    args = parser.parse_args(argv)

    def compute(video, world, contacts, keypoints):
        import os

        import numpy as np

        from pantograph import geocalib, gpu, ground
        from pantograph.body import load_body_of
        from pantograph.errors import Rejected

        if not any(person.valid.any() for person in world.people.values()):
            raise Rejected("no person has a valid frame in the world")
        gpu.check_files(args.weights or "--weights", "the weights of GeoCalib")
        if args.repository:
            gpu.check_files(args.repository, "a clone of GeoCalib")
        model = load_body_of(world, args.body_model)
        frames = geocalib.choose_frames(video.frame_count, args.frames)
        with gpu.memory("set --device cpu"):
            network = geocalib.load(os.path.abspath(args.weights), args.repository, args.device)
            known = args.focal == "scene"
            seen = geocalib.look(video, world.intrinsics, network, frames, args.device, known)
        up, stats = geocalib.average(seen, world.cam2world)
        gravity = ground.to_gravity(world, contacts, keypoints, model, up)
        body = ground.body_up(world.people)
        if body is not None:
            apart = np.degrees(np.arccos(np.clip(body[0] @ up, -1, 1)))
            stats["body_to_up_deg"] = round(float(apart), 2)
        gravity.stats = {**stats, **gravity.stats}
        return gravity

    inputs = [
        Video.read(args.video),
        World.read(args.world),
        Contacts.read(args.contacts),
        Keypoints.read(args.keypoints),
    ]
    parameters = {"frames": args.frames, "focal": args.focal}
    cli.stage(
        Gravity, args.out, method="geocalib", inputs=inputs, compute=compute, parameters=parameters
    )


if __name__ == "__main__":
    cli.run(main)
