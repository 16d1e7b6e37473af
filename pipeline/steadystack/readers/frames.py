"""Frames: of a stack on disk, one or several at a time; of a DataArray, in memory or lazy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from os import PathLike
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.durable import get_place, retry_read
from steadystack.model import (
    Bools,
    Frame,
    FrameStatus,
    InputError,
    Slices,
    UnreachableError,
    spatial_dims,
    suggest_renaming,
)
from steadystack.readers.formats import find_spacing
from steadystack.readers.pixels import Pixels
from steadystack.readers.references import open_reference
from steadystack.readers.stacks import StackSpec
from steadystack.units import choose_common_unit
from steadystack.validity import ArrayMask, Validity, as_mask


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

    in_memory = False

    def common_mask(self, part: Slices) -> None:
        """None: the store holds no mask."""

    def read(self, frame: int, part: Slices | None = None) -> Frame:
        """A frame or a part of it; pixels of missing chunks are not valid, the status says so."""
        spec = self.spec
        part = part or tuple(slice(0, size) for size in spec.frame_shape)
        region = spec.selection(frame, part)
        try:
            block, missing = retry_read(partial(_block, spec, frame, region))
        except (MemoryError, UnreachableError):
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
    spec: StackSpec, frame: int, region: Slices
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """A block of the array, and which of its pixels are missing; None if none is."""
    with get_place(spec.path).explaining_outages():
        pixels = open_reference(spec.path, spec.array, spec.digest)
        _check_still_there(spec, pixels, frame)
        block = pixels.read(region)
        whole = spec.missing_chunks != "invalid"
        return block, None if whole else pixels.missing(region, block)


def may_lack_chunks(spec: StackSpec) -> bool:
    """Whether pixels may be missing."""
    if spec.missing_chunks == "fill":
        return False
    return open_reference(spec.path, spec.array, spec.digest).may_lack


def _check_still_there(spec: StackSpec, pixels: Pixels, frame: int) -> None:
    """Refuse a stack that became another one; one that only grew in time is as good."""
    now = dict(zip(spec.axes, pixels.shape, strict=False))
    other = [axis for axis in spec.axes if axis != "t" and now.get(axis) != spec.size(axis)]
    if other or len(pixels.shape) != len(spec.shape) or now.get("t", 1) <= frame:
        raise ValueError(f"{spec.path} changed its shape from {spec.shape} to {pixels.shape}")


@dataclass(frozen=True)
class BlockSpec(StackSpec):
    """A stack that is read by `frames` frames and `channels` channels at a time.

    Chunks that hold several frames or channels are decoded once for all of them.
    """

    frames: int = 1
    channels: int = 1

    @classmethod
    def of(cls, spec: StackSpec, channel: int, frames: int, channels: int) -> BlockSpec:
        given = {field.name: getattr(spec, field.name) for field in fields(StackSpec)}
        given["channel"] = channel
        return cls(**given, frames=frames, channels=channels)

    def selection(self, frame: int, part: Slices | None = None) -> Slices:
        """The slices of the array that hold the frames from `frame` on."""
        channel = self.channel or 0
        more = {
            "t": slice(frame, frame + self.frames),
            "c": slice(channel, channel + self.channels),
        }
        one = super().selection(frame, part)
        return tuple(more.get(axis, side) for axis, side in zip(self.axes, one, strict=True))

    def as_frame(self, block: NDArray[Any]) -> NDArray[Any]:
        """A block as an array with the axes t, c and `spatial`, also if the stack lacks them."""
        names = ("t", "c", *self.spatial)
        order = [self.axes.index(axis) for axis in names if axis in self.axes]
        rest = [axis for axis in range(block.ndim) if axis not in order]
        shape = [block.shape[self.axes.index(a)] if a in self.axes else 1 for a in names]
        return block.transpose(*rest, *order).reshape(shape)


def read_block(
    spec: StackSpec, frames: range, channels: range, part: Slices
) -> tuple[NDArray[Any], Bools | None]:
    """A part of consecutive frames and channels, as (t, c, [z,] y, x).

    Returns
    -------
    image, valid : `valid` is None if all of it is; nothing is of what cannot be read
    """
    asked = BlockSpec.of(spec, channels.start, len(frames), len(channels))
    found = StackFrames(asked).read(frames.start, part)
    if found.status is FrameStatus.UNREADABLE:
        shape = (len(frames), len(channels), *(side.stop - side.start for side in part))
        return np.zeros(shape, spec.dtype), np.zeros(shape, bool)
    return found.image, None if found.status is FrameStatus.OK else found.valid


def cut_at_chunks(wanted: range, chunk: int) -> Iterator[range]:
    """Indices cut where a chunk of so many ends."""
    for begin in range(wanted.start // chunk * chunk, wanted.stop, chunk):
        yield range(max(begin, wanted.start), min(begin + chunk, wanted.stop))


EVERYTHING = Validity()


@dataclass(frozen=True, eq=False)
class ArrayFrames:
    """The frames of a stack held as a DataArray with dims out of t, z, y, x.

    A coordinate ``valid`` of the stack, as `open_stack` gives it, joins in what is valid.
    """

    stack: xr.DataArray
    validity: Validity = EVERYTHING

    in_memory = True

    @classmethod
    def checked(cls, stack: xr.DataArray, mask: Any = None) -> ArrayFrames:
        """Frames of a stack and a mask, whose dims and shapes are checked.

        The mask is None, one for all frames (spatial dims) or one per frame (t and spatial dims).
        """
        if "t" not in stack.dims:
            raise InputError(
                f"the stack has the dims {stack.dims}: t is needed{suggest_renaming(stack)}"
            )
        if len(set(stack.dims) & {"z", "y", "x"}) < 2:
            raise InputError(
                f"the stack has the dims {stack.dims}: two of z, y, x are needed"
                f"{suggest_renaming(stack)}"
            )
        extra = [d for d in stack.dims if d not in ("t", "z", "y", "x") and stack.sizes[d] > 1]
        if extra:
            raise InputError(
                f"the stack has {stack.sizes[extra[0]]} entries along {extra[0]!r}: select one, "
                f"such as stack.isel({extra[0]}=0)"
            )
        stack = stack.squeeze([d for d in stack.dims if d not in ("t", "z", "y", "x")])
        stack = stack.transpose("t", *[d for d in "zyx" if d in stack.dims])
        whole_shape = stack.shape
        if stack.sizes.get("z") == 1:
            stack = stack.squeeze("z")
        if stack.dtype.kind not in "biuf":
            raise InputError(f"the stack holds {stack.dtype}: real numbers are needed")
        if mask is None:
            return cls(stack)
        if isinstance(mask, str | PathLike):
            raise InputError(f"the mask {mask} is a path: pass an array: zarr.open(path)[:]")
        if isinstance(mask, xr.DataArray):
            mask = mask.transpose(*[d for d in ("t", "z", "y", "x") if d in mask.dims])
        values = as_mask(mask)
        if values.shape == whole_shape:
            values = values.reshape(stack.shape)
        elif values.shape == whole_shape[1:]:
            values = values.reshape(stack.shape[1:])
        if values.shape not in (stack.shape, stack.shape[1:]):
            raise InputError(
                f"the mask has the shape {values.shape}: it must be that of a frame, "
                f"{stack.shape[1:]}, or of all frames, {stack.shape}"
            )
        per_frame = values.ndim == stack.ndim
        return cls(stack, Validity((ArrayMask(values, per_frame),)))

    @property
    def mask(self) -> ArrayMask | None:
        """The mask that was given with the stack."""
        masks = [mask for mask in self.validity.masks if isinstance(mask, ArrayMask)]
        return masks[0] if masks else None

    @property
    def frame_count(self) -> int:
        return int(self.stack.sizes["t"])

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return tuple(int(self.stack.sizes[dim]) for dim in spatial_dims(self.stack))

    @property
    def axes(self) -> tuple[str, ...]:
        return spatial_dims(self.stack)

    @property
    def pixel_size(self) -> tuple[tuple[float, ...], str]:
        """Step of the spatial coordinates and its unit; 1 and "" where they do not tell."""
        steps, units = [], []
        for axis in self.axes:
            coordinate = self.stack.coords.get(axis)
            steps.append(find_spacing(None if coordinate is None else coordinate.to_numpy()))
            unit = "" if coordinate is None else str(coordinate.attrs.get("units", ""))
            units.append("" if unit == "pixel" else unit)
        return choose_common_unit(steps, units)

    @property
    def time(self) -> tuple[tuple[float, ...], str] | None:
        """Time of every frame and its unit, if the coordinate t is in one."""
        coordinate = self.stack.coords.get("t")
        if coordinate is None or coordinate.dtype.kind not in "iuf":
            return None
        unit = str(coordinate.attrs.get("unit", coordinate.attrs.get("units", "")))
        return (tuple(float(value) for value in coordinate), unit) if unit else None

    def common_mask(self, part: Slices) -> Bools | None:
        """The mask itself if it is one for all frames; what the frames' masks make up together."""
        if self.mask is None:
            return None
        if not self.mask.per_frame:
            return self.mask.values[part]
        return np.asarray(self.mask.values[(slice(None), *part)].any(axis=0))

    def read(self, frame: int, part: Slices | None = None) -> Frame:
        part = part or tuple(slice(0, size) for size in self.frame_shape)
        one = self.stack[frame][part]
        valid: Bools = np.ones(one.shape, bool)
        try:
            # Inside of a task: in this thread, not on the cluster that the task runs on.
            with dask.config.set(scheduler="synchronous"):
                image = one.to_numpy()
                if "valid" in one.coords:
                    valid = one.coords["valid"].to_numpy()
        except (MemoryError, UnreachableError):
            raise
        except Exception as error:  # whatever the graph behind it raises
            return Frame.unreadable(one.shape, error)
        status = FrameStatus.OK
        if not valid.all():
            status = FrameStatus.INCOMPLETE if valid.any() else FrameStatus.MISSING
        left = self.validity.find_valid(image, frame, self.frame_shape, part, valid)
        return Frame(image, valid if left is None else left, status)
