"""Measure a reconstruction and its robot motion, and accept or reject every person.

Writes quality.json: per person every metric with its value, threshold, unit, verdict and meaning.
With --truth, the folder of contract files of a rendered clip, the errors against it as well.
"""

import dataclasses
import json
import sys
from pathlib import Path

from pantograph import cli, contracts
from pantograph.errors import PantographError


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("--video", required=True, help="video.json")
    parser.add_argument("--keypoints", required=True, help="keypoints.h5")
    parser.add_argument("--scene", required=True, help="scene.h5")
    parser.add_argument("--gravity", required=True, help="gravity.h5")
    parser.add_argument("--contacts", required=True, help="contacts.h5")
    parser.add_argument("--mesh", required=True, help="mesh.h5")
    parser.add_argument("--motion", required=True, help="motion_<robot>.h5")
    parser.add_argument("--body-model", default="", help="SMPL file; empty for the built-in body")
    parser.add_argument("--truth", help="folder with the true keypoints, gravity and contacts")
    parser.add_argument("--robot", help="robot or path of its YAML (default: the motion's)")
    parser.add_argument(
        "--thresholds",
        default="{}",
        metavar="JSON",
        help='other thresholds, as {"metric": number} or null to only inform: text or a file',
    )
    parser.add_argument("--out", required=True, help="quality.json to write")
    args = parser.parse_args(argv)

    from pantograph import quality

    clip = quality.Clip(
        contracts.Video.read(args.video),
        contracts.Keypoints.read(args.keypoints),
        contracts.Scene.read(args.scene),
        contracts.Gravity.read(args.gravity),
        contracts.Contacts.read(args.contacts),
        contracts.Mesh.read(args.mesh),
        contracts.Motion.read(args.motion),
    )
    metrics = quality.with_thresholds(thresholds(args.thresholds))
    robot = truth = None
    if not any(product.rejected for product in clip.products()):
        from pantograph.body import load_body_of
        from pantograph.robot import load_robot

        clip = dataclasses.replace(clip, model=load_body_of(clip.gravity, args.body_model))
        robot = load_robot(args.robot or clip.motion.robot)
        truth = quality.Truth.read(args.truth) if args.truth else None
    result = quality.assess(clip, metrics, robot, truth)
    if result.rejected:
        print(f"rejected: {result.reason}", file=sys.stderr)
    result.write(args.out)


def thresholds(text):
    """The settings of --thresholds, a JSON object given as text or as a file."""
    try:
        found = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text())
    except (OSError, ValueError) as error:
        raise PantographError(f"--thresholds: expected JSON or a JSON file ({error})") from error
    if not isinstance(found, dict):
        raise PantographError(f"--thresholds: expected an object, found {text!r}")
    return found


if __name__ == "__main__":
    cli.run(main)
