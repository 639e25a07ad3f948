"""Crops are where they should be, to a fraction of a pixel."""

import numpy as np
import pytest

from pantograph import crops


def ramp(width, height):
    """A picture whose red is x, whose green is y, and whose blue is 200."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x, y, np.full_like(x, 200)], -1).astype(np.uint8)


def test_squares_around_boxes():
    centres, sides = crops.squares([[10, 20, 30, 60], [0, 0, 50, 10]], dilate=1.2)
    assert np.allclose(centres, [[20, 40], [25, 5]])
    assert np.allclose(sides, [48, 60])


def test_the_map_takes_corners_to_corners():
    matrix = crops.affine((100.0, 80.0), 50.0, 256)
    corners = np.array([[75.0, 55, 1], [125, 105, 1], [100, 80, 1]])
    assert np.allclose(corners @ matrix.T, [[0, 0], [256, 256], [128, 128]])


@pytest.mark.parametrize("side", [40.0, 64.0, 101.5, 150.0])
@pytest.mark.parametrize("centre", [(125.0, 121.0), (120.3, 124.8)])
def test_pixels_come_from_their_place(centre, side):
    size = 64
    crop = crops.cut(ramp(250, 245), centre, side, size).astype(float)
    at = (np.arange(size) + 0.5) * side / size - side / 2
    # a pixel's value is its index, its centre half a pixel further
    x, y = centre[0] + at - 0.5, centre[1] + at - 0.5
    assert np.abs(crop[:, :, 0] - x[None]).max() < 1.1
    assert np.abs(crop[:, :, 1] - y[:, None]).max() < 1.1
    assert abs((crop[:, :, 0] - x[None]).mean()) < 0.35
    assert (crop[:, :, 2] == 200).all()


def test_outside_is_black():
    crop = crops.cut(ramp(100, 100), (0.0, 50.0), 60.0, 60)
    assert (crop[:, :29] == 0).all() and (crop[:, 31:, 2] == 200).all()
    inside = crops.cut(ramp(100, 100), (50.0, 50.0), 60.0, 60, within=(40, 20, 60, 80))
    assert (inside[:, 21:39, 2] == 200).all()
    assert (inside[:, :19] == 0).all() and (inside[:, 41:] == 0).all()
    assert (crops.cut(ramp(9, 9), (100.0, 100.0), 20.0, 8) == 0).all()


def test_reduction_does_not_alias():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 250
    crop = crops.cut(stripes, (200.0, 200.0), 330.0, 60)
    assert np.abs(crop.astype(float) - 125).max() < 20


def test_normalised_as_for_imagenet():
    values = crops.normalise(np.full((2, 4, 4, 3), 255, np.uint8))
    assert values.shape == (2, 3, 4, 4) and values.dtype == np.float32
    assert np.allclose(values[0, :, 0, 0], (1 - crops.MEAN) / crops.DEVIATION)
