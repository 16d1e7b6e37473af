"""Some of many, over all of them."""

from __future__ import annotations

import numpy as np

from steadystack.pairs import spread_by_separation, spread_evenly


def test_first_and_last_are_among_those_that_are_spread():
    assert spread_evenly(np.arange(100), 5).tolist() == [0, 25, 50, 74, 99]
    assert spread_evenly(np.arange(3), 9).tolist() == [0, 1, 2]
    assert spread_evenly(np.arange(0), 4).tolist() == []


def test_half_are_closer_than_the_median_and_half_further():
    apart = np.array([1] * 60 + [2, 4, 8, 16] * 10)
    chosen = spread_by_separation(apart, 16)
    assert len(chosen) == 16
    assert np.count_nonzero(apart[chosen] == 1) == 8
    assert len(spread_by_separation(np.ones(40, int), 16)) == 16
