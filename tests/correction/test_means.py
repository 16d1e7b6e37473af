"""Pictures before and after."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import steadystack
from steadystack.correction import make_before_and_after
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
