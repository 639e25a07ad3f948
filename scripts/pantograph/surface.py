"""The surface of a scene from its depth maps: points near people, NKSR or Poisson, holes filled.

Huang et al., "Neural Kernel Surface Reconstruction", CVPR 2023. Which points count follows
VideoMimic's third stage (`mesh_generation.py`), in metres instead of the scene's own unit.
"""

from __future__ import annotations

import functools
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from . import camera, foreign, gpu, heightfield, meshing, pointfilter
from .contracts import Mesh, atomic_write
from .errors import PantographError
from .workplace import workplace

NEIGHBOURS = 5
"""Frames before and after whose people's surroundings a frame's points may lie in."""

MOST_FRAMES = 120
"""Frames that points are taken from."""

SKIN = 0.1
"""From the pelvis joint to the body's surface towards the camera, m."""

FEWEST = 200
"""Points that a surface needs."""

HEADROOM = 0.3
"""Above the pelvis of the nearest place on people's paths, what overhangs is no ground, m."""


@dataclass
class Filter:
    """Which cells of the depth maps become points."""

    gradient: float = 100.0
    """Largest change of depth over the viewing angle, m/rad."""
    confidence: float = 0.0
    """Least confidence, in [0, 1], where the method has one."""
    ring: bool = True
    """Only the surroundings of people, in the picture and in space."""
    grow_px: float = 10.0
    """How far from a person points stay, or reach with `ring`, px of a 512 px picture."""
    inner_px: float = 5.0
    """How far from a person points stay with `ring`."""
    box_factor: float = 1.2
    """Size of the box around people that points lie in, over that of their joints."""
    reach: float = 8.0
    """How far from people's paths points lie, m."""


@dataclass
class Cloud:
    """Points (N, 3) of the gravity world, m, and the camera centres (N, 3) that saw them."""

    points: np.ndarray
    viewers: np.ndarray


def depth_scale(video, people, scene, gravity):
    """Metres per unit of the scene's depth.

    That of the world where the camera travels or the scene is metric. Otherwise people tell:
    the median over frames of their distance over the depth of their masks around the pelvis.
    Raises PantographError where no frame shows both.
    """
    if scene.metric or scene.camera_model == "sfm":
        return float(gravity.scale)
    size = (video.width, video.height)
    shape = scene.depth.shape[1:]
    ratios = []
    for pid, person in gravity.people.items():
        track = people.people.get(pid)
        if track is None:
            continue
        for frame in np.flatnonzero(person.valid & track.visible):
            intrinsics = pointfilter.cell_intrinsics(scene.intrinsics[frame], size, shape)
            local = camera.to_camera(np.float64(gravity.cam2world[frame]), person.transl[frame])
            x, y = camera.project(local, intrinsics)
            reach = max(1.0, 0.03 * max(shape))
            rows, columns = np.indices(shape)
            near = np.hypot(columns + 0.5 - x, rows + 0.5 - y) < reach
            depth = np.float32(scene.depth[frame])
            seen = depth[near & pointfilter.person_mask(people, frame, shape) & (depth > 0)]
            if len(seen) and local[2] > 2 * SKIN:
                ratios.append((local[2] - SKIN) / np.median(seen))
    if not ratios:
        raise PantographError(
            "expected depth where people are, to find its unit, found none; use method poisson"
        )
    return float(np.median(ratios))


