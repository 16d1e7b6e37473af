"""Splines anywhere between pixels, against splines of images that are mirrored around by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack.warp.splines import Interpolator
from support.scenes import rough

AROUND = 24


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("shape", [(1, 20, 24), (2, 20, 24), (4, 7, 20), (8, 9, 30), (3, 40)])
def test_edges_mirror_however_few_pixels_there_are(shape, order):
    image = rough(1, shape).astype("f4")
    rng = np.random.default_rng(2)
    places = np.stack([rng.uniform(-0.5, size - 0.5, 400) for size in shape])
    found = Interpolator.make(image, None, order).at(places)
    mirrored = np.pad(image.astype(float), AROUND, mode="symmetric")
    expected = ndimage.map_coordinates(mirrored, places + AROUND, order=order, mode="mirror")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(image).max() * 5)


@pytest.mark.parametrize("order", [1, 3])
def test_what_is_not_valid_has_no_part_and_the_image_stays(order):
    image, valid = 5 + rough(3, (6, 20, 24)), np.ones((6, 20, 24), bool)
    valid[2:4, 8:12, 9:14] = False
    places = np.argwhere(valid).T + np.random.default_rng(4).uniform(-0.4, 0.4, (3, valid.sum()))
    found = []
    for wrong in (0, np.nan, 1e9):
        given = np.where(valid, image, wrong)
        kept = given.copy()
        found.append(Interpolator.make(given, valid, order).at(places))
        np.testing.assert_array_equal(given, kept)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert 3 < found[0].min() < found[0].max() < 7
