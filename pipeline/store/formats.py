"""What Zarr stores say of themselves: OME-Zarr images, plain arrays, xarray groups."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.model import InputError

AXIS_NAMES = {
    "t": "t", "time": "t", "frame": "t", "date": "t",
    "c": "c", "channel": "c", "ch": "c", "band": "c",
    "z": "z", "depth": "z", "plane": "z",
    "y": "y", "lat": "y", "latitude": "y", "row": "y",
    "x": "x", "lon": "x", "longitude": "x", "column": "x", "col": "x",
}  # fmt: skip


@dataclass(frozen=True)
class FoundArray:
    """An array in a store, and what the store says of it; `scale` and `units` per array axis."""

    array: zarr.Array[Any]
    name: str
    kind: str
    axes: Sequence[str] | None = None
    scale: Sequence[float] | None = None
    units: Sequence[str] | None = None
    channel_names: tuple[str, ...] = ()
    time: tuple[tuple[float, ...], str] | None = None


def open_node(path: str) -> zarr.Array[Any] | zarr.Group:
    if "://" not in path and not Path(path).exists():
        raise InputError(f"{path} is not there")
    try:
        return zarr.open(path, mode="r")
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is no Zarr store (TIFF and others: convert them first)"
        ) from error
    except Exception as error:  # a store may raise anything: metadata that is torn, no credentials
        raise InputError(f"{path} cannot be opened as Zarr: {error}") from error


def ome_metadata(group: zarr.Group) -> Mapping[str, Any]:
    """The OME-Zarr metadata of a group: under "ome" since version 0.5, at the top before."""
    attributes = dict(group.attrs)
    nested = attributes.get("ome")
    return nested if isinstance(nested, dict) else attributes


def _image_paths(group: zarr.Group) -> list[str]:
    """Paths of the images of a plate or a collection, as far as they are written down."""
    plate: Any = ome_metadata(group).get("plate")
    if not isinstance(plate, dict):
        return sorted(name for name in group.group_keys() if name != "OME")
    return [f"{well['path']}/0" for well in plate.get("wells", [])]


def find_array(path: str, level: int = 0, variable: str | None = None) -> FoundArray:
    """The image array of a store: of an OME-Zarr image, a plain array, or of an xarray group.

    Raises InputError if there is none, or several to choose from.
    """
    node = open_node(path)
    if isinstance(node, zarr.Array):
        return _plain_array(node)
    ome = ome_metadata(node)
    if "multiscales" in ome:
        return ome_image(node, level)
    if "plate" in ome or "bioformats2raw.layout" in ome:
        raise InputError(
            f"{path} holds several images: give the path of one of them, such as {path}/"
            f"{next(iter(_image_paths(node)), 'A/1/0')}"
        )
    return _xarray_variable(node, path, variable)


def _plain_array(array: zarr.Array[Any]) -> FoundArray:
    return FoundArray(
        array, "", f"Zarr v{array.metadata.zarr_format} array", dimension_names(array)
    )


def dimension_names(array: zarr.Array[Any]) -> list[str] | None:
    """Dimension names as Zarr v3 or xarray in Zarr v2 write them."""
    names: Any = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    return [str(name) for name in names] if names and all(names) else None


def ome_image(group: zarr.Group, level: int) -> FoundArray:
    ome = ome_metadata(group)
    multiscale: Any = ome["multiscales"][0]
    version = ome.get("version") or multiscale.get("version") or "0.4"
    datasets = multiscale.get("datasets", [])
    if not 0 <= level < len(datasets):
        raise InputError(f"input.level {level} is not there: levels are 0 to {len(datasets) - 1}")
    axes = multiscale.get("axes")
    if not axes:
        raise InputError(f"OME-Zarr {version} without axes is not supported: 0.4 and 0.5 are")
    entries = [axis if isinstance(axis, dict) else {"name": axis} for axis in axes]
    name = datasets[level]["path"]
    try:
        array = group[name]
    except KeyError as error:
        raise InputError(
            f"level {level} should be the array {name!r}, which is not there"
        ) from error
    if not isinstance(array, zarr.Array):
        raise InputError(f"level {level}: {name!r} is a group and not an array")
    steps = [*multiscale.get("coordinateTransformations", [])]
    steps += datasets[level].get("coordinateTransformations", [])
    scale = np.ones(len(entries))
    for step in steps:
        if step.get("type") == "scale":
            scale = scale * np.asarray(step["scale"], float)
    omero: Any = ome.get("omero") or {}
    return FoundArray(
        array,
        name,
        f"OME-Zarr {version} image, level {level} of {len(datasets)}",
        [entry["name"] for entry in entries],
        [float(size) for size in scale],
        [entry.get("unit") or "" for entry in entries],
        tuple(str(c.get("label", i)) for i, c in enumerate(omero.get("channels", []))),
    )


def _xarray_variable(group: zarr.Group, path: str, variable: str | None) -> FoundArray:
    arrays = dict(group.arrays())
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
        array, variable, "xarray Zarr group", names, scale or None, units or None, (), time
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


@lru_cache(maxsize=32)
def open_array(path: str, array: str, digest: str = "") -> zarr.Array[Any]:
    """An array for reading, opened once per process; `digest` is of what was found there."""
    node = zarr.open(path, mode="r")
    found = node if isinstance(node, zarr.Array) else node[array]
    assert isinstance(found, zarr.Array)
    return found


def array_digest(path: str, name: str, array: zarr.Array[Any], axes: Sequence[str]) -> str:
    """A short digest of the metadata that decides what is read."""
    metadata = array.metadata.to_dict()
    text = json.dumps([path, name, list(axes), metadata], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
