"""Maxima and quartiles among many lags are those of sorting and of a filter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack.peak.maxima import MANY_VALUES, dilate, find_maxima, find_quartiles


@pytest.mark.parametrize("order", ["random", "sorted", "two values", "waves"])
@pytest.mark.parametrize("count", [9, MANY_VALUES, MANY_VALUES + 1, 300_001])
def test_quartiles_are_those_of_sorted_values(count, order):
    values = np.random.default_rng(0).normal(size=count).astype(np.float32)
    if order == "sorted":
        values.sort()
    if order == "two values":
        values = (values > 0.6).astype(np.float32)
    if order == "waves":  # in step with the sample
        values = np.sin(np.arange(count) * (2 * np.pi / 36)).astype(np.float32) + values / 1000
    kept, places = values.copy(), [count // 4, count // 2, 3 * count // 4]
    assert find_quartiles(values) == np.sort(values)[places].tolist()
    np.testing.assert_array_equal(values, kept)


@pytest.mark.parametrize("shape", [(40,), (30, 41), (1, 9), (7, 8, 9)])
def test_maxima_are_higher_than_all_around_them(shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    highest = ndimage.maximum_filter(values, 3, mode="nearest")
    np.testing.assert_array_equal(dilate(values), highest)
    expected = np.sort(values[(values == highest) & (values > 0)])[::-1]
    np.testing.assert_array_equal(find_maxima(values), expected)
