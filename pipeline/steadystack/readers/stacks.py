"""Stacks on disk: what a path holds, and how one frame lies in it.

Formats are in `formats`; a stack here is an array of them, with names for its axes.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.conventions import compute_regular_times
from steadystack.durable import get_place
from steadystack.model import InputError, Slices
from steadystack.ome import Coordinates, OmeImage, OmeVersion, find_time_unit, read_image
from steadystack.readers.formats import AXIS_NAMES, find_array
from steadystack.readers.pixels import Pixels
from steadystack.readers.references import (
    ArrayChoice,
    LocatedArray,
    Reference,
    digest_metadata,
)
from steadystack.readers.tiff import is_tiff
from steadystack.units import choose_common_unit, is_size

DEFAULT_AXES = {2: "yx", 3: "tyx"}
# Entries along an axis: more are a slip in the metadata, and lists of frames would fill the memory.
MOST_PIXELS = 2**24

Missing = Literal["invalid", "fill"]


@dataclass(frozen=True)
class StackSpec:
    """Where a stack is and how to read it: a small picklable description, without pixels.

    Attributes
    ----------
    path, array : the store, and where in the store the array is
    axes : axis name of every array dimension, in array order
    shape, chunks, dtype : of the array; `chunks` are the smallest blocks that decode by themselves
    channel : index along c, or None if there is no such axis
    channel_names : names of the channels, as far as the store tells
    pixel_size, unit : size of a pixel along each spatial axis of the frame, NaN where it is not
        known, and its unit, "" if not known
    time : time of every frame and its unit, where the store tells
    missing_chunks : "invalid": pixels of a chunk that is not there are not valid; "fill": they are
        the fill value, because the store leaves out empty chunks on purpose
    kind : what was found, in words
    digest : of the metadata that decide what is read
    shards : of the array, if chunks are packed into shards
    levels : shapes of the levels of the pyramid that the array is a level of
    image : path in the store of the OME-Zarr image that the array is a level of; None: of none
    level : number of the array's level in the pyramid
    """

    path: str
    array: Reference
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    channel: int | None
    channel_names: tuple[str, ...]
    pixel_size: tuple[float, ...]
    unit: str
    time: tuple[tuple[float, ...], str] | None
    missing_chunks: Missing
    kind: str
    digest: str
    shards: tuple[int, ...] | None = None
    levels: tuple[tuple[int, ...], ...] = ()
    image: str | None = None
    level: int = 0

    @property
    def frame_count(self) -> int:
        return self.size("t")

    @property
    def spatial(self) -> tuple[str, ...]:
        """The spatial axes of a frame in the order z, y, x; a z axis with one plane is left out."""
        return tuple(a for a in "zyx" if a in self.axes and not (a == "z" and self.size(a) == 1))

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return tuple(self.size(axis) for axis in self.spatial)

    @property
    def frame_bytes(self) -> int:
        """The bytes of one frame, decoded."""
        return int(np.prod(self.frame_shape)) * np.dtype(self.dtype).itemsize

    def size(self, axis: str) -> int:
        """Get the length of the array along an axis; 1 if there is no such axis."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def get_slices(self, frame: int, region: Slices | None = None) -> Slices:
        """Get the slices of the array that hold one frame, or a region of it."""
        channel = self.channel or 0
        slices = {"t": slice(frame, frame + 1), "c": slice(channel, channel + 1)}
        if region is not None:
            slices |= dict(zip(self.spatial, region, strict=True))
        full = (slice(0, size) for size in self.shape)
        return tuple(slices.get(axis, side) for axis, side in zip(self.axes, full, strict=True))

    def arrange_block(self, block: NDArray[Any]) -> NDArray[Any]:
        """Arrange a block of the array that holds one frame as an image with the axes `spatial`."""
        order = [self.axes.index(axis) for axis in self.spatial]
        dropped = [axis for axis in range(block.ndim) if axis not in order]
        shape = [block.shape[axis] for axis in order]
        return block.transpose(*dropped, *order).reshape(shape)


