"""FrameMoments of frames against sums over all of them at once."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.correction import moments as moments_module
from steadystack.correction.moments import IMAGES, FrameMoments


def series(count=9, shape=(2, 7, 5), seed=0):
    """Frames far from zero, which of their pixels are known, and weights of three orders."""
    rng = np.random.default_rng(seed)
    images = (60000 + rng.normal(0, 0.5, (count, *shape))).astype(np.float64)
    known = rng.random((count, *shape)) < 0.7
    known[:, 0, 0, 0] = False  # never
    known[:, 0, 0, 1] = np.arange(count) == 3  # once
    return images, known, 10 ** rng.uniform(-2, 1, count)


def directly(images, known, weights):
    """The same, as sums over all frames."""
    pixels = np.where(known, images, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = known * weights.reshape(-1, *(1,) * (images.ndim - 1))
        total, squares = each.sum(axis=0), (each**2).sum(axis=0)
        mean = np.nansum(each * pixels, axis=0) / total
        spread = np.nansum(each * (pixels - mean) ** 2, axis=0)
        std = np.sqrt(spread / (total - squares / total))
    count = known.sum(axis=0)
    return {
        "mean": mean,
        "sum": np.where(count, np.nansum(each * pixels, axis=0), np.nan),
        "std": np.where(count > 1, std, np.nan),
        "count": count,
        "maximum": np.where(count, np.max(np.where(known, images, -np.inf), axis=0), np.nan),
    }


def taken_up(images, known, weights, weighted):
    found = FrameMoments.empty(images.shape[1:], np.dtype(np.float64), weighted)
    for image, valid, weight in zip(images, known, weights, strict=True):
        found.add(image, valid, weight)
    return found


def assert_same(found, expected):
    for name in IMAGES:
        np.testing.assert_allclose(found.compute(name), expected[name], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cut", [0, 4, 9])
def test_taken_up_frame_by_frame_and_joined_it_is_the_sum_over_all(monkeypatch, weighted, cut):
    monkeypatch.setattr(moments_module, "BAND_PIXELS", 10)  # two rows at a time
    images, known, weights = series()
    weights = weights if weighted else np.ones(len(images))
    first = taken_up(images[:cut], known[:cut], weights[:cut], weighted)
    second = taken_up(images[cut:], known[cut:], weights[cut:], weighted)
    assert_same(first.join(second), directly(images, known, weights))
    # A task may be tried again with what it was given.
    assert_same(first.join(second), directly(images, known, weights))


def test_without_weights_the_deviation_is_that_of_a_sample():
    images, _, _ = series()
    found = taken_up(images, np.ones(images.shape, bool), np.ones(len(images)), False)
    np.testing.assert_allclose(found.compute("std"), images.std(axis=0, ddof=1), rtol=1e-9)


def test_equal_weights_change_nothing_but_the_sum():
    images, known, _ = series()
    plain = taken_up(images, known, np.ones(len(images)), False)
    equal = taken_up(images, known, np.full(len(images), 3.0), True)
    for name in ("mean", "std", "maximum"):
        np.testing.assert_allclose(equal.compute(name), plain.compute(name), rtol=1e-12)
    np.testing.assert_allclose(equal.compute("sum"), 3 * plain.compute("sum"), rtol=1e-12)


def test_values_of_unknown_pixels_do_no_harm():
    images, known, weights = series()
    expected = directly(images, known, weights)
    spoilt = np.where(known, images, np.nan)
    with np.errstate(all="raise"):
        assert_same(taken_up(spoilt, known, weights, True), expected)
