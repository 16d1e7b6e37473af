"""Turns, scales and matrices of linear motions, beside points moved by hand."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.warp import (
    compute_rotation,
    compute_scale,
    find_middle,
    find_moved_corners,
    make_affine,
)
from support.turning import turn


def test_x_turned_towards_y_is_positive():
    quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])  # over y and x
    assert (quarter @ [0, 1]).tolist() == [1, 0]  # x has become y
    assert compute_rotation(quarter) == pytest.approx(90)
    assert compute_rotation(turn(-33.0, 1.2, 0.0)) == pytest.approx(-33)


def test_scale_is_the_root_of_the_area():
    assert compute_scale(turn(12.0, 1.3)) == pytest.approx(1.3)
    assert compute_scale(np.diag([2.0, 8.0])) == pytest.approx(4)
    assert np.isnan(compute_scale(np.full((2, 2), np.nan)))


def test_the_middle_moves_by_the_shift_and_points_turn_about_it():
    middle = find_middle((5, 9))
    assert middle.tolist() == [2, 4]
    affine = make_affine(turn(90.0), (10.0, 20.0), middle)
    np.testing.assert_allclose(affine @ [2, 4, 1], [12, 24, 1], atol=1e-12)
    # three pixels along x from the middle come to lie three pixels along y
    np.testing.assert_allclose(affine @ [2, 7, 1], [15, 24, 1], atol=1e-12)
    corners = find_moved_corners((5, 9), affine)
    assert corners.min(axis=0) == pytest.approx([8, 22])
    assert corners.max(axis=0) == pytest.approx([16, 26])
