"""What stores say of themselves: OME-Zarr images, plain arrays, xarray groups, TIFF, .npy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.model import InputError
from steadystack.store.pixels import Pixels, ZarrPixels, files_pixels, is_npy, open_npy, series_name
from steadystack.store.plates import choose_image, ome_metadata
from steadystack.store.remote import open_node
from steadystack.store.tiffs import is_tiff, read_tiff, series_files

AXIS_NAMES = {
    "t": "t", "time": "t", "frame": "t", "date": "t",
    "c": "c", "channel": "c", "ch": "c", "band": "c",
    "z": "z", "depth": "z", "plane": "z",
    "y": "y", "lat": "y", "latitude": "y", "row": "y",
    "x": "x", "lon": "x", "longitude": "x", "column": "x", "col": "x",
}  # fmt: skip


@dataclass(frozen=True)
class FoundArray:
    """An array in a store, and what the store says of it; `scale` and `units` per array axis.

    `name` is what `open_pixels` needs; `levels` are the shapes of the pyramid the array is of.
    """

    pixels: Pixels
    name: str
    kind: str
    axes: Sequence[str] | None = None
    scale: Sequence[float] | None = None
    units: Sequence[str] | None = None
    channel_names: tuple[str, ...] = ()
    time: tuple[tuple[float, ...], str] | None = None
    levels: tuple[tuple[int, ...], ...] = ()
    doubt: str = ""  # why `scale` is not to be believed


def find_array(
    path: str,
    level: int = 0,
    variable: str | None = None,
    position: str | None = None,
    series: int | None = None,
    axes: str | None = None,
) -> FoundArray:
    """The image array at a path; the parameters are the keys of the settings' `input` section.

    Raises InputError if there is none, or several to choose from.
    """
    if is_npy(path):
        return FoundArray(open_npy(path), "", ".npy array")
    if is_tiff(path):
        return _tiff(path, series, level)
    files = series_files(path)
    if files is not None:
        return _series_of_files(path, files, series, level, axes)
    node = open_node(path)
    if isinstance(node, zarr.Array):
        return _plain_array(node)
    node, inside = choose_image(node, path, position, series)
    if isinstance(node, zarr.Array):
        return _plain_array(node, inside)
    if "multiscales" in ome_metadata(node):
        return ome_image(node, level, inside)
    return _xarray_variable(node, path, variable, inside)


def find_image(path: str) -> FoundArray:
    """The only array at a path, such as a mask; of an OME-Zarr image its full resolution."""
    if is_npy(path) or is_tiff(path) or series_files(path) is not None:
        return find_array(path)
    node = open_node(path)
    if isinstance(node, zarr.Array):
        return _plain_array(node)
    if "multiscales" in ome_metadata(node):
        return ome_image(node, 0)
    arrays = list(node.arrays())
    if len(arrays) != 1:
        raise InputError(f"{path} holds {len(arrays)} arrays: give the path of one of them")
    name, array = arrays[0]
    return _plain_array(array, name)


def _tiff(path: str, series: int | None, level: int) -> FoundArray:
    found, index = read_tiff(path, series, level)
    return FoundArray(
        ZarrPixels(found.array),
        f"{index} {level}",
        found.kind,
        found.axes,
        found.scale,
        found.units,
        found.channel_names,
        None,
        found.levels,
    )


def _series_of_files(
    path: str, files: Sequence[str], series: int | None, level: int, axes: str | None
) -> FoundArray:
    """A stack in many TIFF files: a frame in each, or some frames, one file after the other."""
    if not files:
        raise InputError(f"{path}: no TIFF file has such a name")
    first = _tiff(files[0], series, level)
    own, ndim = list(first.axes or ()), len(first.pixels.shape)
    if axes is None and ndim > 2 and own[0] == "T" and "I" not in own:
        joined = True
    elif axes is None:
        joined = False
    else:
        joined = len(axes) == ndim and axes[0] == "t"
    if axes is None and ndim > 2 and first.kind == "TIFF":
        raise InputError(
            f"the files of {path} hold {first.pixels.shape} each, without names of axes: set "
            "input.axes, such as tyx (frames, one file after the other) or tzyx (a volume per file)"
        )
    scale, units = list(first.scale or ()), list(first.units or ())
    return FoundArray(
        files_pixels(files, first.name, joined),
        series_name(files, first.name, joined),
        _named(files, first.kind),
        own if joined else ["t", *own],
        scale if joined else [1.0, *scale],
        units if joined else ["", *units],
        first.channel_names,
    )


def _named(files: Sequence[str], kind: str) -> str:
    names = [name.rsplit("/", 1)[-1] for name in files]
    if len(names) == 1:
        return f"1 {kind} file, {names[0]}, no other matches"
    return f"{len(names)} {kind} files, {names[0]} to {names[-1]}"


def _plain_array(array: zarr.Array[Any], name: str = "") -> FoundArray:
    return FoundArray(
        ZarrPixels(array), name, f"Zarr v{array.metadata.zarr_format} array", dimension_names(array)
    )


def dimension_names(array: zarr.Array[Any]) -> list[str] | None:
    """Dimension names as Zarr v3 or xarray in Zarr v2 write them."""
    names: Any = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    return [str(name) for name in names] if names and all(names) else None


def ome_image(group: zarr.Group, level: int, inside: str = "") -> FoundArray:
    """A level of an OME-Zarr image; `inside` is the group's path in the store."""
    ome = ome_metadata(group)
    multiscale: Any = ome["multiscales"][0]
    version = ome.get("version") or multiscale.get("version") or "0.4"
    datasets = multiscale.get("datasets", [])
    if not 0 <= level < len(datasets):
        raise InputError(f"input.level {level} is not there: levels are 0 to {len(datasets) - 1}")
    axes = multiscale.get("axes")
    if not axes:
        raise InputError(
            f"OME-Zarr {version} without axes is not supported, 0.4 and 0.5 are: give "
            "the path of an array inside, and input.axes"
        )
    entries = [axis if isinstance(axis, dict) else {"name": axis} for axis in axes]
    name = datasets[level]["path"]
    array = _level(group, name, level)
    scales = [_scale_of(multiscale, dataset, len(entries)) for dataset in datasets]
    shapes = [array.shape if i == level else _shape_of(group, d) for i, d in enumerate(datasets)]
    omero: Any = ome.get("omero") or {}
    return FoundArray(
        ZarrPixels(array),
        f"{inside}/{name}".strip("/"),
        f"OME-Zarr {version} image, level {level} of {len(datasets)}",
        [entry["name"] for entry in entries],
        scales[level],
        [entry.get("unit") or "" for entry in entries],
        tuple(str(c.get("label", i)) for i, c in enumerate(omero.get("channels", []))),
        None,
        tuple(shape for shape in shapes if shape is not None),
        _misfit(level, scales, shapes),
    )


