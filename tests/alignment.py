"""What the stages before alignment would hand over for a known motion before a known camera."""

import numpy as np
from scipy.spatial.transform import Rotation

import examples
from pantograph import body
from pantograph.contracts import Body, Contacts, PersonBody, PersonContacts
from pantograph.conventions import CONTACTS
from pantograph.synthetic import camera, motion

FPS = 30.0
EYE, AIM = (4.2, 0.3, 1.4), (0.0, 0.0, 0.9)
"""A camera and what it looks at, m, in a world with +Z up and its floor at z = 0."""


def walk(model, betas, count, start=(-0.4, -0.6), heading=1.2):
    """A turning walk about the origin on feet that do not roll: the fitted feet have no toes."""
    gait = motion.Walk(
        start=start,
        heading=lambda t: heading + 0.5 * np.sin(0.9 * t),
        speed=lambda t: 0.6 + 0 * t,
        toe_off=0.0,
        heel_strike=0.0,
    )
    return motion.walk(model, betas, np.arange(count) / FPS, gait)


def cameras(count, kind="static", eye=EYE, aim=AIM, travel=1.2):
    """Cameras (T, 4, 4) in that world; kind as in `synthetic.camera.path`."""
    return camera.path(kind, np.arange(count) / FPS, eye, aim, travel=travel)


def products(
    model, moves, cam2world, unit=1.0, yaw_deg=0.0, floor=True, guess=None, seed=1, **noise
):
    """Exact products of people who move as `moves` {id: Motion}, and the truth of each.

    cam2world: (T, 4, 4); the scene's axes are the first camera's, turned by yaw_deg about up, and
    one unit of it is `unit` m. floor: points on it, for scenes with a travelling camera.
    guess: {id: betas} that the body stage takes people for, the true ones by default; noise:
    noise_px and noise_m of `examples.observe`.
    """
    count = len(cam2world)
    turn = Rotation.from_rotvec([0, 0, np.radians(yaw_deg)]).as_matrix()
    axes = turn @ cam2world[0, :3, :3]
    origin = cam2world[0, :3, 3]
    rotation, centre = cam2world[:, :3, :3], cam2world[:, :3, 3]
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = axes.T @ rotation
    poses[:, :3, 3] = (centre - origin) @ axes / unit
    travels = np.ptp(centre, axis=0).max() > 0.2
    kind = "sfm" if travels else "rotation" if np.ptp(rotation, axis=0).max() > 0 else "static"
    if not travels:
        poses[:, :3, 3] = 0
    found, seen, touched, truth = {}, {}, {}, {}
    for pid, move in moves.items():
        local = (
            np.einsum("tba,tbc->tac", rotation, move.global_orient),
            move.body_pose,
            np.einsum("tba,tb->ta", rotation, move.transl - centre),
        )
        betas = move.betas if guess is None else guess[pid]
        nearer = local[2] * body.stature(model, betas) / body.stature(model, move.betas)
        found[pid] = PersonBody(
            valid=np.ones(count, bool),
            confidence=np.ones(count),
            global_orient=local[0],
            body_pose=move.body_pose,
            betas=betas,
            transl=nearer,
            joints=body.joints(model, betas, local[0], move.body_pose, nearer),
        )
        seen[pid] = examples.observe(model, move.betas, local, seed=seed, **noise)
        touched[pid] = PersonContacts(
            valid=np.ones(count, bool),
            contact=move.contact,
            probability=move.contact.astype(float),
        )
        joints = body.joints(model, move.betas, move.global_orient, move.body_pose, move.transl)
        truth[pid] = {
            "orient": axes.T @ move.global_orient,
            "transl": (move.transl - origin) @ axes,
            "joints": (joints - origin) @ axes,
            "up": axes.T @ [0, 0, 1.0],
            "floor": -float(origin[2]),
        }
    scene = examples.scene(count, kind, poses)
    if travels and floor:
        rng = np.random.default_rng(0)
        spots = np.column_stack([rng.uniform(-2, 2, (800, 2)), np.zeros(800)])
        scene.points = ((spots - origin) @ axes / unit).astype(np.float32)
        scene.colors = np.zeros((800, 3), np.uint8)
    contacts = Contacts(contact_names=list(CONTACTS), people=touched)
    bodies = Body(people=found, body_model=model.name, intrinsics=examples.INTRINSICS)
    return [examples.video(count), examples.keypoints(seen), bodies, contacts, scene], truth


def errors(person, truth):
    """Of the valid frames: largest root rotation, deg, and position, m; mean joint error, m."""
    good = person.valid
    turn = np.einsum("tba,tbc->tac", truth["orient"][good], person.global_orient[good])
    angle = np.degrees(np.linalg.norm(Rotation.from_matrix(turn).as_rotvec(), axis=-1))
    away = np.linalg.norm(person.transl[good] - truth["transl"][good], axis=-1)
    joints = np.linalg.norm(person.joints[good] - truth["joints"][good], axis=-1)
    return float(angle.max()), float(away.max()), float(joints.mean())
