"""What stores say of themselves: OME-Zarr images, plain arrays, xarray groups, TIFF, .npy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.durable import explaining_unreadable, get_place
from steadystack.model import InputError
from steadystack.ome import OmeImage, PyramidLevel, read_image
from steadystack.readers.pixels import NPY_SUFFIX, Pixels, ZarrPixels, open_npy
from steadystack.readers.positions import choose_image
from steadystack.readers.references import InFiles, InNpy, InTiff, InZarr, Reference, open_files
from steadystack.readers.tiff import TIFF_SUFFIXES, TiffImage, is_tiff, list_series_files, read_tiff

AXIS_NAMES = {
    "t": "t", "time": "t", "frame": "t", "date": "t",
    "c": "c", "channel": "c", "ch": "c", "band": "c",
    "z": "z", "depth": "z", "plane": "z",
    "y": "y", "lat": "y", "latitude": "y", "row": "y",
    "x": "x", "lon": "x", "longitude": "x", "column": "x", "col": "x",
}  # fmt: skip


@dataclass(frozen=True)
class LocatedArray:
    """An array in a store, and what the store says of it.

    Attributes
    ----------
    kind : of store and array, in words
    axes, scale, units : name, size of a pixel and its unit, per array axis; None: not known
    time : time of every frame and its unit; None: not known
    levels : shapes of the levels of the pyramid that the array is a level of
    image : path in the store of the OME-Zarr image that the array is a level of; None: of none
    scale_doubt : why `scale` is not to be believed; "": it is
    """

    pixels: Pixels
    reference: Reference
    kind: str
    axes: Sequence[str] | None = None
    scale: Sequence[float] | None = None
    units: Sequence[str] | None = None
    channel_names: tuple[str, ...] = ()
    time: tuple[tuple[float, ...], str] | None = None
    levels: tuple[tuple[int, ...], ...] = ()
    image: str | None = None
    scale_doubt: str = ""


@dataclass(frozen=True)
class ArrayChoice:
    """Which array is meant where a path holds several; keys of the settings' `input` section."""

    level: int = 0
    variable: str | None = None
    position: str | None = None
    series: int | None = None
    axes: str | None = None


@dataclass(frozen=True)
class Format:
    """A format of input files.

    Attributes
    ----------
    suffixes : of its files, in lower case
    locate : finds the chosen array at a path; None if the path is of another format
    """

    suffixes: tuple[str, ...]
    locate: Callable[[str, ArrayChoice], LocatedArray | None]


def find_array(path: str, choice: ArrayChoice) -> LocatedArray:
    """Find the image array at a path.

    Raises InputError if there is none, or if `choice` leaves several.
    """
    with explaining_unreadable(path):
        return _find_by_format(path, choice) or _locate_in_zarr(path, choice)


def _find_by_format(path: str, choice: ArrayChoice) -> LocatedArray | None:
    """Find the image array at a path of any format but Zarr; None if it is of none of them."""
    for file_format in FORMATS:
        located = file_format.locate(path, choice)
        if located is not None:
            return located
    return None


def find_image(path: str) -> LocatedArray:
    """Find the only array at a path, such as a mask; the full resolution of an OME-Zarr image."""
    with explaining_unreadable(path):
        located = _find_by_format(path, ArrayChoice())
        if located is not None:
            return located
        node = get_place(path).open_zarr()
    if isinstance(node, zarr.Array):
        return _locate_plain_array(node)
    image = read_image(node.attrs, path)
    if image is not None:
        return _locate_ome_image(node, image, 0)
    arrays = list(node.arrays())
    if len(arrays) != 1:
        raise InputError(f"{path} holds {len(arrays)} arrays: give the path of one of them")
    name, array = arrays[0]
    return _locate_plain_array(array, name)


def _locate_in_zarr(path: str, choice: ArrayChoice) -> LocatedArray:
    node = get_place(path).open_zarr()
    if isinstance(node, zarr.Array):
        return _locate_plain_array(node)
    node, inner_path = choose_image(node, path, choice.position, choice.series)
    if isinstance(node, zarr.Array):
        return _locate_plain_array(node, inner_path)
    image = read_image(node.attrs, path)
    if image is not None:
        return _locate_ome_image(node, image, choice.level, inner_path)
    return _locate_xarray_variable(node, path, choice.variable, inner_path)


