"""The table of the frames, and the times of frames that are not evenly spaced."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from steadystack.exports import make_frame_rows
from support.corrected import frames_of, made, shifts_of
from support.scenes import Scene


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([0.5, np.nan, 2.0], [0.5, None, 2.0]),
        (
            np.array(["2020-01-01T00:00:10", "NaT", "2020-01-01T00:00:10.25"], "M8[ns]"),
            ["2020-01-01T00:00:10.000000", None, "2020-01-01T00:00:10.250000"],
        ),
    ],
)
def test_times_are_dates_or_numbers_or_unknown(times, told):
    shifts = shifts_of(np.zeros((3, 2))).assign_coords(frame=range(3), time=("frame", times))
    size = xr.DataArray([np.nan] * 2, dims="axis")
    rows = make_frame_rows(shifts.assign(frame_shift_std=shifts["frame_shift"], pixel_size=size))
    assert [row["time"] for row in rows] == told


def test_a_store_of_frames_without_a_time_is_plain_json(tmp_path):
    """JSON has no NaN: readers other than Python's cannot open such a store."""
    stack = xr.DataArray(
        frames_of(Scene(3, detail=2.5)),
        {"t": ("t", [0.0, 1, np.nan, 3, 4, 5], {"units": "s"})},
        ("t", "y", "x"),
        "stack",
    )
    stack.to_dataset().to_zarr(tmp_path / "stack.zarr", consolidated=False)
    made(tmp_path / "steady.zarr", tmp_path / "stack.zarr")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = (tmp_path / "steady.zarr" / "zarr.json").read_text()
    own = json.loads(text, parse_constant=refuse)["attributes"]["steadystack"]
    assert own["time"] == [[0, 1, None, 3, 4, 5], "s"]
