"""Judge from height and speed when each foot touches the ground and stays."""

from pantograph import cli
from pantograph.contracts import Body, Contacts, Keypoints, Scene, Video


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--keypoints", required=True, help="keypoints.h5")
    parser.add_argument("--body", required=True, help="body.h5")
    parser.add_argument("--scene", required=True, help="scene.h5")
    parser.add_argument("--out", required=True, help="contacts.h5 to write")
    parser.add_argument(
        "--speed", type=float, default=0.45, help="speed at which standing still is even, m/s"
    )
    parser.add_argument(
        "--height",
        type=float,
        default=0.11,
        help="height over the lower foot below which a still foot bears, m",
    )
    parser.add_argument(
        "--change", type=float, default=5.0, help="log-odds against starting or ending to stand"
    )
    parser.add_argument("--body-model", default="", help="SMPL file; empty for the built-in body")
    args = parser.parse_args(argv)
    names = ("speed", "height", "change")

    def compute(video, keypoints, body, scene):
        from pantograph import contact
        from pantograph.body import load_body_of
        from pantograph.conventions import CONTACTS

        limits = contact.Limits(**{name: getattr(args, name) for name in names})
        model = load_body_of(body, args.body_model)
        people = contact.find_contacts(body, keypoints, scene, model, video.fps, limits)
        share = {
            str(pid): [round(float(c), 3) for c in p.contact[p.valid].mean(0)]
            for pid, p in people.items()
            if p.valid.any()
        }
        return Contacts(
            contact_names=list(CONTACTS),
            people=people,
            stats={"fps_hz": video.fps, "contact_fraction": share},
        )

    inputs = [
        Video.read(args.video),
        Keypoints.read(args.keypoints),
        Body.read(args.body),
        Scene.read(args.scene),
    ]
    cli.stage(
        Contacts,
        args.out,
        method="kinematic",
        inputs=inputs,
        compute=compute,
        parameters={name: getattr(args, name) for name in names},
    )


if __name__ == "__main__":
    cli.run(main)
