"""Drawn shapes: ellipses, polygons, and those of volumes."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import draw

from steadystack.validity import DrawnMask, Ellipse, Polygon
from support.masked import SHAPE


@pytest.mark.parametrize("seed", range(5))
def test_ellipses_and_polygons_are_those_of_scikit_image(seed):
    rng = np.random.default_rng(seed)
    part = (slice(5, 33), slice(0, 41))
    centre, radii = rng.uniform(5, 40, 2), rng.uniform(4, 20, 2)
    expected = np.zeros(SHAPE, bool)
    expected[draw.ellipse(*centre, *radii, shape=SHAPE)] = True
    found = Ellipse(tuple(centre), tuple(radii)).covers(part)
    np.testing.assert_array_equal(found, expected[part])
    corners = rng.uniform(-10, 60, (6, 2))  # some outside of the frame, edges that cross
    expected = draw.polygon2mask(SHAPE, corners)
    found = Polygon(tuple(map(tuple, corners.tolist()))).covers(part)
    np.testing.assert_array_equal(found, expected[part])


def test_shapes_of_volumes():
    shape, part = (6, *SHAPE), (slice(1, 5), slice(2, 40), slice(0, 50))
    ball = Ellipse((3, 20, 26), (2.5, 10, 12))
    z, y, x = np.indices(shape)
    inside = ((z - 3) / 2.5) ** 2 + ((y - 20) / 10) ** 2 + ((x - 26) / 12) ** 2 <= 1
    prism = Polygon(((0, 0), (0, 30), (30, 0)))
    mask = DrawnMask(((ball, True), (prism, False)))
    expected = inside & ~np.broadcast_to(prism.covers((slice(0, 40), slice(0, 52))), shape)
    np.testing.assert_array_equal(mask.read(0, shape), expected)
    np.testing.assert_array_equal(mask.read(3, shape, part), expected[part])
