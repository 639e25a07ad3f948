"""Heights over a grid, filled and made solid."""

import numpy as np
import pytest
import trimesh

from pantograph import heightfield


def test_a_solid_is_watertight_and_has_its_volume():
    grid = heightfield.Grid.over([0, -1], [2, 2], 0.1)
    heights = 0.3 + 0.1 * grid.xy[..., 0]
    vertices, faces = heightfield.solid(grid, heights, -0.2)
    solid = trimesh.Trimesh(vertices, faces, process=False)
    assert solid.is_watertight and solid.is_winding_consistent
    assert solid.volume == pytest.approx(6 * (0.5 + 0.1), rel=1e-6)
    assert solid.bounds[0].tolist() == pytest.approx([0, -1, -0.2])


def test_a_huge_grid_is_coarser():
    grid = heightfield.Grid.over([0, 0], [100, 400], 0.05)
    assert np.prod(grid.shape) < 1.05 * heightfield.MOST_CELLS
    assert grid.xy[-1, -1, 0] >= 100 and grid.xy[-1, -1, 1] >= 400


def test_heights_of_a_surface_below_a_ceiling():
    table = trimesh.creation.box((1, 1, 0.1))
    table.apply_translation([0, 0, 0.7])
    roof = trimesh.creation.box((4, 4, 0.1))
    roof.apply_translation([0, 0, 2.5])
    scene = trimesh.util.concatenate([table, roof])
    grid = heightfield.Grid.over([-1, -1], [1, 1], 0.1)
    points = heightfield.spread(scene.vertices, scene.faces, 0.05)
    heights = heightfield.highest(points, grid, 1.5)
    assert heights[10, 10] == pytest.approx(0.75)
    assert np.isnan(heights[0, 0])
    assert heightfield.highest(points, grid)[0, 0] == pytest.approx(2.55)
    ceiling = np.where(grid.xy[..., 0] > 0, 3.0, 1.5)
    assert heightfield.highest(points, grid, ceiling)[0, -1] == pytest.approx(2.55)


def test_no_gap_between_points_of_a_face():
    vertices, faces = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]]), np.array([[0, 1, 2]])
    points = heightfield.spread(vertices, faces, 0.1)
    grid = heightfield.Grid.over([0, 0], [0.4, 0.4], 0.1)
    assert np.isfinite(heightfield.highest(points, grid)).all()


def test_holes_inside_the_hull_are_filled_by_what_is_around():
    grid = heightfield.Grid.over([0, 0], [4, 3], 0.1)
    plane = 0.2 * grid.xy[..., 0]
    heights = plane.copy()
    heights[10:20, 15:25] = np.nan
    filled = heightfield.fill(heights)
    assert np.isfinite(filled[10:20, 15:25]).all() and np.isfinite(filled).sum() == 100
    assert np.abs(filled - plane)[10:20, 15:25].max() < 0.06
    # outside the hull nothing is made up, and a single cell far away does not stretch it
    heights[:, 30:] = np.nan
    heights[2, 38] = 1.0
    filled = heightfield.fill(heights)
    assert np.isnan(filled[:, 31:]).all()


@pytest.mark.parametrize("known", [0, 1, 2])
def test_too_little_to_fill(known):
    heights = np.full((6, 6), np.nan)
    heights[0, :known] = 1.0
    assert np.isnan(heightfield.fill(heights)).all()
