"""Move frames by a linear motion and a shift, or by local shifts, in one interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats, InputError, Slices
from steadystack.warp.boxes import Box, convert_dtype
from steadystack.warp.fields import AnyMotion, LocalField
from steadystack.warp.filling import fill_around
from steadystack.warp.holes import fill_small_holes
from steadystack.warp.linear import find_middle, find_moved_corners, make_affine
from steadystack.warp.moving import REACH, choose_work_dtype, move, move_part
from steadystack.warp.separable import cut_into_blocks

# Interpolations that take a linear motion, and the order of their splines.
# What the extremes of a field may be off, px: they are looked for on a grid.
EXTREMES_OFF = 0.5
ORDERS = {"nearest": 0, "linear": 1, "cubic": 3}


def check_linear_interpolation(name: str) -> None:
    """Raise InputError for an interpolation that frames cannot be turned by."""
    if name not in ORDERS:
        raise InputError(
            f"interpolation {name!r} is for shifts alone, and these frames turn, are magnified or "
            f"move locally: use {', '.join(ORDERS)}"
        )


def is_turned(motion: AnyMotion | None) -> bool:
    """Whether a motion does anything beside the shift."""
    if motion is None or isinstance(motion, LocalField):
        return motion is not None
    return not np.array_equal(motion, np.eye(len(motion)))


@dataclass(frozen=True, eq=False)
class _Source:
    """Where the pixels of a moved frame come from: ``inverse @ pixel + offset``, pixels of it."""

    inverse: NDArray[np.float64]
    offset: NDArray[np.float64]

    @classmethod
    def make(cls, linear: Floats, shift: Floats, frame_shape: Sequence[int]) -> _Source:
        """That of a frame with this motion about its middle."""
        affine = make_affine(linear, shift, find_middle(frame_shape))
        affine = np.asarray(np.linalg.inv(affine), np.float64)
        return cls(affine[:-1, :-1], affine[:-1, -1])

    def locate(self, block: Slices) -> NDArray[np.float64]:
        """The positions (2, y, x) that a block of the moved frame comes from."""
        y, x = (np.arange(side.start, side.stop, dtype=np.float64) for side in block)
        return np.stack(
            [
                at + row[0] * y[:, None] + row[1] * x
                for at, row in zip(self.offset, self.inverse, strict=True)
            ]
        )


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
    linear, shift : (2, 2) about the middle of the frame, and (axes,) pixels; or local shifts, which
        hold the shift
    frame_shape : ([z,] y, x); planes are warped alike
    reach, margin : as in `find_source_part`
    """
    first, stop = box.first[-2:], box.stop[-2:]
    corners = np.array([[y, x] for y in (first[0], stop[0] - 1) for x in (first[1], stop[1] - 1)])
    if isinstance(linear, LocalField):
        least, most = linear.find_extremes()
        places = np.concatenate([corners - least + EXTREMES_OFF, corners - most - EXTREMES_OFF])
    else:
        source = _Source.make(linear, np.asarray(shift)[-2:], frame_shape[-2:])
        places = corners @ source.inverse.T + source.offset
    region = [slice(a, b) for a, b in zip(box.first[:-2], box.stop[:-2], strict=True)]
    for low, high, size in zip(
        places.min(axis=0), places.max(axis=0), frame_shape[-2:], strict=True
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

    `linear` is (2, 2), or local shifts, which hold the shift; None: there is a shift alone.
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

    As `move_part`, which does it where nothing turns: a pixel of the box is known if the one that
    its middle comes from is valid, and what is not valid has no part in the values beside it.

    Parameters
    ----------
    region : must hold what `find_warped_part` returns
    linear, shift : (2, 2) about the middle of the frame, and (axes,) pixels; that of planes is 0;
        or local shifts, which hold the shift along the last two axes
    interpolation : "nearest", "linear" or "cubic", splines
    """
    if not is_turned(linear):
        move_part(
            image, valid, region, frame_shape, shift, first, interpolation, moved, known,
            invalid=invalid,
        )  # fmt: skip
        return
    if len(frame_shape) > 2:
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
    values = _Interpolator.make(image, written_valid, order)
    for block in cut_into_blocks([slice(0, size) for size in moved.shape]):
        box = tuple(
            slice(side.start + low, side.stop + low) for side, low in zip(block, first, strict=True)
        )
        places = source.locate(box)
        nearest = np.floor(places + 0.5).astype(np.intp)
        sizes = np.array(frame_shape)[:, None, None]
        inside = ((nearest >= 0) & (nearest < sizes)).all(axis=0)
        y, x = (
            np.clip(at - low, 0, size - 1)
            for at, low, size in zip(nearest, begin, image.shape, strict=True)
        )
        known[block] |= inside if valid is None else inside & valid[y, x]
        written = inside if written_valid is None else inside & written_valid[y, x]
        if invalid == "keep" or not order:
            everywhere = inside if invalid == "keep" else written
            np.copyto(moved[block], image[y, x], where=everywhere)
        if order and written.any():
            result = values.at(places - np.array(begin)[:, None, None])
            np.copyto(moved[block], convert_dtype(result, moved.dtype), where=written)


@dataclass(frozen=True, eq=False)
class _Interpolator:
    """The values of an image between its pixels; those not valid have no part in them."""

    values: NDArray[Any]
    weights: NDArray[Any] | None
    order: Any

    @classmethod
    def make(cls, image: NDArray[Any], valid: Bools | None, order: Any) -> _Interpolator:
        """For splines of that order; 0: the nearest pixel is taken elsewhere."""
        dtype = choose_work_dtype(image.dtype)
        if not order:
            return cls(image, None, order)
        if order == 1:
            if valid is None or valid.all():
                return cls(image.astype(dtype, copy=False), None, order)
            return cls(np.where(valid, image, 0).astype(dtype), valid.astype(dtype), order)
        if valid is not None:
            image = fill_around(image, valid, REACH["cubic"], dtype)
        spline = np.empty(image.shape, dtype)
        ndimage.spline_filter(image.astype(dtype, copy=False), order, output=spline, mode="reflect")
        return cls(spline, None, order)

    def at(self, places: NDArray[np.float64]) -> NDArray[Any]:
        """The values at places (2, ...), pixels of the image."""

        def look_up(values: NDArray[Any]) -> NDArray[Any]:
            found = np.empty(places.shape[1:], values.dtype)
            ndimage.map_coordinates(
                values, places, output=found, order=self.order, mode="reflect", prefilter=False
            )
            return found

        total = look_up(self.values)
        if self.weights is None:
            return total
        weight = look_up(self.weights)
        return np.asarray(total / np.where(weight > 0, weight, 1))


def find_warped_common_box(linear: AnyMotion, shifts: Floats, shape: Sequence[int]) -> Box | None:
    """Find a box that all frames of that shape cover when warped; None if there is none.

    The largest one for frames that do not turn; for others one that lies within their edges.

    Parameters
    ----------
    linear, shifts : (frames, 2, 2) and (frames, 2) pixels, none of them NaN; or local shifts
    """
    if isinstance(linear, LocalField):
        least, most = linear.find_extremes()
        return _make_box((most - 0.5).max(axis=0), (least + shape - 0.5).min(axis=0))
    corners = _find_corners(linear, shifts, shape)  # (frames, first or last y, first or last x, 2)
    first = [corners[:, 0, :, 0].max(), corners[:, :, 0, 1].max()]
    stop = [corners[:, 1, :, 0].min(), corners[:, :, 1, 1].min()]
    return _make_box(first, stop)


def find_warped_whole_box(linear: AnyMotion, shifts: Floats, shape: Sequence[int]) -> Box:
    """Find a box that holds all frames of that shape, warped; the smallest where none is local."""
    if isinstance(linear, LocalField):
        least, most = linear.find_extremes()
        box = _make_box((least - 0.5).min(axis=0), (most + shape - 0.5).max(axis=0))
    else:
        corners = _find_corners(linear, shifts, shape).reshape(-1, 2)
        box = _make_box(corners.min(axis=0), corners.max(axis=0))
    assert box is not None
    return box


def _find_corners(linear: Floats, shifts: Floats, shape: Sequence[int]) -> NDArray[np.float64]:
    """Where the corners of the frames' areas lie (frames, 2, 2, axes), half a pixel further out."""
    affine = make_affine(linear, shifts, find_middle(shape))
    wide = [size + 1 for size in shape]
    corners = np.stack([find_moved_corners(wide, each) for each in affine])  # from pixel 0 to size
    half = affine[:, :-1, :-1] @ np.full(len(shape), 0.5)
    return np.asarray((corners - half[:, None]).reshape(len(affine), 2, 2, 2))


def _make_box(first: Sequence[float] | Floats, stop: Sequence[float] | Floats) -> Box | None:
    """The box of the pixels whose middles lie from `first` to before `stop`."""
    begin = np.ceil(np.round(first, 9)).astype(int)
    size = np.ceil(np.round(stop, 9)).astype(int) - begin
    if (size <= 0).any():
        return None
    return Box(tuple(begin.tolist()), tuple(size.tolist()))
