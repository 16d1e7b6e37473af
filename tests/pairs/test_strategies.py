"""Which pairs, and how they are cut into batches."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.model import InputError
from steadystack.pairs import STRATEGIES, select_pairs

EXPECTED = {
    "auto": ({"width": 2}, [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]),
    "consecutive": ({}, [(0, 1), (1, 2), (2, 3)]),
    "reference": ({"reference": 2}, [(2, 0), (2, 1), (2, 3)]),
    "window": ({"width": 2}, [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]),
    "separations": ({"separations": [3, 1, 3, 8]}, [(0, 1), (0, 3), (1, 2), (2, 3)]),
    "multiscale": ({"width": 2}, [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]),
    "list": ({"listed": [[2, 0], [1, 3], [0, 1]]}, [(0, 1), (1, 3), (2, 0)]),
    "all": ({}, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pairs_of_four_frames(strategy):
    options, expected = EXPECTED[strategy]
    assert [tuple(pair) for pair in select_pairs(4, strategy, **options).tolist()] == expected


@pytest.mark.parametrize(("count", "strategy"), [(399, "window"), (400, "multiscale")])
def test_long_series_are_measured_at_several_scales(count, strategy):
    chosen = select_pairs(count, width=4)
    np.testing.assert_array_equal(chosen, select_pairs(count, strategy, width=4))


@pytest.mark.parametrize(
    ("count", "strategy", "options", "words"),
    [
        (1, "all", {}, "a stack of 1 frame"),
        (4, "reference", {"reference": 4}, "0 to 3"),
        (4, "separations", {"separations": [4, 9]}, "exceed the stack"),
        (4, "separations", {"separations": [0, 1]}, "at least 1 apart"),
        (4, "nearest", {}, "not one of auto, consecutive"),
        (4, "multiscale", {"width": 0}, "at least 1 apart"),
        (4, "list", {}, "no pair is listed"),
        (4, "list", {"listed": [[0, 1], [2, 4]]}, r"pair 1, \[2, 4\], .* 0 to 3"),
        (4, "list", {"listed": [[-1, 1]]}, r"pair 0, \[-1, 1\], .* 0 to 3"),
        (4, "list", {"listed": [[0, 1], [2, 2]]}, r"pair 1, \[2, 2\], is a frame with itself"),
        (4, "list", {"listed": [[0, 1], [1, 2], [1, 0]]}, "pairs 0 and 2 have the same two"),
        (4, "list", {"listed": [[0, 1, 2]]}, "two whole numbers"),
        (4, "list", {"listed": [[0.5, 1]]}, "two whole numbers"),
    ],
)
def test_impossible_pairs_are_refused(count, strategy, options, words):
    with pytest.raises(InputError, match=words):
        select_pairs(count, strategy, **options)


@pytest.mark.parametrize("reach", [None, 1, 7, 40])
@pytest.mark.parametrize("width", [1, 2, 3, 6])
@pytest.mark.parametrize("count", [2, 3, 17, 100])
def test_strides_are_windows_over_every_second_fourth_frame(count, width, reach):
    expected = set()
    for power in range(10):
        frames = range(0, count, 2**power)
        for one in frames:
            for two in frames:
                near = 0 < two - one <= min(width * 2**power, reach or count)
                if near and 2**power <= (reach or count):
                    expected.add((one, two))
    found = select_pairs(count, "multiscale", width=width, max_separation=reach)
    assert [tuple(pair) for pair in found.tolist()] == sorted(expected)
    assert len(found) <= 2 * width * count


def test_strides_bound_the_error_at_any_distance():
    """Pairs of deviation 1: that between frames any distance apart grows with its logarithm."""
    deviations = []
    for count in (100, 400, 1600):
        pairs = select_pairs(count, "multiscale", width=3)
        laplacian = np.zeros((count, count))
        np.add.at(laplacian, (pairs[:, 0], pairs[:, 1]), -1)
        laplacian += laplacian.T
        np.fill_diagonal(laplacian, -laplacian.sum(axis=0))
        deviations.append(np.sqrt(np.linalg.inv(laplacian[1:, 1:]).diagonal()).max())
    assert deviations[-1] < 1.5
    steps = np.diff(deviations)
    assert steps[1] < 1.5 * steps[0]  # frames: four times as many, each time


@pytest.mark.parametrize("strategy", ["window", "multiscale"])
def test_a_width_beyond_all_frames_selects_all_pairs_at_once(strategy):
    found = select_pairs(9, strategy, width=2**62)
    np.testing.assert_array_equal(found, select_pairs(9, "all"))
