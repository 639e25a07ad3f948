"""Human-scene alignment recovers known worlds from exact and from disturbed products."""

import json

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from jax.experimental import enable_x64  # noqa: E402

import align_megahunter  # noqa: E402
import alignment  # noqa: E402
import examples  # noqa: E402
from pantograph import body, megahunter, shape  # noqa: E402
from pantograph.contact import metric_scale  # noqa: E402
from pantograph.contracts import Body, World  # noqa: E402
from pantograph.conventions import SMPL_JOINTS  # noqa: E402
from pantograph.errors import PantographError, Rejected  # noqa: E402
from pantograph.robot import load_robot  # noqa: E402
from pantograph.solver import Options, solve  # noqa: E402
from pantograph.synthetic import scenery, steps  # noqa: E402
from pantograph.target import find_stretch, world_scale  # noqa: E402

COUNT = 60
ANKLES = [SMPL_JOINTS.index(f"{side}_ankle") for side in ("left", "right")]


@pytest.fixture(scope="module")
def model():
    return body.load_body()


@pytest.fixture(scope="module")
def move(model):
    return alignment.walk(model, np.zeros(10), COUNT)


def still(model, move, **options):
    """Products and truth of one walker, id 1, before a camera that stands still."""
    return alignment.products(model, {1: move}, alignment.cameras(len(move)), **options)


@pytest.fixture(scope="module")
def exact(model, move):
    products, truth = still(model, move)
    return megahunter.align(model, *products), truth[1]


@pytest.mark.parametrize("yaw", [5, 15, 30, 60, 90])
def test_people_face_the_right_way_in_the_world(model, move, yaw):
    cameras = alignment.cameras(COUNT, "pan")
    products, truth = alignment.products(model, {1: move}, cameras, yaw_deg=yaw)
    angle, away, _ = alignment.errors(megahunter.align(model, *products).people[1], truth[1])
    assert angle < 0.5 and away < 0.01


@pytest.mark.parametrize("floor", [True, False], ids=["floor", "no floor"])
@pytest.mark.parametrize("unit", [0.3, 1.0, 3.0])
def test_the_unit_of_a_scene_is_found(model, move, unit, floor):
    cameras = alignment.cameras(COUNT, "travel")
    products, truth = alignment.products(model, {1: move}, cameras, unit=unit, floor=floor)
    world = megahunter.align(model, *products)
    assert world.scale == pytest.approx(unit, rel=0.01)
    assert alignment.errors(world.people[1], truth[1])[0] < 0.5
    assert world.stats["scale_start"] == pytest.approx(unit if floor else 1.0, rel=0.02)
    assert (metric_scale(products[2], products[4], model) is None) is not floor
    points = np.linalg.norm(world.points, axis=-1)
    assert np.allclose(points, world.scale * np.linalg.norm(products[4].points, axis=-1), rtol=1e-4)


def test_padding_changes_nothing(model, move):
    products, _ = still(model, move, noise_px=2.0)
    found = []
    for length in (64, 96, 128):
        found.append(megahunter.align(model, *products, lengths=[length]).people[1])
    for other in found[1:]:
        assert np.abs(other.joints - found[0].joints).max() < 1e-4
        assert np.abs(other.global_orient - found[0].global_orient).max() < 1e-4


def test_planted_feet_stand_still_on_the_ground(model, move):
    products, truth = still(model, move, noise_px=2.0)
    rng = np.random.default_rng(2)
    products[2].people[1].transl[:, 2] += 0.05 * rng.normal(size=COUNT)
    world = megahunter.align(model, *products)
    person = world.people[1]
    # 5 cm of noise in depth went in
    assert alignment.errors(person, truth[1])[2] < 0.015
    normal = np.array(world.stats["ground_normal"])
    assert np.degrees(np.arccos(normal @ truth[1]["up"])) < 1.5
    toes = person.joints[:, [SMPL_JOINTS.index(f"{side}_foot") for side in ("left", "right")]]
    held = move.contact[1:] & move.contact[:-1]
    assert np.linalg.norm(np.diff(toes, axis=0), axis=-1)[held].mean() < 0.002


