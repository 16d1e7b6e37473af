"""Move frames by a linear motion and a shift, or by local shifts, in one interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, Floats, InputError, Slices
from steadystack.warp.boxes import Box, convert_dtype
from steadystack.warp.fields import AnyMotion, LocalField
from steadystack.warp.holes import fill_small_holes
from steadystack.warp.linear import find_middle, find_moved_corners, make_affine
from steadystack.warp.moving import choose_work_dtype, move, move_part
from steadystack.warp.separable import cut_into_blocks
from steadystack.warp.splines import ORDERS, Interpolator

# Error, px, of the extremes of a field, as they are searched on a grid.
EXTREMES_OFF = 0.5


def check_linear_interpolation(name: str) -> None:
    """Raise InputError for an interpolation that cannot apply a linear motion."""
    if name not in ORDERS:
        raise InputError(
            f"interpolation {name!r} is for shifts alone, but these frames turn, are magnified or "
            f"move locally: use {', '.join(ORDERS)}"
        )


def is_turned(motion: AnyMotion | None) -> bool:
    """Whether a motion is more than a shift."""
    if motion is None or isinstance(motion, LocalField):
        return motion is not None
    return not np.array_equal(motion, np.eye(len(motion)))


def count_moved_axes(motion: AnyMotion) -> int:
    """Count the axes of a motion: 3 for volumes, 2 for planes that move alike."""
    return motion.ndim if isinstance(motion, LocalField) else motion.shape[-1]


def find_spread(motion: AnyMotion | None, ndim: int) -> tuple[tuple[float, ...], ...]:
    """Find how much larger than a box the part of the frame is that it comes from, due to rotation.

    Returns, for each of `ndim` axes, pixels along it per pixel of the box along each axis, the
    maximum over frames (frames, axes, axes); () if there is no rotation, or for local shifts.
    """
    if motion is None or isinstance(motion, LocalField) or not motion.size:
        return ()
    size, spread = count_moved_axes(motion), np.zeros((ndim, ndim))
    spread[ndim - size :, ndim - size :] = np.abs(np.linalg.inv(motion) - np.eye(size)).max(axis=0)
    return tuple(map(tuple, spread.tolist()))


@dataclass(frozen=True, eq=False)
class _Source:
    """Where the pixels of a moved frame come from: ``inverse @ pixel + offset``, pixels of it."""

    inverse: NDArray[np.float64]
    offset: NDArray[np.float64]

    @classmethod
    def make(cls, linear: Floats, shift: Floats, frame_shape: Sequence[int]) -> _Source:
        """Make it for a frame with this motion about its middle."""
        affine = make_affine(linear, shift, find_middle(frame_shape))
        affine = np.asarray(np.linalg.inv(affine), np.float64)
        return cls(affine[:-1, :-1], affine[:-1, -1])

    def locate(self, block: Slices) -> NDArray[np.float64]:
        """The positions (axes, [z,] y, x) that a block of the moved frame comes from."""
        along = np.ix_(*(np.arange(side.start, side.stop, dtype=np.float64) for side in block))
        places = np.empty((len(block), *(side.stop - side.start for side in block)))
        for at, row, place in zip(self.offset, self.inverse, places, strict=True):
            place[...] = sum((by * pixel for by, pixel in zip(row, along, strict=True)), start=at)
        return places


def _find_source(
    motion: AnyMotion, shift: Floats, frame_shape: Sequence[int]
) -> _Source | LocalField:
    return motion if isinstance(motion, LocalField) else _Source.make(motion, shift, frame_shape)


def find_warped_part(
    box: Box,
    linear: AnyMotion,
    shift: Floats,
    frame_shape: Sequence[int],
    reach: int,
    margin: int = 0,
) -> Slices | None:
    """Find the region of a frame that a box of the warped frame needs; None: they do not meet.

    Parameters
    ----------
    linear, shift : (2, 2) or, of volumes, (3, 3) about the middle of the frame, and (axes,) pixels;
        or local shifts, which hold the shift
    frame_shape : ([z,] y, x); planes are warped alike, but by (3, 3)
    reach, margin : as in `find_source_part`
    """
    ndim = count_moved_axes(linear)
    ends = zip(box.first[-ndim:], box.stop[-ndim:], strict=True)
    corners = np.array(list(product(*((first, stop - 1) for first, stop in ends))))
    if isinstance(linear, LocalField):
        least, most = linear.find_extremes()
        places = np.concatenate([corners - least + EXTREMES_OFF, corners - most - EXTREMES_OFF])
    else:
        source = _Source.make(linear, np.asarray(shift)[-ndim:], frame_shape[-ndim:])
        places = corners @ source.inverse.T + source.offset
    region = [slice(a, b) for a, b in zip(box.first[:-ndim], box.stop[:-ndim], strict=True)]
    for low, high, size in zip(
        places.min(axis=0), places.max(axis=0), frame_shape[-ndim:], strict=True
    ):
        begin = max(int(np.floor(low)) - reach - margin, 0)
        end = min(int(np.ceil(high)) + 1 + reach + margin, size)
        if end <= begin:
            return None
        region.append(slice(begin, end))
    return tuple(region)


def warp(
    image: NDArray[Any],
    valid: Bools,
    linear: AnyMotion | None,
    shift: Floats,
    interpolation: str = "linear",
) -> tuple[NDArray[np.floating[Any]], Bools]:
    """Move `image` by a linear motion about its middle and a shift, as `move` does by a shift.

    `linear` is (2, 2), in volumes of each plane, or (3, 3), of volumes; or local shifts, which hold
    the shift along their axes; None: there is a shift alone.
    """
    if linear is None or not is_turned(linear):
        return move(image, valid, shift, interpolation)
    dtype = choose_work_dtype(image.dtype)
    moved, known = np.zeros(image.shape, dtype), np.zeros(image.shape, bool)
    region, first = tuple(slice(0, size) for size in image.shape), (0,) * image.ndim
    warp_part(
        image.astype(dtype), valid, region, image.shape, linear, shift, first, interpolation,
        moved, known,
    )  # fmt: skip
    return moved, known


def warp_part(
    image: NDArray[Any],
    valid: Bools | None,
    region: Slices,
    frame_shape: Sequence[int],
    linear: AnyMotion,
    shift: Floats,
    first: Sequence[int],
    interpolation: str,
    moved: NDArray[Any],
    known: Bools,
    *,
    invalid: str = "blank",
) -> None:
    """Move a region of a frame into a box of the frame warped by a linear motion and a shift.

    Like `move_part`, which is used if nothing rotates: a pixel of the box is known if the pixel
    that its centre comes from is valid, and invalid pixels do not affect values beside them.

    Parameters
    ----------
    region : must hold what `find_warped_part` returns
    linear, shift : (2, 2) about the middle of the frame, and (axes,) pixels, along z 0: planes are
        warped alike; of volumes also (3, 3); or local shifts, which hold the shift along their axes
    interpolation : "nearest", "linear" or "cubic", splines
    """
    if not is_turned(linear):
        move_part(
            image, valid, region, frame_shape, shift, first, interpolation, moved, known,
            invalid=invalid,
        )  # fmt: skip
        return
    if len(frame_shape) > count_moved_axes(linear):
        for plane in range(moved.shape[0]):
            at = first[0] + plane - region[0].start
            warp_part(
                image[at], None if valid is None else valid[at], region[1:], frame_shape[1:],
                linear, shift[1:], first[1:], interpolation, moved[plane], known[plane],
                invalid=invalid,
            )  # fmt: skip
        return
    begin, source = [side.start for side in region], _find_source(linear, shift, frame_shape)
    written_valid = valid
    if invalid == "fill" and valid is not None:
        image, holes = fill_small_holes(image, valid)
        written_valid = valid | holes
    order = 0 if image.dtype == np.bool_ else ORDERS[interpolation]
    values = Interpolator.make(image, written_valid, order)
    for block in cut_into_blocks([slice(0, size) for size in moved.shape]):
        box = tuple(
            slice(side.start + low, side.stop + low) for side, low in zip(block, first, strict=True)
        )
        places = source.locate(box)
        inside, nearest = _find_nearest(places, begin, image.shape, frame_shape)
        known[block] |= inside if valid is None else inside & valid[nearest]
        written = inside if written_valid is None else inside & written_valid[nearest]
        if invalid == "keep" or not order:
            everywhere = inside if invalid == "keep" else written
            np.copyto(moved[block], image[nearest], where=everywhere)
        if order and written.any():
            for place, low in zip(places, begin, strict=True):
                place -= low
            np.copyto(moved[block], convert_dtype(values.at(places), moved.dtype), where=written)


def _find_nearest(
    places: NDArray[np.float64], begin: Sequence[int], shape: Sequence[int], frame: Sequence[int]
) -> tuple[Bools, tuple[NDArray[np.intp], ...]]:
    """Find which places (axes, ...) lie in the frame, and the pixels nearest to them.

    These are indices of the part of a frame of that shape that begins at `begin` and has `shape`.
    """
    inside, nearest = np.ones(places.shape[1:], bool), []
    for place, low, side, size in zip(places, begin, shape, frame, strict=True):
        pixel = np.floor(place + 0.5).astype(np.intp)
        inside &= (pixel >= 0) & (pixel < size)
        nearest.append(np.clip(pixel - low, 0, side - 1, out=pixel))
    return inside, tuple(nearest)


def find_warped_common_box(linear: AnyMotion, shifts: Floats, shape: Sequence[int]) -> Box | None:
    """Find a box that all frames of that shape cover when warped; None if there is none.

    The largest one for frames that do not rotate; for others one within their edges, along each
    axis from the innermost corner at one end to the innermost corner at the other.

    Parameters
    ----------
    linear, shifts : (frames, axes, axes) and (frames, axes) pixels, none of them NaN; or local
        shifts
    shape : ([z,] y, x) pixels, of the axes that move
    """
    if isinstance(linear, LocalField):
        least, most = linear.find_extremes()
        return _make_box((most - 0.5).max(axis=0), (least + shape - 0.5).min(axis=0))
    corners = _find_corners(linear, shifts, shape)
    places = [np.moveaxis(corners[..., axis], 1 + axis, 0) for axis in range(len(shape))]
    first, stop = [place[0].max() for place in places], [place[1].min() for place in places]
    return _make_box(first, stop)


def find_warped_whole_box(linear: AnyMotion, shifts: Floats, shape: Sequence[int]) -> Box:
    """Find a box that holds all frames of that shape, warped: from their corners, unless local."""
    if isinstance(linear, LocalField):
        least, most = linear.find_extremes()
        box = _make_box((least - 0.5).min(axis=0), (most + shape - 0.5).max(axis=0))
    else:
        corners = _find_corners(linear, shifts, shape).reshape(-1, len(shape))
        box = _make_box(corners.min(axis=0), corners.max(axis=0))
    assert box is not None
    return box


def _find_corners(linear: Floats, shifts: Floats, shape: Sequence[int]) -> NDArray[np.float64]:
    """Where the corners of the frames' areas lie, half a pixel further out than their pixels.

    (frames, first or last along z, the same along y, along x, axes), without z of 2-D frames.
    """
    affine = make_affine(linear, shifts, find_middle(shape))
    wide = [size + 1 for size in shape]
    corners = np.stack([find_moved_corners(wide, each) for each in affine])  # from pixel 0 to size
    half = affine[:, :-1, :-1] @ np.full(len(shape), 0.5)
    return np.asarray((corners - half[:, None]).reshape(len(affine), *(2 for _ in wide), -1))


def _make_box(first: Sequence[float] | Floats, stop: Sequence[float] | Floats) -> Box | None:
    """The box of pixels whose centres lie at or after `first` and before `stop`."""
    begin = np.ceil(np.round(first, 9)).astype(int)
    size = np.ceil(np.round(stop, 9)).astype(int) - begin
    if (size <= 0).any():
        return None
    return Box(tuple(begin.tolist()), tuple(size.tolist()))
