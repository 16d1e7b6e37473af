"""Parts of a frame and of a canvas, and the data types of what is moved."""

from __future__ import annotations

import numpy as np

from steadystack.warp import (
    Box,
    convert_dtype,
    find_common_box,
    find_source_part,
    find_whole_box,
    place_on_canvas,
)
from support.scenes import Scene


def test_frames_that_miss_the_box_are_not_needed():
    assert find_source_part(Box((50, 0), (10, 10)), np.array([0.0, 0.0]), (40, 40), 1) is None
    assert find_source_part(Box((0, 0), (10, 10)), np.array([30.0, 0.0]), (40, 40), 12) is None


def test_boxes_of_all_and_of_any_frame():
    shifts = np.array([[0, 0], [2.4, -3.6], [-1.5, 1.0]])
    assert find_common_box(shifts, (20, 30)) == Box((2, 1), (17, 25))
    assert find_whole_box(shifts, (20, 30)) == Box((-1, -4), (23, 35))
    assert find_common_box(np.array([[0.0], [25.0]]), (20,)) is None


def test_a_canvas_holds_the_scene_where_it_is():
    world, shift = Scene(1), np.array([2.3, -4.6])
    shape, first = (60, 70), (-5, -8)
    moved, known = place_on_canvas(
        world.view((50, 50), shift), np.ones((50, 50), bool), shift, first, shape
    )
    inner = known.copy()
    rows, columns = np.flatnonzero(known.any(1)), np.flatnonzero(known.any(0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == (8, 57, 4, 53)
    inner[:14], inner[51:], inner[:, :10], inner[:, 47:] = False, False, False, False
    np.testing.assert_allclose(moved[inner], world.view(shape, first)[inner], atol=0.02)
    assert (moved[~known] == 0).all()


def test_what_is_not_valid_is_not_on_the_canvas():
    image, valid = np.full((20, 20), 1.0), np.ones((20, 20), bool)
    image[8, 9], valid[8, 9] = np.nan, False
    image[3, 3], valid[3, 3] = 1e9, False
    moved, known = place_on_canvas(image, valid, np.array([0.4, 3.0]), (0, 0), (20, 20))
    np.testing.assert_allclose(moved[known], 1, atol=1e-9)
    assert not known[[8, 9, 3, 4], [12, 12, 6, 6]].any()
    assert not known[0].any()
    assert known[1:, 3:].sum() == 19 * 17 - 4


def test_integers_are_rounded_and_clipped():
    assert convert_dtype(np.array([-3.2, 1.6, 300.0]), np.dtype("u1")).tolist() == [0, 2, 255]
    assert convert_dtype(np.array([1.5]), np.dtype("f4")).dtype == np.float32


def test_corners_of_the_types():
    assert convert_dtype(np.array([0.4, 0.5]), np.dtype(bool)).tolist() == [False, True]
    big = convert_dtype(np.array([1e19, -1e19]), np.dtype("i8"))
    assert big[0] > 9e18
    assert big[1] == np.iinfo("i8").min
