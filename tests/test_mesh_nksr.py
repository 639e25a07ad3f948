"""The ground from depth maps: which points count, what NKSR is given, and what is stood on."""

import dataclasses
import sys

import numpy as np
import pytest
import trimesh

torch = pytest.importorskip("torch")

import filmed  # noqa: E402
import flow  # noqa: E402
import mesh_nksr  # noqa: E402
from pantograph import surface  # noqa: E402
from pantograph.contracts import Contacts, Gravity, Mesh, Scene  # noqa: E402
from pantograph.errors import PantographError  # noqa: E402
from standins import write_package  # noqa: E402

PACKAGE = {
    "nksr/configs.py": """
class Hparams:
    url = "https://nksr.example/ks.pth"


def get_hparams(name):
    assert name == "ks"
    return Hparams()
""",
    "nksr/__init__.py": '''
import os

import numpy as np
import torch
from scipy.spatial import Delaunay

from .configs import get_hparams


class Mesh:
    def __init__(self, v, f):
        self.v, self.f = torch.from_numpy(v), torch.from_numpy(f)


class Field:
    """A triangulation seen from above instead of a field: heights are those of the points."""

    def __init__(self, xyz):
        self.xyz = xyz.numpy()

    def extract_dual_mesh(self, mise_iter=0):
        assert mise_iter == 1
        faces = Delaunay(self.xyz[:, :2]).simplices
        corners = self.xyz[faces]
        short = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2).max(1) < 0.5
        return Mesh(self.xyz, faces[short].astype(np.int64))


class Reconstructor:
    calls = []

    def __init__(self, device, config="ks"):
        place = os.path.join(torch.hub.get_dir(), "checkpoints", "ks.pth")
        assert os.path.getsize(place) == 2, "would be downloaded"

    def reconstruct(self, xyz, normal=None, sensor=None, detail_level=0.0, voxel_size=None):
        assert xyz.dtype == normal.dtype == torch.float32 and xyz.shape == normal.shape
        assert torch.allclose(normal.norm(dim=1), torch.ones(len(normal)), atol=1e-4)
        assert detail_level == 0.1
        Reconstructor.calls.append(xyz.shape)
        return Field(xyz)
''',
}
NAMES = ("video", "people", "scene", "gravity", "contacts")


def stage(folder, name, count=40, size=(144, 256), **changes):
    """The stage's inputs in `folder`, with depth in `size` cells; returns clip and products."""
    clip, products = filmed.stage(folder, name, count)
    scene = filmed.finely(products["scene"], size)
    if changes.get("metric") is False:
        poses = np.float64(scene.cam2world)
        poses[:, :3, 3] *= filmed.SCALE
        scene = dataclasses.replace(scene, cam2world=poses)
        scene.depth = filmed.SCALE * np.float32(scene.depth)
    products["scene"] = dataclasses.replace(scene, **changes)
    products["scene"].write(folder / "scene.h5")
    (folder / "mesh.h5").unlink(missing_ok=True)
    return clip, products


def words(folder, *more):
    found = [w for n in NAMES for w in (f"--{n}", str(folder / f"{n}.h5"))]
    found[1] = str(folder / "video.json")
    for option, name in (("out", "mesh.h5"), ("obj", "scene.obj"), ("ply", "scene.ply")):
        found += [f"--{option}", str(folder / name)]
    return [*found, *more]


def heights_at(mesh, places):
    """Height of a mesh's highest face over places (N, 2); NaN beside it."""
    vertices, faces = np.float64(mesh.vertices), mesh.faces
    corners = vertices[faces]
    out = np.full(len(places), np.nan)
    for k, place in enumerate(places):
        a, b, c = (corners[:, i, :2] - place for i in range(3))
        parts = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], -1)
        whole = parts.sum(-1)
        over = ((parts >= -1e-9) | (whole[:, None] <= 1e-12)).all(-1) & (whole > 1e-12)
        if over.any():
            weights = parts[over] / whole[over, None]
            out[k] = (weights * corners[over, :, 2]).sum(-1).max()
    return out


def solid_of(mesh):
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight and solid.is_winding_consistent and solid.volume > 0
    return solid


# ---------------------------------------------------------------------------------------------
# points


def test_points_of_the_scene_lie_on_floor_furniture_and_walls(tmp_path):
    clip, p = stage(tmp_path, "sit_stand")
    rules = surface.Filter(ring=False)
    cloud, stats = surface.collect(clip, p["people"], p["scene"], p["gravity"], rules)
    assert stats["depth_scale"] == 1 and stats["filtered_points"] == len(cloud.points) > 10**5
    points = surface.thin(cloud).points
    room = trimesh.Trimesh(p["mesh"].vertices, p["mesh"].faces, process=False)
    furniture = trimesh.proximity.closest_point_naive(room, points[::11])[1]
    walls = np.abs(np.abs(points[::11, :2]) - 3.5).min(1)
    assert np.percentile(np.minimum(furniture, walls), 95) < 0.06


