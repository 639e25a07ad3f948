"""A scenario made into a clip: `<name>.mp4` and `<name>.truth/` beside it.

The truth holds the products that the stages estimate, under the same contracts: people.h5,
keypoints.h5 (the 24 SMPL joints), body.h5, contacts.h5, scene.h5, gravity.h5 and mesh.h5.
Frame k of each is decoded frame k of the file. The world of scene.h5 is the first camera's, in
metres; gravity.h5 says how the room lies in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import body, contracts
from ..conventions import CONTACTS, SMPL_JOINTS
from .motion import Motion
from .render import Figure, Renderer
from .scenario import Scenario

METHOD = "synthetic"
PRODUCTS = ("people", "keypoints", "body", "contacts", "scene", "gravity", "mesh")
"""The files of a truth, in the order of writing."""


@dataclass
class Staged:
    """A scenario with everything computed but the pictures.

    motions and joints (T, 24, 3) per actor in the room's world; cam2world (T, 4, 4).
    """

    scenario: Scenario
    model: body.BodyModel
    motions: list[Motion]
    joints: list[np.ndarray]
    cam2world: np.ndarray


def stage(scenario, model=None):
    """Work out the motions and cameras of a scenario; model: the built-in body if None."""
    model = body.load_body() if model is None else model
    times = scenario.times
    motions, joints = [], []
    for actor in scenario.actors:
        betas = body.betas_for_height(model, actor.stature, actor.betas)
        motion = actor.move(model, betas, times)
        motions.append(motion)
        joints.append(
            body.joints(model, motion.betas, motion.global_orient, motion.body_pose, motion.transl)
        )
    return Staged(scenario, model, motions, joints, scenario.path(times))


def pictures(staged):
    """The frames of a clip one by one, as `render.Picture`."""
    scenario = staged.scenario
    renderer = Renderer(
        scenario.room, scenario.width, scenario.height, scenario.intrinsics, scenario.seed
    )
    figures = [Figure.of(staged.model, actor.outfit) for actor in scenario.actors]
    for t, pose in enumerate(staged.cam2world):
        for figure, motion in zip(figures, staged.motions, strict=True):
            figure.vertices = body.vertices(
                staged.model,
                motion.betas,
                motion.global_orient[t : t + 1],
                motion.body_pose[t : t + 1],
                motion.transl[t : t + 1],
            )[0]
        yield renderer.draw(pose, figures)


def write(scenario, folder, crf=22):
    """Render a scenario into `folder` and write its truth. Returns the path of the video."""
    staged = stage(scenario)
    folder = Path(folder)
    path = folder / f"{scenario.name}.mp4"
    people, depth = [], []

    def seen():
        for picture in pictures(staged):
            people.append(picture.person)
            depth.append(thin_depth(picture.depth))
            yield picture.rgb

    # the container is told by name, the temporary file has no suffix
    contracts.atomic_write(path, lambda temporary: _encode(temporary, scenario, seen(), crf))
    for name, product in truth(staged, np.stack(people), np.stack(depth)).items():
        product.method = METHOD
        product.parameters = {"scenario": scenario.name}
        product.source_sha256 = contracts.sha256(path)
        product.write(folder / f"{scenario.name}.truth" / f"{name}.h5")
    return path


def finished(path):
    """Whether a clip at `path` and all of its truth have been written."""
    folder = Path(path).with_suffix(".truth")
    return Path(path).is_file() and all((folder / f"{name}.h5").is_file() for name in PRODUCTS)


def _encode(path, scenario, frames, crf):
    # one thread and no lookahead: x264's lookahead makes other bytes from the same frames
    from fractions import Fraction

    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(scenario.fps).limit_denominator(1001)
        )
        stream.width, stream.height, stream.pix_fmt = scenario.width, scenario.height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {
            "crf": str(crf),
            "preset": "slow",
            "x264-params": "rc-lookahead=0:no-mbtree=1:bframes=0",
        }
        for rgb in frames:
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


# ---------------------------------------------------------------------------------------------
# truth


def thin_depth(depth, largest=7):
    """Depth (h, w) float16 of a picture's depth (H, W), 0 where nothing is.

    Of every cell the pixel in its middle is kept: H / h and W / w are the largest odd divisors
    up to `largest`, so that cells have one.
    """
    steps = [max(k for k in range(1, largest + 1, 2) if count % k == 0) for count in depth.shape]
    kept = depth[steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]]
    return np.where(np.isfinite(kept), kept, 0).astype(np.float16)


def truth(staged, person, depth=None, point_count=1000, mask_scale=2):
    """The products of a clip, name -> product.

    person (T, H, W) int: the actor in each pixel, -1 for none; depth (T, h, w), m: as the scene
    has it. People are numbered from 1 by their average mask area.
    """
    scenario = staged.scenario
    area = [(person == k).sum((1, 2)) for k in range(len(scenario.actors))]
    order = sorted(range(len(area)), key=lambda k: -area[k].mean())
    actors = dict(enumerate(order, start=1))
    visible = {pid: area[k] > 0.001 * person[0].size for pid, k in actors.items()}
    count = len(staged.cam2world)

    first = staged.cam2world[0]
    cam2world = np.linalg.inv(first) @ staged.cam2world
    intrinsics = np.tile(scenario.intrinsics, (count, 1, 1))
    points, colors = scenario.room.sample(point_count, np.random.default_rng(scenario.seed))
    vertices, faces = scenario.room.mesh()
    world = {
        "camera_model": scenario.camera_model,
        "intrinsics": intrinsics,
        "colors": colors,
    }
    return {
        "people": _people(person[:, ::mask_scale, ::mask_scale], person, actors, visible),
        "keypoints": contracts.Keypoints(
            keypoint_names=list(SMPL_JOINTS),
            people={pid: _keypoints(staged, k, visible[pid]) for pid, k in actors.items()},
        ),
        "body": contracts.Body(
            body_model=staged.model.name,
            intrinsics=scenario.intrinsics,
            people={
                pid: _body(staged, k, visible[pid], np.linalg.inv(staged.cam2world))
                for pid, k in actors.items()
            },
        ),
        "contacts": contracts.Contacts(
            contact_names=list(CONTACTS),
            people={
                pid: contracts.PersonContacts(
                    valid=visible[pid],
                    contact=staged.motions[k].contact,
                    probability=staged.motions[k].contact.astype(float),
                )
                for pid, k in actors.items()
            },
        ),
        "scene": contracts.Scene(
            metric=True,
            cam2world=cam2world,
            points=(points - first[:3, 3]) @ first[:3, :3],
            depth=depth,
            **world,
        ),
        "gravity": contracts.Gravity(
            scale=1.0,
            scale_source="height",
            body_model=staged.model.name,
            cam2world=staged.cam2world,
            points=points,
            rotation=first[:3, :3],
            translation=first[:3, 3],
            people={
                pid: _body(staged, k, visible[pid], np.tile(np.eye(4), (count, 1, 1)))
                for pid, k in actors.items()
            },
            **world,
        ),
        "mesh": contracts.Mesh(
            vertices=vertices,
            faces=faces,
            boxes=_support_boxes(scenario.room),
            box_names=["floor"] + [box.name for box in scenario.room.boxes],
        ),
    }


def project(points, cam2world, intrinsics):
    """Project points (T, N, 3) of the world: pixels (T, N, 2) and depths (T, N), m."""
    local = np.einsum("tji,tnj->tni", cam2world[:, :3, :3], points - cam2world[:, None, :3, 3])
    xy = local[..., :2] / local[..., 2:]
    return xy * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2], local[..., 2]


def _people(small, person, actors, visible):
    tracks = {}
    for pid, k in actors.items():
        boxes = np.zeros((len(person), 4))
        for t in np.flatnonzero(visible[pid]):
            rows, columns = np.nonzero(person[t] == k)
            boxes[t] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        shown = (small == k) & visible[pid][:, None, None]
        tracks[pid] = contracts.PersonTrack(
            visible=visible[pid],
            boxes=boxes,
            score=visible[pid].astype(float),
            masks=contracts.pack_mask(shown),
        )
    return contracts.People(
        frame_count=len(person),
        mask_width=small.shape[2],
        mask_height=small.shape[1],
        ranking=list(actors),
        people=tracks,
    )


def _keypoints(staged, k, visible):
    scenario = staged.scenario
    xy, depth = project(staged.joints[k], staged.cam2world, scenario.intrinsics)
    inside = (depth > 0) & (xy >= 0).all(-1) & (xy < [scenario.width, scenario.height]).all(-1)
    return contracts.PersonKeypoints(
        visible=visible, xy=xy, score=(inside & visible[:, None]).astype(float)
    )


def _body(staged, k, valid, world2frame):
    motion = staged.motions[k]
    rotation, shift = world2frame[:, :3, :3], world2frame[:, :3, 3]
    return contracts.PersonBody(
        valid=valid,
        confidence=valid.astype(float),
        global_orient=rotation @ motion.global_orient,
        body_pose=motion.body_pose,
        betas=motion.betas,
        transl=np.einsum("tab,tb->ta", rotation, motion.transl) + shift,
        joints=np.einsum("tab,tjb->tja", rotation, staged.joints[k]) + shift[:, None],
    )


def _support_boxes(room, depth=0.1):
    x0, y0, x1, y1 = room.floor
    rows = [((x0 + x1) / 2, (y0 + y1) / 2, -depth / 2, x1 - x0, y1 - y0, depth, 0.0)]
    rows += [(*box.place, box.size[2] / 2, *box.size, box.yaw) for box in room.boxes]
    return np.array(rows)
