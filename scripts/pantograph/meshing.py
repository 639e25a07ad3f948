"""A collision mesh for simulators (floor, seats, steps as boxes) and a surface to look at."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from . import body as bodies
from . import ground
from .contracts import Mesh, atomic_write

FLOOR_DEPTH = 0.2
"""Thickness of the floor slab, m."""

MARGIN = 2.0
"""How far the floor reaches beyond where people go, m."""

SEAT = 0.45
"""Side of a seat, m."""

STEP = (0.32, 0.36)
"""Footprint of a step across and along the foot, m."""

STEP_HEIGHT = 0.10
"""Feet that stand lower than this stand on the floor, m; stairs rise by 0.15 or more, and heights
of feet seen by one camera are wrong by several centimetres."""

STILL = 0.25
"""Speed of a pelvis that rests, m/s."""

SHORTEST_REST = 0.5
"""Shortest time that a seat must be used, s."""


def box_mesh(box):
    """Vertices (8, 3) and faces (12, 3), outward, of a box (centre, sizes, yaw) (7,)."""
    corner = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    cos, sin = np.cos(box[6]), np.sin(box[6])
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    vertices = (corner * box[3:6]) @ turn.T + box[:3]
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [(a, b, c) for a, b, c, _ in quads] + [(a, c, d) for a, _, c, d in quads]
    return vertices, np.array(faces)


def floor_box(people):
    """The floor: a box (7,) with its top at z = 0 below everyone's path."""
    ways = [p.joints[p.valid][..., :2].reshape(-1, 2) for p in people.values()]
    ways = np.concatenate(ways)
    low, high = ways.min(0) - MARGIN, ways.max(0) + MARGIN
    centre, size = (low + high) / 2, high - low
    return np.array([*centre, -FLOOR_DEPTH / 2, *size, FLOOR_DEPTH, 0.0])


def seat_boxes(person, fps, model):
    """Boxes (B, 7) below a person who sits.

    A person sits where the pelvis rests for half a second at less than 0.75 of its standing
    height with thighs within 40 deg of level, and higher than a squat leaves it over the feet.
    The top lies at the height of the buttocks, the sides along the thighs, and the feet stay
    free.
    """
    joints = person.joints.astype(float)
    valid = person.valid
    pelvis = joints[:, ground.PELVIS]
    thigh = joints[:, ground.KNEES] - joints[:, ground.HIPS]
    length = np.linalg.norm(thigh, axis=-1)
    level = (np.abs(thigh[..., 2]) / np.maximum(length, 1e-6) < np.sin(np.radians(40))).all(1)
    shank = np.linalg.norm(joints[:, ground.KNEES] - joints[:, ground.ANKLES], axis=-1)
    leg = np.median((length + shank).mean(1)[valid])
    calm = ground.smooth(pelvis, valid, 0.1 * fps)
    speed = np.linalg.norm(ground.velocity(calm, valid, fps), axis=1)
    behind = np.linalg.norm((pelvis - joints[:, ground.ANKLES].mean(1))[:, :2], axis=1)
    # without a seat the pelvis must stay over the feet
    rests = valid & level & (speed < STILL) & (behind > 0.25 * leg)
    rests &= pelvis[:, 2] < 0.75 * leg + 0.1
    boxes = []
    for start, end in ground.runs(_close(rests, int(0.3 * fps))):
        if end - start < SHORTEST_REST * fps:
            continue
        span = slice(start, end)
        centre = np.median(pelvis[span], axis=0)
        ahead = np.median(thigh[span].mean(1)[:, :2], axis=0)
        yaw = float(np.arctan2(ahead[1], ahead[0])) - np.pi / 2
        top = float(np.median(_buttocks(person, model, span)))
        forward = np.array([-np.sin(yaw), np.cos(yaw)])
        feet = joints[span][:, ground.ANKLES].mean(1)[:, :2] - centre[:2]
        room = float(np.percentile(feet @ forward, 10)) - 0.12
        front = min(SEAT / 2, room)
        middle = centre[:2] + forward * (front - SEAT / 2)
        if top > 0.05 and front > -SEAT / 4:
            boxes.append([*middle, top / 2, SEAT, SEAT, top, yaw])
    return _merge(np.array(boxes).reshape(-1, 7))


def _close(flags, gap):
    """Fill gaps of at most `gap` frames."""
    out = flags.copy()
    for start, end in ground.runs(~flags):
        if end - start <= gap and start > 0 and end < len(flags):
            out[start:end] = True
    return out


