"""Windows that follow an object, against the frames that they are cut from."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from steadystack.model import FrameStatus, PairTable, find_box
from steadystack.object_windows import (
    ObjectWindows,
    find_steps,
    list_places,
    measure_in_windows,
    pack_mask,
    read_window,
    unpack_mask,
)
from steadystack.readers import ArrayFrames

RNG = np.random.default_rng(0)
STACK = RNG.normal(size=(4, 20, 30))
DRAWN = np.zeros((20, 30), bool)
DRAWN[5:9, 10:17] = RNG.random((4, 7)) > 0.3
DRAWN[[5, 8], [10, 16]] = True
FRAMES = ArrayFrames.checked(xr.DataArray(STACK, dims=("t", "y", "x")))


def windows(places):
    return ObjectWindows(FRAMES, (4, 7), places, pack_mask(DRAWN[find_box(DRAWN)]))


def test_a_mask_is_packed_and_unpacked():
    box = find_box(DRAWN)
    assert box == (slice(5, 9), slice(10, 17))
    np.testing.assert_array_equal(unpack_mask(pack_mask(DRAWN[box]), (4, 7)), DRAWN[box])


@pytest.mark.parametrize("first", [(3, 4), (-2, 5), (18, 27), (-3, -3), (-9, 2), (2, 40)])
def test_a_window_beyond_the_frame_is_not_valid_there(first):
    padded = np.full((60, 90), np.nan)
    padded[20:40, 30:60] = STACK[1]
    expected = padded[20 + first[0] : 26 + first[0], 30 + first[1] : 35 + first[1]]
    read = read_window(FRAMES, 1, first, (6, 5))
    np.testing.assert_array_equal(read.valid, np.isfinite(expected))
    np.testing.assert_array_equal(read.image[read.valid], expected[read.valid])


def test_only_the_object_is_valid_and_nothing_of_a_frame_without_it():
    source = windows(((5, 10), (7, 12), None, (18, 20)))
    assert source.frame_shape == (4, 7)
    read = source.read(1)
    np.testing.assert_array_equal(read.valid, DRAWN[5:9, 10:17])
    np.testing.assert_array_equal(read.image, STACK[1, 7:11, 12:19])
    part = source.read(1, (slice(1, 3), slice(2, 7)))
    np.testing.assert_array_equal(part.image, read.image[1:3, 2:7])
    np.testing.assert_array_equal(part.valid, read.valid[1:3, 2:7])
    assert not source.read(2).valid.any()
    assert source.read(2).status is FrameStatus.OK
    half = DRAWN[5:9, 10:17] & (np.arange(4) < 2)[:, None]
    np.testing.assert_array_equal(source.read(3).valid, half)
    np.testing.assert_allclose(source.find_middle(0), np.argwhere(DRAWN).mean(axis=0))
    assert np.isnan(source.find_middle(2)).all()
    assert source.digest != windows(((5, 10), (7, 12), None, (18, 21))).digest


def test_shifts_of_frames_are_those_of_windows_and_how_far_they_lie_apart():
    places = list_places((None, (5, 10), None, (8, 9)))
    np.testing.assert_array_equal(places, [(5, 10), (5, 10), (5, 10), (8, 9)])
    # what lies at the same pixel of both windows lies 3 px further down in frame 3
    np.testing.assert_array_equal(find_steps(places, np.array([1]), np.array([3])), [(-3, 1)])
    table = PairTable.unmeasured(np.array([(1, 3)]), 4, 2)
    table.shift[:] = (-2.75, 1.5)
    np.testing.assert_array_equal(measure_in_windows(table, places).shift, [(0.25, 0.5)])
    assert measure_in_windows(table, None) is table
