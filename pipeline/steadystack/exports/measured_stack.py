"""The stack that a shifts dataset is of, found again by its settings."""

from __future__ import annotations

import json

import xarray as xr

from steadystack.config import make_config
from steadystack.model import InputError, RunError
from steadystack.readers import StackSpec, locate_stack


def locate_measured_stack(shifts: xr.Dataset) -> StackSpec | None:
    """The stack that was measured; None if it is not there any more."""
    try:
        config = make_config(json.loads(shifts.attrs["configuration"]))
        spec = locate_stack(**config.input.model_dump())
    except (InputError, RunError, KeyError, ValueError):
        return None
    axes = tuple(str(axis) for axis in shifts["axis"].to_numpy())
    return spec if spec.spatial == axes else None


def list_measured_files(shifts: xr.Dataset, spec: StackSpec | None) -> tuple[str, ...] | None:
    """The file of each frame, where the stack is a series of files; None if they are others now."""
    if spec is None or shifts.attrs.get("input_digest", "").split("-")[0] != spec.digest:
        return None
    files = spec.array.list_frame_files(spec.path)
    return files if files is not None and len(files) == shifts.sizes["frame"] else None
