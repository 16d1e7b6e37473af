"""Move every frame of an array by its shift, lazily."""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.correction.movements import (
    BORDERS,
    choose_canvas,
    choose_fill_value,
    find_movements,
)
from steadystack.model import Bools, InputError, as_shifts, as_stack, spatial_dims, suggest_renaming
from steadystack.validity import as_mask, find_finite_pixels
from steadystack.warp import Box, check_interpolation, move_part


def correct(
    stack: xr.DataArray | NDArray[Any],
    shifts: xr.Dataset,
    *,
    mask: Any = None,
    interpolation: str = "cubic",
    fill_value: float | None = None,
    border: str = "same",
    interpolated: str = "moved",
    unusable: str = "blank",
    other_shape: bool = False,
) -> xr.DataArray:
    """The stack with every frame moved by its shift; lazy, a frame at a time.

    Parameters
    ----------
    stack : DataArray with the dim t and the spatial dims the shifts have, or an array
        (t, [z,] y, x), in memory or of Dask; other dims (channels) are moved alike; a coordinate
        ``valid``, as `open_stack` gives it, and NaN say what is not valid
    shifts : the dataset of `estimate_shifts` or `run`
    mask : bool array, True = valid: (y, x) or (z, y, x) for all frames, or with t in front one per
        frame; numpy, Dask (stays lazy), or a DataArray with dims of the stack. What is not valid
        becomes `fill_value`, wherever it is moved to, and has no part in the values beside it
    interpolation : "nearest" (rounded to pixels, no value is invented; for label images), "linear",
        "cubic" or "fourier"
    fill_value : where nothing is known: outside of a moved frame, and all of a blank one; None: NaN
        for floating types, 0 for integers
    border : "same" (the frames' own shape), "crop" (what every good frame shows) or "expand"
        (everything that any frame shows)
    interpolated : "moved", "unmoved" (as it is) or "blank": frames whose shift is interpolated
    unusable : "unmoved" or "blank": frames that have no shift, or one that does not compare
        (another component than the anchor's)
    other_shape : whether frames may have another shape than those that the shifts were measured
        on, such as a part cut from them; shifts are then in pixels of this stack

    Returns
    -------
    DataArray
        Of the same dims and data type (rounded and clipped for integers). With another border than
        "same" the spatial coordinates start where the box does, and are pixels if the stack has
        none.

    Raises
    ------
    InputError
        For anything but a stack and a solved shifts dataset, and if stack, shifts and mask do not
        match.
    """
    check_interpolation(interpolation)
    if border not in BORDERS:
        raise InputError(f"border {border!r} is not one of {', '.join(BORDERS)}")
    stack, shifts = _order_dims(stack, shifts)
    moved = find_movements(shifts, interpolated=interpolated, unusable=unusable)
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    _check(stack, len(moved.shift), axes)
    if not other_shape:
        _check_shape(stack, shifts, axes)
    shown = np.asarray(np.isfinite(moved.shift).all(axis=1))
    fill = choose_fill_value(fill_value, stack.dtype)
    box = choose_canvas(moved, [stack.sizes[axis] for axis in axes], border)
    valid = stack.coords["valid"].variable if "valid" in stack.coords else True
    given = True if mask is None else _convert_mask(mask, stack, axes)
    whole = dict.fromkeys(axes, -1) | {dim: 1 for dim in stack.dims if dim not in axes}
    lazy = stack.drop_vars("valid", errors="ignore").chunk(whole)
    new = [f"{axis}_moved" for axis in axes]  # another length is another dim to xarray
    result: xr.DataArray = xr.apply_ufunc(
        _move_frame,
        lazy.isel(t=shown).drop_vars(axes, errors="ignore"),
        (xr.ones_like(lazy, bool) & valid & given)
        .chunk(whole)
        .isel(t=shown)
        .drop_vars(axes, errors="ignore"),
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
    if border == "same":
        return filled.assign_coords(lazy.coords)
    others = {name: c for name, c in lazy.coords.items() if not set(axes) & set(c.dims)}
    return filled.assign_coords(others).assign_coords(_make_coordinates(lazy, axes, box))


def _order_dims(stack: Any, shifts: Any) -> tuple[xr.DataArray, xr.Dataset]:
    """Stack and shifts, each checked to be what it is."""
    if (
        isinstance(stack, xr.Dataset)
        and "frame_shift" in stack
        and not isinstance(shifts, xr.Dataset)
    ):
        raise InputError("the stack comes first: correct(stack, shifts)")
    if isinstance(shifts, np.ndarray):
        raise InputError(
            "expected a shifts dataset, not an array: put shifts of your own into one, "
            'xarray.Dataset({"frame_shift": (("frame", "axis"), values)}, {"axis": ["y", "x"]})'
        )
    return as_stack(stack), as_shifts(shifts)


def _check(stack: xr.DataArray, count: int, axes: list[str]) -> None:
    if "t" not in stack.dims or stack.sizes["t"] != count:
        raise InputError(
            f"the stack has {stack.sizes.get('t', 'no')} frames along t, but there are shifts for "
            f"{count}{suggest_renaming(stack)}"
        )
    if not set(axes) <= set(spatial_dims(stack)):
        raise InputError(
            f"the shifts are along {axes}, but the stack has the dims {stack.dims}"
            f"{suggest_renaming(stack)}"
        )


def _check_shape(stack: xr.DataArray, shifts: xr.Dataset, axes: Sequence[str]) -> None:
    """Refuse frames of another shape than was measured, as far as the dataset knows of it."""
    measured = json.loads(shifts.attrs.get("frame_shape", "null"))
    shape = [stack.sizes[axis] for axis in axes]
    if measured is None or shape == measured:
        return
    way_out = "if it is cut from the same pixels, set other_shape=True"
    if scale := _suggest_scale(measured, shape):
        way_out += (
            "; if it is binned, scale the shifts as well, "
            f'shifts.assign(frame_shift=shifts["frame_shift"] * {scale})'
        )
    raise InputError(
        f"the stack has frames of {tuple(shape)} pixels along {', '.join(axes)}, but the shifts "
        f"were measured on {tuple(measured)}: {way_out}"
    )


def _suggest_scale(measured: Sequence[int], shape: Sequence[int]) -> str:
    """What shifts are to be multiplied by where one is the other binned, as text; "" if not."""

    def factors(fine: Sequence[int], coarse: Sequence[int]) -> list[int]:
        """Pixels per bin along each axis; what is left at the end is no more than part of one."""
        by = [max(round(one / other), 1) for one, other in zip(fine, coarse, strict=True)]
        rests = [one - n * other for one, n, other in zip(fine, by, coarse, strict=True)]
        return by if all(0 <= rest < n for rest, n in zip(rests, by, strict=True)) else []

    if binned := factors(measured, shape):
        words = [f"1 / {by}" if by > 1 else "1" for by in binned]
    else:
        words = [str(by) for by in factors(shape, measured)]
    return words[0] if len(set(words)) == 1 else f"[{', '.join(words)}]" if words else ""


def _convert_mask(mask: Any, stack: xr.DataArray, axes: Sequence[str]) -> xr.Variable:
    """The mask with names for its axes, lazy if it is."""
    if isinstance(mask, str | PathLike):
        raise InputError(f"the mask {mask} is a path: pass an array: zarr.open(path)[:]")
    if isinstance(mask, xr.Dataset):
        raise InputError(
            f"a Dataset is not a mask: give one of its arrays: {', '.join(map(str, mask))}"
        )
    if isinstance(mask, xr.DataArray):
        found = mask.variable
        if not set(found.dims) <= set(stack.dims) or any(
            found.sizes[dim] != stack.sizes[dim] for dim in found.dims
        ):
            raise InputError(
                f"the mask has {dict(mask.sizes)}: its dims must be some of the stack's, "
                f"{dict(stack.sizes)}"
            )
    else:
        values = mask if hasattr(mask, "__array_function__") else np.asarray(mask)
        found = xr.Variable(_name_mask_axes(values.shape, stack, axes), values)
    if found.dtype != bool:
        found = (found != 0) & (found == found)  # as `as_mask` has it, for lazy ones, too
    if isinstance(found.data, np.ndarray) and not as_mask(found.data).any():
        raise InputError("the mask has no valid pixel: True (nonzero) means valid")
    return found


def _name_mask_axes(
    shape: tuple[int, ...], stack: xr.DataArray, axes: Sequence[str]
) -> tuple[str, ...]:
    """Which dims of the stack the axes of a mask of this shape are."""
    space = spatial_dims(stack)
    along = [dim for dim in space if dim in axes]
    choices = dict.fromkeys((*first, *rest) for rest in (space, along) for first in ((), ("t",)))
    fitting = [dims for dims in choices if tuple(stack.sizes[dim] for dim in dims) == shape]
    if len(fitting) != 1:
        why = (
            "which fits several axes of the stack: make it a DataArray with named dims"
            if fitting
            else "which must be that of a frame, or of all frames"
        )
        raise InputError(f"the mask has the shape {shape}, {why}; the stack: {dict(stack.sizes)}")
    return fitting[0]


def _make_coordinates(stack: xr.DataArray, axes: list[str], box: Box) -> dict[str, Any]:
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
    good = valid & find_finite_pixels(image)
    move_part(
        image, good, part, image.shape, shift, box.first, interpolation, moved,
        np.zeros(box.shape, bool),
    )  # fmt: skip
    return moved
