"""Images: which of their pixels are finite, and the boxes of masks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack import estimate_shifts
from steadystack.model import find_box, find_finite_pixels
from support.scenes import Scene


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "u2", ">f8"])
def test_finite_pixels_are_those_that_can_be_computed_with(dtype):
    image = np.ones((4, 5), dtype)
    expected = np.ones(image.shape, bool)
    if image.dtype.kind in "fc":
        image[0, 1], image[1, 2], image[2, 3] = np.nan, np.inf, -np.inf
        expected[[0, 1, 2], [1, 2, 3]] = False
    if image.dtype.itemsize == 8 and image.dtype.kind == "f":
        image[3, 1:3] = 1e150, -1e300
        expected[3, 1:3] = False
    found = find_finite_pixels(image, 1e38)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.writeable
    assert find_finite_pixels(image).sum() == np.isfinite(image).sum()


@pytest.mark.parametrize("shape", [(9,), (7, 12), (4, 6, 5)])
def test_a_box_is_the_smallest_that_holds_a_mask(shape):
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = np.zeros(shape, bool)
        mask.flat[rng.choice(mask.size, rng.integers(1, 4), replace=False)] = True
        assert find_box(mask) == ndimage.find_objects(mask.astype(int))[0]


def test_numbers_that_cannot_be_squared_are_not_valid():
    rng, scene = np.random.default_rng(1), Scene(1)
    drift = rng.uniform(-3, 3, (8, 2))
    drift[0] = 0
    frames = np.stack([scene.view((64, 64), at) for at in drift])
    frames += 0.1 * rng.normal(size=frames.shape)
    frames[rng.random(frames.shape) < 0.02] = 1e200
    found = estimate_shifts(frames)
    np.testing.assert_allclose(found["frame_shift"], drift, atol=0.1)
