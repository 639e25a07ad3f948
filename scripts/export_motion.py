"""Export a robot motion for trainers and controllers: one directory with a file per format.

Each person gets `person<id>_unitree.csv` (36 columns, quaternion xyzw, 30 fps),
`person<id>_tracking.npz` (whole_body_tracking, 50 fps) and `person<id>_videomimic.h5` (VideoMimic's
simulator, quaternions xyzw, 30 fps); `manifest.json` says what is in them. A
rejected motion gives a directory with the manifest alone, which says why.
"""

import sys

from pantograph import cli
from pantograph.contracts import Motion


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--motion", required=True, help="motion_<robot>.h5")
    parser.add_argument("--robot", help="robot or path of its YAML (default: the motion's)")
    parser.add_argument("--out-dir", required=True, help="directory to write, replaced as a whole")
    args = parser.parse_args(argv)
    motion = Motion.read(args.motion)

    from pantograph.export import export_motion

    articulation = None
    if not motion.rejected:
        from pantograph.robot import load_robot
        from pantograph.robotscene import Articulation

        articulation = Articulation(load_robot(args.robot or motion.robot))
    export_motion(motion, articulation, args.out_dir)
    if motion.rejected:
        print(f"rejected: {motion.reason}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
