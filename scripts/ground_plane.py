"""Turn the world so that +Z is up and the floor is z = 0.

Up is where standing people, level feet, the floor's points and the camera agree, each weighed by
its uncertainty; the floor is at the height at which feet rest most.
"""

from pantograph import cli
from pantograph.contracts import Contacts, Gravity, Keypoints, World


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--world", required=True, help="world.h5")
    parser.add_argument("--contacts", required=True, help="contacts.h5")
    parser.add_argument("--keypoints", required=True, help="keypoints.h5")
    parser.add_argument("--out", required=True, help="gravity.h5 to write")
    parser.add_argument("--body-model", default="", help="SMPL file; empty for the built-in body")
    args = parser.parse_args(argv)

    def compute(world, contacts, keypoints):
        from pantograph import ground
        from pantograph.body import load_body_of
        from pantograph.errors import Rejected

        if not any(person.valid.any() for person in world.people.values()):
            raise Rejected("no person has a valid frame in the world")
        model = load_body_of(world, args.body_model)
        return ground.to_gravity(world, contacts, keypoints, model)

    inputs = [World.read(args.world), Contacts.read(args.contacts), Keypoints.read(args.keypoints)]
    cli.stage(Gravity, args.out, method="plane", inputs=inputs, compute=compute)


if __name__ == "__main__":
    cli.run(main)
