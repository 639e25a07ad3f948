"""Make what the people stand and sit on: a watertight collision mesh in the gravity world.

A floor slab below everyone's path, a box below everyone who sits and below feet that stand above
the floor. Beside it, a surface to look at: Poisson's through the points of a travelling camera,
or the collision mesh where there are none.
"""

from pantograph import cli
from pantograph.contracts import Contacts, Gravity, Mesh


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--gravity", required=True, help="gravity.h5")
    parser.add_argument("--contacts", required=True, help="contacts.h5")
    parser.add_argument("--out", required=True, help="mesh.h5 to write")
    parser.add_argument("--obj", required=True, help="the same mesh as OBJ, z up, metres")
    parser.add_argument("--ply", required=True, help="a surface to look at, z up, metres")
    parser.add_argument("--body-model", default="", help="SMPL file; empty for the built-in body")
    args = parser.parse_args(argv)

    def compute(gravity, contacts):
        from pantograph import meshing
        from pantograph.body import load_body_of

        model = load_body_of(gravity, args.body_model)
        return meshing.build(gravity, contacts, model, meshing.motion_fps(contacts))

    inputs = [Gravity.read(args.gravity), Contacts.read(args.contacts)]
    mesh = cli.stage(Mesh, args.out, method="poisson", inputs=inputs, compute=compute)
    from pantograph.meshing import write_obj, write_ply

    write_obj(mesh, args.obj)
    write_ply(mesh, inputs[0], args.ply)


if __name__ == "__main__":
    cli.run(main)
