"""Truth products of the synthetic scenarios, without rendering, and noisy copies of them."""

import dataclasses
import functools

import numpy as np

from pantograph.contracts import Keypoints, PersonKeypoints, World
from pantograph.conventions import SMPL_JOINTS
from pantograph.synthetic import clip, scenario

HEEL_TOE = ("heel", "foot_index")


@functools.cache
def truth(name):
    """{product name: product} of a scenario."""
    staged = clip.stage(scenario.SCENARIOS[name]())
    made = staged.scenario
    count = len(staged.cam2world)
    person = np.full((count, made.height // 8, made.width // 8), -1)
    for k, joints in enumerate(staged.joints):
        xy, _ = clip.project(joints, staged.cam2world, made.intrinsics)
        for t in range(count):
            (x0, y0), (x1, y1) = (xy[t].min(0) / 8).astype(int), (xy[t].max(0) / 8).astype(int)
            person[t, max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = k
    return clip.truth(staged, person, mask_scale=1)


def world(name, noise=0.0, seed=0):
    """The `World` that a perfect align stage would give; noise: of every joint and pelvis, m."""
    products = truth(name)
    scene, body = products["scene"], products["body"]
    rng = np.random.default_rng(seed)
    people = {}
    for pid, person in body.people.items():
        rotation, centre = scene.cam2world[:, :3, :3], scene.cam2world[:, :3, 3]
        jitter = noise * rng.normal(size=person.transl.shape)
        joints = np.einsum("tij,tkj->tki", rotation, person.joints) + centre[:, None]
        people[pid] = dataclasses.replace(
            person,
            global_orient=rotation @ person.global_orient,
            transl=np.einsum("tij,tj->ti", rotation, person.transl) + centre + jitter,
            joints=joints + jitter[:, None],
        )
    return World(
        camera_model=scene.camera_model,
        scale_source="height",
        body_model=body.body_model,
        intrinsics=scene.intrinsics,
        cam2world=scene.cam2world,
        points=scene.points,
        colors=scene.colors,
        people=people,
    )


def foot_keypoints(name, model, noise_px=0.0, seed=0):
    """Keypoints of ankles, heels and toes, seen by the true cameras with noise."""
    products = truth(name)
    return see_feet(products["scene"], products["body"], model, noise_px, seed)


def see_feet(scene, body, model, noise_px=0.0, seed=0):
    """Keypoints of ankles, heels and toes of a `Body`, px, with noise."""
    from pantograph import ground

    rng = np.random.default_rng(seed)
    names = [f"{side}_{part}" for side in ("left", "right") for part in ("ankle",) + HEEL_TOE]
    people = {}
    for pid, person in body.people.items():
        points = []
        soles = ground.soles(person, model)
        for foot, side in enumerate(("left", "right")):
            ankle = person.joints[:, SMPL_JOINTS.index(f"{side}_ankle")]
            toe = person.joints[:, SMPL_JOINTS.index(f"{side}_foot")]
            ahead = toe - ankle
            spots = soles[:, foot] - ankle[:, None]
            along = (spots * ahead[:, None]).sum(-1)
            rows = np.arange(len(ankle))
            back, front = along.argmin(1), along.argmax(1)
            points += [ankle, soles[rows, foot, back], soles[rows, foot, front]]
        local = np.stack(points, 1)
        k = scene.intrinsics[0]
        xy = local[..., :2] / local[..., 2:] * k[0, 0] + k[:2, 2]
        xy = xy + noise_px * rng.normal(size=xy.shape)
        people[pid] = PersonKeypoints(
            visible=person.valid, xy=xy, score=np.tile(0.9 * person.valid[:, None], (1, len(names)))
        )
    return Keypoints(keypoint_names=names, people=people)
