"""Human-scene alignment recovers known worlds from exact and from noisy products."""

import numpy as np
import pytest

pytest.importorskip("jax")

from scipy.spatial.transform import Rotation  # noqa: E402

import examples  # noqa: E402
from pantograph import body, megahunter  # noqa: E402
from pantograph.contracts import Body, Contacts, PersonBody, PersonContacts  # noqa: E402
from pantograph.conventions import CONTACTS  # noqa: E402

COUNT = 60
TILT = np.radians(8.0)
"""Camera pitch, so that up is not simply -y."""


@pytest.fixture(scope="module")
def model():
    return body.load_body()


def _world(model, betas):
    """Marching people seen by a camera at 4 m; feet that are not lifted stand on one plane."""
    orient, pose, pelvis = examples.marching(COUNT, turn=0.6)
    pelvis = pelvis * 0 + np.array([0.1, 0.2, 4.0])
    joints = body.joints(model, betas, orient, pose, pelvis)
    lowest = joints[:, megahunter.ANKLES, 1].max(1)
    pelvis[:, 1] -= lowest - lowest[0]
    pitch = Rotation.from_euler("x", TILT).as_matrix()
    return pitch @ orient, pose, pelvis @ pitch.T


def _products(model, betas, motion, cam2world, scale, noise_m, noise_px):
    """What the stages before would hand over for a camera path in a scene of unit `scale`."""
    orient, pose, pelvis = motion
    rotation, centre = cam2world[:, :3, :3], cam2world[:, :3, 3]
    in_camera = (
        np.einsum("tba,tbc->tac", rotation, orient),
        pose,
        np.einsum("tba,tb->ta", rotation, pelvis - centre),
    )
    rng = np.random.default_rng(1)
    jitter = np.zeros((COUNT, 3))
    jitter[:, 2] = noise_m * rng.normal(size=COUNT)
    person = examples.observe(model, betas, in_camera, noise_px=noise_px)
    joints = body.joints(model, betas, orient, pose, pelvis)
    ankles = joints[:, megahunter.ANKLES]
    up = Rotation.from_euler("x", TILT).as_matrix() @ [0, -1.0, 0]
    height = ankles @ up
    touch = height < height.min() + 0.01
    found = PersonBody(
        valid=np.ones(COUNT, bool),
        confidence=np.ones(COUNT),
        global_orient=in_camera[0],
        body_pose=pose,
        betas=betas,
        transl=in_camera[2] + jitter,
        joints=body.joints(model, betas, in_camera[0], pose, in_camera[2] + jitter),
    )
    scaled = cam2world.copy()
    scaled[:, :3, 3] /= scale
    camera_model = "sfm" if np.ptp(centre, axis=0).max() > 0 else "static"
    return (
        examples.video(COUNT),
        examples.keypoints({0: person}),
        Body(people={0: found}, body_model="builtin", intrinsics=examples.INTRINSICS),
        Contacts(
            contact_names=list(CONTACTS),
            people={
                0: PersonContacts(
                    valid=np.ones(COUNT, bool), contact=touch, probability=touch.astype(float)
                )
            },
        ),
        examples.scene(COUNT, camera_model, scaled),
    ), joints


def test_static_camera_keeps_the_person_and_finds_the_ground(model):
    betas = np.zeros(10)
    motion = _world(model, betas)
    cam2world = np.tile(np.eye(4), (COUNT, 1, 1))
    products, truth = _products(model, betas, motion, cam2world, 1.0, 0.05, 2.0)
    world = megahunter.align(model, *products)
    person = world.people[0]
    assert world.scale == pytest.approx(1.0, abs=1e-3)
    # 5 cm of depth noise went in
    assert np.linalg.norm(person.joints - truth, axis=-1).mean() < 0.025
    normal = np.array(world.stats["ground_normal"])
    up = Rotation.from_euler("x", TILT).as_matrix() @ [0, -1.0, 0]
    assert np.degrees(np.arccos(normal @ up)) < 2.0
    feet = person.joints[:, megahunter.ANKLES]
    slide = np.linalg.norm(np.diff(feet, axis=0), axis=-1)
    held = products[3].people[0].contact
    assert slide[held[1:] & held[:-1]].max() < 0.01