def locate_stack(
    path: str,
    *,
    channel: int | str | None = None,
    level: int = 0,
    axes: str | None = None,
    variable: str | None = None,
    missing_chunks: Missing = "invalid",
    position: str | None = None,
    series: int | None = None,
    pixel_size: float | Sequence[float] | None = None,
    reader: str | None = None,
) -> StackSpec:
    """Locate the stack at `path`; reads metadata only.

    Parameters
    ----------
    path : a store or file, an image or array in one, a folder or pattern of TIFF files
    channel : number or name; needed if there are several
    level : pyramid level, 0 is the full resolution
    axes : one letter of ``tczyx`` per array dimension, where the store does not tell or errs
    variable : name of the array in an xarray group; needed if there are several
    missing_chunks : see `StackSpec`
    position : image of a plate, such as ``B/03/0``; needed if there are several
    series : image of a collection or of a TIFF file, by its number; needed if there are several
    pixel_size : micrometers, where the store does not tell or errs
    reader : ``file.py:function`` or ``package:function`` that returns the array of a path

    Raises
    ------
    InputError
        With what is wrong and what there is instead.
    """
    find = partial(find_array, path, ArrayChoice(level, variable, position, series, axes, reader))
    located = get_place(path).call_interruptibly(find)
    if located.scale_doubt and pixel_size is None:
        raise InputError(
            f"{path}: {located.scale_doubt}: set input.pixel_size, or another input.level"
        )
    pixels = located.pixels
    names = _identify_axes(pixels, axes or located.axes, path)
    spec = StackSpec(
        path=path,
        array=located.reference,
        axes=names,
        shape=pixels.shape,
        chunks=pixels.chunks,
        dtype=str(pixels.dtype),
        channel=None,
        channel_names=located.channel_names,
        pixel_size=(),
        unit="",
        time=None,
        missing_chunks=missing_chunks,
        kind=located.kind,
        digest=digest_metadata(path, located.reference, pixels, names),
        shards=pixels.shards,
        levels=located.levels,
        image=located.image,
        level=level,
    )
    return replace(
        spec, channel=_find_channel(spec, channel), **_choose_measures(spec, located, pixel_size)
    )


def _choose_measures(
    spec: StackSpec, located: LocatedArray, pixel_size: float | Sequence[float] | None
) -> dict[str, Any]:
    """Choose pixel size, unit and times: as given, or else as the store has them."""
    scale = dict(zip(spec.axes, located.scale or [np.nan] * len(spec.axes), strict=True))
    units = dict(zip(spec.axes, located.units or [""] * len(spec.axes), strict=True))
    sizes, unit = choose_common_unit(
        [scale[axis] for axis in spec.spatial], [units[axis] for axis in spec.spatial]
    )
    if pixel_size is not None:
        sizes_given = [float(size) for size in np.ravel(pixel_size)]
        sizes_given = sizes_given * len(sizes) if len(sizes_given) == 1 else sizes_given
        if len(sizes_given) != len(sizes):
            raise InputError(
                f"input.pixel_size has {len(sizes_given)} values for the axes "
                f"{', '.join(spec.spatial)}"
            )
        if not all(map(is_size, sizes_given)):
            raise InputError(
                f"input.pixel_size {pixel_size} is not a size: give micrometers, above 0"
            )
        sizes, unit = tuple(sizes_given), "micrometer"
    regular = compute_regular_times(scale.get("t"), units.get("t", ""), spec.frame_count)
    return {"pixel_size": sizes, "unit": unit, "time": located.time or regular}


def _identify_axes(array: Pixels, names: Sequence[str] | None, path: str) -> tuple[str, ...]:
    """Identify every array dimension as one of t, c, z, y, x; raises InputError if it cannot be."""
    ndim = len(array.shape)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path} holds {array.dtype}: real numbers are needed")
    if 0 in array.shape or max(array.shape, default=0) > MOST_PIXELS:
        raise InputError(
            f"{path} has the shape {array.shape}: every axis needs 1 to {MOST_PIXELS} entries; "
            "write its metadata again, or give the path of another array"
        )
    names = list(names or DEFAULT_AXES.get(ndim, ""))
    if not names:
        raise InputError(
            f"{path} has {ndim} dimensions without names: set input.axes, one letter of "
            "tczyx per dimension, such as tcyx"
        )
    if len(names) != ndim:
        raise InputError(
            f"input.axes names {len(names)} axes ({''.join(names)}), but {path} has {ndim} "
            f"dimensions of {tuple(array.shape)}"
        )
    unknown = [name for name in names if name.lower() not in AXIS_NAMES]
    if unknown:
        raise InputError(
            f"axis {unknown[0]!r} of {path} is not one of t, c, z, y, x: set input.axes, one "
            "letter per dimension"
        )
    axes = tuple(AXIS_NAMES[name.lower()] for name in names)
    if len(set(axes)) < len(axes):
        raise InputError(f"an axis occurs twice in {axes} of {path}: set input.axes")
    if not {"y", "x"} <= set(axes):
        raise InputError(f"{path} has the axes {axes}: a frame needs y and x; set input.axes")
    if "t" not in axes:
        single = f"{path} has the axes {', '.join(axes)} and no t: a time-lapse is needed; "
        if is_tiff(path) and len(axes) == 2:
            raise InputError(
                f"{single}if each frame is a file, give the folder, or a pattern in quotes such "
                f"as '{path.rpartition('/')[0] or '.'}/*.tif'"
            )
        raise InputError(f"{single}if one of them is time, set input.axes")
    return axes


