"""The robot's figures, and its kinematics against MuJoCo's and against plain differentiation."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import mujoco  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from pantograph import robot as robots  # noqa: E402
from pantograph.errors import PantographError  # noqa: E402

FIGURES = Path(__file__).resolve().parents[2] / "shared" / "reference" / "g1_29dof.json"


@pytest.fixture(scope="module")
def g1():
    return robots.load_robot("g1")


@pytest.fixture(scope="module")
def figures():
    if not FIGURES.is_file():
        pytest.skip("the table of the G1's figures is not beside the repository")
    return json.loads(FIGURES.read_text())


def draw(robot, seed):
    """A random root position, root quaternion and joint vector."""
    rng = np.random.default_rng(seed)
    quat = rng.normal(size=4)
    return rng.normal(size=3), quat / np.linalg.norm(quat), rng.uniform(*robot.model_limits.T)


def mujoco_frames(robot, position, quat, joints):
    model = robots.compile_model(robot.model_path, robot.body_names[0])
    data = mujoco.MjData(model)
    data.qpos[:] = np.concatenate([position, quat, joints])
    mujoco.mj_kinematics(model, data)
    ids = [model.body(name).id for name in robot.body_names]
    return data.xpos[ids], data.xmat[ids].reshape(-1, 3, 3)


# -- the G1


def test_g1_has_the_table_of_figures(g1, figures):
    assert list(g1.joint_names) == figures["sdk_joint_order"]
    table = {joint["name"]: joint for joint in figures["joints"]}
    for i, name in enumerate(g1.joint_names):
        wanted = [table[name]["lower"], table[name]["upper"]]
        np.testing.assert_allclose(g1.model_limits[i], wanted, atol=1e-8)
        assert g1.velocity_limits[i] == table[name]["velocity"]
    model = mujoco.MjModel.from_xml_path(str(g1.model_path))
    for link in figures["links"]:
        if link["mass"] > 0.01:
            assert model.body(link["name"]).mass[0] == pytest.approx(link["mass"])
    for name in g1.joint_names:
        assert model.jnt_actfrcrange[model.joint(name).id, 1] == table[name]["effort"]
    assert model.body_mass.sum() == pytest.approx(35.1, abs=0.05)


def test_g1_stands_where_the_table_of_joints_says(g1, figures):
    position, quat, joints = draw(g1, 1)
    frames = {"pelvis": (position, Rotation.from_quat(quat[[1, 2, 3, 0]]))}
    for joint in _ordered(figures["joints"]):
        origin, parent = frames[joint["parent"]]
        rotation = parent * Rotation.from_euler("xyz", joint["origin_rpy"])
        if joint["type"] == "revolute":
            angle = joints[g1.joint_names.index(joint["name"])]
            rotation = rotation * Rotation.from_rotvec(np.array(joint["axis"]) * angle)
        frames[joint["child"]] = (origin + parent.apply(joint["origin_xyz"]), rotation)
    positions, rotations = mujoco_frames(g1, position, quat, joints)
    for i, name in enumerate(g1.body_names):
        np.testing.assert_allclose(positions[i], frames[name][0], atol=1e-5)
        np.testing.assert_allclose(rotations[i], frames[name][1].as_matrix(), atol=1e-5)


def _ordered(joints):
    known, rest = {"pelvis"}, list(joints)
    while rest:
        joint = next(joint for joint in rest if joint["parent"] in known)
        known.add(joint["child"])
        rest.remove(joint)
        yield joint


def test_g1_stand_pose_rests_on_its_soles_and_touches_nothing(g1):
    model = mujoco.MjModel.from_xml_path(str(g1.model_path))
    assert model.nmesh == 0
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("stand").id)
    mujoco.mj_forward(model, data)
    assert data.ncon == 0
    for foot in g1.feet:
        body = data.body(g1.body_names[foot.body])
        corners = body.xpos + foot.sole @ body.xmat.reshape(3, 3).T
        assert np.abs(corners[:, 2]).max() < 1e-3


def test_g1_folds_on_itself_are_noticed(g1):
    model = mujoco.MjModel.from_xml_path(str(g1.model_path))
    data = mujoco.MjData(model)
    data.qpos[2] = 1.0
    for side, sign in (("left", -1), ("right", 1)):
        data.joint(f"{side}_hip_roll_joint").qpos[0] = 0.3 * sign
    mujoco.mj_forward(model, data)
    assert data.ncon > 0


# -- kinematics


def test_forward_equals_mujoco(g1):
    for seed in range(5):
        position, quat, joints = draw(g1, seed)
        found = robots.forward(g1, jnp.array(position), jnp.array(quat), jnp.array(joints))
        wanted = mujoco_frames(g1, position, quat, joints)
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-5)
        np.testing.assert_allclose(found[1], wanted[1], atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_geometric_jacobian_equals_plain_differentiation(g1, seed):
    position, quat, joints = draw(g1, seed)
    selection = g1.selection
    offsets = np.array(selection.offsets)

    def moved(delta):
        # a quaternion moves on the unit sphere: itself times half the spin in its own axes
        w, v = quat[0], quat[1:]
        spin = delta[3:6]
        rate = jnp.concatenate([-jnp.array([spin @ v]), w * spin + jnp.cross(v, spin)]) / 2
        return position + delta[:3], quat + rate, joints + delta[6:]

    def plain(delta):
        places, turns = robots.forward(g1, *moved(delta))
        bodies = np.array(selection.bodies)
        points = places[bodies] + jnp.einsum("pab,pb->pa", turns[bodies], offsets)
        return points, turns[np.array(selection.turns)]

    places, turns, lines = robots.observe(g1, selection, position, quat, jnp.array(joints))
    columns = (
        robots.point_columns(g1, selection.bodies, places, lines),
        robots.turn_columns(g1, selection.turns, turns, lines),
    )
    zero = jnp.zeros(6 + len(joints))
    for wanted, found in zip(plain(zero), (places, turns), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    for wanted, found in zip(jax.jacfwd(plain)(zero), columns, strict=True):
        assert np.abs(wanted).max() > 0.1
        np.testing.assert_allclose(np.moveaxis(found, 0, -1), wanted, atol=1e-5)


# -- other robots

YAML = """
name: toy
model: {model}
root: base
velocity_limits: {{"*": 10}}
keypoints:
  pelvis: {{human: [pelvis], body: base}}
  left_ankle: {{human: [left_ankle], body: tip, offset: [0, 0, -0.1], from: pelvis}}