def _buttocks(person, model, span):
    """Height of the lowest point of the pelvis, m, per frame of the span."""
    vertices = bodies.rest_vertices(model, person.betas)
    rest = bodies.rest_joints(model, person.betas)
    carriers = [ground.PELVIS, *ground.HIPS]
    rotations, positions = bodies.joint_transforms(
        model,
        person.betas,
        person.global_orient[span],
        person.body_pose[span],
        person.transl[span],
    )
    carried = model.weights.argmax(1)
    low = np.full(len(positions), np.inf)
    for joint in carriers:
        local = vertices[carried == joint] - rest[joint]
        if joint != ground.PELVIS:
            # of the thigh, only the part next to the hip rests on the seat
            local = local[local[:, 1] > -0.12]
        if len(local):
            height = np.einsum("ti,ni->tn", rotations[:, joint, 2], local).min(1)
            low = np.minimum(low, height + positions[:, joint, 2])
    return low


def step_boxes(person, touch, model):
    """Boxes (B, 7) below feet that stand more than STEP_HEIGHT above the floor, z = 0."""
    points = ground.soles(person, model)
    boxes = []
    for foot in range(2):
        flags = touch.contact[:, foot] & touch.valid & person.valid
        for start, end in ground.runs(flags):
            stand = points[start:end, foot]
            top = float(np.median(stand[..., 2].min(1)))
            if end - start < 4 or top < STEP_HEIGHT:
                continue
            centre = np.median(stand.mean(1), axis=0)
            along = np.median(
                person.joints[start:end, ground.TOES[foot]]
                - person.joints[start:end, ground.ANKLES[foot]],
                axis=0,
            )
            yaw = float(np.arctan2(along[1], along[0])) - np.pi / 2
            boxes.append([*centre[:2], top / 2, *STEP, top, yaw])
    return _merge(np.array(boxes).reshape(-1, 7))


def _merge(boxes):
    """Join boxes whose centres are within 0.15 m and whose tops are within 8 cm of each other."""
    groups = []
    for box in boxes:
        for group in groups:
            mean = np.median(group, axis=0)
            near = np.linalg.norm(mean[:2] - box[:2]) < 0.15
            if near and abs(mean[2] - box[2]) * 2 < 0.08:
                group.append(box)
                break
        else:
            groups.append([box])
    return np.array([np.median(group, axis=0) for group in groups]).reshape(-1, 7)


def build(gravity, contacts, model, fps):
    """The `Mesh` product: a floor slab, seats and steps, each a watertight box.

    gravity: `Gravity`; contacts: `Contacts`; model: BodyModel; fps: frames per second. Seats
    give way to higher ones at the same place, and steps to seats.
    """
    boxes, names = [floor_box(gravity.people)], ["floor"]
    for pid, person in gravity.people.items():
        for box in seat_boxes(person, fps, model):
            boxes.append(box)
            names.append("seat")
        if pid in contacts.people:
            for box in step_boxes(person, contacts.people[pid], model):
                boxes.append(box)
                names.append("step")
    vertices, faces, count = [], [], 0
    for box in boxes:
        corner, triangle = box_mesh(box)
        vertices.append(corner)
        faces.append(triangle + count)
        count += len(corner)
    heights = [b[2] + b[5] / 2 for b, n in zip(boxes, names, strict=True) if n != "floor"]
    stats = {
        "seats": names.count("seat"),
        "steps": names.count("step"),
        "supports_top_m": [round(float(h), 3) for h in heights],
        "floor_size_m": [round(float(s), 2) for s in boxes[0][3:5]],
    }
    return Mesh(
        vertices=np.concatenate(vertices),
        faces=np.concatenate(faces),
        boxes=np.array(boxes),
        box_names=names,
        stats=stats,
    )


def write_obj(mesh, path, by_box=True):
    """Write a `Mesh` product as Wavefront OBJ, z up, metres: one object per box, or a single one.

    A rejected mesh gives a file that only says so.
    """
    lines = ["# z up, metres"]
    if mesh.rejected:
        lines = ["# no mesh: " + " ".join(mesh.reason.split())]
    elif not by_box:
        lines.append("o scene")
        lines += ["v {:.6f} {:.6f} {:.6f}".format(*v) for v in mesh.vertices]
        lines += ["f {} {} {}".format(*(f + 1)) for f in mesh.faces]
    else:
        for k, name in enumerate(mesh.box_names):
            lines.append(f"o {name}_{k}")
            lines += ["v {:.6f} {:.6f} {:.6f}".format(*v) for v in mesh.vertices[8 * k : 8 * k + 8]]
            lines += ["f {} {} {}".format(*(f + 1)) for f in mesh.faces[12 * k : 12 * k + 12]]
    text = "\n".join(lines) + "\n"
    atomic_write(path, lambda temporary: Path(temporary).write_text(text))


