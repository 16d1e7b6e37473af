"""Read what the user knows about every frame: shifts or positions, in any unit, and weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.config import Config
from steadystack.csv_files import (
    FramePositions,
    convert_positions,
    read_positions,
    read_weights,
)
from steadystack.model import InputError
from steadystack.units import PIXELS, find_micrometers, is_size

# Most frames that an error names.
NAMED = 8


def read_initial_shifts(
    config: Config,
    axes: Sequence[str],
    frames: range,
    frame_count: int,
    pixel_size: Sequence[float],
    unit: str,
) -> NDArray[np.float64] | None:
    """Read the shifts (frames, axes), in pixels, of `initial_shifts.path`; None if that is not set.

    `axes` are the spatial axes, `frames` those used of the stack's `frame_count`, `pixel_size` and
    `unit` the stack's.

    Raises
    ------
    InputError
        For a file that does not fit, frames without a value, and units that cannot be converted.
    """
    section = config.initial_shifts
    if section.path is None:
        return None
    positions = read_positions(section.path, axes, frame_count, section.columns, frames)
    scale = np.atleast_1d(np.array(section.scale, float))
    if len(scale) not in (1, len(axes)):
        raise InputError(
            f"initial_shifts.scale has {len(scale)} values for the axes {', '.join(axes)}"
        )
    shift = positions.values * scale * (-1 if section.kind == "drift" else 1)
    shift = shift / _find_units_per_pixel(section.unit, positions, pixel_size, unit)
    if section.missing == "interpolate":
        shift = _interpolate(shift)
    return _check_complete(shift, section.path, "set initial_shifts.missing to interpolate")


def convert_initial_shifts(
    initial_shifts: Any,
    axes: Sequence[str],
    frame_count: int,
    pixel_size: Sequence[float],
    unit: str,
) -> NDArray[np.float64] | None:
    """Convert an array, a DataArray or a shifts dataset to shifts (frames, axes) in pixels.

    None stays None. `axes` are the spatial axes, `pixel_size` and `unit` the stack's.

    Raises
    ------
    InputError
        For values that do not fit, frames without a value, and units that cannot be converted.
    """
    if initial_shifts is None:
        return None
    positions = convert_positions(initial_shifts, axes, frame_count)
    shift = positions.values / _find_units_per_pixel(PIXELS[0], positions, pixel_size, unit)
    return _check_complete(shift, "initial_shifts", "fill them in")


def read_mean_weights(
    config: Config, frames: range, frame_count: int
) -> NDArray[np.float64] | str | None:
    """Read the frames' weights in the mean: None (all equal), a word, or (frames,) from a CSV file.

    `frames` are those used of the stack's `frame_count`. Raises InputError for a file that does not
    fit.
    """
    section = config.mean
    if section.path is None or section.column is None:
        return None if section.weights == "none" else section.weights
    try:
        return read_weights(section.path, section.column, frame_count, frames)
    except InputError as error:
        raise InputError(f"mean.path: {error}") from error


def _find_units_per_pixel(
    unit: str, positions: FramePositions, pixel_size: Sequence[float], stack_unit: str
) -> NDArray[np.float64]:
    """Find the size of the stack's pixels in the unit of the positions: (axes,)."""
    micrometers = find_micrometers(stack_unit) if all(map(is_size, pixel_size)) else None
    if positions.pixel_size is not None or unit in PIXELS:
        other = find_micrometers(positions.unit)
        if positions.pixel_size is None or micrometers is None or other is None:
            return np.ones(len(pixel_size))
        return np.asarray(
            np.array(pixel_size) * micrometers / (np.array(positions.pixel_size) * other)
        )
    if micrometers is None:
        problem = f"its unit {stack_unit!r} is not understood" if stack_unit else "it has none"
        raise InputError(
            f"initial_shifts.unit {unit!r} needs a pixel size of the stack with a unit, and "
            f"{problem}: give the values in px, or initial_shifts.scale in pixels per unit, or set "
            "input.pixel_size"
        )
    return np.asarray(np.array(pixel_size) * micrometers / (find_micrometers(unit) or np.nan))


def _interpolate(shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate shifts (frames, axes) linearly between frames that have one; NaN if none has."""
    is_known = np.isfinite(shift).all(axis=1)
    if not is_known.any():
        return shift
    frames = np.arange(len(shift))
    along_axes = [np.interp(frames, frames[is_known], values[is_known]) for values in shift.T]
    return np.stack(along_axes, axis=1)


def _check_complete(shift: NDArray[np.float64], name: str, way_out: str) -> NDArray[np.float64]:
    """Refuse shifts (frames, axes) that lack a frame; `name` and `way_out` are for the error."""
    missing = np.flatnonzero(~np.isfinite(shift).all(axis=1))
    if len(missing):
        listed = ", ".join(map(str, missing[:NAMED])) + (", ..." if len(missing) > NAMED else "")
        raise InputError(
            f"{name} has no value for {len(missing)} of {len(shift)} frames ({listed}): {way_out}"
        )
    return shift
