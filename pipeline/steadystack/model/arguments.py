"""Check and convert what is passed as a stack, an image or a shifts dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from steadystack.model.words import UNSOLVED, InputError

if TYPE_CHECKING:
    import xarray as xr

# An unnamed fourth axis up to this long, besides t, y and x, is taken for channels.
MOST_CHANNELS = 4
# Names of axes in stacks of other programs.
OTHER_NAMES = {
    "t": ("T", "time", "frame", "frames"),
    "z": ("Z", "depth", "plane"),
    "y": ("Y", "row", "rows", "height", "lat", "latitude"),
    "x": ("X", "col", "column", "columns", "width", "lon", "longitude"),
}


def spatial_dims(stack: xr.DataArray) -> tuple[str, ...]:
    """The spatial dims of a stack in array order: those named z, y, x."""
    return tuple(str(dim) for dim in stack.dims if dim in ("z", "y", "x"))


def as_plain(values: Any) -> Any:
    """Convert `numpy.ma` arrays to plain arrays with NaN for masked pixels.

    A list of such arrays counts as well, and a lazy one stays lazy. Integers and booleans become
    floating if any is masked. Anything without a mask is unchanged.
    """
    import xarray as xr  # takes a quarter of a second, which commands should not wait for

    if isinstance(values, xr.DataArray):
        plain = as_plain(values.data)
        return values if plain is values.data else values.copy(data=plain)
    if isinstance(values, list | tuple) and any(_is_masked(entry) for entry in values):
        values = np.ma.asarray(values)
    if _is_masked(getattr(values, "_meta", None)):  # a Dask array
        dtype = _choose_dtype_with_nan(values.dtype)
        return values.map_blocks(
            partial(_fill_with_nan, dtype=dtype), dtype=dtype, meta=np.empty((0,) * values.ndim)
        )
    if not _is_masked(values):
        return values
    if not np.ma.is_masked(values):
        return np.ma.getdata(values)
    return _fill_with_nan(values, _choose_dtype_with_nan(values.dtype))


def _is_masked(values: Any) -> bool:
    return isinstance(values, np.ma.MaskedArray)


def _choose_dtype_with_nan(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Choose a type that holds numbers of `dtype` and NaN."""
    return dtype if dtype.kind in "fc" else np.result_type(dtype, np.float32)


