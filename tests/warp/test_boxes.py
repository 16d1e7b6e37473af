"""Parts of a frame and of a canvas, and the data types of what is moved."""

from __future__ import annotations

import numpy as np

from steadystack.warp import (
    Box,
    convert_dtype,
    find_common_box,
    find_source_part,
    find_whole_box,
    join_parts,
)


def test_frames_that_miss_the_box_are_not_needed():
    assert find_source_part(Box((50, 0), (10, 10)), np.array([0.0, 0.0]), (40, 40), 1) is None
    assert find_source_part(Box((0, 0), (10, 10)), np.array([30.0, 0.0]), (40, 40), 12) is None


def test_parts_are_joined_and_whole_along_axes_of_one_chunk():
    parts = [(slice(3, 10), slice(0, 6)), (slice(5, 12), slice(8, 9))]
    assert join_parts(parts, (40, 30), (16, 16)) == (slice(3, 12), slice(0, 9))
    assert join_parts(parts, (40, 18), (16, 18)) == (slice(3, 12), slice(0, 18))
    assert join_parts(parts, (40, 30), (16, 30)) == (slice(3, 12), slice(0, 9))  # much more


def test_boxes_of_all_and_of_any_frame():
    shifts = np.array([[0, 0], [2.4, -3.6], [-1.5, 1.0]])
    assert find_common_box(shifts, (20, 30)) == Box((2, 1), (17, 25))
    assert find_whole_box(shifts, (20, 30)) == Box((-1, -4), (23, 35))
    assert find_common_box(np.array([[0.0], [25.0]]), (20,)) is None


def test_integers_are_rounded_and_clipped():
    assert convert_dtype(np.array([-3.2, 1.6, 300.0]), np.dtype("u1")).tolist() == [0, 2, 255]
    assert convert_dtype(np.array([1.5]), np.dtype("f4")).dtype == np.float32


def test_corners_of_the_types():
    assert convert_dtype(np.array([0.4, 0.5]), np.dtype(bool)).tolist() == [False, True]
    big = convert_dtype(np.array([1e19, -1e19]), np.dtype("i8"))
    assert big[0] > 9e18
    assert big[1] == np.iinfo("i8").min
