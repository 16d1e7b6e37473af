"""Moved frames as lazy arrays."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr

import steadystack
from support.scenes import Scene


@pytest.fixture
def series():
    """Five views of one scene, two channels, and their shifts; frame 3 is unknown."""
    world = Scene(3, detail=3)
    truth = np.array([[0, 0], [2, -1], [-1.5, 0.5], [0, 0], [4, 3]], float)
    frames = np.stack([1000 + 100 * world.view((40, 44), origin) for origin in truth])
    stack = xr.DataArray(
        np.stack([frames, frames + 7], axis=1).astype("u2"), dims=("t", "c", "y", "x")
    )
    known = truth.copy()
    known[3] = np.nan
    shifts = xr.Dataset({"frame_shift": (("frame", "axis"), known)}, {"axis": ["y", "x"]})
    return stack, shifts, truth


@pytest.mark.parametrize("lazy", [False, True])
def test_correct_lays_every_frame_and_channel_on_the_anchor(series, lazy):
    stack, shifts, _ = series
    corrected = steadystack.correct(stack.chunk(y=11) if lazy else stack, shifts)
    assert corrected.dims == stack.dims
    assert corrected.dtype == np.uint16
    assert corrected.chunks is not None  # nothing is computed yet
    inside = corrected[:, :, 8:-8, 8:-8].astype(int)
    for frame in (1, 2, 4):
        assert np.abs(inside[frame] - inside[0]).mean() < 8  # of a contrast of 100
    assert (corrected[3] == 0).all()
    assert (corrected[4, :, :3] == 0).all()


def test_correct_keeps_nan_as_not_known(series):
    stack, shifts, _ = series
    floating = stack.isel(c=0).astype("f4")
    corrected = steadystack.correct(floating, shifts, interpolation="nearest")
    assert corrected.dtype == np.float32
    assert np.isnan(corrected[3]).all()
    assert np.isfinite(corrected[0]).all()


def test_correct_takes_plain_arrays_and_checks_the_fill_value(series):
    stack, shifts, _ = series
    plain = steadystack.correct(stack.isel(c=0).to_numpy(), shifts, fill_value=7)
    assert (plain[3] == 7).all()
    with pytest.raises(steadystack.InputError, match="fill_value -1 cannot be stored as uint16"):
        steadystack.correct(stack, shifts, fill_value=-1)
    with pytest.raises(steadystack.InputError, match="not one of nearest, linear"):
        steadystack.correct(stack, shifts, interpolation="quintic")


def test_correct_leaves_out_what_does_not_compare_or_is_not_valid(series):
    stack, shifts, _ = series
    parts = shifts.assign(component=("frame", [0, 0, 0, -1, 1]))
    valid = np.ones((5, 40, 44), bool)
    valid[1, 20:24, 20:24] = False
    floating = stack.isel(c=0).astype("f4").assign_coords(valid=(("t", "y", "x"), valid))
    corrected = steadystack.correct(floating.chunk(t=1), parts)
    assert "valid" not in corrected.coords
    assert np.isnan(corrected[4]).all()
    assert np.isnan(corrected[1]).to_numpy()[22:26, 19:23].all()
    assert np.isfinite(corrected[1]).to_numpy()[10:18, 10:30].all()


def test_correct_does_not_read_frames_without_a_shift(series):
    stack, shifts, _ = series

    def torn(block, block_info=None):
        if block_info[0]["array-location"][0][0] == 3:
            raise OSError("torn")
        return block

    one = stack.isel(c=0).chunk(t=1)
    lazy = one.copy(data=one.data.map_blocks(torn, dtype="u2", meta=np.empty((0, 0, 0), "u2")))
    corrected = steadystack.correct(lazy.assign_coords(t=10 * np.arange(5)), shifts).compute()
    assert (corrected[3] == 0).all()
    assert (corrected[2] != 0).any()
    assert corrected["t"].to_numpy().tolist() == [0, 10, 20, 30, 40]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda stack: stack.isel(t=slice(3)), "3 frames along t, but there are shifts for 5"),
        (lambda stack: stack.rename(t="time"), "no frames along t"),
        (lambda stack: stack.rename(y="row"), "the shifts are along"),
    ],
)
def test_a_stack_that_does_not_fit_is_refused(series, change, words):
    stack, shifts, _ = series
    with pytest.raises(steadystack.InputError, match=words):
        steadystack.correct(change(stack), shifts)


def test_a_whole_stack_is_not_moved_by_the_shifts_of_some_of_its_frames(series):
    stack, shifts, _ = series
    some = shifts.assign_coords(frame=range(5)).isel(frame=[1, 3])
    with pytest.raises(steadystack.InputError, match=r"there are shifts for 2, for some") as e:
        steadystack.correct(stack, some)
    way_out = re.search(r"use (stack\.isel\(.*\))", str(e.value))[1]
    chosen = eval(way_out, {"stack": stack, "shifts": some})
    np.testing.assert_array_equal(
        steadystack.correct(chosen, some), steadystack.correct(stack, shifts).isel(t=[1, 3])
    )


def test_correct_warns_of_shifts_that_were_changed(series):
    frames = np.asarray(series[0].isel(c=0)).astype(float)
    shifts = steadystack.estimate_shifts(frames, max_shift=8)
    steadystack.correct(frames, shifts.chunk(frame=2))  # stored otherwise: warnings are errors
    steadystack.correct(frames[:3], shifts.isel(frame=slice(3)))
    changed = shifts.assign(frame_shift=shifts["frame_shift"] + 9)
    with pytest.warns(UserWarning, match=r"frame_shift is not what steadystack wrote"):
        steadystack.correct(frames, changed)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_mask_of_numbers_says_yes_or_no_as_everywhere(series, lazy):
    stack, shifts, _ = series
    dims = {"y": 40, "x": 44}
    mask = xr.DataArray(np.full(tuple(dims.values()), 255.0), dims=tuple(dims))
    mask[0, 0], mask[0, 1] = np.nan, 0
    given = mask.chunk() if lazy else mask
    is_valid = (mask > 0).drop_vars(mask.coords)
    moved = steadystack.correct(stack, shifts, mask=given)
    assert moved.equals(steadystack.correct(stack, shifts, mask=is_valid))
    with pytest.raises(steadystack.InputError, match=r"between 0 and 1, such as 0\.5"):
        steadystack.correct(stack, shifts, mask=given / 510).compute()
