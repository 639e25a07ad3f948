"""A small known motion and the products that describe it, without rendering."""

import numpy as np
from scipy.spatial.transform import Rotation

from pantograph import body, bodyfit, landmarks
from pantograph.contracts import Keypoints, PersonKeypoints, Scene, Video
from pantograph.conventions import MEDIAPIPE_LANDMARKS, SMPL_JOINTS

WIDTH, HEIGHT, FOCAL = 720, 1280, 1000.0
INTRINSICS = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]])
UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""Turns the rest pose (y up, facing +z) to a camera that the person faces (y down, z away)."""


def video(count, fps=30.0, **fields):
    return Video(
        name="example",
        path="example.mp4",
        fps=fps,
        width=WIDTH,
        height=HEIGHT,
        source_fps=fps,
        source_frames=list(range(count)),
        source_times=[k / fps for k in range(count)],
        **fields,
    )


def marching(count, fps=30.0, turn=1.2):
    """Marching and turning 4 m from the camera: global_orient, body_pose, pelvis."""
    t = np.arange(count) / fps
    phase = 2 * np.pi * 0.9 * t
    pose = np.zeros((count, 24, 3))
    index = SMPL_JOINTS.index
    for side, shift in (("left", 0.0), ("right", np.pi)):
        swing = np.clip(np.sin(phase + shift), 0, None)
        pose[:, index(f"{side}_hip"), 0] = -0.9 * swing
        pose[:, index(f"{side}_knee"), 0] = 1.3 * swing + 0.05
        sign = 1.0 if side == "left" else -1.0
        pose[:, index(f"{side}_shoulder"), 2] = -1.2 * sign
        pose[:, index(f"{side}_elbow"), 1] = -sign * (0.5 + 0.3 * np.sin(phase + shift))
    matrices = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(count, 24, 3, 3)
    heading = Rotation.from_rotvec(np.outer(turn * np.sin(0.8 * t), [0, 1, 0])).as_matrix()
    pelvis = np.stack([0.2 * np.sin(t), 0.1 + 0 * t, 4.0 + 0.3 * np.cos(0.7 * t)], -1)
    return UPRIGHT @ heading, matrices[:, 1:], pelvis


def observe(model, betas, motion, noise_px=0.0, noise_m=0.0, seed=0):
    """The motion's landmarks as a pose2d method would give them (a PersonKeypoints)."""
    orient, pose, pelvis = motion
    count = len(pelvis)
    states = bodyfit.pack(orient, pose, pelvis)
    rest = body.rest_joints(model, betas)
    rng = np.random.default_rng(seed)
    xy = np.zeros((count, len(MEDIAPIPE_LANDMARKS), 2))
    xyz = np.zeros((count, len(MEDIAPIPE_LANDMARKS), 3))
    score = np.zeros(xy.shape[:2])
    columns = [MEDIAPIPE_LANDMARKS.index(name) for name in landmarks.NAMES]
    for k in range(count):
        state = {name: leaf[k] for name, leaf in states.items()}
        found = np.asarray(bodyfit.points(rest, bodyfit.rotations(state), pelvis[k]))
        xy[k, columns] = np.asarray(bodyfit.project(INTRINSICS, found))
        xyz[k, columns] = found
    score[:, columns] = 0.9
    xy += noise_px * rng.normal(size=xy.shape)
    xyz += noise_m * rng.normal(size=xyz.shape)
    hips = [MEDIAPIPE_LANDMARKS.index(f"{side}_hip") for side in ("left", "right")]
    xyz -= xyz[:, hips].mean(1, keepdims=True)
    ray = landmarks.viewing_rotations(xy, score, np.broadcast_to(INTRINSICS, (count, 3, 3)))
    return PersonKeypoints(
        visible=np.ones(count, bool),
        xy=xy,
        score=score,
        landmarks3d=np.einsum("tba,tjb->tja", ray, xyz),
    )


def keypoints(people):
    return Keypoints(keypoint_names=list(MEDIAPIPE_LANDMARKS), people=people)


def scene(count, camera_model="static", cam2world=None):
    return Scene(
        camera_model=camera_model,
        metric=camera_model != "sfm",
        intrinsics=np.tile(INTRINSICS, (count, 1, 1)).astype(np.float32),
        cam2world=np.tile(np.eye(4), (count, 1, 1)) if cam2world is None else cam2world,
        points=np.zeros((0, 3), np.float32),
        colors=np.zeros((0, 3), np.uint8),
        depth=np.full((count, 8, 6), 3.0, np.float16),
        depth_confidence=np.full((count, 8, 6), 0.5, np.float16),
    )
