"""Locate stacks on disk: what a path holds, and how the frames lie in it.

Formats are in `formats`; a stack here is an array of them, with names for its axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from steadystack.readers.formats import find_array
from steadystack.readers.positions import Channel, find_channels, identify_axes
from steadystack.readers.references import (
    ArrayChoice,
    Cut,
    LocatedArray,
    Reference,
    digest_metadata,
    open_reference,
)
from steadystack.units import choose_common_unit, parse_pixel_size, parse_region, parse_slice

Missing = Literal["invalid", "fill"]
PixelSize = float | str | Sequence[float | str] | None


@dataclass(frozen=True)
class StackSpec:
    """Where a stack is and how to read it: a small picklable description, without pixels.

    Attributes
    ----------
    path, array : the store, and where in the store the array is
    axes : axis name of every array dimension, in array order
    shape, chunks, dtype : of the array; `chunks` are the smallest blocks that decode by themselves
    channel : index along c, or None if there is no such axis
    several : indices of the channels that are measured, starting with `channel`; (): only that one
    channel_names : names of the channels, if the store has them
    pixel_size, unit : size of a pixel along each spatial axis of the frame, NaN where it is not
        known, and its unit, "" if not known
    time : time of every frame and its unit, if the store has them
    missing_chunks : "invalid": pixels of a chunk that is not there are not valid; "fill": they are
        the fill value, because the store leaves out empty chunks on purpose
    kind : what was found, in words
    digest : of the metadata that decide what is read
    shards : of the array, if chunks are packed into shards
    levels : shapes of the levels of the pyramid that the array is a level of
    image : path in the store of the OME-Zarr image that the array is a level of; None: of none
    level : number of the array's level in the pyramid
    uncut : the whole stack, if this is only some frames or a region of them; None: it is whole
    codec_std : standard deviation, pixels, of the content's position in a frame, due to a codec
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
    uncut: StackSpec | None = None
    several: tuple[int, ...] = ()
    codec_std: float = 0.0

    @property
    def frame_numbers(self) -> range:
        """The numbers that the frames have in the whole stack."""
        is_cut = isinstance(self.array, Cut)
        return range(*self.sides["t"]) if is_cut else range(self.frame_count)

    @property
    def first_pixel(self) -> dict[str, int]:
        """The first pixel along each spatial axis of the array, counted in the whole stack."""
        return {axis: side[0] for axis, side in self.sides.items() if axis in "zyx"}

    @property
    def corner(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Shape of the whole frame, and the first pixel of the region; None: all of it is used."""
        if self.uncut is None:
            return None
        axes = self.uncut.spatial
        return self.uncut.frame_shape, tuple(self.first_pixel[axis] for axis in axes)

    @property
    def sides(self) -> dict[str, tuple[int, int, int]]:
        """The used part of the whole stack, (first, stop, step) by axis."""
        if isinstance(self.array, Cut):
            return dict(zip(self.axes, self.array.sides, strict=True))
        return {axis: (0, self.size(axis), 1) for axis in self.axes}

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
    channel: Channel = None,
    level: int = 0,
    axes: str | None = None,
    variable: str | None = None,
    missing_chunks: Missing = "invalid",
    position: str | None = None,
    series: int | None = None,
    pixel_size: PixelSize = None,
    reader: str | None = None,
    raw: str | None = None,
    frames: str | None = None,
    region: Region | None = None,
) -> StackSpec:
    """Locate the stack at `path`; reads metadata only.

    Parameters
    ----------
    path : a store or file, an image or array in one, a folder or pattern of TIFF files
    channel : number or name, or several; needed if there are several
    level : pyramid level, 0 is the full resolution
    axes : one letter of ``tczyx`` per array dimension, where the store does not tell or errs
    variable : name of the array in an xarray group; needed if there are several
    missing_chunks : see `StackSpec`
    position : image of a plate, such as ``B/03/0``; needed if there are several
    series : image of a collection or of a TIFF file, by its number; needed if there are several
    pixel_size : micrometers, or such as "0.5 nm", where the store does not tell or errs
    reader : ``file.py:function`` or ``package:function`` that returns the array of a path
    raw : type and shape of a frame, such as "uint16 512 x 640 offset 4096", of a raw file
    frames : of which the stack consists: a slice such as "155:245:3"; None: all
    region : of every frame: (first, stop) along its last axes, pixels or lengths such as "3 um";
        None: all, of an axis or of the frame

    Raises
    ------
    InputError
        With what is wrong and what there is instead.
    """
    choice = ArrayChoice(level, variable, position, series, axes, reader, raw)
    find = partial(find_array, path, choice)
    located = get_place(path).call_interruptibly(find)
    if located.scale_doubt and pixel_size is None:
        raise InputError(
            f"{path}: {located.scale_doubt}: set input.pixel_size, or another input.level"
        )
    pixels = located.pixels
    names = identify_axes(pixels, axes or located.axes, path)
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
        codec_std=located.codec_std,
    )
    chosen = find_channels(path, spec.size("c"), spec.channel_names, channel, "c" in spec.axes)
    spec = replace(spec, **chosen, **_choose_measures(spec, located, pixel_size))
    return cut_stack(spec, find_frames(spec, frames), _find_region(spec, region))


Region = Sequence[tuple[float | str, float | str] | None]


def find_frames(spec: StackSpec, frames: str | None) -> range:
    """Find the frames of a stack that a slice, given as text, selects; None: all.

    Raises InputError if there are fewer than two.
    """
    chosen = range(spec.frame_count)
    if frames is None:
        return chosen
    chosen = chosen[parse_slice("input.frames", frames)]
    if len(chosen) < 2:
        raise InputError(
            f"input.frames {frames!r} leaves {len(chosen)} of the {spec.frame_count} frames of "
            f"{spec.path}, 0 to {spec.frame_count - 1}: at least 2 are needed"
        )
    return chosen


def _find_region(spec: StackSpec, region: Region | None) -> dict[str, tuple[int, int]]:
    """Find the pixels of a frame that a region holds, (first, stop) by axis; None: all of them."""
    where = spec.spatial, spec.frame_shape, spec.pixel_size, spec.unit
    sides = parse_region("input.region", region or (), *where)
    return dict(zip(spec.spatial, sides, strict=True))


def cut_stack(spec: StackSpec, frames: range, region: Mapping[str, tuple[int, int]]) -> StackSpec:
    """Cut frames, and a region given as (first, stop) by axis, out of a stack.

    Returns the stack itself if nothing is cut off.
    """
    sides = {"t": (frames.start, frames.stop, frames.step)}
    sides |= {axis: (*side, 1) for axis, side in region.items()}
    along = tuple(sides.get(axis, (0, spec.size(axis), 1)) for axis in spec.axes)
    shape = tuple(len(range(*side)) for side in along)
    if shape == spec.shape or isinstance(spec.array, Cut):
        return spec
    reference = Cut(spec.array, along)
    pixels = open_reference(spec.path, spec.array, spec.digest)
    cut = replace(
        spec,
        array=reference,
        shape=shape,
        time=spec.time and (tuple(spec.time[0][i] for i in frames), spec.time[1]),
        digest=digest_metadata(spec.path, reference, pixels, spec.axes, spec.shape),
        uncut=spec,
    )
    size = dict(zip(spec.spatial, spec.pixel_size, strict=True))
    return replace(cut, pixel_size=tuple(size[axis] for axis in cut.spatial))


def _choose_measures(
    spec: StackSpec, located: LocatedArray, pixel_size: PixelSize
) -> dict[str, Any]:
    """Choose pixel size, unit and times: as given, or else from the store."""
    scale = dict(zip(spec.axes, located.scale or [np.nan] * len(spec.axes), strict=True))
    units = dict(zip(spec.axes, located.units or [""] * len(spec.axes), strict=True))
    sizes, unit = choose_common_unit(
        [scale[axis] for axis in spec.spatial], [units[axis] for axis in spec.spatial]
    )
    if pixel_size is not None:
        sizes, unit = parse_pixel_size(pixel_size, spec.spatial), "micrometer"
    regular = compute_regular_times(scale.get("t"), units.get("t", ""), spec.frame_count)
    return {"pixel_size": sizes, "unit": unit, "time": located.time or regular}


def choose_ome_version(spec: StackSpec) -> OmeVersion:
    """Choose the version of OME-Zarr that goes with the Zarr format of a stack."""
    array = spec.array.open_zarr_array(spec.path)
    return "0.4" if array is not None and array.metadata.zarr_format == 2 else "0.5"


def get_codecs(spec: StackSpec, version: OmeVersion) -> dict[str, Any]:
    """Get the codecs of a stack for a new array; empty if that has another Zarr format."""
    array = spec.array.open_zarr_array(spec.path)
    if array is None or array.metadata.zarr_format != (2 if version == "0.4" else 3):
        return {}
    # A codec that transposes the stack's axes would not fit the new array's axes.
    if str(array.dtype) != spec.dtype:  # its numbers encode values of another type
        return {}
    filters = tuple(f for f in array.filters if type(f).__name__ != "TransposeCodec")
    return {"compressors": array.compressors or None, "filters": filters or None}


def get_coordinates(spec: StackSpec) -> Coordinates:
    """Get the coordinates of a stack's pixels, from its store or from settings that override it."""
    if spec.uncut is not None:
        whole = get_coordinates(spec.uncut)
        for axis, (first, _, every) in spec.sides.items():
            whole.origin[axis] += first * whole.step[axis]
            whole.step[axis] *= every
        return whole
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
            coordinates.replace_step(axis, size)
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
