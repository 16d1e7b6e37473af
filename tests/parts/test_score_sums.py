"""Sums over pixels by part: the quick way of whole images against pixel by pixel."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from steadystack.parts.score_sums import sum_scores


def slow_sums(first, second, weights, bounds, level):
    """Slope of both times difference, in double precision, one axis and part after another."""
    ndim, inner = first.ndim, (slice(1, -1),) * first.ndim
    both, difference = first.astype(float) + second, first.astype(float) - second - level
    cuts = list(product(*(list(pairwise(ends - 1)) for ends in bounds)))
    sums = []
    for axis in range(ndim):
        slope = (np.roll(both, -1, axis) - np.roll(both, 1, axis))[inner]
        scores = slope * (difference * weights)[inner]
        sums.append([scores[tuple(slice(*cut) for cut in part)].sum() for part in cuts])
    return np.reshape(sums, (ndim, *(len(ends) - 1 for ends in bounds)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "bounds",
    [
        [[1, 200, 420, 649], [1, 30, 31, 89]],  # more lines than are added at a time
        [[1, 1, 40, 59], [1, 20, 59, 59]],  # parts without a pixel
        [[1, 5, 9, 199]],
        [[1, 4, 10], [1, 20, 39], [1, 17, 28]],
    ],
)
def test_sums_are_those_of_single_pixels(seed, bounds):
    rng = np.random.default_rng(seed)
    bounds = [np.array(ends) for ends in bounds]
    shape = [int(ends[-1]) + 1 for ends in bounds]
    first = rng.normal(0.2, 1, shape).astype(np.float32)
    second = (0.9 * first + 0.1 * rng.normal(size=shape)).astype(np.float32)
    level = float((first - second).mean())
    ones = np.ones(shape, np.float32)
    expected = slow_sums(first, second, ones, bounds, level)
    for weights in ((None, None), (ones, None), (ones, ones)):
        sums = sum_scores(first, second, weights, bounds, level)
        np.testing.assert_allclose(sums, expected, atol=3e-3)
    weights = rng.random((2, *shape)).astype(np.float32)
    sums = sum_scores(first, second, tuple(weights), bounds, level)
    np.testing.assert_allclose(
        sums, slow_sums(first, second, weights.prod(axis=0), bounds, level), atol=3e-3
    )
    assert np.abs(expected).max() > 0.1


def test_images_that_are_nearly_the_same_lose_no_digits():
    """What cancels in the sums is a hundred thousand times what is left.

    The sums are of noise: another tenth of it, in quadrature, adds half a percent.
    """
    rng = np.random.default_rng(0)
    first = rng.normal(size=(700, 700)).cumsum(0)
    first = (first / first.std()).astype(np.float32)
    second = (first + 1e-3 * rng.normal(size=first.shape)).astype(np.float32)
    bounds = [np.array([1, 230, 470, 699])] * 2
    sums = sum_scores(first, second, (None, None), bounds, 0.0)
    expected = slow_sums(first, second, np.ones(first.shape), bounds, 0.0)
    assert np.abs(sums - expected).max() < 0.1 * expected.std()
