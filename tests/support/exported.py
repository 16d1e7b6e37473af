"""Shifts datasets to export, and where their motion lays points, straight from its definition."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from support.turning import turn, turn_volume

COUNT, UNKNOWN, APART = 5, 2, 4  # frames; without a shift, and of another component


def make_shifts(
    axes="yx", *, linear=True, shape=(9, 40, 60), numbers=range(COUNT), size=None, settings=None
) -> xr.Dataset:
    """A dataset of frames that wander and, if they are `linear`, turn and are magnified."""
    rng = np.random.default_rng(7)
    shift = rng.normal(0, 4, (COUNT, len(axes)))
    shift[0], shift[UNKNOWN] = 0, np.nan
    if axes == "zyx":
        motion = np.stack([turn_volume((3.0 * t, -t, 2.0 * t), 1.01**t) for t in range(COUNT)])
    else:
        motion = np.stack([turn(3.0 * t, 1.01**t, 0.02 * t) for t in range(COUNT)])
    motion[UNKNOWN] = np.nan
    component = np.zeros(COUNT, int)
    component[UNKNOWN], component[APART] = -1, 1
    unit = {"units": "micrometer"} if size is not None else {}
    values = {
        "frame_shift": (("frame", "axis"), shift),
        "component": ("frame", component),
    }
    if linear:
        values["frame_linear"] = (("frame", "axis", "axis_in"), motion)
    return xr.Dataset(
        values,
        coords={
            "frame": list(numbers),
            "axis": list(axes),
            "pixel_size": ("axis", [np.nan] * len(axes) if size is None else list(size), unit),
        },
        attrs={
            "motion": json.dumps({"centre": [(side - 1) / 2 for side in shape[-len(axes) :]]}),
            "configuration": json.dumps({"input": {"path": "nowhere.zarr"} | (settings or {})}),
        },
    )


def lay_point(shifts: xr.Dataset, frame: int, point, first=0.0) -> np.ndarray:
    """Where the motion of a frame lays a point of the whole stack, pixels.

    By `frame_linear`, `frame_shift` and the centre; `first` is the first pixel of the frame.
    """
    shift = shifts["frame_shift"].to_numpy()[frame]
    if "frame_linear" not in shifts:
        return point + shift
    centre = np.array(json.loads(shifts.attrs["motion"])["centre"]) + first
    return centre + shifts["frame_linear"].to_numpy()[frame] @ (point - centre) + shift


def add_offsets(shifts: xr.Dataset, offsets) -> xr.Dataset:
    """The dataset with offsets (channels, axes), pixels, of channels 1, 0, ... of the stack."""
    channels = [1, 0, *range(2, len(offsets))]
    section = json.loads(shifts.attrs["configuration"])["input"] | {"channel": channels}
    dims = ("channel", "axis")
    found = shifts.assign(channel_offset=(dims, np.array(offsets, float)))
    found = found.assign_coords(channel=[str(channel) for channel in channels])
    return found.assign_attrs(configuration=json.dumps({"input": section}))