def test_with_the_ring_only_what_surrounds_people(tmp_path):
    clip, p = stage(tmp_path, "walk_turn")
    everything, _ = surface.collect(
        clip, p["people"], p["scene"], p["gravity"], surface.Filter(ring=False)
    )
    ring, _ = surface.collect(clip, p["people"], p["scene"], p["gravity"], surface.Filter())
    assert 0 < len(ring.points) < 0.2 * len(everything.points)
    way = p["gravity"].people[1].transl
    low, high = way.min(0) - 2.6, way.max(0) + 2.6
    assert (ring.points >= low).all() and (ring.points <= high).all()
    assert everything.points[:, 2].max() > ring.points[:, 2].max()


def test_a_smaller_gradient_and_confidence_take_more_away(tmp_path):
    clip, p = stage(tmp_path, "walk_turn")
    inputs = (clip, p["people"], p["scene"], p["gravity"])
    count = [
        len(surface.collect(*inputs, surface.Filter(ring=False, gradient=thr))[0].points)
        for thr in (5, 30, 1000)
    ]
    assert count[0] < 0.8 * count[1] and count[1] < count[2]
    sure = np.zeros(p["scene"].depth.shape, np.float16)
    sure[:, :, :72] = 0.8
    scene = dataclasses.replace(p["scene"], depth_confidence=sure)
    rules = surface.Filter(ring=False, gradient=1000, confidence=0.5)
    half, _ = surface.collect(clip, p["people"], scene, p["gravity"], rules)
    assert 0.2 * count[2] < len(half.points) < 0.8 * count[2]


def test_the_gradient_does_not_depend_on_the_unit(tmp_path):
    clip, p = stage(tmp_path, "walk_turn")
    rules = surface.Filter(ring=False, gradient=20)
    one, _ = surface.collect(clip, p["people"], p["scene"], p["gravity"], rules)
    shrunk = dataclasses.replace(
        p["scene"], depth=np.float32(p["scene"].depth) * filmed.SCALE, metric=False
    )
    gravity = dataclasses.replace(p["gravity"], scale=1 / filmed.SCALE)
    other, stats = surface.collect(clip, p["people"], shrunk, gravity, rules)
    assert stats["depth_scale"] == pytest.approx(1 / filmed.SCALE)
    # 16-bit depth lets a few cells pass on the other side
    assert len(other.points) == pytest.approx(len(one.points), rel=0.01)


def test_people_give_the_unit_where_the_camera_stands_still(tmp_path):
    clip, p = stage(tmp_path, "sit_stand", metric=False)
    scale = surface.depth_scale(clip, p["people"], p["scene"], p["gravity"])
    assert scale == pytest.approx(1 / filmed.SCALE, rel=0.02)
    blind = dataclasses.replace(p["scene"], depth=np.zeros_like(p["scene"].depth))
    with pytest.raises(PantographError, match="expected depth where people are"):
        surface.depth_scale(clip, p["people"], blind, p["gravity"])


def test_small_parts_are_left_out():
    big, small = trimesh.creation.icosphere(3), trimesh.creation.icosphere(0)
    both = trimesh.util.concatenate([big, small.apply_translation([5, 0, 0])])
    vertices, faces = surface.large_parts(both.vertices, both.faces)
    assert len(faces) == len(big.faces) and vertices[:, 0].max() < 2
    vertices, faces = surface.large_parts(both.vertices, both.faces, share=0.001)
    assert len(faces) == len(both.faces)


# ---------------------------------------------------------------------------------------------
# the method


def test_the_rule_makes_surface_and_collision_mesh(tmp_path, monkeypatch):
    place = tmp_path / "results" / "other" / "walk_turn"
    clip, p = stage(place, "walk_turn", metric=False)
    gravity = dataclasses.replace(p["gravity"], scale=1 / filmed.SCALE)
    gravity.write(place / "gravity.h5")
    write_package(tmp_path / "path", PACKAGE)
    (tmp_path / "ks.pth").write_text("ks")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    options = {"weights": str(tmp_path / "ks.pth"), "no-spf": True, "reach": 3, "device": "cpu"}
    settings = {"mesh_nksr": options}
    flow.write(tmp_path, "other", {"mesh": "nksr"}, videos=clip.path, options=settings)
    run = flow.run(tmp_path, "results/other/walk_turn/mesh.h5", "mesh_nksr")
    log = tmp_path / "logs/other/walk_turn/mesh_nksr.log"
    assert run.returncode == 0, run.stdout + run.stderr + log.read_text()
    mesh = Mesh.read(place / "mesh.h5")
    assert mesh.method == "nksr" and mesh.stats["surface"] == "nksr"
    assert mesh.stats["hole_points"] > 0 and mesh.box_names == ["floor"]
    solid_of(mesh)
    assert abs(mesh.stats["surface_over_floor_cm"]) < 2
    feet = p["gravity"].people[1].joints[:, 10, :2]
    assert np.allclose(heights_at(mesh, feet[::8]), 0, atol=1e-6)
    loaded = trimesh.load(place / "scene.obj", force="mesh")
    assert loaded.is_watertight and len(loaded.faces) == len(mesh.faces)
    seen = trimesh.load(place / "scene.ply")
    assert len(seen.faces) == mesh.stats["surface_faces"] > 500


