"""Turns, scales and matrices of linear motions, beside points moved by hand."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.warp import (
    compute_rotation,
    compute_rotation_vector,
    compute_scale,
    find_middle,
    find_moved_corners,
    make_affine,
)
from support.turning import turn, turn_volume


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


def test_a_volume_turns_by_a_vector_whatever_the_size_of_its_voxels():
    vectors = np.array([[10.0, 0, 0], [0, -20.0, 0], [0, 0, 30.0], [12.0, -7.0, 40.0]])
    for voxel in (None, (4.0, 1.0, 0.5)):
        turns = [turn_volume(each, 1.3, voxel or (1, 1, 1)) for each in vectors]
        np.testing.assert_allclose(compute_rotation_vector(turns, voxel), vectors, atol=1e-9)
        np.testing.assert_allclose(compute_scale(turns), 1.3)
    unknown = np.stack([np.full((3, 3), np.nan), np.eye(3)])
    np.testing.assert_array_equal(
        np.isnan(compute_rotation_vector(unknown)), [[True] * 3, [False] * 3]
    )
    np.testing.assert_array_equal(np.isnan(compute_scale(unknown)), [True, False])


def test_a_shear_of_a_volume_is_no_turn():
    sheared = np.eye(3) + 0.05 * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(compute_rotation_vector(sheared), 0, atol=1e-9)


def test_a_frame_with_pixels_that_are_no_squares_turns_as_lengths_do():
    lengths = np.diag([2.0, 1.0])
    linear = np.linalg.inv(lengths) @ turn(5.0) @ lengths
    assert compute_rotation(linear, (2.0, 1.0)) == pytest.approx(5)
    assert compute_rotation(turn(5.0)) == pytest.approx(5)
