"""Move a frame by a shift, whole or in parts; which of its pixels are known afterwards.

Pixels are areas: a pixel of the moved frame is known if its centre lies in the area of a valid
pixel, so that what is not valid is moved as it is, and neither grows nor vanishes. What is not
valid has no say in what is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, Floats, InputError, Slices
from steadystack.warp.boxes import Box, source_part, whole_shift
from steadystack.warp.frames import filled_in, to_dtype
from steadystack.warp.kernels import INTERPOLATIONS, REACH, filtered, weights

# Pixels that are made at a time: what a cache holds, and what memory beside the images is needed.
BLOCK_PIXELS = 2**18


def check_interpolation(name: str) -> None:
    """Raise InputError if there is no interpolation of that name."""
    if name not in INTERPOLATIONS:
        raise InputError(f"interpolation {name!r} is not one of {', '.join(INTERPOLATIONS)}")


def move(
    image: NDArray[Any], valid: Bools, shift: Floats, interpolation: str = "linear"
) -> tuple[NDArray[np.float64], Bools]:
    """`image` moved by `shift` pixels, as ``scipy.ndimage.shift`` moves it.

    Parameters
    ----------
    image, valid : arrays of one shape
    shift : (ndim,) pixels, array axis order
    interpolation : "whole" rounds the shift to pixels and invents no values; "linear"; "cubic";
        "fourier"

    Returns
    -------
    moved, valid : float array, 0 where not valid; bool array
    """
    check_interpolation(interpolation)
    moved, known = np.zeros(image.shape), np.zeros(image.shape, bool)
    part = tuple(slice(0, size) for size in image.shape)
    first = (0,) * image.ndim
    move_part(
        image.astype(np.float64), valid, part, image.shape, shift, first, interpolation,
        moved, known,
    )  # fmt: skip
    return moved, known


def move_part(
    image: NDArray[Any],
    valid: Bools | None,
    part: Slices,
    frame_shape: Sequence[int],
    shift: Floats,
    first: Sequence[int],
    interpolation: str,
    moved: NDArray[Any],
    known: Bools,
    *,
    keep: bool = False,
) -> None:
    """Move a part of a frame into a box of the moved frame.

    Parameters
    ----------
    image, valid : the part, which holds at least what `warp.source_part` says; None: all is valid
    part : where it lies in its frame
    frame_shape : of the whole frame
    shift : (ndim,) pixels, array axis order
    first : first pixel of the box, pixels of the anchor frame
    interpolation : see `move`
    moved, known : arrays of the shape of the box, written to in place: `moved`, of the image's data
        type (rounded and clipped), only where there is something to write; `known` likewise
    keep : also write what is not valid, moved by whole pixels; it is not known
    """
    box = Box(tuple(first), moved.shape)
    if source_part(box, shift, frame_shape, 0) is None:
        return
    whole = whole_shift(shift)
    target, nearest = [], []
    for begin, stop, by, size, side in zip(
        box.first, box.stop, whole.tolist(), frame_shape, part, strict=True
    ):
        low, high = max(begin, by), min(stop, by + size)
        target.append(slice(low - begin, high - begin))
        nearest.append(slice(low - by - side.start, high - by - side.start))
    seen = None if valid is None else valid[tuple(nearest)]
    known[tuple(target)] = True if seen is None else seen
    between = interpolation != "whole" and bool((np.asarray(shift) != whole).any())
    if not between or keep or image.dtype == np.bool_:
        _put(moved[tuple(target)], image[tuple(nearest)], None if keep else seen)
    if between and image.dtype != np.bool_:
        _interpolate(
            image, valid, part, frame_shape, shift, first, interpolation, moved, known, target
        )


def _put(target: NDArray[Any], values: NDArray[Any], where: Bools | None) -> None:
    if where is None:
        target[...] = values
    else:
        np.copyto(target, values, where=where)


def _interpolate(
    image: NDArray[Any],
    valid: Bools | None,
    part: Slices,
    frame_shape: Sequence[int],
    shift: Floats,
    first: Sequence[int],
    interpolation: str,
    moved: NDArray[Any],
    known: Bools,
    target: Sequence[slice],
) -> None:
    """Fill what is known of `moved`, block by block."""
    reach = REACH[interpolation]
    floor = np.floor(shift).astype(int)
    taps = [
        weights(interpolation, float(by - whole)) if by != whole else None
        for by, whole in zip(shift, floor, strict=True)
    ]
    exact = np.dtype(image.dtype).itemsize <= 2 or image.dtype == np.float32
    work = np.dtype(np.float32 if exact else np.float64)
    for block in _blocks(target):
        wanted = []  # of the frame; may stick out of it
        for side, begin, by, tap in zip(block, first, floor.tolist(), taps, strict=True):
            far = (reach, reach - 1) if tap is not None else (0, 0)
            wanted.append((side.start + begin - by - far[0], side.stop + begin - by + far[1]))
        values = _cut(image, part, frame_shape, wanted).astype(work)
        good = None if valid is None else _cut(valid, part, frame_shape, wanted)
        if good is None or good.all():
            result = _along_all(values, taps)
            _put(moved[block], to_dtype(result, moved.dtype), None)
        elif good.any():
            result = _around_invalid(values, good, taps, interpolation)
            _put(moved[block], to_dtype(result, moved.dtype), known[block])


def _along_all(values: NDArray[Any], taps: Sequence[NDArray[np.float64] | None]) -> NDArray[Any]:
    """The last axis first: there the most pixels are not needed any more afterwards."""
    for axis in reversed(range(values.ndim)):
        tap = taps[axis]
        if tap is not None:
            values = filtered(values, tap, axis)
    return values


def _around_invalid(
    values: NDArray[Any],
    valid: Bools,
    taps: Sequence[NDArray[np.float64] | None],
    interpolation: str,
) -> NDArray[Any]:
    """Values between the pixels that valid pixels alone make.

    Linear: their weighted mean. The others reach far and have weights below 0: what is not valid is
    filled in from what is valid around it.
    """
    if interpolation == "linear":
        total = _along_all(np.where(valid, values, 0), taps)
        weight = _along_all(valid.astype(values.dtype), taps)
        return np.asarray(total / np.where(weight > 0, weight, 1))
    level = values[valid].mean()
    filled = filled_in(np.where(valid, values - level, 0), valid, everywhere=True)
    return np.asarray(_along_all(filled.astype(values.dtype), taps) + level)


def _blocks(target: Sequence[slice]) -> Iterator[Slices]:
    """A box cut into blocks of about `BLOCK_PIXELS` with sides that are alike."""
    sizes = [side.stop - side.start for side in target]
    sides, left = [0] * len(sizes), float(BLOCK_PIXELS)
    for rank, axis in enumerate(sorted(range(len(sizes)), key=lambda a: sizes[a])):
        sides[axis] = min(sizes[axis], max(int(left ** (1 / (len(sizes) - rank))), 1))
        left /= sides[axis]
    cuts = [
        [slice(a, min(a + step, side.stop)) for a in range(side.start, side.stop, step)]
        for side, step in zip(target, sides, strict=True)
    ]
    return iter(product(*cuts))


def _cut(
    array: NDArray[Any],
    part: Slices,
    frame_shape: Sequence[int],
    wanted: Sequence[tuple[int, int]],
) -> NDArray[Any]:
    """A piece of a frame of which `part` is there; mirrored at the frame's edges."""
    inside, beyond = [], []
    for (low, high), side, size in zip(wanted, part, frame_shape, strict=True):
        begin, stop = max(low, 0), min(high, size)
        beyond.append((begin - low, high - stop))
        inside.append(slice(begin - side.start, stop - side.start))
    piece = array[tuple(inside)]
    if any(sum(more) for more in beyond):
        return np.pad(piece, beyond, mode="symmetric")
    return piece