def test_without_its_package_poisson_does_it_and_says_so(tmp_path):
    assert "nksr" not in sys.modules
    _, p = stage(tmp_path, "sit_stand", count=100, metric=False)
    mesh_nksr.main(words(tmp_path, "--no-spf", "--reach", "3"))
    mesh = Mesh.read(tmp_path / "mesh.h5")
    assert mesh.method == "poisson" and mesh.stats["surface"] == "poisson"
    assert mesh.stats["nksr_refused"] == "the package nksr is not installed"
    solid_of(mesh)
    assert mesh.box_names == ["floor", "seat"]
    # the seat and the box beside it stand out, what lies between is floor
    truth = p["mesh"]
    tops = [box for box in truth.boxes[1:] if np.linalg.norm(box[:2]) < 2.5]
    assert len(tops) == 2
    for box in tops:
        # two rows of cells, 0.3 m apart, see the farther one's top: the surface bulges between
        places = box[:2] + np.stack(np.meshgrid(*[[-0.15, -0.05, 0.05, 0.15]] * 2), -1).reshape(
            -1, 2
        )
        error = heights_at(mesh, places) - (box[2] + box[5] / 2)
        assert abs(np.median(error)) < 0.08 and np.abs(error).max() < 0.15
    assert heights_at(mesh, [[0.0, -0.5]]) == pytest.approx(0)
    before = (tmp_path / "mesh.h5").read_bytes()
    mesh_nksr.main(words(tmp_path, "--no-spf", "--reach", "3"))
    assert before == (tmp_path / "mesh.h5").read_bytes()


def test_ndc_is_refused(tmp_path):
    stage(tmp_path, "walk_turn", count=4)
    with pytest.raises(PantographError, match="--method ndc: its code is no longer published"):
        mesh_nksr.main(words(tmp_path, "--method", "ndc"))


def test_missing_weights_are_named(tmp_path, monkeypatch):
    stage(tmp_path, "walk_turn", count=4)
    write_package(tmp_path / "path", PACKAGE)
    monkeypatch.syspath_prepend(tmp_path / "path")
    with pytest.raises(PantographError, match="ks.pth: expected the weights of NKSR"):
        mesh_nksr.main(words(tmp_path, "--weights", str(tmp_path / "ks.pth")))


def test_without_depth_the_scenes_points_do(tmp_path):
    _, p = stage(tmp_path, "walk_turn", depth=None)
    mesh_nksr.main(words(tmp_path, "--method", "poisson"))
    mesh = Mesh.read(tmp_path / "mesh.h5")
    assert mesh.stats["points_of"] == "scene" and mesh.method == "poisson"
    solid_of(mesh)


def test_without_points_the_boxes_remain(tmp_path):
    _, p = stage(tmp_path, "sit_stand", count=100, depth=None)
    bare = dataclasses.replace(
        p["gravity"], points=np.zeros((0, 3)), colors=np.zeros((0, 3), np.uint8)
    )
    bare.write(tmp_path / "gravity.h5")
    mesh_nksr.main(words(tmp_path))
    mesh = Mesh.read(tmp_path / "mesh.h5")
    assert mesh.stats["surface"] == "none" and len(mesh.vertices) == 8 * len(mesh.boxes)
    solid_of(mesh)
    assert "o seat_1" in (tmp_path / "scene.obj").read_text()


def test_a_rejected_input_is_passed_on(tmp_path):
    stage(tmp_path, "walk_turn", count=4)
    for product, name in ((Scene, "scene"), (Gravity, "gravity"), (Contacts, "contacts")):
        product.rejection("nobody").write(tmp_path / f"{name}.h5")
    mesh_nksr.main(words(tmp_path))
    assert Mesh.read(tmp_path / "mesh.h5").reason == "nobody"
    assert "nobody" in (tmp_path / "scene.obj").read_text()