def test_people_stay_above_the_ground_on_steps(model):
    times = np.arange(75) / alignment.FPS
    plan = steps.Climb(origin=(0.0, 0.0), heading=1.2)
    boxes = [
        scenery.Box(place, size, plan.heading, (0.5, 0.4, 0.3))
        for place, size in steps.treads(plan)
    ]
    climb = steps.climb(model, np.zeros(10), times, plan, boxes)
    products, truth = alignment.products(
        model, {1: climb}, alignment.cameras(75, "travel"), unit=0.5
    )
    world = megahunter.align(model, *products)
    # a plane through all feet would tilt by 20 deg
    assert world.stats["ground_tilt_deg"] < 2
    assert world.scale == pytest.approx(0.5, rel=0.01)
    assert alignment.errors(world.people[1], truth[1])[2] < 0.02


def test_feet_stand_on_the_points_of_the_scene(model, move):
    cameras = alignment.cameras(COUNT, "travel")
    products, _ = alignment.products(model, {1: move}, cameras, unit=0.5)
    up = np.array([0.0, 0.0, 1.0])
    rng = np.random.default_rng(0)
    top = np.column_stack([rng.uniform(-0.5, 0.5, (400, 2)), np.full(400, 0.3)])
    floor = np.column_stack([rng.uniform(-2, 2, (400, 2)), np.zeros(400)])
    points = np.concatenate([top, floor]) + 0.005 * rng.normal(size=(800, 3))
    on_top = megahunter.surface_below(np.array([0.1, 0.2, 0.34]), points, up)
    assert on_top == pytest.approx([0.1, 0.2, 0.3], abs=0.01)
    assert megahunter.surface_below(np.array([0.1, 0.2, 0.6]), points, up) is None
    world = megahunter.align(model, *products)
    assert world.stats["planted_on_points_frames"] > 0.5 * world.stats["planted_frames"]


def test_foot_keypoints_count(model, move, exact):
    products, _ = still(model, move)
    seen = products[1].people[1]
    for name in ("ankle", "heel", "foot_index"):
        seen.xy[:, products[1].keypoint_names.index(f"left_{name}"), 0] += 12.0
    moved = megahunter.align(model, *products).people[1].joints - exact[0].people[1].joints
    right, wrist = ANKLES[1], SMPL_JOINTS.index("right_wrist")
    # 12 px at 4 m are 5 cm
    assert np.linalg.norm(moved[:, ANKLES[0]], axis=-1).mean() > 0.03
    assert np.linalg.norm(moved[:, [right, wrist]], axis=-1).mean() < 0.02


def test_heel_and_toe_keypoints_turn_the_foot(model, move, exact):
    products, _ = still(model, move)
    seen = products[1].people[1]
    for name in ("heel", "foot_index"):
        seen.score[:, products[1].keypoint_names.index(f"left_{name}")] = 0.0
    toe = products[1].keypoint_names.index("right_foot_index")
    seen.xy[:, toe, 1] += 15.0
    turned = megahunter.align(model, *products).people[1].joints - exact[0].people[1].joints
    feet = [SMPL_JOINTS.index(f"{side}_foot") for side in ("left", "right")]
    left, right = np.linalg.norm(turned[:, feet], axis=-1).mean(0)
    assert right > 0.015 and right > 2 * left


def test_scores_are_weights(model, move, exact):
    products, truth = still(model, move)
    products[1].people[1].score *= 0.6
    person = megahunter.align(model, *products).people[1]
    assert np.abs(person.joints - exact[0].people[1].joints).max() < 0.01
    assert alignment.errors(person, truth[1])[1] < 0.02


def outliers(keypoints, pid, share, seed=0):
    """Put a share of the landmarks anywhere in the picture, with the score of good ones."""
    rng = np.random.default_rng(seed)
    seen = keypoints.people[pid]
    stray = rng.uniform(size=seen.score.shape) < share
    place = rng.uniform(0, 1, seen.xy.shape) * [examples.WIDTH, examples.HEIGHT]
    seen.xy[stray] = place[stray]