def _fill_with_nan(values: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    filled: np.ndarray[Any, Any] = np.ma.MaskedArray(values, dtype=dtype).filled(np.nan)
    return filled


class ListedArray(list[Any]):
    """The values of an array as a list, with its shape and data type."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        super().__init__(array.tolist())
        self.shape, self.dtype = array.shape, array.dtype


def check_arrays(**arguments: Any) -> None:
    """Refuse sections of settings in place of arrays; the keywords are names of arguments."""
    for name, value in arguments.items():
        if isinstance(value, Mapping) and not hasattr(value, "dims"):  # of a Dataset
            raise InputError(
                f"{name} is a {type(value).__name__} of {', '.join(map(str, value)) or 'nothing'}: "
                "give an array; only in the settings of a run it is a section of keys"
            )


def as_settings(values: Any) -> Any:
    """Convert NumPy arrays in settings to lists, and NumPy numbers to Python's."""
    if isinstance(values, Mapping):
        return {key: as_settings(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [as_settings(value) for value in values]
    if isinstance(values, np.ndarray) and values.ndim:
        return ListedArray(values)
    return values.tolist() if isinstance(values, np.ndarray | np.generic) else values


def as_stack(stack: Any, *, planes_certain: bool = True) -> xr.DataArray:
    """A stack from a DataArray, or from an array with the axes t, [z,] y, x; a lazy one stays lazy.

    Parameters
    ----------
    planes_certain : whether it is certain that an array with four axes has planes; otherwise one
        with 2 to `MOST_CHANNELS` entries where planes or columns would be is refused: channels read
        as planes give meaningless shifts without an error, and so few planes are rare
    """
    import xarray as xr

    if isinstance(stack, xr.DataArray):
        _refuse_unknown_sizes(stack.shape)
        plain: xr.DataArray = as_plain(stack)
        return plain
    if isinstance(stack, str | PathLike):
        raise InputError(f"{stack} is a path: open it with steadystack.open_stack")
    if isinstance(stack, xr.Dataset):
        raise InputError(
            f"a Dataset holds several arrays: give one of {', '.join(map(str, stack))}"
        )
    values = as_plain(stack)
    values = values if hasattr(values, "__array_function__") else np.asarray(values)
    _refuse_unknown_sizes(values.shape)
    if values.ndim not in (3, 4):
        named = ": a DataArray with named dims may have more" if values.ndim > 4 else ""
        raise InputError(f"a stack has 3 or 4 axes (t, [z,] y, x), not {values.ndim}{named}")
    if values.ndim == 4 and not planes_certain:
        _refuse_channels(values.shape)
    return xr.DataArray(values, dims=("t", *("z", "y", "x")[4 - values.ndim :]))


def as_image(image: Any, axes: Sequence[str], name: str) -> np.ndarray[Any, Any]:
    """Convert a single image with these axes, or a result of `steadystack.mean`, to an array.

    Pixels masked by `numpy.ma` are NaN. `name` is that of the argument, for errors.
    """
    import xarray as xr

    if isinstance(image, xr.Dataset):
        if "mean" not in image:
            raise InputError(
                f"{name} is a Dataset without a variable mean: give an image, or what "
                "steadystack.mean returns"
            )
        image = image["mean"]
    values = as_plain(image)
    if isinstance(values, xr.DataArray) and set(axes) <= set(values.dims):
        values = values.squeeze([dim for dim in values.dims if dim not in axes]).transpose(*axes)
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.ndim != len(axes):
        raise InputError(
            f"{name} has the shape {array.shape} and holds {array.dtype}: one image of real "
            f"numbers with the axes {', '.join(axes)} is needed"
        )
    return array


def _refuse_unknown_sizes(shape: tuple[float, ...]) -> None:
    """Refuse a lazy array of unknown size, such as one selected by values with Dask."""
    if any(size != size for size in shape):
        raise InputError(
            f"the stack has the shape {tuple(shape)}, in which nan is a size that Dask has not "
            "computed: call compute_chunk_sizes() of the Dask array first"
        )


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
    """Suggest how to rename the dims of a stack with other names; "" if not known."""
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
    needed : variables that it must have, besides ``frame_shift`` (frame, axis) with axis names
    solved : whether it has to be solved

    Raises
    ------
    InputError
        Saying what was given instead, and what is needed.
    """
    import xarray as xr

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


def check_stack_fits(stack: xr.DataArray, shifts: xr.Dataset, *, other_shape: bool) -> None:
    """Refuse a stack without a frame for each shift, or without the axes of the shifts.

    Also frames of a shape that was not measured, unless `other_shape`.
    """
    if stack.dtype.kind not in "biuf":
        raise InputError(f"the stack holds {stack.dtype}: real numbers are needed")
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    count, wanted = stack.sizes.get("t", 0), shifts.sizes["frame"]
    if "t" not in stack.dims or count != wanted:
        way_out = suggest_renaming(stack)
        if "frame" in shifts.coords and wanted and count > shifts["frame"].max():
            way_out = ', for some of its frames: use stack.isel(t=shifts["frame"].values)'
        raise InputError(
            f"the stack has {count or 'no'} frames along t, but there are shifts for "
            f"{wanted}{way_out}"
        )
    if not set(axes) <= set(spatial_dims(stack)):
        raise InputError(
            f"the shifts are along {axes}, but the stack has the dims {stack.dims}"
            f"{suggest_renaming(stack)}"
        )
    if not other_shape:
        _check_shape(stack, shifts, axes)


def _check_shape(stack: xr.DataArray, shifts: xr.Dataset, axes: Sequence[str]) -> None:
    """Refuse frames whose shape differs from that measured, if the dataset has it."""
    measured = json.loads(shifts.attrs.get("frame_shape", "null"))
    shape = [stack.sizes[axis] for axis in axes]
    if measured is None or shape == measured:
        return
    way_out = "if it is cut from the same pixels, set other_shape=True"
    if scale := _suggest_scale(measured, shape):
        way_out += (
            "; if it is binned, scale the shifts as well, "
            f'steadystack.edit_shifts(shifts, shifts["frame_shift"] * {scale})'
        )
    raise InputError(
        f"the stack has frames of {tuple(shape)} pixels along {', '.join(axes)}, but the shifts "
        f"were measured on {tuple(measured)}: {way_out}"
    )


def _suggest_scale(measured: Sequence[int], shape: Sequence[int]) -> str:
    """Suggest a factor for the shifts, as text, if one shape is the other one binned; else ""."""

    def find_factors(fine: Sequence[int], coarse: Sequence[int]) -> list[int]:
        """Pixels per bin along each axis; less than a bin may be left over at the end."""
        factors = [max(round(size / bins), 1) for size, bins in zip(fine, coarse, strict=True)]
        fits = all(
            0 <= size - factor * bins < factor
            for size, factor, bins in zip(fine, factors, coarse, strict=True)
        )
        return factors if fits else []

    if factors := find_factors(measured, shape):
        words = [f"1 / {factor}" if factor > 1 else "1" for factor in factors]
    else:
        words = [str(factor) for factor in find_factors(shape, measured)]
    return words[0] if len(set(words)) == 1 else f"[{', '.join(words)}]" if words else ""


def write_number(value: float) -> str:
    """Write a number as text that settings read back as exactly that number."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < 2**53):
        return str(int(value))
    text = repr(value)
    return text if "." in text or "e" not in text else text.replace("e", ".0e")
