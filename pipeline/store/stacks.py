"""Stacks on disk: what a path holds, and single frames of it.

Understood are OME-Zarr 0.4 and 0.5 images, plain Zarr arrays of format 2 and 3, and xarray's Zarr
groups. `locate` looks at metadata alone; `StackFrames` reads one frame at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.model import Frame, FrameStatus, InputError, Slices
from pipeline.store.formats import AXIS_NAMES, array_digest, find_array, open_array
from pipeline.store.patience import patiently
from pipeline.units import common_unit

DEFAULT_AXES = {2: "yx", 3: "tyx"}

Missing = Literal["invalid", "fill"]


@dataclass(frozen=True)
class StackSpec:
    """Where a stack is and how to read it: a small picklable description, without pixels.

    Attributes
    ----------
    path, array : the store, and the array's path inside it ("" if the store is the array)
    axes : axis name of every array dimension, in array order
    shape, chunks, dtype : of the array; `chunks` are the smallest pieces that decode by themselves
    channel : index along c, or None if there is no such axis
    channel_names : names of the channels, as far as the store tells
    pixel_size, unit : size of a pixel along each spatial axis of the frame, and its unit ("" if
        not known); sizes are 1 where the store tells none
    time : time of every frame and its unit, where the store tells
    missing_chunks : "invalid": pixels of a chunk that is not there are not valid; "fill": they are
        the fill value, because the store leaves out empty chunks on purpose
    kind : what was found, in words
    digest : of the metadata that the reading depends on
    """

    path: str
    array: str
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

    @property
    def frame_count(self) -> int:
        return self.size("t")

    @property
    def spatial(self) -> tuple[str, ...]:
        """Spatial axes of a frame in the order z, y, x; a z axis with one plane is left out."""
        return tuple(a for a in "zyx" if a in self.axes and not (a == "z" and self.size(a) == 1))

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return tuple(self.size(axis) for axis in self.spatial)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, decoded."""
        return int(np.prod(self.frame_shape)) * np.dtype(self.dtype).itemsize

    def size(self, axis: str) -> int:
        """Length of the array along an axis; 1 if there is no such axis."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def selection(self, frame: int, part: Slices | None = None) -> Slices:
        """The slices of the array that hold one frame, or a part of it."""
        channel = self.channel or 0
        fixed = {"t": slice(frame, frame + 1), "c": slice(channel, channel + 1)}
        if part is not None:
            fixed |= dict(zip(self.spatial, part, strict=True))
        whole = (slice(0, size) for size in self.shape)
        return tuple(fixed.get(axis, side) for axis, side in zip(self.axes, whole, strict=True))

    def as_frame(self, block: NDArray[Any]) -> NDArray[Any]:
        """A block read by `selection` as an image with the axes `spatial`."""
        order = [self.axes.index(axis) for axis in self.spatial]
        rest = [axis for axis in range(block.ndim) if axis not in order]
        shape = [block.shape[axis] for axis in order]
        return block.transpose(*rest, *order).reshape(shape)


def locate(
    path: str,
    *,
    channel: int | str | None = None,
    level: int = 0,
    axes: str | None = None,
    variable: str | None = None,
    missing_chunks: Missing = "invalid",
) -> StackSpec:
    """What the Zarr store at `path` holds; reads metadata only.

    Parameters
    ----------
    path : a store, or an image or array inside one; local or a URL that fsspec knows
    channel : number or name; needed if there are several
    level : pyramid level of an OME-Zarr image, 0 is the full resolution
    axes : one letter of ``tczyx`` per array dimension, where the store does not tell or errs
    variable : name of the array in an xarray group; needed if there are several
    missing_chunks : see `StackSpec`

    Raises
    ------
    InputError
        Naming what is wrong and what there is instead.
    """
    found = find_array(path, level, variable)
    array = found.array
    names = _axes(array, axes or found.axes, path)
    shape = tuple(int(size) for size in array.shape)
    spec = StackSpec(
        path=path,
        array=found.name,
        axes=names,
        shape=shape,
        chunks=tuple(int(size) for size in array.chunks),
        dtype=str(array.dtype),
        channel=None,
        channel_names=found.channel_names,
        pixel_size=(),
        unit="",
        time=None,
        missing_chunks=missing_chunks,
        kind=found.kind,
        digest=array_digest(path, found.name, array, names),
    )
    scale = dict(zip(names, found.scale or [1.0] * len(names), strict=True))
    units = dict(zip(names, found.units or [""] * len(names), strict=True))
    pixel_size, unit = common_unit(
        [scale[axis] for axis in spec.spatial], [units[axis] for axis in spec.spatial]
    )
    return replace(
        spec,
        channel=_channel(spec, channel),
        pixel_size=pixel_size,
        unit=unit,
        time=found.time or _regular_time(scale.get("t"), units.get("t", ""), spec.frame_count),
    )


@dataclass(frozen=True)
class StackFrames:
    """The frames of a stack, read one at a time; picklable, opens its own data."""

    spec: StackSpec

    @property
    def frame_count(self) -> int:
        return self.spec.frame_count

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self.spec.frame_shape

    @property
    def axes(self) -> tuple[str, ...]:
        return self.spec.spatial

    def common_mask(self, part: Slices) -> None:
        """None: the store holds no mask."""

    def read(self, frame: int, part: Slices | None = None) -> Frame:
        """A frame or a part of it; pixels of missing chunks are not valid, the status says so."""
        spec = self.spec
        part = part or tuple(slice(0, size) for size in spec.frame_shape)
        array = open_array(spec.path, spec.array, spec.digest)
        region = spec.selection(frame, part)
        try:
            block, missing = patiently(partial(_block, array, spec, region))
        except MemoryError:
            raise
        except Exception as error:  # whatever a codec or a store raises
            return Frame.unreadable(tuple(side.stop - side.start for side in part), error)
        image = spec.as_frame(block)
        if missing is None:
            return Frame(image, np.ones(image.shape, bool))
        lost = spec.as_frame(missing)
        status = FrameStatus.MISSING if lost.all() else FrameStatus.INCOMPLETE
        return Frame(image, ~lost, status)


def _block(
    array: zarr.Array[Any], spec: StackSpec, region: tuple[slice, ...]
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """A block of an array, and which of its pixels are missing; None if none is."""
    block = np.asarray(array[region])
    whole = spec.missing_chunks != "invalid"
    return block, None if whole else _missing_pixels(array, spec, region, block)


def may_lack_chunks(spec: StackSpec) -> bool:
    """Whether pixels may be missing: chunks are, or lie in shards, where nobody counts them."""
    if spec.missing_chunks == "fill":
        return False
    array = open_array(spec.path, spec.array, spec.digest)
    return array.shards is not None or bool(array.nchunks_initialized < array.nchunks)


def _missing_pixels(
    array: zarr.Array[Any], spec: StackSpec, region: tuple[slice, ...], block: NDArray[Any]
) -> NDArray[np.bool_] | None:
    """Which pixels of a block belong to chunks that are not in the store; None if none does.

    Zarr reads a chunk that is not there as its fill value, without a word, and so it reads an
    inner chunk that a shard does not hold. Only a chunk that is all fill value can be missing; such
    a chunk is read once more through an array that differs in nothing but its fill value: what
    changes was never stored.
    """
    fill = np.asarray(0 if array.fill_value is None else array.fill_value)

    def is_fill(values: NDArray[Any]) -> NDArray[np.bool_]:
        return np.asarray(np.isnan(values) if fill != fill else values == fill)

    missing = np.zeros(block.shape, bool)
    for piece in _pieces(region, spec.chunks):
        inside = tuple(
            slice(p.start - r.start, p.stop - r.start) for p, r in zip(piece, region, strict=True)
        )
        if is_fill(block[inside]).all():
            other = _with_other_fill(spec.path, spec.array, spec.digest)
            missing[inside] = ~is_fill(np.asarray(other[piece]))
    return missing if missing.any() else None


def _pieces(region: Sequence[slice], chunks: Sequence[int]) -> list[tuple[slice, ...]]:
    """The parts of a region that lie in one chunk each."""
    per_axis = []
    for part, size in zip(region, chunks, strict=True):
        starts = range(part.start // size * size, part.stop, size)
        per_axis.append(
            [slice(max(start, part.start), min(start + size, part.stop)) for start in starts]
        )
    return list(product(*per_axis))


@lru_cache(maxsize=32)
def _with_other_fill(path: str, array: str, digest: str) -> zarr.Array[Any]:
    """The same array with another fill value: 1 instead of 0, and 0 instead of anything else."""
    known = open_array(path, array, digest)
    fill = np.asarray(0 if known.fill_value is None else known.fill_value, known.dtype)
    other = (fill == 0).astype(known.dtype)[()]
    core = known.async_array
    metadata = replace(core.metadata, fill_value=other)
    return zarr.Array(zarr.AsyncArray(metadata, core.store_path, core.config))


def _axes(array: zarr.Array[Any], names: Sequence[str] | None, path: str) -> tuple[str, ...]:
    """The axis of every array dimension as one of t, c, z, y, x, checked."""
    if np.dtype(array.dtype).kind not in "biuf":
        raise InputError(f"{path} holds {array.dtype}: real numbers are needed")
    names = list(names or DEFAULT_AXES.get(array.ndim, ""))
    if not names:
        raise InputError(
            f"{path} has {array.ndim} dimensions without names: set input.axes, one letter of "
            "tczyx per dimension, such as tcyx"
        )
    if len(names) != array.ndim:
        raise InputError(
            f"input.axes names {len(names)} axes ({''.join(names)}), but {path} has {array.ndim} "
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
        raise InputError(
            f"{path} has the axes {axes} and no t: a time-lapse is needed; if one of them is time, "
            "set input.axes"
        )
    return axes


def _channel(spec: StackSpec, channel: int | str | None) -> int | None:
    """The index of a channel given by number or name."""
    count = spec.size("c")
    names = spec.channel_names
    listed = f"{count} channel(s)" + (f": {', '.join(names)}" if names else "")
    if channel is None and count > 1:
        raise InputError(f"{spec.path} has {listed}: choose one (input.channel, --channel)")
    if isinstance(channel, str):
        if channel not in names and channel.isdecimal():
            return _channel(spec, int(channel))
        if names.count(channel) != 1:
            raise InputError(f"input.channel {channel!r} is not the name of one channel: {listed}")
        return names.index(channel)
    if channel is not None and not 0 <= channel < count:
        raise InputError(f"input.channel {channel} is out of range: {spec.path} has {listed}")
    return (channel or 0) if "c" in spec.axes else None


def _regular_time(
    step: float | None, unit: str, count: int
) -> tuple[tuple[float, ...], str] | None:
    """Times of equally spaced frames, if the store gives them a unit."""
    if step is None or not unit:
        return None
    return tuple(step * frame for frame in range(count)), unit
