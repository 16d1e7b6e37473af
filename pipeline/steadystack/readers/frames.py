"""Read the frames of a stack on disk, one or several at a time, or of a DataArray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
from numpy.typing import NDArray

from steadystack.conventions import find_spacing, read_times
from steadystack.durable import get_place, retry_read
from steadystack.file_formats import Pixels
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
from steadystack.readers.masks import find_earlier
from steadystack.readers.references import digest_metadata, open_reference
from steadystack.readers.stacks import StackSpec, cut_stack
from steadystack.units import choose_common_unit, parse_slice
from steadystack.validity import ArrayMask, Validity, as_mask

if TYPE_CHECKING:
    import xarray as xr


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

    @property
    def channels(self) -> tuple[StackFrames, ...]:
        alone = (replace(self.spec, channel=index, several=()) for index in self.spec.several)
        return tuple(map(StackFrames, alone))

    def common_mask(self, region: Slices) -> None:
        """Return None: the store holds no mask."""

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        """Read a frame or a region of it; pixels of missing chunks are not valid.

        The status says whether pixels are missing, or whether the frame cannot be read.
        """
        spec = self.spec
        region = region or tuple(slice(0, size) for size in spec.frame_shape)
        slices = spec.get_slices(frame, region)
        try:
            block, missing = retry_read(partial(_read_array_region, spec, frame, slices))
        except (MemoryError, UnreachableError):
            raise
        except Exception as error:  # codecs and stores may raise anything
            return Frame.unreadable(tuple(side.stop - side.start for side in region), error)
        image = spec.arrange_block(block)
        if missing is None:
            return Frame(image, np.ones(image.shape, bool))
        is_missing = spec.arrange_block(missing)
        status = FrameStatus.MISSING if is_missing.all() else FrameStatus.INCOMPLETE
        return Frame(image, ~is_missing, status)


def _read_array_region(
    spec: StackSpec, frame: int, slices: Slices
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Read a region of the array, and which of its pixels are missing; None if none are."""
    with get_place(spec.path).explaining_outages():
        pixels = open_reference(spec.path, spec.array, spec.digest)
        _check_unchanged(spec, pixels, frame)
        block = pixels.read(slices)
        ignores_missing = spec.missing_chunks != "invalid"
        return block, None if ignores_missing else pixels.find_missing(slices, block)


def may_lack_chunks(spec: StackSpec) -> bool:
    """Whether pixels of a stack may be missing, and are not valid then."""
    if spec.missing_chunks == "fill":
        return False
    return open_reference(spec.path, spec.array, spec.digest).may_lack


def _check_unchanged(spec: StackSpec, pixels: Pixels, frame: int) -> None:
    """Raise ValueError if the stack's shape has changed, other than by more frames."""
    sizes = dict(zip(spec.axes, pixels.shape, strict=False))
    changed = [axis for axis in spec.axes if axis != "t" and sizes.get(axis) != spec.size(axis)]
    if changed or len(pixels.shape) != len(spec.shape) or sizes.get("t", 1) <= frame:
        raise ValueError(f"{spec.path} changed its shape from {spec.shape} to {pixels.shape}")


def list_earlier(
    spec: StackSpec, count: int, frames: str | None = None, stack_frames: int | None = None
) -> Iterator[StackSpec]:
    """List what a stack may have been when it had only its first `count` frames.

    `frames` is the slice that chose them out of `stack_frames`, see `locate_stack`: if that is not
    known, several numbers are possible. The list is empty if the stack cannot have had so few.
    """
    whole, numbers = spec.uncut or spec, spec.frame_numbers[:count]
    last = numbers[-1]
    region = {axis: side[:2] for axis, side in spec.sides.items() if axis in whole.spatial}
    lengths, side = [count], slice(None)
    if frames is not None:
        side = parse_slice("input.frames", frames)
        lengths = list(range(last + 1, last + 1 + abs(numbers.step)))
        lengths = lengths if stack_frames is None else [stack_frames]
    for length in lengths:
        chosen = range(length)[side]
        if length > whole.frame_count or chosen != numbers:
            continue
        before = _find_earlier(whole, length)
        if before is not None:
            yield cut_stack(before, chosen, region if spec.uncut is not None else {})


def _find_earlier(spec: StackSpec, count: int) -> StackSpec | None:
    """Describe a whole stack as it was with `count` frames; None if it cannot have been so."""
    reference = find_earlier(spec.path, spec.array, count)
    if reference is None:
        return None
    axis = spec.axes.index("t") if "t" in spec.axes else 0
    shape = (*spec.shape[:axis], count, *spec.shape[axis + 1 :])
    pixels = open_reference(spec.path, reference, spec.digest)
    return replace(
        spec,
        array=reference,
        shape=shape,
        time=spec.time and (spec.time[0][:count], spec.time[1]),
        digest=digest_metadata(spec.path, reference, pixels, spec.axes, shape),
    )


