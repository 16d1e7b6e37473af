"""Invalid pixels filled in for filters, against the obvious way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack.warp.filling import fill_around
from support.scenes import ellipse, rough


def fill_slowly(image, valid):
    """Mean under a Gaussian of valid pixels; where hardly any is near, the closest of all."""
    total = ndimage.gaussian_filter(np.where(valid, image, 0.0), 1, mode="constant")
    weight = ndimage.gaussian_filter(valid.astype(float), 1, mode="constant")
    closest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    near = weight > 1e-3
    mean = total / np.where(near, weight, 1)
    return np.where(valid, image, np.where(near, mean, image[tuple(closest)]))


MASKS = {
    "ellipse": lambda shape: ellipse(shape),
    "dead pixels": lambda shape: np.random.default_rng(3).random(shape) > 0.3,
    "half": lambda shape: np.indices(shape)[-1] < shape[-1] // 2,
    "one pixel": lambda shape: np.arange(np.prod(shape)).reshape(shape) == 777,
    "all": lambda shape: np.ones(shape, bool),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(
    ("shape", "pixels"), [((70, 60), 2**18), ((70, 60), 300), ((12, 24, 20), 900)]
)
def test_it_is_the_obvious_way_near_valid_pixels(name, shape, pixels, monkeypatch):
    monkeypatch.setattr("steadystack.warp.separable.BLOCK_PIXELS", pixels)
    image, valid, reach = 100 + rough(1, shape), MASKS[name](shape), 12
    image = np.where(valid, image, np.nan)
    found = fill_around(image, valid, reach, np.dtype(np.float64))
    away = ndimage.distance_transform_edt(~valid) if not valid.all() else np.zeros(shape)
    expected = fill_slowly(np.nan_to_num(image), valid)
    np.testing.assert_allclose(found[away < reach], expected[away < reach], rtol=1e-5)
    assert np.isfinite(found).all()


def test_a_mask_that_is_remembered_is_not_mistaken_for_another():
    image = rough(2, (40, 50)).astype("f4")
    masks = [rough(seed, image.shape, 3) > -0.2 for seed in range(3, 6)]
    once = [fill_around(image, mask, 12, image.dtype) for mask in masks]
    again = [fill_around(image, mask, 12, image.dtype) for mask in masks]
    for mask, first, second in zip(masks, once, again, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, fill_slowly(image, mask), atol=1e-5)


def test_nothing_valid_and_whole_numbers():
    image = np.full((9, 9), 60_000, "u2")
    assert np.isfinite(fill_around(image, np.zeros((9, 9), bool), 12, np.dtype("f4"))).all()
    valid = np.indices((9, 9)).sum(axis=0) % 2 == 0
    np.testing.assert_array_equal(fill_around(image, valid, 12, np.dtype("f4")), 60_000)
