"""Move every frame of an array by its shift, lazily."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.correction.movements import (
    BORDERS,
    Movements,
    choose_canvas,
    choose_fill_value,
    find_defects_left_out,
    find_movements,
    make_motion_array,
)
from steadystack.correction.regions import add_labelled_offsets, assign_box_coordinates
from steadystack.dataset import is_edited
from steadystack.model import (
    Bools,
    InputError,
    as_plain,
    as_shifts,
    as_stack,
    check_stack_fits,
    find_finite_pixels,
    spatial_dims,
)
from steadystack.validity import as_mask
from steadystack.warp import (
    INVALID,
    Box,
    LocalField,
    check_interpolation,
    warp_part,
)


def correct(
    stack: xr.DataArray | NDArray[Any],
    shifts: xr.Dataset,
    *,
    mask: Any = None,
    interpolation: str = "cubic",
    fill_value: float | None = None,
    border: str = "same",
    invalid: str = "blank",
    interpolated: str = "moved",
    unusable: str = "blank",
    other_shape: bool = False,
) -> xr.DataArray:
    """Move every frame of a stack by its shift; lazy, a frame at a time.

    If the dataset has a linear motion, frames are moved by it and the shift in one step; if it has
    local shifts, frames are moved by those.

    Parameters
    ----------
    stack : DataArray with the dim t and the spatial dims of the shifts, or an array (t, [z,] y, x),
        in memory or a Dask array; other dims (channels) are moved alike. NaN, and a coordinate
        ``valid`` as `open_stack` gives it, mark what is not valid. The entries of the dim c are
        also moved by channel offsets, if the dataset has them for its labels (or numbers, without
        labels)
    shifts : the dataset of `estimate_shifts` or `run`, or a part of it; warns if the shifts were
        changed after the solve, other than by `edit_shifts`
    mask : bool array, True = valid: (y, x) or (z, y, x) for all frames, or one per frame with t in
        front; numpy, Dask (stays lazy), or a DataArray with dims of the stack. Invalid pixels are
        moved by whole pixels, and do not affect the values beside them
    interpolation : "nearest" (rounded to pixels, no value is invented; for label images), "linear",
        "cubic" or "fourier" (not where frames have a linear motion)
    fill_value : value where nothing is known: outside a moved frame, and in all of a blank one;
        None: NaN for floating types, 0 for integers
    border : "same" (the frames' own shape), "crop" (what every good frame shows) or "expand"
        (everything that any frame shows)
    invalid : "blank" (`fill_value` where pixels are not valid), "keep" (their values) or "fill"
        (small holes, and defects that were excluded from measuring, get a mean of the valid pixels
        around them; the rest is blank)
    interpolated : "moved", "unmoved" (as it is) or "blank": what to do with frames whose shift is
        interpolated
    unusable : "unmoved" or "blank": what to do with frames that have no shift, or one that cannot
        be compared (in a component other than the anchor's)
    other_shape : whether frames may have another shape than those that the shifts were measured
        on, such as a part cut from them; shifts are then in pixels of this stack. Not if frames
        have a linear motion, which is about their centre

    Returns
    -------
    DataArray
        With the same dims and data type (rounded and clipped for integers). With a border other
        than "same", the spatial coordinates start where the box does; they are pixels if the stack
        has none.

    Raises
    ------
    InputError
        For anything other than a stack and a solved shifts dataset, and if stack, shifts and mask
        do not match.
    """
    _check_options(interpolation, border, invalid)
    stack, shifts = order_dims(stack, shifts)
    _warn_if_changed(shifts)
    movements = find_movements(shifts, interpolated=interpolated, unusable=unusable)
    check_stack_fits(stack, shifts, other_shape=other_shape)
    movements = add_labelled_offsets(movements, stack, shifts)
    motion, nodes = make_motion_array(movements, interpolation, other_shape)
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    fill = choose_fill_value(fill_value, stack.dtype)
    box = choose_canvas(movements, [stack.sizes[axis] for axis in axes], border)
    whole_frames = dict.fromkeys(axes, -1) | {dim: 1 for dim in stack.dims if dim not in axes}
    lazy = stack.drop_vars("valid", errors="ignore").chunk(whole_frames)
    options = {
        "interpolation": interpolation,
        "fill_value": fill,
        "box": box,
        "invalid": invalid,
        "nodes": nodes,
        "defects": _find_defects(stack, shifts, axes) if invalid == "fill" else (),
    }
    valid = _find_valid(lazy, stack.coords.get("valid"), mask, axes)
    arrays = lazy, valid, *_lay_out(movements, motion, nodes, stack)
    is_shown = np.asarray(np.isfinite(movements.shift).all(axis=1))
    shown = [each.isel(t=is_shown).drop_vars(axes, errors="ignore") for each in arrays]
    # Blank frames are not read, so broken chunks in them do no harm.
    moved = _move_frames(shown, axes, options).drop_vars("t", errors="ignore")
    placed = moved.assign_coords(t=np.flatnonzero(is_shown))
    filled = placed.reindex(t=np.arange(len(is_shown)), fill_value=fill).drop_vars("t")
    filled = filled.transpose(*stack.dims)
    if border == "same":
        return filled.assign_coords(lazy.coords)
    return assign_box_coordinates(filled, lazy, axes, box)


def _find_valid(
    lazy: xr.DataArray, by_coordinate: xr.DataArray | None, mask: Any, axes: Sequence[str]
) -> xr.DataArray:
    """Find which pixels of a lazy stack are valid by its coordinate and a mask, if it has them."""
    given = True if by_coordinate is None else by_coordinate.variable
    masked = True if mask is None else _convert_mask(mask, lazy, axes)
    return (xr.ones_like(lazy, bool) & given & masked).chunk(lazy.chunksizes)


def _lay_out(
    movements: Movements,
    motion: xr.DataArray,
    nodes: tuple[NDArray[np.float64], ...] | None,
    stack: xr.DataArray,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Lay out the shifts of all frames along t and axis, and their motion.

    Offsets of channels are included, along c if the stack has it.
    """
    shift = xr.DataArray(movements.shift, dims=("t", "axis"))
    if movements.offsets is None:
        return shift, motion
    offsets = xr.DataArray(movements.offsets, dims=("c", "axis"))
    if "c" not in stack.dims:
        offsets = offsets[0]
    # local shifts, which have nodes, replace the shift with its offset
    return shift + offsets, motion if nodes is None else motion + offsets


def _move_frames(
    arrays: Sequence[xr.DataArray], axes: list[str], options: Mapping[str, Any]
) -> xr.DataArray:
    """Move frames, lazily; `arrays` and `options` are the arguments of `_move_frame`."""
    images, _, _, motion = arrays
    moved_axes = [f"{axis}_moved" for axis in axes]  # xarray needs another name for another length
    motion_axes = [dim for dim in motion.dims if dim not in ("t", "c")]
    moved: xr.DataArray = xr.apply_ufunc(
        _move_frame,
        *arrays,
        kwargs=options,
        input_core_dims=[axes, axes, ["axis"], motion_axes],
        output_core_dims=[moved_axes],
        vectorize=True,
        dask="parallelized",
        dask_gufunc_kwargs={
            "output_sizes": dict(zip(moved_axes, options["box"].shape, strict=True))
        },
        output_dtypes=[images.dtype],
        keep_attrs=True,
    )
    return moved.rename(dict(zip(moved_axes, axes, strict=True)))


def _check_options(interpolation: str, border: str, invalid: str) -> None:
    check_interpolation(interpolation)
    for name, value, known in (("border", border, BORDERS), ("invalid", invalid, INVALID)):
        if value not in known:
            raise InputError(f"{name} {value!r} is not one of {', '.join(known)}")


def _find_defects(stack: xr.DataArray, shifts: xr.Dataset, axes: Sequence[str]) -> tuple[int, ...]:
    """Get the defects that were found, if the stack has the shape of the measured frames."""
    measured = json.loads(shifts.attrs.get("frame_shape", "null"))
    same = measured == [stack.sizes[axis] for axis in axes] and stack.ndim == 1 + len(axes)
    return find_defects_left_out(shifts) if same else ()


def order_dims(stack: Any, shifts: Any) -> tuple[xr.DataArray, xr.Dataset]:
    """Check stack and shifts, and put their dims in order."""
    if (
        isinstance(stack, xr.Dataset)
        and "frame_shift" in stack
        and not isinstance(shifts, xr.Dataset)
    ):
        raise InputError("the stack comes first: correct(stack, shifts)")
    if isinstance(shifts, np.ndarray):
        raise InputError(
            "expected a shifts dataset, not an array: put your own shifts into one, "
            'xarray.Dataset({"frame_shift": (("frame", "axis"), values)}, {"axis": ["y", "x"]})'
        )
    return as_stack(stack), as_shifts(shifts)


def _warn_if_changed(shifts: xr.Dataset) -> None:
    """Warn the caller of `correct` if the shifts were changed after the solve."""
    if "edited" not in shifts.attrs and is_edited(shifts):
        warnings.warn(
            "frame_shift is not what steadystack wrote into this dataset: it was changed or "
            "damaged; steadystack.edit_shifts puts your own shifts into it without this warning",
            stacklevel=3,
        )


def _convert_mask(mask: Any, stack: xr.DataArray, axes: Sequence[str]) -> xr.Variable:
    """Name the axes of a mask and make it boolean; a lazy one stays lazy."""
    if isinstance(mask, str | PathLike):
        raise InputError(f"the mask {mask} is a path: pass an array: zarr.open(path)[:]")
    if isinstance(mask, xr.Dataset):
        raise InputError(
            f"a Dataset is not a mask: give one of its arrays: {', '.join(map(str, mask))}"
        )
    if isinstance(mask, xr.DataArray):
        variable = mask.variable
        if not set(variable.dims) <= set(stack.dims) or any(
            variable.sizes[dim] != stack.sizes[dim] for dim in variable.dims
        ):
            raise InputError(
                f"the mask has {dict(mask.sizes)}: its dims must be some of the stack's, "
                f"{dict(stack.sizes)}"
            )
    else:
        plain = as_plain(mask)
        values = plain if hasattr(plain, "__array_function__") else np.asarray(plain)
        variable = xr.Variable(_name_mask_axes(values.shape, stack, axes), values)
    if variable.dtype != bool:
        variable = xr.apply_ufunc(as_mask, variable, dask="parallelized", output_dtypes=[bool])
    if isinstance(variable.data, np.ndarray) and not variable.data.any():
        raise InputError("the mask has no valid pixel: True (nonzero) means valid")
    return variable


def _name_mask_axes(
    shape: tuple[int, ...], stack: xr.DataArray, axes: Sequence[str]
) -> tuple[str, ...]:
    """Match the axes of a mask of this shape to dims of the stack."""
    space = spatial_dims(stack)
    along = [dim for dim in space if dim in axes]
    choices = dict.fromkeys((*first, *rest) for rest in (space, along) for first in ((), ("t",)))
    fitting = [dims for dims in choices if tuple(stack.sizes[dim] for dim in dims) == shape]
    if len(fitting) != 1:
        problem = (
            "which fits several axes of the stack: make it a DataArray with named dims"
            if fitting
            else "which must be the shape of a frame, or of all frames"
        )
        raise InputError(
            f"the mask has the shape {shape}, {problem}; the stack: {dict(stack.sizes)}"
        )
    return fitting[0]


def _move_frame(
    image: NDArray[Any],
    valid: Bools,
    shift: NDArray[np.float64],
    motion: NDArray[np.float64],
    interpolation: str,
    fill_value: float,
    box: Box,
    invalid: str,
    nodes: tuple[NDArray[np.float64], ...] | None,
    defects: tuple[int, ...],
) -> NDArray[Any]:
    """Move one frame onto the pixels of `box`.

    By its shift (axes,) and linear motion, or by local shifts, if there are `nodes` of them.
    """
    whole = motion if nodes is None else LocalField(nodes, motion)
    moved = np.full(box.shape, fill_value, image.dtype)
    region = tuple(slice(0, size) for size in image.shape)
    is_valid = valid & find_finite_pixels(image)
    is_valid.flat[list(defects)] = False
    warp_part(
        image, is_valid, region, image.shape, whole, shift, box.first, interpolation, moved,
        np.zeros(box.shape, bool), invalid=invalid,
    )  # fmt: skip
    return moved