def _locate_npy(path: str, choice: ArrayChoice) -> LocatedArray | None:
    if not path.lower().endswith(NPY_SUFFIX):
        return None
    return LocatedArray(open_npy(path), InNpy(), ".npy array")


def _locate_tiff(path: str, choice: ArrayChoice) -> LocatedArray | None:
    """Locate the image in a TIFF file or a series of them, a pattern or folder; None: no TIFF."""
    if is_tiff(path):
        return _describe_tiff(*read_tiff(path, choice.series, choice.level), choice.level)
    files = list_series_files(path)
    if files is None:
        return None
    return _locate_series(path, files, choice.series, choice.level, choice.axes)


def _describe_tiff(image: TiffImage, index: int, level: int) -> LocatedArray:
    return LocatedArray(
        ZarrPixels(image.array),
        InTiff(index, level),
        image.kind,
        image.axes,
        image.scale,
        image.units,
        image.channel_names,
        levels=image.levels,
    )


def _locate_series(
    path: str, files: Sequence[str], series: int | None, level: int, axes: str | None
) -> LocatedArray:
    """Locate a stack in many TIFF files: one frame in each, or several, one file after another."""
    if not files:
        raise InputError(f"{path}: no TIFF file matches")
    image, index = read_tiff(files[0], series, level)
    first, reference = _describe_tiff(image, index, level), InTiff(index, level)
    axis_names, ndim = list(first.axes or ()), len(first.pixels.shape)
    if axes is not None:
        is_joined = len(axes) == ndim and axes[0] == "t"
    else:
        is_joined = ndim > 2 and axis_names[0] == "T" and "I" not in axis_names
    if axes is None and ndim > 2 and not image.names_axes:
        raise InputError(
            f"the files of {path} hold {first.pixels.shape} each, without axis names: set "
            "input.axes, such as tyx (frames, one file after the other) or tzyx (a volume per "
            "file)"
        )
    scale, units = list(first.scale or ()), list(first.units or ())
    return LocatedArray(
        open_files(files, reference, is_joined),
        InFiles.from_files(files, reference, is_joined),
        _name_axes(files, first.kind),
        axis_names if is_joined else ["t", *axis_names],
        scale if is_joined else [1.0, *scale],
        units if is_joined else ["", *units],
        first.channel_names,
    )


def _name_axes(files: Sequence[str], kind: str) -> str:
    names = [name.rsplit("/", 1)[-1] for name in files]
    if len(names) == 1:
        return f"1 {kind} file, {names[0]}, no other matches"
    return f"{len(names)} {kind} files, {names[0]} to {names[-1]}"


def _locate_plain_array(array: zarr.Array[Any], name: str = "") -> LocatedArray:
    return LocatedArray(
        ZarrPixels(array),
        InZarr(name),
        f"Zarr v{array.metadata.zarr_format} array",
        read_dimension_names(array),
    )


def read_dimension_names(array: zarr.Array[Any]) -> list[str] | None:
    """Read dimension names as Zarr v3, or xarray in Zarr v2, writes them; None: there are none."""
    names: Any = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    return [str(name) for name in names] if names and all(names) else None


def _locate_ome_image(
    group: zarr.Group, image: OmeImage, level: int, inner_path: str = ""
) -> LocatedArray:
    """Locate a level of an OME-Zarr image; `inner_path` is the group's path in the store."""
    name = image.get_level(level).path
    array = _open_level(group, name, level)
    scales = [image.get_scale(i) if i in (0, level) else None for i in range(len(image.levels))]
    shapes = [
        tuple(array.shape) if i == level else _read_shape(group, entry)
        for i, entry in enumerate(image.levels)
    ]
    return LocatedArray(
        ZarrPixels(array),
        InZarr(f"{inner_path}/{name}".strip("/")),
        f"OME-Zarr {image.version} image, level {level} of {len(image.levels)}",
        [axis.name for axis in image.axes],
        scales[level],
        [axis.unit for axis in image.axes],
        image.channel_names,
        levels=tuple(shape for shape in shapes if shape is not None),
        image=inner_path,
        scale_doubt=_explain_misfit(level, scales, shapes),
    )


