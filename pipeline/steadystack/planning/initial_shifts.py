"""From what a user knows of positions to shifts in pixels, one for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.config import Config
from steadystack.model import InputError
from steadystack.readers import FramePositions, convert_positions, read_positions
from steadystack.units import PIXELS, UNITS_UM

# Frames that an error names.
NAMED = 8


def read_initial_shifts(
    config: Config,
    axes: Sequence[str],
    frame_count: int,
    pixel_size: Sequence[float],
    unit: str,
) -> NDArray[np.float64] | None:
    """The shifts (frames, axes) that `initial_shifts.path` tells, pixels; None if there is none.

    `pixel_size` and `unit` are the stack's.

    Raises
    ------
    InputError
        For a file that does not fit, frames without a value, and units that cannot be converted.
    """
    given = config.initial_shifts
    if given.path is None:
        return None
    found = read_positions(given.path, axes, frame_count, given.columns)
    scale = np.atleast_1d(np.array(given.scale, float))
    if len(scale) not in (1, len(axes)):
        raise InputError(
            f"initial_shifts.scale has {len(scale)} values for the axes {', '.join(axes)}"
        )
    shift = found.values * scale * (-1 if given.kind == "drift" else 1)
    shift = shift / _find_units_per_pixel(given.unit, found, pixel_size, unit)
    if given.missing == "interpolate":
        shift = _fill(shift)
    return _check_complete(shift, given.path, "set initial_shifts.missing to interpolate")


def convert_initial_shifts(
    initial_shifts: Any,
    axes: Sequence[str],
    frame_count: int,
    pixel_size: Sequence[float],
    unit: str,
) -> NDArray[np.float64] | None:
    """The same for what was given in Python: an array, a DataArray or a shifts dataset."""
    if initial_shifts is None:
        return None
    found = convert_positions(initial_shifts, axes, frame_count)
    shift = found.values / _find_units_per_pixel(PIXELS[0], found, pixel_size, unit)
    return _check_complete(shift, "initial_shifts", "fill them in")


def _find_units_per_pixel(
    unit: str, found: FramePositions, pixel_size: Sequence[float], stack_unit: str
) -> NDArray[np.float64]:
    """How many units of the values a pixel of the stack is, along each axis."""
    size, known = np.array(pixel_size, float), stack_unit in UNITS_UM
    if found.pixel_size is not None or unit in PIXELS:
        if found.pixel_size is None or not known or found.unit not in UNITS_UM:
            return np.ones(len(size))
        coarser = np.array(found.pixel_size) * UNITS_UM[found.unit]
        return np.asarray(size * UNITS_UM[stack_unit] / coarser)
    if not known:
        raise InputError(
            f"initial_shifts.unit {unit!r} needs a pixel size with a unit, and the stack has none: "
            "give the values in px, or initial_shifts.scale in pixels per unit"
        )
    return np.asarray(size * UNITS_UM[stack_unit] / UNITS_UM[unit])


def _fill(shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linearly between frames that are known; NaN where none is."""
    known = np.isfinite(shift).all(axis=1)
    if not known.any():
        return shift
    frames = np.arange(len(shift))
    return np.stack([np.interp(frames, frames[known], along[known]) for along in shift.T], axis=1)


def _check_complete(shift: NDArray[np.float64], what: str, way_out: str) -> NDArray[np.float64]:
    missing = np.flatnonzero(~np.isfinite(shift).all(axis=1))
    if len(missing):
        some = ", ".join(map(str, missing[:NAMED])) + (", ..." if len(missing) > NAMED else "")
        raise InputError(
            f"{what} has no value for {len(missing)} of {len(shift)} frames ({some}): {way_out}"
        )
    return shift
