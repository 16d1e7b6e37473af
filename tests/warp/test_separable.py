"""Filters along one axis, against numpy's correlation, and the cutting into blocks."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.warp import REACH
from steadystack.warp.separable import LINES, PANEL, cut_into_blocks, filter_along


@pytest.mark.parametrize("length", [1, 2, 3, 5, 24, 48])
@pytest.mark.parametrize(("shape", "axis"), [((90,), 0), ((70, 81), 0), ((70, 81), 1)])
def test_a_filter_is_a_correlation(shape, axis, length):
    rng = np.random.default_rng(length)
    values, weight = rng.normal(size=shape), rng.normal(size=length)
    found = filter_along(values, weight, axis)
    assert found.shape[axis] == shape[axis] - length + 1
    expected = np.apply_along_axis(lambda line: np.correlate(line, weight, "valid"), axis, values)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(70, 300), (300, 70), (5, 40, 270), (31, 30)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_order_in_memory_and_odd_sides_change_nothing(shape, order):
    rng = np.random.default_rng(3)
    values, weight = rng.normal(size=shape).astype(np.float32), rng.normal(size=24)
    for axis in range(len(shape) - 2, len(shape)):
        found = filter_along(np.asarray(values, order=order), weight, axis)
        expected = np.apply_along_axis(np.correlate, axis, values, weight, "valid")
        np.testing.assert_allclose(found, expected, atol=3e-5)


def test_one_product_is_too_small_for_threads():
    """OpenBLAS begins threads above 4 * 65536 multiplications, whoever else has the cores."""
    longest = 2 * max(REACH.values())
    assert PANEL * (PANEL + longest - 1) * LINES <= 4 * 65536


@pytest.mark.parametrize("axis", range(3))
def test_volumes_are_filtered_along_each_axis_in_their_own_precision(axis):
    values = np.random.default_rng(0).normal(size=(40, 41, 42)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=9)
    found = filter_along(values, weight, axis)
    expected = np.apply_along_axis(lambda line: np.correlate(line, weight, "valid"), axis, values)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(7,), (30, 50), (3, 40, 20), (1, 900)])
def test_blocks_cover_a_box_once(shape, monkeypatch):
    monkeypatch.setattr("steadystack.warp.separable.BLOCK_PIXELS", 100)
    times, sizes = np.zeros(shape, int), []
    for block in cut_into_blocks([slice(0, size) for size in shape]):
        times[block] += 1
        sizes.append(times[block].size)
    assert (times == 1).all()
    assert max(sizes) <= 100
