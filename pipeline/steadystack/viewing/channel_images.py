"""The images shown for each channel of a run, as recorded and corrected, lazily."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from steadystack.config import Config
from steadystack.correction import correct
from steadystack.model import Bools, FrameSource, FrameStatus
from steadystack.planning import Setup
from steadystack.plot import find_grey_range
from steadystack.readers import StackSpec, may_lack_chunks
from steadystack.stages import open_stack
from steadystack.validity import Validity

# Colours of channels in order, if there are several.
COLOURS = ("green", "magenta", "cyan", "yellow", "red", "blue")


def open_channel(config: Config, number: int, **other: Any) -> xr.DataArray:
    """Open the stack of the settings in the channel of that number of the list, lazily.

    With the name that the dataset has for it as the coordinate ``c``; `other`: keys of the input.
    """
    section = config.input
    keys = section.model_dump() | {"channel": section.list_channels()[number]}
    stack = open_stack(keys.pop("path"), **keys | other)
    label = section.channel_labels[number]
    return stack.assign_coords(c=label) if label else stack


def get_channel(source: FrameSource, number: int) -> FrameSource:
    """The frames of a channel, by its number in the list; if there is one channel, its frames."""
    return source.channels[number] if source.channels else source


def name_layers(name: str, config: Config) -> list[str]:
    """Name a layer for each channel of the list: the first one as if it were the only one."""
    return [name, *(f"{name}, {label}" for label in config.input.channel_labels[1:])]


def choose_colours(number: int, count: int) -> dict[str, str]:
    """Choose how one of `count` channels is drawn, as napari options; {} for an only one."""
    if count == 1:
        return {}
    blending = {} if number == 0 else {"blending": "additive"}  # the first hides layers below
    return {"colormap": COLOURS[number % len(COLOURS)]} | blending


def make_steady(
    config: Config,
    setup: Setup,
    spec: StackSpec,
    shifts: xr.Dataset,
    number: int,
    notes: list[str],
) -> tuple[da.Array, list[float]]:
    """Make the steady stack as in the section `correct`, lazily, and find its first pixel.

    Parameters
    ----------
    number : of the channel in the list; it is moved by its offset, too
    notes : warnings are appended, each once
    """
    section, source = config.correct, get_channel(setup.series.source_before_pilot, number)
    mask = None
    if has_causes(setup, spec):
        mask = xr.DataArray(make_validity(source), dims=("t", *spec.spatial))
    stack = open_channel(config, number).drop_vars(["t", *spec.spatial], errors="ignore")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        steady = correct(
            stack,
            shifts,
            mask=mask,
            interpolation="nearest" if section.labels else section.interpolation,
            fill_value=section.fill_value,
            border=section.border,
            invalid=section.invalid,
            interpolated=section.interpolated,
            unusable=section.unusable,
        )
    messages = dict.fromkeys(str(warning.message) for warning in told)
    notes += [message for message in messages if message not in notes]
    first_pixel = [
        float(steady[axis][0]) if axis in steady.coords else 0.0 for axis in spec.spatial
    ]
    return steady.data, first_pixel


def has_causes(setup: Setup, spec: StackSpec) -> bool:
    """Whether pixels may be excluded, as far as known before any is read."""
    validity = setup.series.validity
    given = any(validity.border) or replace(validity, border=()) != Validity()
    by_pilot = setup.pilot is not None and bool(setup.pilot.describe_left_out())
    return given or by_pilot or np.dtype(spec.dtype).kind == "f" or may_lack_chunks(spec)


def make_validity(source: FrameSource) -> da.Array:
    """Which pixels of every frame are valid, (t, axes of a frame) bool, lazy: a frame at a time."""
    shape = (source.frame_count, *source.frame_shape)
    valid: da.Array = da.map_blocks(
        _read_validity,
        source,
        chunks=da.core.normalize_chunks((1, *source.frame_shape), shape),
        dtype=bool,
        meta=np.empty((0,) * len(shape), bool),
    )
    return valid


def _read_validity(source: FrameSource, block_id: tuple[int, ...] = ()) -> Bools:
    return source.read(block_id[0]).valid[None]


def find_limits(source: FrameSource) -> tuple[float, float]:
    """Find the values of black and white, from the middle frame."""
    frame = source.read(source.frame_count // 2)
    if frame.status is FrameStatus.UNREADABLE or not frame.valid.any():
        return 0.0, 1.0
    low, high = find_grey_range(frame.image[frame.valid].astype(np.float64))
    return (low, high) if high > low else (low, low + 1.0)
