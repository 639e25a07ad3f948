"""Export a robot motion for trainers and controllers: one directory with a file per format.

Each person gets `person<id>_unitree.csv` (36 columns, quaternion xyzw, 30 fps) and
`person<id>_tracking.npz` (whole_body_tracking, 50 fps); `manifest.json` says what is in them. A
rejected motion gives a directory with the manifest alone, which says why.
"""

from pantograph import cli
from pantograph.contracts import Motion


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--motion", required=True, help="motion_<robot>.h5")
    parser.add_argument("--out-dir", required=True, help="directory to write; replaced as a whole")
    args = parser.parse_args(argv)
    motion = Motion.read(args.motion)

    from pantograph import export

    robot = None if motion.rejected else articulation(motion.robot)
    manifest = export.export_motion(motion, robot, args.out_dir)
    if not manifest["files"]:
        print(f"rejected: {manifest['reason']}")


def articulation(name):
    from pantograph.robotscene import Articulation, model_file

    return Articulation(model_file(name))


if __name__ == "__main__":
    cli.run(main)
