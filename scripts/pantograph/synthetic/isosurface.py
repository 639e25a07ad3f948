"""Triangles around a solid that is given by a signed distance."""

from __future__ import annotations

import itertools

import numpy as np


def marching_tetrahedra(values, origin, spacing):
    """The zero surface of a sampled function, negative inside.

    values: (X, Y, Z) samples; origin: (3,) position of sample 0; spacing: m between samples.
    Returns vertices (V, 3) in m and faces (F, 3), closed where the surface stays off the grid's
    border, outward and counter-clockwise.
    Every cube is cut into the six tetrahedra along its main diagonal (Kuhn's triangulation),
    which leaves no ambiguous case, so that the surface is always a manifold.
    """
    import trimesh

    values = np.where(values == 0, 1e-9, np.asarray(values, float))
    inside = values < 0
    corners = list(itertools.product((0, 1), repeat=3))
    cut = [
        tuple(slice(c, n - 1 + c) for c, n in zip(k, values.shape, strict=True)) for k in corners
    ]
    count = sum(inside[s].astype(np.uint8) for s in cut)
    cubes = np.argwhere((count > 0) & (count < 8))

    flat = values.ravel()
    triangles = []
    for axes in itertools.permutations(range(3)):
        offsets = np.zeros((4, 3), int)
        for step, axis in enumerate(axes):
            offsets[step + 1 :, axis] += 1
        ids = np.ravel_multi_index(
            np.moveaxis(cubes[:, None] + offsets, -1, 0), values.shape
        )  # (cubes, 4)
        negative = flat[ids] < 0
        order = np.argsort(~negative, axis=1, kind="stable")  # the inside corners first
        ids = np.take_along_axis(ids, order, 1)
        number = negative.sum(1)
        for k, edges in _TETRAHEDRON.items():
            chosen = ids[number == k]
            for triangle in edges:
                triangles.append(np.stack([chosen[:, list(edge)] for edge in triangle], axis=1))
    edges = np.sort(np.concatenate(triangles), axis=-1)  # (F, 3, 2) grid points
    unique, faces = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
    a, b = flat[unique[:, 0]], flat[unique[:, 1]]
    points = np.stack(np.unravel_index(unique, values.shape), -1).astype(float)
    vertices = points[:, 0] + (a / (a - b))[:, None] * (points[:, 1] - points[:, 0])
    mesh = trimesh.Trimesh(
        vertices * spacing + np.asarray(origin, float), faces.reshape(-1, 3), process=False
    )
    mesh.fix_normals()
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


_TETRAHEDRON = {
    1: [((0, 1), (0, 2), (0, 3))],
    2: [((0, 2), (0, 3), (1, 3)), ((0, 2), (1, 3), (1, 2))],
    3: [((0, 3), (1, 3), (2, 3))],
}
"""Cut edges of a tetrahedron whose first k corners are inside."""


def decimate(vertices, faces, face_count):
    """Fewer triangles by quadric error (Garland and Heckbert, 1997), through Open3D."""
    import open3d as o3d

    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(faces.astype(np.int32))
    )
    mesh = mesh.simplify_quadric_decimation(face_count)
    return np.asarray(mesh.vertices).copy(), np.asarray(mesh.triangles).copy()


def adjacency(faces, count):
    """Row-normalised neighbour matrix of a mesh, scipy CSR (count, count)."""
    from scipy import sparse

    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    matrix = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count)).tocsr()
    matrix.data[:] = 1.0
    return sparse.diags(1.0 / np.maximum(matrix.sum(1).A1, 1)) @ matrix


def relax(vertices, faces, distance, iterations, step=0.5):
    """Even out the triangles: move vertices towards their neighbours, then back to the surface.

    distance(points (N, 3)) -> (N,) is the signed distance whose zero surface is kept.
    """
    matrix = adjacency(faces, len(vertices))
    for _ in range(iterations):
        vertices = vertices + step * (matrix @ vertices - vertices)
        for _ in range(2):
            value, gradient = distance(vertices), gradient_of(distance, vertices)
            norm2 = np.maximum((gradient**2).sum(1), 0.25)
            vertices = vertices - np.clip(value / norm2, -0.005, 0.005)[:, None] * gradient
    return vertices


def gradient_of(function, points, step=1e-4):
    """Central differences of function(points (N, 3)) -> (N,), as (N, 3)."""
    columns = []
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = step
        columns.append((function(points + shift) - function(points - shift)) / (2 * step))
    return np.stack(columns, axis=1)
