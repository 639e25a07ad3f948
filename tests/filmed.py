"""The first frames of a demo clip as a video, with its truth and what a dense method would find."""

import dataclasses

import cv2
import h5py
import numpy as np
from scipy.spatial.transform import Rotation

from conftest import ROOT
from pantograph import contracts, pointfilter

SCALE = 0.4
"""Units of the dense method per metre."""

WORLD = np.eye(4)
WORLD[:3, :3] = Rotation.from_euler("xyz", [20, -35, 10], degrees=True).as_matrix()
WORLD[:3, 3] = [0.4, -1.0, 2.0]
"""Pose of the scene's world in the method's."""


def folder_of(name):
    return ROOT / "resources" / "demo" / f"{name}.truth"


def first(product, count):
    """A product cut to its first `count` frames."""
    out = dataclasses.replace(product)
    for field in dataclasses.fields(out):
        value = getattr(out, field.name)
        if field.metadata.get("shape", ("",))[0] == "T" and value is not None:
            setattr(out, field.name, value[:count])
    if getattr(out, "people", None):
        out.people = {pid: first(person, count) for pid, person in out.people.items()}
    if hasattr(out, "frame_count") and isinstance(out, contracts.People):
        out.frame_count = count
    return out


def truth(name, count):
    """The truth's products by name, of the first `count` frames."""
    folder = folder_of(name)
    names = ("people", "keypoints", "body", "contacts", "scene", "gravity", "mesh")
    products = {n: contracts.PRODUCTS[n].read(folder / f"{n}.h5") for n in names}
    return {n: first(product, count) for n, product in products.items()}


def video(name, count, **changes):
    """The `Video` of the first `count` frames of a demo clip."""
    import av

    path = ROOT / "resources" / "demo" / f"{name}.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        width, height, fps = stream.width, stream.height, float(stream.average_rate)
    return contracts.Video(
        name=name,
        path=str(path),
        fps=fps,
        width=width,
        height=height,
        source_frames=list(range(count)),
        source_times=[k / fps for k in range(count)],
        **changes,
    )


def dense(clip, scene, size):
    """What a dense method finds, in its own unit and world and px of a picture (width, height).

    Its pixels have their centres at whole numbers. depth: of the nearest cell of the truth.
    """
    rows = ((np.arange(size[1]) + 0.5) * scene.depth.shape[1] / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * scene.depth.shape[2] / size[0]).astype(int)
    depth = np.float32(scene.depth[:])[:, rows][:, :, columns]
    matrix = pointfilter.cell_intrinsics(
        scene.intrinsics[0], (clip.width, clip.height), (size[1], size[0])
    )
    matrix[:2, 2] -= 0.5
    poses = np.float64(scene.cam2world)
    poses[:, :3, 3] *= SCALE
    return {
        "depth": SCALE * depth,
        "intrinsics": matrix,
        "cam2world": WORLD @ poses,
        "confidence": np.where(depth > 0, 4.0, 1.0),
    }


def stage(place, name, count):
    """Write video.json and the truth's products of a clip's first frames to the folder `place`."""
    place.mkdir(parents=True, exist_ok=True)
    clip, products = video(name, count), truth(name, count)
    clip.write(place / "video.json")
    for key, product in products.items():
        product.write(place / f"{key}.h5")
    return clip, products


def finely(scene, size):
    """A scene whose depth has cells of the nearest value, (width, height) of them."""
    maps = [cv2.resize(np.float32(d), size, interpolation=cv2.INTER_NEAREST) for d in scene.depth]
    return dataclasses.replace(scene, depth=np.array(maps))


def depth_in(path):
    """The stored depth of a scene.h5."""
    with h5py.File(path) as h5:
        return h5["depth"][...]