def write_ply(mesh, gravity, path):
    """Write what the scene looks like as PLY, z up, metres: the surface through its points, or
    the collision mesh where it has too few. A rejected mesh gives an empty file."""
    if mesh.rejected:
        empty = "ply\nformat ascii 1.0\nelement vertex 0\nelement face 0\nend_header\n"
        atomic_write(path, lambda temporary: Path(temporary).write_text(empty))
    elif not write_surface(gravity, path):
        import trimesh

        solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file_type="ply")
        atomic_write(path, lambda temporary: Path(temporary).write_bytes(solid))


def write_surface(gravity, path, reach=4.0):
    """Write the surface through the points near people as PLY; False with fewer than 200 points.

    gravity: `Gravity`; reach: how far from people points count, m. Screened Poisson reconstruction
    (Kazhdan and Hoppe, 2013) in an octree as fine as the points, cut back to where they are
    dense.
    """
    ways = np.concatenate([p.transl[p.valid] for p in gravity.people.values()])
    points = gravity.points.astype(float)
    if len(points) < 200 or len(ways) == 0:
        return False
    near = cKDTree(ways).query(points)[0] < reach
    points, colors = points[near], gravity.colors[near]
    if len(points) < 200:
        return False
    gaps = cKDTree(points).query(points, 13)[0][:, 1:].mean(1)
    kept = gaps < gaps.mean() + 2 * gaps.std()
    points, colors = points[kept], colors[kept]
    viewer = gravity.cam2world[:, :3, 3].mean(0)
    surface = poisson(points, normals(points, viewer), colors, float(np.median(gaps)))
    atomic_write(path, lambda temporary: Path(temporary).write_bytes(surface))
    return True


def poisson(points, directions, colors, gap):
    """The surface through points as the bytes of a PLY file, cut back to where they are dense.

    points, directions (unit normals): (N, 3); colors: (N, 3) uint8; gap: distance between
    neighbouring points, which the octree is made as fine as. Screened Poisson reconstruction
    (Kazhdan and Hoppe, 2013).
    """
    import pycolmap

    kinds = [(axis, "<f4") for axis in ("x", "y", "z", "nx", "ny", "nz")]
    kinds += [(color, "u1") for color in ("red", "green", "blue")]
    rows = np.empty(len(points), kinds)
    columns = np.column_stack([points, directions, colors]).T
    for name, column in zip(rows.dtype.names, columns, strict=True):
        rows[name] = column
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in kinds]
    header += ["end_header\n"]
    options = pycolmap.PoissonMeshingOptions()
    levels = np.log2(np.ptp(points, axis=0).max() / gap)
    options.depth = int(np.clip(np.ceil(levels) + 1, 5, 9))
    options.trim = max(2.0, levels - 2)
    options.num_threads = 1
    pycolmap.logging.minloglevel = 3
    with tempfile.TemporaryDirectory(prefix="poisson") as folder:
        cloud, surface = Path(folder) / "cloud.ply", Path(folder) / "surface.ply"
        cloud.write_bytes("\n".join(header).encode() + rows.tobytes())
        pycolmap.poisson_meshing(cloud, surface, options)
        return surface.read_bytes()


def normals(points, viewer, neighbours=16):
    """Unit normals (N, 3) of points (N, 3), by their neighbours' flattest direction.

    viewer: where they were seen from and the normals point to, (3,) or (N, 3).
    """
    spots = points[cKDTree(points).query(points, neighbours)[1]]
    spots = spots - spots.mean(1, keepdims=True)
    found = np.linalg.eigh(np.swapaxes(spots, 1, 2) @ spots)[1][:, :, 0]
    away = ((points - viewer) * found).sum(1) > 0
    return np.where(away[:, None], -found, found)


def motion_fps(contacts, default=30.0):
    """Frame rate that contacts were judged at, 1/s; `default` where the product does not say."""
    return float(contacts.stats.get("fps_hz", default))