def test_gross_outliers_hardly_matter(model, move, exact):
    products, truth = still(model, move)
    outliers(products[1], 1, 0.2)
    angle, away, joints = alignment.errors(megahunter.align(model, *products).people[1], truth[1])
    clean = alignment.errors(exact[0].people[1], truth[1])
    assert joints < clean[2] + 0.005
    assert angle < clean[0] + 1.5 and away < clean[1] + 0.02


def test_a_person_who_leaves_comes_back(model, move, exact):
    products, truth = still(model, move)
    valid = products[2].people[1].valid
    valid[:4] = valid[25:40] = valid[-6:] = False
    products[2].people[1].transl[~valid] = 0
    products[2].people[1].global_orient[~valid] = np.eye(3)
    products[2].people[1].joints[~valid] = 0
    person = megahunter.align(model, *products).people[1]
    assert (person.valid == valid).all()
    assert not person.joints[~valid].any()
    assert alignment.errors(person, truth[1])[2] < 0.01


def test_people_share_one_scale(model):
    moves = {
        1: alignment.walk(model, np.zeros(10), COUNT),
        4: alignment.walk(model, np.zeros(10), COUNT, start=(-1.2, 0.5), heading=0.3),
    }
    cameras = alignment.cameras(COUNT, "travel")
    products, truth = alignment.products(model, moves, cameras, unit=0.4)
    products[2].people[4].valid[:20] = False
    world = megahunter.align(model, *products)
    assert world.scale == pytest.approx(0.4, rel=0.01)
    assert world.people[4].valid.sum() == COUNT - 20
    for pid, person in world.people.items():
        assert alignment.errors(person, truth[pid])[2] < 0.02


def test_a_shared_ground_tells_sizes_apart(model):
    statures = {1: 1.85, 2: 1.62}
    betas = {pid: body.betas_for_height(model, tall) for pid, tall in statures.items()}
    starts = {1: (-0.4, -0.6), 2: (-1.0, 0.4)}
    moves = {pid: alignment.walk(model, betas[pid], COUNT, start=starts[pid]) for pid in statures}
    guess = {pid: np.zeros(10) for pid in statures}
    products, _ = alignment.products(model, moves, alignment.cameras(COUNT), guess=guess)
    world = megahunter.align(model, *products)
    found = {pid: body.stature(model, person.betas) for pid, person in world.people.items()}
    assert found[1] / found[2] == pytest.approx(1.85 / 1.62, rel=0.02)
    # the clip says nothing of the common size: it stays near the body stage's
    assert np.sqrt(found[1] * found[2]) == pytest.approx(1.72, rel=0.03)


@pytest.mark.parametrize("known", ["height", "betas"])
def test_a_given_size_sets_person_and_world(model, move, known):
    scales = []
    for tall in (1.6, 1.9):
        products, _ = alignment.products(model, {1: move}, alignment.cameras(COUNT, "travel"))
        if known == "height":
            products[0].person_height = [tall]
        else:
            products[0].person_betas = [body.betas_for_height(model, tall).tolist()]
        world = megahunter.align(model, *products)
        assert body.stature(model, world.people[1].betas) == pytest.approx(tall, rel=0.003)
        assert world.scale_source == known
        # all that the cameras see is 1.72 m tall
        assert world.scale == pytest.approx(tall / 1.72, rel=0.02)
        scales.append(world.scale)
    assert scales[1] / scales[0] == pytest.approx(1.9 / 1.6, rel=0.01)


def test_sizes_go_by_rank_though_a_person_is_dropped(model, move):
    other = alignment.walk(model, np.zeros(10), COUNT, start=(-1.2, 0.5), heading=0.3)
    products, _ = alignment.products(model, {1: move, 2: other}, alignment.cameras(COUNT))
    del products[2].people[1]
    products[0].person_height = [1.6, 1.9]
    world = megahunter.align(model, *products)
    assert body.stature(model, world.people[2].betas) == pytest.approx(1.9, rel=0.003)


