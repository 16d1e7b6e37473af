"""Move every frame by its shift: lazily as a DataArray, and a mean image before and after."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.model import Bools, FrameSource, InputError, as_stack, spatial_dims
from pipeline.preprocess import Conditioning, usable_pixels, valid_pixels
from pipeline.warp import check_interpolation, move, to_dtype


def correct(
    stack: xr.DataArray | NDArray[Any],
    shifts: xr.Dataset,
    *,
    interpolation: str = "linear",
    fill_value: float | None = None,
) -> xr.DataArray:
    """The stack with every frame moved by its shift; lazy, a frame at a time.

    Parameters
    ----------
    stack : DataArray with the dim t and the spatial dims the shifts have, or an array
        (t, [z,] y, x); other dims (channels) are moved alike; a coordinate ``valid``, as
        `open_stack` gives it, and NaN say what is not valid
    shifts : the dataset of `estimate_shifts` or `run`
    interpolation : "whole" (rounded to pixels, no value is invented) or "linear"
    fill_value : where nothing is known: outside of a moved frame, and all of a frame that has no
        shift, or one that does not compare (another component than the anchor's); None: NaN for
        floating types, 0 for integers

    Returns
    -------
    DataArray
        Of the same dims, shape and data type (rounded and clipped for integers).
    """
    check_interpolation(interpolation)
    stack = as_stack(stack)
    table = shifts["shift"].to_numpy()
    known = np.isfinite(table).all(axis=1)
    if "component" in shifts:
        known &= shifts["component"].to_numpy() == 0
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    if "t" not in stack.dims or stack.sizes["t"] != len(table):
        raise InputError(
            f"the stack has {stack.sizes.get('t', 'no')} frames along t and there are shifts for "
            f"{len(table)}"
        )
    if not set(axes) <= set(spatial_dims(stack)):
        raise InputError(f"the shifts are along {axes}, the stack has the dims {stack.dims}")
    fill = _fill_value(fill_value, stack.dtype)
    valid = stack.coords["valid"].variable if "valid" in stack.coords else True
    whole = dict.fromkeys(axes, -1) | {dim: 1 for dim in stack.dims if dim not in axes}
    lazy = stack.drop_vars("valid", errors="ignore").chunk(whole)
    moved: xr.DataArray = xr.apply_ufunc(
        _move_frame,
        lazy.isel(t=known),
        (xr.ones_like(lazy, bool) & valid).isel(t=known),
        xr.DataArray(table[known], dims=("t", "axis")),
        kwargs={"interpolation": interpolation, "fill_value": fill},
        input_core_dims=[axes, axes, ["axis"]],
        output_core_dims=[axes],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[stack.dtype],
        keep_attrs=True,
    )
    # Frames without a shift are not even read: what is torn in them does no harm.
    placed = moved.drop_vars("t", errors="ignore").assign_coords(t=np.flatnonzero(known))
    filled = placed.reindex(t=np.arange(len(table)), fill_value=fill).drop_vars("t")
    return filled.transpose(*stack.dims).assign_coords(lazy.coords)


def _fill_value(given: float | None, dtype: np.dtype[Any]) -> float:
    """The fill value, checked to be a value of that type."""
    if np.issubdtype(dtype, np.floating):
        return np.nan if given is None else given
    value = 0 if given is None else given
    if to_dtype(np.array([value]), dtype)[0] != value:
        raise InputError(f"fill_value {given} is not a value of {dtype}")
    return value


def _move_frame(
    image: NDArray[Any],
    valid: Bools,
    shift: NDArray[np.float64],
    interpolation: str,
    fill_value: float,
) -> NDArray[Any]:
    """One frame moved."""
    moved, known = move(image, valid & valid_pixels(image), shift, interpolation)
    return np.where(known, to_dtype(moved, image.dtype), np.asarray(fill_value, image.dtype))


def mean_before_and_after(
    source: FrameSource,
    shifts: NDArray[np.float64],
    conditioning: Conditioning,
    most_frames: int = 48,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean images of frames spread evenly over a series, as they are and moved by their shifts.

    Parameters
    ----------
    shifts : (frames, axes) pixels; frames without a shift are left out of both
    conditioning : says which pixels are valid
    most_frames : at most so many frames are read

    Returns
    -------
    before, after : images; NaN where no frame is valid. Of 3-D frames the mean along z.
    """
    usable = np.flatnonzero(np.isfinite(shifts).all(axis=1))
    spread = np.linspace(0, len(usable) - 1, min(most_frames, len(usable))).round().astype(int)
    sums = np.zeros((4, *source.frame_shape))
    for frame in usable[np.unique(spread)]:
        read = source.read(int(frame))
        valid = usable_pixels(read.image, read.valid, conditioning)
        still = (np.where(valid, read.image, 0), valid)
        for place, (image, known) in enumerate(
            (still, move(read.image, valid, shifts[frame], "linear"))
        ):
            sums[2 * place] += image
            sums[2 * place + 1] += known
    while sums.ndim > 3:
        sums = sums.sum(axis=1)
    with np.errstate(invalid="ignore"):
        before, after = sums[0] / sums[1], sums[2] / sums[3]
    return before, after