def _find_channel(spec: StackSpec, channel: int | str | None) -> int | None:
    """Find the index of a channel given by number or name; None if the stack has no such axis."""
    count, names = spec.size("c"), spec.channel_names
    if channel is None and count > 1:
        raise InputError(
            f"{spec.path} has {_list_channels(count, names)}: choose one (input.channel, --channel)"
        )
    if isinstance(channel, str):
        if channel not in names and channel.isdecimal():
            return _find_channel(spec, int(channel))
        if names.count(channel) > 1:
            places = ", ".join(str(i) for i, name in enumerate(names) if name == channel)
            raise InputError(
                f"input.channel {channel!r} is the name of {names.count(channel)} channels: choose "
                f"by number ({places})"
            )
        if channel not in names:
            close_names = difflib.get_close_matches(channel, names, n=1)
            suggestion = f"; did you mean {close_names[0]}?" if close_names else ""
            raise InputError(
                f"input.channel {channel!r} is not a channel of {spec.path}, which has "
                f"{_list_channels(count, names)}{suggestion}"
            )
        return names.index(channel)
    if channel is not None and not 0 <= channel < count:
        raise InputError(
            f"input.channel {channel} is out of range: {spec.path} has "
            f"{_list_channels(count, names)}"
        )
    return (channel or 0) if "c" in spec.axes else None


def _list_channels(count: int, names: Sequence[str]) -> str:
    """List the channels as text, with what they can be chosen by: name, number or nothing."""
    if count == 1:
        return f"one channel, {names[0]}" if names else "one channel, without a name: leave it out"
    if names:
        return f"{count} channels: {', '.join(names)}"
    return f"{count} channels, without names: 0 to {count - 1}"


def choose_ome_version(spec: StackSpec) -> OmeVersion:
    """Choose the version of OME-Zarr that goes with the Zarr format of a stack."""
    array = spec.array.open_zarr_array(spec.path)
    return "0.4" if array is not None and array.metadata.zarr_format == 2 else "0.5"


def get_codecs(spec: StackSpec, version: OmeVersion) -> dict[str, Any]:
    """Get the codecs of a stack for a new array; empty if that has another Zarr format."""
    array = spec.array.open_zarr_array(spec.path)
    if array is None or array.metadata.zarr_format != (2 if version == "0.4" else 3):
        return {}
    # A transposition of the stack's axes would not fit the new array's.
    if str(array.dtype) != spec.dtype:  # its numbers stand for values of another type
        return {}
    filters = tuple(f for f in array.filters if type(f).__name__ != "TransposeCodec")
    return {"compressors": array.compressors or None, "filters": filters or None}


def get_coordinates(spec: StackSpec) -> Coordinates:
    """Get where the pixels of a stack lie, from its store, or from settings that replace it."""
    coordinates, image = Coordinates(), _read_ome_image(spec)
    if image is not None:
        steps, origins = image.compute_placement(spec.level)
        for axis, entry, step, origin in zip(spec.axes, image.axes, steps, origins, strict=True):
            coordinates.unit[axis], coordinates.step[axis] = entry.unit, step
            coordinates.origin[axis] = origin
        coordinates.omero = image.omero
    sizes, unit = choose_common_unit(
        [coordinates.step[axis] for axis in spec.spatial],
        [coordinates.unit.get(axis, "") for axis in spec.spatial],
    )
    if unit != spec.unit or not np.array_equal(sizes, spec.pixel_size, equal_nan=True):
        for axis, size in zip(spec.spatial, spec.pixel_size, strict=True):
            coordinates.step[axis] = size
            coordinates.unit[axis] = spec.unit or coordinates.unit.get(axis, "")
    coordinates.drop_unknown()
    if image is None and spec.time is not None and len(spec.time[0]) > 1:
        times, time_unit = np.asarray(spec.time[0]), find_time_unit(spec.time[1])
        step = float(times[-1] - times[0]) / (len(times) - 1)
        if time_unit and step > 0 and np.allclose(np.diff(times), step, rtol=1e-6):
            coordinates.unit["t"], coordinates.step["t"] = time_unit, step
            coordinates.origin["t"] = float(times[0])
    return coordinates


def _read_ome_image(spec: StackSpec) -> OmeImage | None:
    """Read the metadata of the OME-Zarr image that a stack is a level of; None: of none."""
    if spec.image is None:
        return None
    node = get_place(spec.path).open_zarr()
    group = node[spec.image] if spec.image and isinstance(node, zarr.Group) else node
    return read_image(group.attrs, spec.path)