@pytest.mark.parametrize("scale", [0.4, 2.5])
def test_travelling_camera_gives_the_scale(model, scale):
    betas = np.zeros(10)
    motion = _world(model, betas)
    t = np.linspace(0, 1, COUNT)
    cam2world = np.tile(np.eye(4), (COUNT, 1, 1))
    cam2world[:, 0, 3] = 0.8 * t
    cam2world[:, :3, :3] = Rotation.from_rotvec(np.outer(-0.2 * t, [0, 1.0, 0])).as_matrix()
    products, truth = _products(model, betas, motion, cam2world, scale, 0.0, 1.0)
    world = megahunter.align(model, *products)
    assert world.scale == pytest.approx(scale, rel=0.03)
    assert np.linalg.norm(world.people[0].joints - truth, axis=-1).mean() < 0.04


def test_people_share_the_solve_and_keep_their_frames(model):
    betas = np.zeros(10)
    motion = _world(model, betas)
    cam2world = np.tile(np.eye(4), (COUNT, 1, 1))
    products, truth = _products(model, betas, motion, cam2world, 1.0, 0.0, 1.0)
    video, keypoints, found, contacts, scene = products
    late = PersonBody(**{**vars(found.people[0])})
    late.valid = np.arange(COUNT) >= 20
    found.people[5] = late
    keypoints.people[5] = keypoints.people[0]
    contacts.people[5] = contacts.people[0]
    world = megahunter.align(model, video, keypoints, found, contacts, scene)
    assert world.people[0].valid.all()
    assert world.people[5].valid.sum() == COUNT - 20
    for person in world.people.values():
        error = np.linalg.norm(person.joints - truth, axis=-1)[person.valid]
        assert error.mean() < 0.02


def test_a_shared_ground_tells_sizes_apart(model):
    statures = {0: 1.85, 1: 1.62}
    cam2world = np.tile(np.eye(4), (COUNT, 1, 1))
    parts = {}
    for pid, stature in statures.items():
        betas = body.betas_for_height(model, stature)
        orient, pose, pelvis = _world(model, betas)
        if pid:
            # stand on the ground of the first, half a metre beside
            pitch = Rotation.from_euler("x", TILT).as_matrix()
            lowest = [
                (body.joints(model, b, *m)[:, megahunter.ANKLES] @ pitch)[..., 1].max()
                for b, m in ((parts["betas"], parts["motion"]), (betas, (orient, pose, pelvis)))
            ]
            ankles = [
                body.rest_joints(model, b)[megahunter.ANKLES[0], 1]
                - body.rest_vertices(model, b)[:, 1].min()
                for b in (parts["betas"], betas)
            ]
            down = (lowest[0] + ankles[0]) - (lowest[1] + ankles[1])
            pelvis = pelvis + pitch @ np.array([0.5, down, 0.0])
        parts.update(betas=betas, motion=(orient, pose, pelvis))
        products, _ = _products(model, betas, (orient, pose, pelvis), cam2world, 1.0, 0.0, 1.0)
        guess = products[2].people[0]
        guess.betas = np.zeros(10)
        guess.transl = guess.transl * body.stature(model, np.zeros(10)) / stature
        guess.joints = body.joints(
            model, guess.betas, guess.global_orient, guess.body_pose, guess.transl
        )
        if pid:
            for kept, new in zip(parts["products"], products, strict=True):
                if hasattr(kept, "people"):
                    kept.people[pid] = new.people[0]
        else:
            parts["products"] = products
    world = megahunter.align(model, *parts["products"])
    found = {pid: body.stature(model, person.betas) for pid, person in world.people.items()}
    assert found[0] / found[1] == pytest.approx(1.85 / 1.62, rel=0.02)
    # the clip says nothing of the common size: it stays near the body stage's
    assert np.sqrt(found[0] * found[1]) == pytest.approx(1.72, rel=0.03)
