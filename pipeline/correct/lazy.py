"""Move every frame of an array by its shift, lazily."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.correct.frames import BORDERS, canvas, fill_value_for, movements
from pipeline.model import Bools, InputError, as_stack, spatial_dims
from pipeline.preprocess import valid_pixels
from pipeline.warp import Box, check_interpolation, move_part


def correct(
    stack: xr.DataArray | NDArray[Any],
    shifts: xr.Dataset,
    *,
    interpolation: str = "cubic",
    fill_value: float | None = None,
    border: str = "keep",
    interpolated: str = "moved",
    unusable: str = "blank",
) -> xr.DataArray:
    """The stack with every frame moved by its shift; lazy, a frame at a time.

    Parameters
    ----------
    stack : DataArray with the dim t and the spatial dims the shifts have, or an array
        (t, [z,] y, x); other dims (channels) are moved alike; a coordinate ``valid``, as
        `open_stack` gives it, and NaN say what is not valid
    shifts : the dataset of `estimate_shifts` or `run`
    interpolation : "whole" (rounded to pixels, no value is invented; for label images), "linear",
        "cubic" or "fourier"
    fill_value : where nothing is known: outside of a moved frame, and all of a blank one; None: NaN
        for floating types, 0 for integers
    border : "keep" (the frames' own shape), "crop" (what is seen in every good frame) or "expand"
        (everything that is seen in any frame)
    interpolated : "moved", "left" (as it is) or "blank": frames whose shift is interpolated
    unusable : "left" or "blank": frames that have no shift, or one that does not compare (another
        component than the anchor's)

    Returns
    -------
    DataArray
        Of the same dims and data type (rounded and clipped for integers). With another border than
        "keep" the spatial coordinates start where the box does, and are pixels if the stack has
        none.
    """
    check_interpolation(interpolation)
    if border not in BORDERS:
        raise InputError(f"border {border!r} is not one of {', '.join(BORDERS)}")
    stack = as_stack(stack)
    moved = movements(shifts, interpolated=interpolated, unusable=unusable)
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    _check(stack, len(moved.shift), axes)
    shown = np.asarray(np.isfinite(moved.shift).all(axis=1))
    fill = fill_value_for(fill_value, stack.dtype)
    box = canvas(moved, [stack.sizes[axis] for axis in axes], border)
    valid = stack.coords["valid"].variable if "valid" in stack.coords else True
    whole = dict.fromkeys(axes, -1) | {dim: 1 for dim in stack.dims if dim not in axes}
    lazy = stack.drop_vars("valid", errors="ignore").chunk(whole)
    new = [f"{axis}_moved" for axis in axes]  # another length is another dim to xarray
    result: xr.DataArray = xr.apply_ufunc(
        _move_frame,
        lazy.isel(t=shown).drop_vars(axes, errors="ignore"),
        (xr.ones_like(lazy, bool) & valid).isel(t=shown).drop_vars(axes, errors="ignore"),
        xr.DataArray(moved.shift[shown], dims=("t", "axis")),
        kwargs={"interpolation": interpolation, "fill_value": fill, "box": box},
        input_core_dims=[axes, axes, ["axis"]],
        output_core_dims=[new],
        vectorize=True,
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": dict(zip(new, box.shape, strict=True))},
        output_dtypes=[stack.dtype],
        keep_attrs=True,
    ).rename(dict(zip(new, axes, strict=True)))
    # Frames that stay blank are not even read: what is torn in them does no harm.
    placed = result.drop_vars("t", errors="ignore").assign_coords(t=np.flatnonzero(shown))
    filled = placed.reindex(t=np.arange(len(shown)), fill_value=fill).drop_vars("t")
    filled = filled.transpose(*stack.dims)
    if border == "keep":
        return filled.assign_coords(lazy.coords)
    others = {name: c for name, c in lazy.coords.items() if not set(axes) & set(c.dims)}
    return filled.assign_coords(others).assign_coords(_coordinates(lazy, axes, box))


def _check(stack: xr.DataArray, count: int, axes: list[str]) -> None:
    if "t" not in stack.dims or stack.sizes["t"] != count:
        raise InputError(
            f"the stack has {stack.sizes.get('t', 'no')} frames along t and there are shifts for "
            f"{count}"
        )
    if not set(axes) <= set(spatial_dims(stack)):
        raise InputError(f"the shifts are along {axes}, the stack has the dims {stack.dims}")


def _coordinates(stack: xr.DataArray, axes: list[str], box: Box) -> dict[str, Any]:
    """Coordinates of a box, going on from those of the stack."""
    found = {}
    for axis, first, size in zip(axes, box.first, box.shape, strict=True):
        known = stack.coords.get(axis)
        begin, step = 0.0, 1.0
        if known is not None and known.size > 1:
            begin, step = float(known[0]), float(known[-1] - known[0]) / (known.size - 1)
        values = begin + step * (first + np.arange(size))
        found[axis] = (axis, values, {} if known is None else known.attrs)
    return found


def _move_frame(
    image: NDArray[Any],
    valid: Bools,
    shift: NDArray[np.float64],
    interpolation: str,
    fill_value: float,
    box: Box,
) -> NDArray[Any]:
    """One frame moved."""
    moved = np.full(box.shape, fill_value, image.dtype)
    part = tuple(slice(0, size) for size in image.shape)
    good = valid & valid_pixels(image)
    move_part(
        image, good, part, image.shape, shift, box.first, interpolation, moved,
        np.zeros(box.shape, bool),
    )  # fmt: skip
    return moved
