"""Thresholds as scikit-image's; regions, holes and rims by the letter; moments as numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu

from steadystack.segmentation import (
    clean_mask,
    combine_shapes,
    compute_mean_and_deviation,
    find_otsu_threshold,
)


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_that_of_a_peer(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(10, 2, 3000), rng.normal(30, 5, 1000 * seed + 500)])
    found, peer = find_otsu_threshold(values), threshold_otsu(values)
    assert found == pytest.approx(peer, abs=np.ptp(values) / 100)
    assert between(values, found) > (1 - 1e-4) * between(values, peer)


def between(values, threshold):
    """The variance between the classes that a threshold makes."""
    above = values > threshold
    share = above.mean()
    return share * (1 - share) * (values[above].mean() - values[~above].mean()) ** 2


def test_two_values_are_parted_between_them():
    assert 1 < find_otsu_threshold(np.array([1.0] * 9 + [5.0])) < 5
    assert np.isnan(find_otsu_threshold(np.ones(4)))


def test_the_largest_region_is_kept_and_its_holes_filled():
    mask = np.zeros((12, 14), bool)
    mask[1:7, 1:7] = True
    mask[3, 3] = False
    mask[9:11, 9:12] = True
    kept = clean_mask(mask, largest=True)
    assert kept.sum() == 35
    assert not kept[3, 3]
    filled = clean_mask(mask, largest=True, fill_holes=True)
    assert filled.sum() == 36
    assert filled[3, 3]
    assert clean_mask(mask, fill_holes=True).sum() == 42
    assert not clean_mask(np.zeros((3, 3), bool), largest=True, fill_holes=True, erode=2).any()


@pytest.mark.parametrize("erode", [1, 2, 3])
def test_the_rim_is_as_wide_as_is_asked_for(erode):
    y, x = np.mgrid[:40, :50]
    mask = (y - 18) ** 2 + (x - 25) ** 2 < 15**2
    around = np.hypot(*np.mgrid[-erode : erode + 1, -erode : erode + 1]) <= erode
    expected = ndimage.binary_erosion(mask, around, border_value=1)
    np.testing.assert_array_equal(clean_mask(mask, erode=erode), expected)
    assert clean_mask(np.ones((5, 5), bool), erode=erode).all()


def test_an_outline_inside_of_another_is_a_hole():
    outer, inner = np.zeros((2, 6, 6), bool)
    outer[1:5, 1:5], inner[2:4, 2:4] = True, True
    assert combine_shapes([outer, inner]).sum() == 12


def test_mean_and_deviation_are_those_of_valid_pixels():
    rng = np.random.default_rng(2)
    images = rng.normal(1e6, 1, (20, 7, 9))
    valid = rng.random(images.shape) < 0.7
    valid[:, 2, 3] = False
    images[~valid] = np.nan
    found = compute_mean_and_deviation(zip(images, valid, strict=True))
    assert found is not None
    masked = np.ma.array(images, mask=~valid)
    np.testing.assert_allclose(found[0], masked.mean(0).filled(np.nan), rtol=1e-12)
    np.testing.assert_allclose(found[1], masked.std(0).filled(np.nan), atol=1e-6)
    assert np.isnan(found[0][2, 3])
    assert found[2] == 20
    assert compute_mean_and_deviation(iter(())) is None
