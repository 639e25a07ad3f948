"""Signed distances against MuJoCo's and against small steps; which pairs of shapes are watched."""

import numpy as np
import pytest

pytest.importorskip("mujoco")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import mujoco  # noqa: E402

from pantograph import collision  # noqa: E402
from pantograph import robot as robots  # noqa: E402


@pytest.fixture(scope="module")
def g1():
    return robots.load_robot("g1")


def geom_distance(geoms):
    """MuJoCo's distance between two geoms given as XML."""
    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><worldbody>{geoms[0]}<body>{geoms[1]}</body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return mujoco.mj_geomDistance(model, data, 0, 1, 10.0, None)


def capsule(start, end, radius):
    numbers = " ".join(f"{x:.9g}" for x in (*start, *end))
    return f'<geom type="capsule" fromto="{numbers}" size="{radius:.9g}"/>'


def test_distances_of_capsules_are_mujocos():
    rng = np.random.default_rng(0)
    for _ in range(200):
        ends = rng.normal(size=(4, 3)) * rng.uniform(0.05, 0.5)
        first, second = rng.uniform(0.01, 0.1, 2)
        found = collision.nearest(*ends, xp=np).distance - first - second
        wanted = geom_distance([capsule(*ends[:2], first), capsule(*ends[2:], second)])
        if wanted > -0.9 * (first + second):  # MuJoCo stops where the axes cross
            assert found == pytest.approx(wanted, abs=1e-5)


def test_segments_that_are_points_or_parallel():
    zero, x, y = np.eye(4, 3, -1)[:3]
    assert collision.nearest(zero, zero, y, y, xp=np).distance == pytest.approx(1.0)
    assert collision.nearest(zero, x, y, x + y, xp=np).distance == pytest.approx(1.0)
    assert collision.nearest(zero, x, y + 3 * x, y + 5 * x, xp=np).distance == pytest.approx(5**0.5)
    assert collision.nearest(zero, zero, y - x, y + x, xp=np).distance == pytest.approx(1.0)


def test_distances_of_points_to_boxes_are_mujocos():
    rng = np.random.default_rng(1)
    for _ in range(200):
        box = np.concatenate(
            [rng.normal(size=3) * 0.3, rng.uniform(0.2, 1, 3), [rng.uniform(-3, 3)]]
        )
        point = box[:3] + rng.normal(size=3) * 0.4
        found, normal = collision.box_distance(
            jnp.array(point)[None], jnp.array(box)[None], jnp.array([-9.0])
        )
        size, place = " ".join(map(str, box[3:6] / 2)), " ".join(map(str, box[:3]))
        wanted = geom_distance(
            [
                f'<geom type="box" pos="{place}" size="{size}" euler="0 0 {np.degrees(box[6])}"/>',
                f'<geom size="0.01" pos="{" ".join(map(str, point))}"/>',
            ]
        )
        if wanted > -0.005:  # deeper, MuJoCo's contact of sphere and box is not a distance
            assert found[0] == pytest.approx(wanted + 0.01, abs=1e-4)
        step = 1e-2 * np.asarray(normal)
        ahead, _ = collision.box_distance(
            jnp.array(point)[None] + step, jnp.array(box)[None], jnp.array([-9.0])
        )
        assert np.linalg.norm(normal) == pytest.approx(1, abs=1e-5)
        assert ahead[0] - found[0] == pytest.approx(1e-2, abs=1e-5)


def test_of_boxes_and_floor_the_nearest_counts():
    boxes = jnp.array([[0.0, 0, 0.5, 1, 1, 1, 0], [0.0, 0, 0.25, 2, 2, 0.5, 0]])
    points = jnp.array([[0.0, 0, 1.2], [0.9, 0, 0.6], [3.0, 0, 0.3], [5, 0, -0.1]])
    found, normal = collision.box_distance(points, boxes, jnp.zeros(4))
    np.testing.assert_allclose(found, [0.2, 0.1, 0.3, -0.1], atol=1e-6)
    np.testing.assert_allclose(normal, np.tile([0.0, 0, 1], (4, 1)), atol=1e-6)


def test_clearance_has_the_slope_of_its_nearest_point():
    rng = np.random.default_rng(2)
    boxes = jnp.array([[0.1, 0.2, 0.3, 0.6, 0.4, 0.6, 0.4], [0, 0, -1e3, 0, 0, 0, 0.0]])
    start, end, step, other = (jnp.array(rng.normal(size=(50, 3)) * 0.5) for _ in range(4))
    radius, floor = jnp.full(50, 0.05), jnp.full(50, -1.0)

    def distance(share):
        move = 1e-3 * share
        return collision.clearance(start + move * step, end + move * other, radius, boxes, floor)

    _, slope = jax.jvp(distance, (0.0,), (1.0,))
    difference = (distance(1.0) - distance(-1.0)) / 2
    # where the nearest face changes within the step, the slope is that of neither side
    assert np.mean(np.abs(difference - slope) < 3e-6) > 0.9


def test_pairs_of_the_g1_are_the_ones_that_can_touch(g1):
    names = [g1.body_names[shape.body] for shape in g1.shapes]
    found = {frozenset((names[a], names[b])) for a, b in g1.pairs}
    for wanted in (
        ("left_rubber_hand", "left_hip_yaw_link"),
        ("right_rubber_hand", "torso_link"),
        ("left_elbow_link", "torso_link"),
        ("left_knee_link", "right_knee_link"),
        ("left_ankle_roll_link", "right_ankle_roll_link"),
        ("left_rubber_hand", "head_link"),
    ):
        assert frozenset(wanted) in found
    for neighbours in (
        ("pelvis", "torso_link"),
        ("left_hip_yaw_link", "left_knee_link"),
        ("left_knee_link", "left_ankle_roll_link"),
        ("left_wrist_pitch_link", "left_rubber_hand"),
    ):
        assert frozenset(neighbours) not in found


def test_left_and_right_are_watched_alike(g1):
    names = [g1.body_names[shape.body] for shape in g1.shapes]

    def mirrored(name):
        for a, b in (("left", "right"), ("right", "left")):
            if name.startswith(a):
                return name.replace(a, b)
        return name

    found = {frozenset((names[a], names[b])) for a, b in g1.pairs}
    assert found == {frozenset(map(mirrored, pair)) for pair in found}


def test_the_yaml_can_ignore_pairs(g1, tmp_path):
    text = g1.model_path.with_suffix(".yaml").read_text()
    text = text.replace("model: g1.xml", f"model: {g1.model_path}")
    (tmp_path / "g1.yaml").write_text(text + "\ncollisions: {ignore: [[head_link, '*']]}\n")
    robot = robots.load_robot(str(tmp_path / "g1.yaml"))
    names = [robot.body_names[shape.body] for shape in robot.shapes]
    assert 0 < len(robot.pairs) < len(g1.pairs)
    assert "head_link" not in {names[k] for k in robot.pairs.ravel()}