def _open_level(group: zarr.Group, name: str, level: int) -> zarr.Array[Any]:
    try:
        array = group[name]
    except KeyError as error:
        raise InputError(
            f"level {level} should be the array {name!r}, which does not exist"
        ) from error
    if not isinstance(array, zarr.Array):
        raise InputError(f"level {level}: {name!r} is a group and not an array")
    return array


def _read_shape(group: zarr.Group, level: PyramidLevel | None) -> tuple[int, ...] | None:
    """Read the shape of a level; None if its array does not exist."""
    array = None if level is None else group.get(level.path)
    return tuple(array.shape) if isinstance(array, zarr.Array) else None


def _explain_misfit(
    level: int,
    scales: Sequence[list[float] | None],
    shapes: Sequence[tuple[int, ...] | None],
) -> str:
    """Explain why the scale that a level states does not fit its shape; "" if it does.

    Shapes may be rounded either way: a scale fits if it would for one pixel more or less.
    """
    scale, full_scale = scales[level], scales[0]
    shape, full_shape = shapes[level], shapes[0]
    if level == 0 or scale is None or full_scale is None or shape is None or full_shape is None:
        return ""
    for size, full_size, step, full_step in zip(shape, full_shape, scale, full_scale, strict=True):
        factor = step / full_step if full_step else 0
        if not full_size / (size + 1) <= factor <= full_size / max(size - 1, 0.5):
            return (
                f"level {level} has {shape} pixels and states the scale {scale}, level 0 has "
                f"{full_shape} and states {full_scale}"
            )
    return ""


def _locate_xarray_variable(
    group: zarr.Group, path: str, variable: str | None, inner_path: str
) -> LocatedArray:
    try:
        arrays = dict(group.arrays())
    except Exception as error:  # a web server that lists nothing
        raise InputError(
            f"{path} does not list its arrays: give the path of one of them ({error})"
        ) from error
    stacks = [name for name, array in arrays.items() if array.ndim >= 3]
    if variable is None and len(stacks) == 1:
        variable = stacks[0]
    if variable is None or variable not in arrays:
        listed = ", ".join(sorted(stacks)) or "none"
        raise InputError(
            f"{path} is a Zarr group without an OME-Zarr image: set input.variable to the array "
            f"to register (arrays with 3 or more dimensions: {listed})"
        )
    array = arrays[variable]
    names = read_dimension_names(array)
    scale, units, time = [], [], None
    for name in names or []:
        values, unit = _read_coordinate(arrays.get(name))
        if AXIS_NAMES.get(name.lower()) == "t" and values is not None:
            time = (tuple(float(value) for value in values), unit)
        scale.append(find_spacing(values))
        units.append(unit)
    return LocatedArray(
        ZarrPixels(array),
        InZarr(f"{inner_path}/{variable}".strip("/")),
        "xarray Zarr group",
        names,
        scale or None,
        units or None,
        time=time,
    )


def _read_coordinate(array: zarr.Array[Any] | None) -> tuple[NDArray[Any] | None, str]:
    if array is None or array.ndim != 1 or np.dtype(array.dtype).kind not in "iuf":
        return None, ""
    return np.asarray(array[:]), str(array.attrs.get("units", ""))


def find_spacing(values: NDArray[Any] | None) -> float:
    """Find the step of an evenly spaced coordinate; 1 without a coordinate or an even spacing."""
    if values is None or len(values) < 2:
        return 1.0
    steps = np.diff(values.astype(float))
    is_even = np.allclose(steps, steps[0], rtol=1e-3) and steps[0] != 0
    return float(abs(steps[0])) if is_even else 1.0


# Every format but Zarr; the first one that locates an array at a path is used, Zarr if none does.
FORMATS = (
    Format((NPY_SUFFIX,), _locate_npy),
    Format(TIFF_SUFFIXES, _locate_tiff),
)
ZARR_SUFFIXES = (".zarr",)
# Endings of input names, which do not belong to the name of what the input shows.
INPUT_SUFFIXES = tuple(
    f"{prefix}{suffix}"
    for prefix in (".ome", "")
    for suffixes in (ZARR_SUFFIXES, *(file_format.suffixes for file_format in FORMATS))
    for suffix in suffixes
)
