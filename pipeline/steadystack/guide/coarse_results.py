"""Convert the results of coarse frames to pixels and settings of the stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
import yaml

from steadystack.checks import CHECKED, read_check
from steadystack.config import AUTO, Config
from steadystack.dataset import add_digests
from steadystack.guide.coarse_frames import Grain
from steadystack.model import Trial
from steadystack.planning import Series
from steadystack.quality import verdict

# Error that averaging adds to a shift, px of coarse frames, as detail finer than a box is aliased:
# 0.005 to 0.02 were observed, for boxes of 5 to 8 px and details of 1 to 16 px.
AVERAGING = 0.02

# Fields of the results of checks that are pixels, by attribute of the dataset: without a direction,
# along the first axis of volumes, and sigmas of filters, or settings with them.
LENGTHS = {
    "fixed_pattern_effect": ("with_it", "without_it", "error", "noise", "stale"),
    "local_motion": ("size", "still_pull", "scene"),
    "mask_check": ("taken_moves",),
    "probe_check": ("off", "part_pull", "detail_pull", "coarse_pull", "coarse_moves"),
    "majority_check": ("off_all", "off_majority"),
    "unmodelled_motion": ("strengths", "least"),
    "channel_turning": ("sizes",),
}
LENGTHS_ALONG_Z = {"probe_check": ("plane_pull", "plane_moves")}
FILTERS = {"probe_check": ("coarse_low_pass",), "other_conditioning": ("settings",)}


def enlarge(shifts: xr.Dataset, config: Config, series: Series, grain: Grain) -> xr.Dataset:
    """Convert the dataset of coarse frames to pixels and settings of the stack; judge it anew.

    Values without a direction are scaled as along the axis with the longest boxes, and sigmas of
    filters as along the last. `config` and `series` are those of the run over the stack.
    """
    longest = max(grain.steps)
    steps = xr.DataArray(np.array(grain.steps, float), dims="axis")
    scaled = {}
    for name, column in shifts.data_vars.items():
        unit, dims = column.attrs.get("units"), column.dims
        if name == "part_centre":
            values = ((column + 0.5) * steps - 0.5).transpose(*dims)
        elif name == "pixel_size":
            values = column / steps
        elif name == "frame_shift_std":
            averaging = AVERAGING * (steps > 1)
            more = averaging.where(column > 0, 0)  # the anchor has none
            values = (((column**2 + more**2) ** 0.5) * steps).transpose(*dims)
        elif unit == "pixel" and "axis" in dims:
            values = (column * steps).transpose(*dims)
        elif unit == "pixel-2":
            values = column / longest**2
        else:
            continue
        scaled[name] = (dims, values.to_numpy().astype(column.dtype), column.attrs)
    attributes = {
        "configuration": json.dumps(_enlarge_settings(shifts, config, grain)),
        "frame_shape": json.dumps(series.source.frame_shape),
    }
    attributes |= enlarge_checks(shifts.attrs, grain)
    whole = add_digests(shifts.assign(scaled).assign_attrs(attributes))
    return add_digests(whole.assign_attrs(verdict(whole).attributes()))


def enlarge_checks(attributes: Mapping[Any, Any], grain: Grain) -> dict[str, str]:
    """Convert the results of checks in a dataset's attributes; those that are there, as JSON."""
    steps = (
        (LENGTHS, max(grain.steps)),
        (LENGTHS_ALONG_Z, grain.steps[0]),
        (FILTERS, grain.steps[-1]),
    )
    found = {name: check for name in CHECKED if (check := read_check(attributes, name))}
    for names, step in steps:
        for name in names.keys() & found.keys():
            found[name] |= {field: _multiply(found[name][field], step) for field in names[name]}
    return {name: json.dumps(check) for name, check in found.items()}


def _multiply(value: Any, factor: int) -> Any:
    """Multiply a number, or all in a list, a mapping, or settings such as ``low_pass: 1``."""
    if isinstance(value, str):
        return Trial(**_multiply(yaml.safe_load(f"{{{value}}}"), factor)).settings
    if isinstance(value, dict):
        return {name: _multiply(one, factor) for name, one in value.items()}
    if isinstance(value, list):
        return [_multiply(one, factor) for one in value]
    return None if value is None else value * factor


def _enlarge_settings(shifts: xr.Dataset, config: Config, grain: Grain) -> dict[str, Any]:
    """The settings of the run, with a pilot's decisions as made on coarse frames.

    The anchor is an index into the frames used, like all indices of their dataset.
    """
    settings, coarse = config.dump(), json.loads(shifts.attrs["configuration"])
    settings["solve"]["anchor"] = grain.find(config.solve.anchor)
    for name, value in settings["preprocess"].items():
        if value == AUTO:
            sigma = coarse["preprocess"][name]
            settings["preprocess"][name] = None if sigma is None else sigma * grain.steps[-1]
    if settings["register"]["max_shift"] == AUTO:
        bounds = coarse["register"]["max_shift"]
        if bounds is not None:
            bounds = [bound * step for bound, step in zip(bounds, grain.steps, strict=True)]
        settings["register"] |= {"max_shift": bounds, "widen": coarse["register"]["widen"]}
    return settings