def collect(video, people, scene, gravity, rules):
    """The `Cloud` that the depth maps give under `rules` (a `Filter`), and stats.

    Frames in which nobody is placed do not count, as in VideoMimic.
    """
    size = (video.width, video.height)
    shape = scene.depth.shape[1:]
    scale = depth_scale(video, people, scene, gravity)
    joints = [
        [p.joints[t] for p in gravity.people.values() if p.valid[t]]
        for t in range(video.frame_count)
    ]
    placed = np.array([t for t in range(video.frame_count) if joints[t]])
    boxes = {t: pointfilter.person_box(np.concatenate(joints[t]), rules.box_factor) for t in placed}
    ways = np.concatenate([p.transl[p.valid] for p in gravity.people.values()])[:, :2]
    way = cKDTree(ways)
    points, viewers = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.float32)]
    for t in placed[:: max(1, -(-len(placed) // MOST_FRAMES))]:
        depth = np.float32(scene.depth[t]) * np.float32(scale)
        intrinsics = pointfilter.cell_intrinsics(scene.intrinsics[t], size, shape)
        good = (depth > 0) & (pointfilter.slope(depth, intrinsics) < rules.gradient)
        if scene.depth_confidence is not None:
            good &= scene.depth_confidence[t] >= rules.confidence
        person = pointfilter.person_mask(people, t, shape)
        if rules.ring:
            good &= pointfilter.ring(person, rules.inner_px, rules.grow_px)
        else:
            good &= ~pointfilter.grow(person, rules.grow_px)
        pose = np.float64(gravity.cam2world[t])
        found = camera.to_world(pose, pointfilter.backproject(depth, intrinsics)[good])
        found = found[way.query(found[:, :2])[0] < rules.reach]
        if rules.ring:
            span = range(t - NEIGHBOURS, t + NEIGHBOURS + 1)
            near = np.stack([boxes[k] for k in span if k in boxes])
            found = found[pointfilter.inside_any(found, near)]
        points.append(np.float32(found))
        viewers.append(np.broadcast_to(np.float32(pose[:3, 3]), found.shape))
    stats = {"depth_scale": round(scale, 5), "filtered_points": sum(map(len, points))}
    return Cloud(np.concatenate(points), np.concatenate(viewers)), stats


def thin(cloud, voxel=0.1, fewest=5):
    """The cloud without lone points, and with what lies close together made one.

    Cubes of side `voxel`, m, with less than `fewest` points are noise; of the others, quarter
    cubes give one mean each: a camera that stands still sees the same spots again and again.
    """
    kept = pointfilter.dense(cloud.points, voxel, fewest)
    return Cloud(*pointfilter.merge(cloud.points[kept], voxel / 4, cloud.viewers[kept]))


@functools.lru_cache(maxsize=1)
def load(weights, device):
    """NKSR's reconstructor on a device, from its weights' file."""
    import torch

    nksr = foreign.module("nksr")
    url = foreign.module("nksr.configs").get_hparams("ks").url
    before = torch.hub.get_dir()
    with workplace({os.path.join("checkpoints", os.path.basename(url)): weights}) as folder:
        # the package asks PyTorch's hub for the file, which looks here before it downloads
        torch.hub.set_dir(str(folder))
        try:
            return nksr.Reconstructor(gpu.device(device))
        finally:
            torch.hub.set_dir(before)


def nksr_surface(cloud, weights, device, detail=0.1):
    """Vertices (V, 3) and faces (F, 3) of NKSR's surface through a `Cloud`."""
    import torch

    where = gpu.device(device)
    with gpu.memory("set fewer points: a smaller --reach, or no --no-spf"):
        reconstructor = load(weights, device)
        points = np.ascontiguousarray(cloud.points, np.float32)
        directions = meshing.normals(np.float64(points), cloud.viewers)
        field = reconstructor.reconstruct(
            torch.from_numpy(points).to(where),
            torch.from_numpy(np.float32(directions)).to(where),
            detail_level=detail,
        )
        found = field.extract_dual_mesh(mise_iter=1)
        return found.v.cpu().numpy(), found.f.cpu().numpy()


def poisson_surface(cloud):
    """Vertices (V, 3) and faces (F, 3) of the Poisson surface through a `Cloud`."""
    import trimesh

    points = np.float64(cloud.points)
    gap = float(np.median(cKDTree(points).query(points, 13)[0][:, 1:].mean(1)))
    directions = meshing.normals(points, cloud.viewers)
    grey = np.full(points.shape, 128, np.uint8)
    content = meshing.poisson(points, directions, grey, max(gap, 0.01))
    found = trimesh.load(io.BytesIO(content), file_type="ply", process=False)
    return np.asarray(found.vertices, float), np.asarray(found.faces)


def large_parts(vertices, faces, share=0.02):
    """A surface without its connected parts of less than `share` of the faces."""
    if len(faces) == 0:
        return vertices, faces
    links = np.concatenate([faces[:, :2], faces[:, 1:]])
    ones = np.ones(len(links), bool)
    graph = sparse.coo_matrix((ones, links.T), shape=(len(vertices),) * 2)
    part = connected_components(graph, directed=False)[1]
    owner = part[faces[:, 0]]
    faces = faces[np.bincount(owner)[owner] >= share * len(faces)]
    used, index = np.unique(faces, return_inverse=True)
    return vertices[used], index.reshape(faces.shape)


def trimmed(vertices, faces, points, reach):
    """A surface without the faces whose middle is further than `reach` from the points (N, 3)."""
    if len(faces) == 0:
        return vertices, faces
    middle = np.asarray(vertices, float)[faces].mean(1)
    far = cKDTree(points).query(middle, distance_upper_bound=reach)[0]
    return vertices, faces[np.isfinite(far)]


def ground_grid(gravity, cell):
    """The `heightfield.Grid` below people's paths, and the ceiling (rows, columns) over it."""
    floor = meshing.floor_box(gravity.people)
    grid = heightfield.Grid.over(floor[:2] - floor[3:5] / 2, floor[:2] + floor[3:5] / 2, cell)
    ways = np.concatenate([p.transl[p.valid] for p in gravity.people.values()]).astype(float)
    nearest = cKDTree(ways[:, :2]).query(grid.xy.reshape(-1, 2))[1]
    return grid, ways[nearest, 2].reshape(grid.shape) + HEADROOM


def reconstruct(cloud, gravity, make, cell=0.05, reach=0.1):
    """The surface that `make` gives for a `Cloud`, its holes filled: vertices, faces and stats.

    make: from a `Cloud` to vertices and faces; what it makes up further than `reach` m from the
    points is cut off. Seen from above, what lies inside the surface's
    convex hull and below people's headroom without being part of it is filled by the heights
    around it, and the surface is made again with these points.
    """
    vertices, faces = trimmed(*make(cloud), cloud.points, reach)
    grid, ceiling = ground_grid(gravity, cell)
    heights = heightfield.highest(heightfield.spread(vertices, faces, cell / 2), grid, ceiling)
    filled = heightfield.fill(heights)
    missing = np.isfinite(filled)
    if missing.any():
        added = np.concatenate([grid.xy[missing], filled[missing][:, None]], -1)
        viewer = np.broadcast_to(gravity.cam2world[:, :3, 3].mean(0), added.shape)
        cloud = Cloud(
            np.concatenate([cloud.points, np.float32(added)]),
            np.concatenate([cloud.viewers, np.float32(viewer)]),
        )
        vertices, faces = trimmed(*make(cloud), cloud.points, reach)
    vertices, faces = large_parts(vertices, faces)
    stats = {"surface_points": len(cloud.points), "hole_points": int(missing.sum())}
    return vertices, faces, {**stats, "surface_faces": len(faces)}


def collision(vertices, faces, gravity, supports, cell=0.05, snap=0.05):
    """The watertight `Mesh` product below a surface, for simulators.

    vertices, faces: the surface in the gravity world; supports: the `Mesh` of `meshing.build`,
    whose boxes it keeps. Ground is the highest of the surface below people's headroom; heights
    within `snap` m of the floor, which feet have measured, are the floor, and so is what nothing
    is known of. Supports that the surface misses stand out of it.
    """
    grid, ceiling = ground_grid(gravity, cell)
    spots = heightfield.spread(vertices, faces, cell / 2)
    heights = heightfield.highest(spots, grid, ceiling)
    known = np.isfinite(heights)
    flat = known & (np.abs(heights) < 0.15)
    heights = np.where(known & ~(np.abs(heights) < snap), heights, 0.0)
    for box, name in zip(supports.boxes, supports.box_names, strict=True):
        if name != "floor":
            heights = np.maximum(heights, box_heights(grid, box))
    bottom = min(0.0, float(heights.min())) - meshing.FLOOR_DEPTH
    solid = heightfield.solid(grid, heights, bottom)
    measured = heightfield.highest(spots, grid, ceiling)[flat]
    stats = {
        **supports.stats,
        "known_ground_fraction": round(float(known.mean()), 3),
        "surface_over_floor_cm": round(float(100 * np.median(measured)), 1) if flat.any() else 0.0,
    }
    return Mesh(
        vertices=solid[0],
        faces=solid[1],
        boxes=supports.boxes,
        box_names=supports.box_names,
        stats=stats,
    )


def box_heights(grid, box):
    """Top of a support box (7,) at the nodes over it, (rows, columns); 0 elsewhere."""
    cos, sin = np.cos(box[6]), np.sin(box[6])
    local = (grid.xy - box[:2]) @ np.array([[cos, -sin], [sin, cos]])
    over = (np.abs(local) <= box[3:5] / 2).all(-1)
    return np.where(over, box[2] + box[5] / 2, 0.0)


def seen_points(gravity, reach):
    """The `Cloud` of a world's own points near people's paths, for scenes without depth."""
    ways = np.concatenate([p.transl[p.valid] for p in gravity.people.values()])
    if len(gravity.points) == 0:
        return Cloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
    near = cKDTree(ways[:, :2]).query(gravity.points[:, :2])[0] < reach
    points = np.float32(gravity.points[near])
    viewer = gravity.cam2world[:, :3, 3].mean(0)
    return Cloud(points, np.broadcast_to(np.float32(viewer), points.shape))


def write_ply(vertices, faces, gravity, path):
    """Write a surface as PLY, z up, metres, in the colours of the world's nearest points."""
    import trimesh

    colors = np.full((len(vertices), 3), 160, np.uint8)
    if len(gravity.points):
        colors = np.asarray(gravity.colors)[cKDTree(gravity.points).query(vertices)[1]]
    whole = trimesh.Trimesh(vertices, faces, vertex_colors=colors, process=False)
    content = whole.export(file_type="ply")
    atomic_write(path, lambda temporary: Path(temporary).write_bytes(content))
