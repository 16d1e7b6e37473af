"""Which positions count: those that are left once none contradicts another."""

from __future__ import annotations

import numpy as np

from steadystack.joining.position_votes import _leave_out, find_common_widening

# Positions along one axis, and which of them stay, of an error of 0.1 px; None: of 5 px.
CASES = {
    (0, 0.1, 0.2): (1, 1, 1),
    (0, 0.1, 3.0): (1, 1, 0),
    (0, 3.0): (0, 0),
    (0, 0, 3.0, 3.0): (0, 0, 0, 0),
    (0, 0, 0, 3.0, 3.0): (1, 1, 1, 0, 0),
    (0, 3.0, None): (0, 0, 1),
    (0, 0, 3.0, None): (1, 1, 0, 1),
}


def test_what_contradicts_most_goes_first():
    for places, expected in CASES.items():
        value = np.array([1.0 if one is None else one for one in places])
        variance = np.array([25.0 if one is None else 0.01 for one in places])
        both = (np.tile(one[:, None, None], (1, 2, 2)) for one in (value, variance))
        counted = np.ones((len(places), 2), bool)
        stays = _leave_out(*both, counted)
        assert stays[:, 0].tolist() == [bool(one) for one in expected], places
        assert (stays[:, 1] == stays[:, 0]).all()


def test_who_is_not_counted_contradicts_nobody():
    value, variance = np.array([0.0, 0.0, 5.0, np.nan]), np.full((4, 1, 1), 0.01)
    counted = np.array([True, True, False, False])[:, None]
    stays = _leave_out(value[:, None, None], variance, counted)
    assert stays.ravel().tolist() == [True, True, False, False]


def test_errors_are_widened_together_as_the_median_says():
    rng = np.random.default_rng(1)
    noise, variance = rng.normal(0, 1, (8, 100, 2)), np.ones((8, 100, 2))
    assert find_common_widening(noise, variance) == 1
    assert 2.5 < find_common_widening(noise, variance / 3) < 3.5
    assert find_common_widening(noise, variance / 100) == 4  # the most that is believed
    noise[:3] += rng.normal(0, 50, (3, 100, 2))  # of a minority, by no more than a little
    assert find_common_widening(noise, variance) < 2
    assert find_common_widening(np.full((2, 3, 2), np.nan), variance[:2, :3]) == 1
