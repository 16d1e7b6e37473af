"""Borders and extremes that hold no data."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.quality import find_constant_border, find_frequent_extremes


@pytest.mark.parametrize("sides", [((3, 0), (0, 5)), ((2, 2), (2, 2)), ((0, 0), (0, 1))])
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_border_is_seen_with_its_width(sides, ndim):
    sides = ((0, 0),) * (ndim - 2) + sides
    inner = np.random.default_rng(0).integers(0, 200, [24] * ndim)
    image = np.pad(inner, sides, constant_values=222)
    found = find_constant_border(image, np.ones(image.shape, bool))
    assert found is not None
    assert (found.value, found.widths) == (222, tuple(max(pair) for pair in sides))


def test_what_is_no_border():
    image = np.random.default_rng(0).integers(0, 200, (24, 24))
    valid = np.ones(image.shape, bool)
    assert find_constant_border(image, valid) is None
    assert find_constant_border(np.full((24, 24), 7), valid) is None  # there is nothing else
    two = image.copy()
    two[0], two[-1] = 3, 4
    assert find_constant_border(two, valid) is None
    one = image.copy()
    one[:2] = 222
    seen = valid.copy()
    seen[0] = False  # a border that is masked already, or a part of it: nobody has to be asked
    assert find_constant_border(one, seen) is None


def test_extremes_that_are_frequent():
    values = np.array([0.0] * 10 + [5.0] * 89 + [9.0])
    assert find_frequent_extremes(values, 0.02) == [(0.0, 0.1)]
    assert find_frequent_extremes(np.zeros(5), 0.02) == []
    assert find_frequent_extremes(np.zeros(0), 0.02) == []
