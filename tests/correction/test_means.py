"""Pictures before and after."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import steadystack
from steadystack.correction import make_before_and_after
from steadystack.model import FrameStatus, InputError
from steadystack.readers import ArrayFrames
from support.corrected import TRUTH, frames_of, shifts_of
from support.scenes import Scene


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of(Scene(3, detail=2.5))


def test_views_before_and_after(frames):
    shifts = TRUTH.copy()
    shifts[2] = np.nan
    before, after = make_before_and_after(
        ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x"))),
        shifts, interpolation="nearest", band=3,
    )  # fmt: skip
    used = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(before.mean, frames[used].mean(axis=0))
    np.testing.assert_array_equal(before.maximum, frames[used].max(axis=0))
    np.testing.assert_allclose(before.kymographs["x"], frames[:, 35:38].mean(axis=1))
    np.testing.assert_allclose(before.kymographs["y"], frames[:, :, 39:42].mean(axis=2))
    moved = steadystack.correct(
        frames.astype(float), shifts_of(shifts), interpolation="nearest"
    ).values
    np.testing.assert_allclose(after.mean, np.nanmean(moved[used], axis=0))
    np.testing.assert_allclose(after.maximum, np.nanmax(moved[used], axis=0))
    assert np.isnan(after.kymographs["x"][2]).all()
    spread = [
        np.nanstd(view.kymographs["x"][used][:, 10:-10], axis=0).mean() for view in (before, after)
    ]
    assert spread[1] < 0.5 * spread[0]


@pytest.mark.parametrize("border", ["same", "crop", "expand"])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_mean_is_that_of_the_corrected_frames_before_rounding(frames, border, lazy):
    stack = xr.DataArray(frames, dims=("t", "y", "x"), coords={"x": np.arange(80) * 0.5})
    stack = stack.chunk({"t": 4, "y": 40}) if lazy else stack
    shifts = shifts_of(frame_status=[1, 1, 1, FrameStatus.INTERPOLATED.code, 1, 1])
    mask = np.ones(frames.shape[1:], bool)
    mask[30:40, 20:30] = False
    found = steadystack.mean(stack, shifts, mask=mask, border=border)
    steady = steadystack.correct(stack.astype(np.float64), shifts, mask=mask, border=border)
    used = steady.isel(t=[0, 1, 2, 4, 5]).compute()
    np.testing.assert_array_equal(found["count"], used.notnull().sum("t"))
    xr.testing.assert_allclose(found["mean"], used.mean("t").astype("f4"), rtol=1e-6)
    xr.testing.assert_allclose(found["sum"], used.sum("t", min_count=1), rtol=1e-6)
    xr.testing.assert_allclose(found["maximum"], used.max("t").astype("f4"), rtol=1e-6)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of one frame
        expected = used.std("t", ddof=1)
    np.testing.assert_allclose(found["std"], expected, atol=0.02, rtol=1e-5)
    assert found.attrs["frames"] == 5
    assert found["x"].equals(steady["x"])


def test_every_frame_is_read_once_and_those_that_do_not_count_are_not(frames):
    read = []

    def load(block_id):
        read.append(block_id[0])
        assert block_id[0] != 2, "it does not count"
        return frames[block_id[0]][None]

    stack = da.map_blocks(load, chunks=((1,) * 6, (72,), (80,)), dtype="u2", meta=frames[:0])
    weights = np.array([1, 2, 0, 1, 1, 1])
    found = steadystack.mean(
        xr.DataArray(stack, dims=("t", "y", "x")), shifts_of(), weights=weights
    )
    assert read == [0, 1, 3, 4, 5]
    used = [0, 1, 1, 3, 4, 5]
    twice = steadystack.mean(frames[used], shifts_of(TRUTH[used]))
    np.testing.assert_allclose(found["mean"], twice["mean"], rtol=1e-6)
    np.testing.assert_allclose(found["sum"], twice["sum"], rtol=1e-6)


def test_a_mean_of_what_does_not_fit_is_refused(frames):
    with pytest.raises(InputError, match="the stack comes first"):
        steadystack.mean(shifts_of(), frames)
    with pytest.raises(InputError, match="the stack has 5 frames"):
        steadystack.mean(frames[:5], shifts_of())
    with pytest.raises(InputError, match=r"the shape \(4,\): one for each of 6 frames"):
        steadystack.mean(frames, shifts_of(), weights=[1, 2, 3, 4])
