"""Frames without the lines of their camera."""

from __future__ import annotations

import pickle

import numpy as np
import xarray as xr

from steadystack.defects import LevelledFrames, LinelessFrames, take_lines_away
from steadystack.readers import ArrayFrames


def make(frames, dims, mask=None, **lines):
    return LevelledFrames(ArrayFrames.checked(xr.DataArray(frames, dims=dims), mask), **lines)


def test_rows_and_columns_are_subtracted_in_any_region():
    frames = np.random.default_rng(0).integers(0, 4000, (3, 6, 8)).astype("u2")
    rows, columns = tuple(range(6)), tuple(0.5 * n for n in range(8))
    source = make(frames, ("t", "y", "x"), rows=rows, columns=columns)
    whole = frames[1] + np.add.outer(5 - np.array(rows), 3.5 - np.array(columns))
    read = source.read(1)
    np.testing.assert_allclose(read.image, whole)
    assert read.image.dtype == np.float32
    region = (slice(2, 5), slice(3, 8))
    np.testing.assert_allclose(source.read(1, region).image, whole[region])
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.read(2).image, source.read(2).image)
    np.testing.assert_array_equal(frames[1], source.frames.read(1).image)  # as it was


def test_all_planes_of_a_volume_have_the_same_lines():
    frames = np.random.default_rng(1).normal(size=(2, 3, 5, 4))
    source = make(frames, ("t", "z", "y", "x"), columns=(0.0, 1.0, 2.0, 3.0))
    np.testing.assert_allclose(source.read(0).image, frames[0] + [3, 2, 1, 0])


def test_frames_without_any_lines_are_those_of_the_part_that_is_read():
    frames = np.random.default_rng(2).normal(size=(2, 3, 8, 9))
    mask = np.random.default_rng(3).random((3, 8, 9)) < 0.8
    source = LinelessFrames(make(frames, ("t", "z", "y", "x"), mask).frames)
    region = (slice(0, 3), slice(2, 7), slice(1, 9))
    read = source.read(1, region)
    np.testing.assert_array_equal(read.valid, mask[region])
    direct = take_lines_away(frames[1][region], read.valid)
    direct[read.valid] += frames[1][region][read.valid].mean()
    np.testing.assert_allclose(read.image, direct, atol=1e-6)
    assert (source.frame_count, source.frame_shape, source.axes) == (2, (3, 8, 9), ("z", "y", "x"))
    assert source.in_memory


def test_a_frame_of_one_value_stays_as_it_is():
    frames = np.full((2, 4, 4), 7, "u2")
    frames[1, 0, 0] = 9
    mask = np.ones((4, 4), bool)
    mask[0, 0] = False
    source = make(frames, ("t", "y", "x"), mask, columns=(1.0, 2.0, 3.0, 4.0))
    for frame in range(2):
        np.testing.assert_array_equal(source.read(frame).image, frames[frame])


def test_what_is_subtracted_has_a_digest_of_its_own():
    frames = np.zeros((2, 2, 2))
    digests = {
        make(frames, ("t", "y", "x"), rows=rows, columns=columns).digest
        for rows, columns in [((), ()), ((0.0, 1.0), ()), ((), (0.0, 1.0)), ((), (0.0, 1.5))]
    }
    assert len(digests) == 4