orientations:
  base: {{human: pelvis, weight: 1}}
legs:
  - [pelvis, left_ankle]
feet:
  left_foot: {{body: tip, ankle: left_ankle, heel: [[0, 0, -0.1]], toe: [[0.1, 0, -0.1]]}}
"""

URDF = """
<robot name="toy">
  <link name="base"/><link name="arm"/><link name="tip"/>
  <joint name="swing" type="revolute">
    <parent link="base"/><child link="arm"/>
    <origin xyz="0.1 0.2 -0.3" rpy="0.4 -0.2 0.3"/><axis xyz="0 1 0"/>
    <limit lower="-1" upper="2" effort="1" velocity="1"/>
  </joint>
  <joint name="end" type="fixed">
    <parent link="arm"/><child link="tip"/><origin xyz="0 0 -0.5" rpy="0 0.1 0"/>
  </joint>
</robot>
"""

MJCF = """
<mujoco>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body name="base"><geom size="0.1"/>
      <body name="arm" pos="0.1 0.2 -0.3" quat="0.9 0.1 -0.4 0.2">
        <joint name="swing" axis="0 1 0" pos="0.05 0 0.1" range="-60 120"/>
        <joint name="roll" axis="1 0.3 0" pos="0 0.02 0" range="-60 60" ref="20"/>
        <geom size="0.1"/>
        <body name="tip" pos="0 0 -0.5"><geom size="0.05"/>
          <joint name="bend" axis="0 0 1" range="-90 90"/>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


def make(folder, model, suffix, settings=YAML):
    (folder / f"toy{suffix}").write_text(model)
    (folder / "toy.yaml").write_text(settings.format(model=f"toy{suffix}"))
    return str(folder / "toy.yaml")


@pytest.mark.parametrize(("model", "suffix", "joints"), [(URDF, ".urdf", 1), (MJCF, ".xml", 3)])
def test_a_robot_is_a_model_and_a_yaml(tmp_path, model, suffix, joints):
    robot = robots.load_robot(make(tmp_path, model, suffix))
    assert robot.body_names == ("base", "arm", "tip")
    assert len(robot.joint_names) == joints
    position, quat, angles = draw(robot, 3)
    places, turns = robots.forward(robot, *(jnp.array(x) for x in (position, quat, angles)))
    wanted = mujoco_frames(robot, position, quat, angles)
    np.testing.assert_allclose(places, wanted[0], atol=1e-5)
    np.testing.assert_allclose(turns, wanted[1], atol=1e-5)
    assert robot.leg_length == pytest.approx(
        np.linalg.norm(robot.rest_keypoints[1] - robot.rest_keypoints[0])
    )


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("body: tip, offset", "body: hand, offset", "body 'hand' does not exist"),
        ("human: [left_ankle]", "human: [left_paw]", "SMPL joint 'left_paw' does not exist"),
        ('"*": 10', '"knee": 10', "no joint matches 'knee'"),
        ("from: pelvis", "from: spine", "keypoint 'spine' does not exist"),
        ("root: base", "root: trunk", "root body 'trunk' does not exist"),
        ("legs:", "limbs:", "entry 'legs' is missing"),
    ],
)
def test_a_mistake_in_the_yaml_is_named(tmp_path, wrong, right, message):
    path = make(tmp_path, URDF, ".urdf", YAML.replace(wrong, right))
    with pytest.raises(PantographError, match=message):
        robots.load_robot(path)


def test_a_sliding_joint_is_refused(tmp_path):
    model = MJCF.replace('name="bend"', 'name="bend" type="slide"')
    with pytest.raises(PantographError, match="'bend' is not a hinge"):
        robots.load_robot(make(tmp_path, model, ".xml"))


def test_an_unknown_robot_lists_the_known():
    with pytest.raises(PantographError, match="expected one of g1"):
        robots.load_robot("r2d2")
