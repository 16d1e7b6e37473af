"""What is taken for a stack, and for a shifts dataset."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import xarray as xr

from steadystack.model.words import UNSOLVED, InputError

# An axis as short as this, beside t, y and x of an array without names, is taken for channels.
MOST_CHANNELS = 4
# How stacks of other programs name their axes.
OTHER_NAMES = {
    "t": ("T", "time", "frame", "frames"),
    "z": ("Z", "depth", "plane"),
    "y": ("Y", "row", "rows", "height", "lat", "latitude"),
    "x": ("X", "col", "column", "columns", "width", "lon", "longitude"),
}


def spatial_dims(stack: xr.DataArray) -> tuple[str, ...]:
    """The spatial dims of a stack in array order: those named z, y, x."""
    return tuple(str(dim) for dim in stack.dims if dim in ("z", "y", "x"))


def as_stack(stack: Any, *, planes_told: bool = True) -> xr.DataArray:
    """A stack from a DataArray, or from an array with the axes t, [z,] y, x; a lazy one stays lazy.

    Parameters
    ----------
    planes_told : whether an array of four axes has planes for sure; else one with an axis of 2 to
        `MOST_CHANNELS` where planes or columns would be is refused: channels read as planes give
        shifts without a meaning and without an error, and so few planes are rare
    """
    if isinstance(stack, xr.DataArray):
        return stack
    if isinstance(stack, str | PathLike):
        raise InputError(f"{stack} is a path: open it with steadystack.open_stack")
    if isinstance(stack, xr.Dataset):
        raise InputError(
            f"a Dataset holds several arrays: give one of {', '.join(map(str, stack))}"
        )
    values = stack if hasattr(stack, "__array_function__") else np.asarray(stack)
    if values.ndim not in (3, 4):
        named = ": a DataArray with named dims may have more" if values.ndim > 4 else ""
        raise InputError(f"a stack has 3 or 4 axes (t, [z,] y, x), not {values.ndim}{named}")
    if values.ndim == 4 and not planes_told:
        _refuse_channels(values.shape)
    return xr.DataArray(values, dims=("t", *("z", "y", "x")[4 - values.ndim :]))


def _refuse_channels(shape: tuple[int, ...]) -> None:
    for axis, example in ((1, "stack[:, 0]"), (3, "stack[..., 0]")):
        if 1 < shape[axis] <= MOST_CHANNELS:
            raise InputError(
                f"an array of shape {tuple(shape)} is read as t, z, y, x, but its {shape[axis]} "
                f"entries along axis {axis} look like channels: measure one of them, such as "
                f"{example}; if they are planes, say so: xarray.DataArray(stack, "
                'dims=("t", "z", "y", "x"))'
            )


def suggest_renaming(stack: xr.DataArray) -> str:
    """How to name the dims of a stack that has other names for them; "" if that is not known."""
    renamed = {
        str(dim): name
        for name, others in OTHER_NAMES.items()
        for dim in stack.dims
        if dim in others and name not in stack.dims
    }
    names = ", ".join(f"{dim}={name!r}" for dim, name in renamed.items())
    return f": rename them, stack.rename({names})" if names else ""


def as_shifts(shifts: Any, *needed: str, solved: bool = True) -> xr.Dataset:
    """A shifts dataset, checked to be one.

    Parameters
    ----------
    needed : variables that it has to have, beside ``frame_shift`` (frame, axis) with names of axes
    solved : whether it has to be solved

    Raises
    ------
    InputError
        That says what was given in its place, and what is wanted.
    """
    expected = (
        "expected a shifts dataset, as steadystack.estimate_shifts and steadystack.run return it"
    )
    if isinstance(shifts, str | PathLike):
        raise InputError(f"{expected}: {shifts} is a path, open it with xarray.open_zarr")
    if not isinstance(shifts, xr.Dataset):
        is_variable = isinstance(shifts, xr.DataArray) and shifts.name == "frame_shift"
        raise InputError(
            f"{expected}, not a {type(shifts).__name__}"
            + (": give the whole dataset, not its variable frame_shift" if is_variable else "")
        )
    if "frame_shift" in shifts and (
        shifts["frame_shift"].dims != ("frame", "axis") or "axis" not in shifts.coords
    ):
        raise InputError(
            f"{expected}: its frame_shift has the dims {shifts['frame_shift'].dims}, not ('frame', "
            "'axis') with a coordinate axis of names such as y, x"
        )
    missing = [name for name in ("frame_shift", *needed) if name not in shifts.data_vars]
    if missing:
        held = ", ".join(map(str, shifts.data_vars)) or "nothing"
        raise InputError(f"{expected}: this one has no {', '.join(missing)} (it holds {held})")
    if solved and "component" in shifts and bool((shifts["component"] == UNSOLVED).all()):
        raise InputError(
            "the shifts dataset is not solved yet, its pairs are only measured: run "
            "`steadystack solve`"
        )
    return shifts