def _level(group: zarr.Group, name: str, level: int) -> zarr.Array[Any]:
    try:
        array = group[name]
    except KeyError as error:
        raise InputError(
            f"level {level} should be the array {name!r}, which is not there"
        ) from error
    if not isinstance(array, zarr.Array):
        raise InputError(f"level {level}: {name!r} is a group and not an array")
    return array


def _shape_of(group: zarr.Group, dataset: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The shape of another level; None if it is not there, which is no concern of this one."""
    try:
        array = group[dataset["path"]]
    except KeyError:
        return None
    return tuple(array.shape) if isinstance(array, zarr.Array) else None


def _scale_of(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any], ndim: int
) -> list[float] | None:
    """The pixel size that a level states along each axis; None if it states none."""
    scale: NDArray[np.float64] | None = None
    own = dataset.get("coordinateTransformations", [])
    for step in [*multiscale.get("coordinateTransformations", []), *own]:
        if step.get("type") == "scale":
            if len(step["scale"]) != ndim:
                raise InputError(
                    f"level {dataset['path']} has the scale {step['scale']} for {ndim} axes"
                )
            scale = (1.0 if scale is None else scale) * np.asarray(step["scale"], float)
    return None if scale is None else [float(size) for size in scale]


def _misfit(
    level: int,
    scales: Sequence[list[float] | None],
    shapes: Sequence[tuple[int, ...] | None],
) -> str:
    """Why the scale that a level states does not fit its shape; "" if it does.

    Shapes may be rounded either way: a scale fits if it is that of a pixel more or less.
    """
    here, full = scales[level], scales[0]
    shape, whole = shapes[level], shapes[0]
    if level == 0 or here is None or full is None or shape is None or whole is None:
        return ""
    for size, first, step, fine in zip(shape, whole, here, full, strict=True):
        factor = step / fine if fine else 0
        if not first / (size + 1) <= factor <= first / max(size - 1, 0.5):
            return (
                f"level {level} has {shape} pixels and states the scale {here}, level 0 has "
                f"{whole} and states {full}"
            )
    return ""


def _xarray_variable(group: zarr.Group, path: str, variable: str | None, inside: str) -> FoundArray:
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
        there = ", ".join(sorted(stacks)) or "none"
        raise InputError(
            f"{path} is a Zarr group without an OME-Zarr image: set input.variable to the array "
            f"to register (arrays with 3 or more dimensions: {there})"
        )
    array = arrays[variable]
    names = dimension_names(array)
    scale, units, time = [], [], None
    for name in names or []:
        values, unit = _coordinate(arrays.get(name))
        if AXIS_NAMES.get(name.lower()) == "t" and values is not None:
            time = (tuple(float(value) for value in values), unit)
        scale.append(spacing(values))
        units.append(unit)
    return FoundArray(
        ZarrPixels(array),
        f"{inside}/{variable}".strip("/"),
        "xarray Zarr group",
        names,
        scale or None,
        units or None,
        (),
        time,
    )


def _coordinate(array: zarr.Array[Any] | None) -> tuple[NDArray[Any] | None, str]:
    if array is None or array.ndim != 1 or np.dtype(array.dtype).kind not in "iuf":
        return None, ""
    return np.asarray(array[:]), str(array.attrs.get("units", ""))


def spacing(values: NDArray[Any] | None) -> float:
    """The step of an evenly spaced coordinate; 1 if there is none."""
    if values is None or len(values) < 2:
        return 1.0
    steps = np.diff(values.astype(float))
    even = np.allclose(steps, steps[0], rtol=1e-3) and steps[0] != 0
    return float(abs(steps[0])) if even else 1.0
