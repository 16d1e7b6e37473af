"""A stack that xarray has packed: its values, from file to corrected stack, are those of xarray."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from steadystack import stages
from support.settings import config_of

DRIFT = np.array([[0, 0], [2, -3], [4, -5], [5, -7]])


def packed_clouds(path, zarr_format):
    """A scene of `DRIFT` behind clouds that hold no data, packed into integers."""
    random = np.random.default_rng(5)
    scene = 281 + 5 * ndimage.gaussian_filter(random.normal(size=(120, 130)), 2) / 0.14
    values = np.stack([scene[20 + y : 100 + y, 20 + x : 110 + x] for y, x in DRIFT])
    for frame in values:
        for y, x in random.integers(0, 70, (6, 2)):
            frame[y : y + 11, x : x + 13] = np.nan
    coding = {"dtype": "u2", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": 0}
    dataset = xr.Dataset(
        {"bt": (("t", "y", "x"), values)}, {"y": ("y", 0.5 * np.arange(80), {"units": "km"})}
    )
    dataset.to_zarr(path, zarr_format=zarr_format, consolidated=False, encoding={"bt": coding})
    with xr.open_zarr(path, consolidated=False) as opened:
        return opened["bt"].to_numpy()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_packed_values_are_measured_and_corrected(tmp_path, zarr_format):
    values = packed_clouds(tmp_path / "stack.zarr", zarr_format)
    config = config_of(
        tmp_path,
        register={"max_shift": 12},
        pairs={"strategy": "all"},
        output={"corrected": str(tmp_path / "steady.zarr")},
        correct={"interpolation": "nearest", "border": "same"},
    )
    shifts = stages.run(config)
    np.testing.assert_allclose(shifts["frame_shift"], DRIFT, atol=0.1)
    with xr.open_zarr(tmp_path / "steady.zarr", consolidated=False) as steady:
        corrected = steady["0"].to_numpy()
    for frame, (y, x) in enumerate(DRIFT):
        # Edges are left out: there the correction continues what is known.
        moved, inner = corrected[frame, y + 1 : -1, 1 : x - 1 or None], values[frame]
        inner = inner[1 : -1 - y, 1 - x : -1] if x else inner[1:-1, 1:-1]
        moved = moved[:, : inner.shape[1]]
        np.testing.assert_array_equal(moved, inner)
