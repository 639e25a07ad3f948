"""Foot contact from the pictures themselves, with BSTRO.

The network gives a probability of contact for every vertex of SMPL; a foot touches where more than
a part of its vertices are over a threshold. Its authors license code and weights to registered
users only; it needs their checkpoint, the neutral SMPL body and the segmentation of its vertices.
"""

from pantograph import cli
from pantograph.contracts import Contacts, People, Video
from pantograph.errors import PantographError


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--people", required=True, help="people.h5")
    parser.add_argument("--out", required=True, help="contacts.h5 to write")
    parser.add_argument("--repository", default="", help="clone of BSTRO")
    parser.add_argument("--weights", default="", help="hsi_hrnet_3dpw_b32_checkpoint_15.bin")
    parser.add_argument(
        "--template", default="", help="neutral SMPL file that the network starts from"
    )
    parser.add_argument("--segmentation", default="", help="smpl_vert_segmentation.json")
    parser.add_argument(
        "--contact-thr", type=float, default=0.95, help="probability over which a vertex touches"
    )
    parser.add_argument(
        "--feet-contact-ratio-thr",
        type=float,
        default=0.2,
        help="part of a foot's vertices over which the foot touches",
    )
    parser.add_argument("--toes", action="store_true", help="count the vertices of the toes too")
    parser.add_argument(
        "--median", type=int, default=1, help="median filter over time, frames, odd; 1: none"
    )
    parser.add_argument(
        "--off-ratio", type=float, default=None, help="part at which a contact ends; default: same"
    )
    parser.add_argument(
        "--shortest", type=float, default=0.0, help="shortest contact and shortest gap, s"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="crops at a time")
    parser.add_argument("--device", default="", help="default: the GPU if there is one")
    args = parser.parse_args(argv)
    if args.batch_size < 1:
        raise PantographError(f"--batch-size: expected at least 1, found {args.batch_size}")
    if args.median < 1 or args.median % 2 == 0:
        raise PantographError(f"--median: expected an odd number of frames, found {args.median}")
    if args.off_ratio is not None and args.off_ratio > args.feet_contact_ratio_thr:
        raise PantographError(
            f"--off-ratio: expected at most --feet-contact-ratio-thr "
            f"({args.feet_contact_ratio_thr}), found {args.off_ratio}"
        )

    def compute(video, people):
        from pantograph import bstro, gpu

        device = gpu.device(args.device)
        return bstro.find_contacts(
            *(video, people),
            bstro.load(args.repository, args.weights, args.template, str(device)),
            bstro.foot_vertices(args.segmentation, args.toes),
            contact_thr=args.contact_thr,
            feet_contact_ratio_thr=args.feet_contact_ratio_thr,
            off=args.off_ratio,
            median=args.median,
            shortest=args.shortest,
            batch_size=args.batch_size,
        )

    names = ("contact_thr", "feet_contact_ratio_thr", "toes", "median", "off_ratio", "shortest")
    parameters = {name: getattr(args, name) for name in names}
    cli.stage(
        Contacts,
        args.out,
        method="bstro",
        inputs=[Video.read(args.video), People.read(args.people)],
        compute=compute,
        parameters={k: v for k, v in parameters.items() if v is not None},
    )


if __name__ == "__main__":
    cli.run(main)