@dataclass(frozen=True)
class BlockSpec(StackSpec):
    """A stack that is read `frames` frames and `channels` channels at a time.

    Chunks that hold several frames or channels are decoded once for all of them.
    """

    frames: int = 1
    channels: int = 1

    @classmethod
    def from_spec(cls, spec: StackSpec, channel: int, frames: int, channels: int) -> BlockSpec:
        values = {field.name: getattr(spec, field.name) for field in fields(StackSpec)}
        values["channel"] = channel
        return cls(**values, frames=frames, channels=channels)

    def get_slices(self, frame: int, region: Slices | None = None) -> Slices:
        """Get the slices of the array that hold the block of frames from `frame` on."""
        channel = self.channel or 0
        block_slices = {
            "t": slice(frame, frame + self.frames),
            "c": slice(channel, channel + self.channels),
        }
        frame_slices = super().get_slices(frame, region)
        sides = zip(self.axes, frame_slices, strict=True)
        return tuple(block_slices.get(axis, side) for axis, side in sides)

    def arrange_block(self, block: NDArray[Any]) -> NDArray[Any]:
        """Arrange a block of the array as (t, c, *spatial); axes it lacks have the length 1."""
        names = ("t", "c", *self.spatial)
        order = [self.axes.index(axis) for axis in names if axis in self.axes]
        dropped = [axis for axis in range(block.ndim) if axis not in order]
        shape = [block.shape[self.axes.index(a)] if a in self.axes else 1 for a in names]
        return block.transpose(*dropped, *order).reshape(shape)


def read_block(
    spec: StackSpec, frames: range, channels: range, region: Slices
) -> tuple[NDArray[Any], Bools | None]:
    """Read a region of consecutive frames and channels.

    Returns
    -------
    image, valid : arrays (t, c, [z,] y, x); `valid` is None if all pixels are valid; where the
        region cannot be read, the image is 0 and no pixel is valid
    """
    block_spec = BlockSpec.from_spec(spec, channels.start, len(frames), len(channels))
    block = StackFrames(block_spec).read(frames.start, region)
    if block.status is FrameStatus.UNREADABLE:
        shape = (len(frames), len(channels), *(side.stop - side.start for side in region))
        return np.zeros(shape, spec.dtype), np.zeros(shape, bool)
    return block.image, None if block.status is FrameStatus.OK else block.valid


def cut_at_chunks(indices: range, chunk: int) -> Iterator[range]:
    """Cut a range of indices at chunk boundaries, every `chunk` indices; yields the ranges."""
    for start in range(indices.start // chunk * chunk, indices.stop, chunk):
        yield range(max(start, indices.start), min(start + chunk, indices.stop))


ALL_VALID = Validity()


@dataclass(frozen=True, eq=False)
class ArrayFrames:
    """The frames of a stack held as a DataArray with dims out of t, z, y, x.

    Pixels are not valid where a boolean coordinate ``valid`` of the stack is False.
    """

    stack: xr.DataArray
    validity: Validity = ALL_VALID

    in_memory, channels = True, ()

    @classmethod
    def checked(cls, stack: xr.DataArray, mask: Any = None) -> ArrayFrames:
        """Make the frames of a stack and a mask after checking their dims and shapes.

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
        import xarray as xr

        if isinstance(mask, xr.DataArray):
            mask = mask.transpose(*[d for d in ("t", "z", "y", "x") if d in mask.dims])
        values = as_mask(mask)
        squeezed = {whole_shape: stack.shape, whole_shape[1:]: stack.shape[1:]}
        values = values.reshape(squeezed.get(values.shape, values.shape))
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
        """The steps of the spatial coordinates and their unit; NaN and "" if they have none."""
        steps, units = [], []
        for axis in self.axes:
            coordinate = self.stack.coords.get(axis)
            steps.append(find_spacing(None if coordinate is None else coordinate.to_numpy()))
            units.append("" if coordinate is None else str(coordinate.attrs.get("units") or ""))
        return choose_common_unit(steps, units)

    @property
    def time(self) -> tuple[tuple[float, ...], str] | None:
        """The time of every frame and its unit; None if the coordinate t has no unit."""
        coordinate = self.stack.coords.get("t")
        if coordinate is None or coordinate.dims != ("t",):
            return None
        attributes = coordinate.attrs
        unit = str(attributes.get("unit") or attributes.get("units") or "")
        try:
            times, unit = read_times(
                coordinate.to_numpy(), unit, str(attributes.get("calendar") or "")
            )
        except (AttributeError, TypeError, ValueError):  # text, or objects that are not dates
            return None
        return (times, unit) if unit else None

    def common_mask(self, region: Slices) -> Bools | None:
        """Get a region of the mask of all frames, or of the union of the masks of the frames."""
        if self.mask is None:
            return None
        if not self.mask.per_frame:
            return self.mask.values[region]
        return np.asarray(self.mask.values[(slice(None), *region)].any(axis=0))

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        region = region or tuple(slice(0, size) for size in self.frame_shape)
        frame_array = self.stack[frame][region]
        valid: Bools = np.ones(frame_array.shape, bool)
        try:
            # This may run in a task: compute in this thread, not on the task's own cluster.
            with dask.config.set(scheduler="synchronous"):
                image = frame_array.to_numpy()
                if "valid" in frame_array.coords:
                    valid = frame_array.coords["valid"].to_numpy()
        except (MemoryError, UnreachableError):
            raise
        except Exception as error:  # whatever the graph behind it raises
            return Frame.unreadable(frame_array.shape, error)
        status = FrameStatus.OK
        if not valid.all():
            status = FrameStatus.INCOMPLETE if valid.any() else FrameStatus.MISSING
        joined = self.validity.find_valid(image, frame, self.frame_shape, region, valid)
        return Frame(image, valid if joined is None else joined, status)