def test_a_robot_gives_its_size_to_people_and_world(model, move):
    robot = load_robot("g1")
    cameras = alignment.cameras(COUNT, "travel")
    products, _ = alignment.products(model, {1: move}, cameras)
    plain = megahunter.align(model, *products)
    world = megahunter.align(model, *products, robot=robot)
    assert world.scale_source == "robot"
    ratios = []
    for found in (plain, world):
        stretch, _ = find_stretch(found.people[1], products[3].people[1], alignment.FPS)
        ratios.append(world_scale(robot, [stretch]))
    assert ratios[0] < 0.8
    assert ratios[1] == pytest.approx(1.0, abs=0.01)
    assert world.scale / plain.scale == pytest.approx(ratios[0], rel=0.05)
    # and still stands where the camera sees it
    assert world.people[1].reprojection.mean() < 8


def test_betas_are_read_from_both_layouts(tmp_path):
    betas = [round(0.1 * k, 1) for k in range(10)]
    for name, content in (("a.json", {"optimized_shape": [betas]}), ("b.yaml", betas)):
        (tmp_path / name).write_text(json.dumps(content))
        assert shape.read_betas(tmp_path / name) == [betas]
    for content in ("[1, 2]", "{other: 3}", "[a, b]", "{", "[.nan,0,0,0,0,0,0,0,0,0]"):
        (tmp_path / "bad").write_text(content)
        with pytest.raises(PantographError):
            shape.read_betas(tmp_path / "bad")


def test_single_precision_reaches_the_cost_of_double(model, move):
    products, _ = still(model, move, noise_px=2.0)
    setup = megahunter.prepare(model, *products)
    options = Options(iterations=40, tolerance=1e-7)
    parts = (setup.states, setup.shared, setup.data)

    def cost(parts):
        result = solve(setup.problem, *parts, setup.valid, options=options)
        return float(result.cost)

    single = cost(parts)
    with enable_x64():
        double = cost(jax.tree.map(lambda a: a if a.dtype == bool else a.astype(float), parts))
    assert single == pytest.approx(double, rel=1e-4)


def test_the_product_tells_how_the_solve_went(exact, model, move):
    stats = exact[0].stats
    assert stats["converged"] and stats["iterations"] == len(stats["cost_history"])
    assert stats["cost_history"][-1] < stats["cost_history"][0]
    assert {"reprojection", "contact", "ground", "smoothness"} <= set(stats["cost"])
    assert set(stats["cost_start"]) == set(stats["cost"])
    assert sum(stats["cost_start"].values()) == pytest.approx(stats["cost_history"][0], rel=1e-3)
    assert stats["rejected_steps"] < stats["iterations"]
    assert stats["person1"]["stature_m"] == pytest.approx(1.72, abs=0.02)
    products, _ = still(model, move, noise_px=2.0)
    assert not megahunter.align(model, *products, iterations=2).stats["converged"]


def test_nobody_is_a_rejection(model, move):
    products, _ = still(model, move)
    products[2].people[1].valid[2:] = False
    with pytest.raises(Rejected):
        megahunter.align(model, *products)


FILES = ("video.json", "keypoints.h5", "body.h5", "contacts.h5", "scene.h5")


def test_the_script_writes_a_world_and_passes_rejections_on(model, move, tmp_path, capsys):
    products, _ = still(model, move)
    for product, file in zip(products, FILES, strict=True):
        product.write(tmp_path / file)
    words = [f"--{file.split('.')[0]}={tmp_path / file}" for file in FILES]
    words.append(f"--out={tmp_path / 'world.h5'}")
    align_megahunter.main([*words, "--robot-shape=g1", "--iterations=2"])
    world = World.read(tmp_path / "world.h5")
    assert world.scale_source == "robot" and world.parameters["robot_shape"] == "g1"
    assert "not converged" in capsys.readouterr().err
    Body.rejection("nobody").write(tmp_path / "body.h5")
    align_megahunter.main(words)
    assert World.read(tmp_path / "world.h5").reason == "nobody"
