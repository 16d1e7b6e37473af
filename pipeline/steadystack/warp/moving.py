"""Move frames by a shift, whole or by regions, and find which pixels are known afterwards.

Pixels are areas: a pixel of the moved frame is known if its centre lies in the area of a valid
pixel, so that invalid areas are moved and neither grow nor vanish. The values of invalid pixels
never affect known ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, Floats, InputError, Slices
from steadystack.warp.boxes import Box, convert_dtype, find_source_part, round_shift
from steadystack.warp.filling import fill_around
from steadystack.warp.holes import fill_small_holes
from steadystack.warp.separable import cut_into_blocks, filter_along


def check_interpolation(name: str) -> None:
    """Raise InputError if there is no interpolation of that name."""
    if name not in INTERPOLATIONS:
        raise InputError(f"interpolation {name!r} is not one of {', '.join(INTERPOLATIONS)}")


def move(
    image: NDArray[Any], valid: Bools, shift: Floats, interpolation: str = "linear"
) -> tuple[NDArray[np.floating[Any]], Bools]:
    """Move `image` by `shift` pixels, as ``scipy.ndimage.shift`` does.

    Parameters
    ----------
    image, valid : arrays of one shape
    shift : (ndim,) pixels, array axis order
    interpolation : "nearest" rounds the shift to pixels and invents no values; "linear"; "cubic";
        "fourier"

    Returns
    -------
    moved, valid : array, 0 where not valid, float32 for integers of up to 16 bits and float32, else
        float64; bool array
    """
    check_interpolation(interpolation)
    dtype = choose_work_dtype(image.dtype)
    moved, known = np.zeros(image.shape, dtype), np.zeros(image.shape, bool)
    region = tuple(slice(0, size) for size in image.shape)
    first = (0,) * image.ndim
    move_part(
        image.astype(dtype), valid, region, image.shape, shift, first, interpolation,
        moved, known,
    )  # fmt: skip
    return moved, known


def move_part(
    image: NDArray[Any],
    valid: Bools | None,
    region: Slices,
    frame_shape: Sequence[int],
    shift: Floats,
    first: Sequence[int],
    interpolation: str,
    moved: NDArray[Any],
    known: Bools,
    *,
    invalid: str = "blank",
) -> None:
    """Move a region of a frame into a box of the moved frame.

    Parameters
    ----------
    image, valid : the pixels of the region, which must hold what `find_source_part` returns;
        `valid` None: all are valid
    region : where it lies in its frame
    frame_shape : of the whole frame
    shift : (ndim,) pixels, array axis order
    first : first pixel of the box, pixels of the anchor frame
    interpolation : "nearest", "linear", "cubic" or "fourier"
    moved, known : arrays of the shape of the box, written to in place, where the frame covers it;
        `moved` has the image's data type (values are rounded and clipped), `known` is bool
    invalid : "keep": also write invalid pixels, moved by whole pixels; "fill": also those of small
        holes, filled from the valid pixels around them, for which the region must be larger by
        `HOLE_REACH`; they do not count as known, either
    """
    box = Box(tuple(first), moved.shape)
    if find_source_part(box, shift, frame_shape, 0) is None:
        return
    whole = round_shift(shift)
    target, nearest = [], []
    for begin, stop, offset, size, side in zip(
        box.first, box.stop, whole.tolist(), frame_shape, region, strict=True
    ):
        low, high = max(begin, offset), min(stop, offset + size)
        target.append(slice(low - begin, high - begin))
        nearest.append(slice(low - offset - side.start, high - offset - side.start))
    valid_nearest = None if valid is None else valid[tuple(nearest)]
    known[tuple(target)] = True if valid_nearest is None else valid_nearest
    written = known
    if invalid == "fill" and valid is not None:
        image, holes = fill_small_holes(image, valid)
        valid = valid | holes
        valid_nearest = valid[tuple(nearest)]
        written = np.zeros_like(known)
        written[tuple(target)] = valid_nearest
    keep = invalid == "keep"
    interpolates = interpolation != "nearest" and bool((np.asarray(shift) != whole).any())
    if not interpolates or keep or image.dtype == np.bool_:
        _write(moved[tuple(target)], image[tuple(nearest)], None if keep else valid_nearest)
    if interpolates and image.dtype != np.bool_:
        _interpolate(
            image, valid, region, frame_shape, shift, first, interpolation, moved, written, target
        )


def place_on_canvas(
    image: NDArray[np.floating[Any]],
    valid: Bools,
    shift: Floats,
    first: Sequence[int],
    shape: Sequence[int],
) -> tuple[NDArray[np.floating[Any]], Bools]:
    """Move `image` by `shift` onto a canvas, by cubic splines, which keep it sharp.

    Splines reach far: invalid pixels are first filled in from valid ones nearby. A pixel of the
    canvas is known if the pixels around the position it comes from (2 along each axis) are valid.

    Parameters
    ----------
    image, valid : arrays of one shape; the image is finite where valid
    shift : (ndim,) pixels, array axis order
    first : where the first pixel of the canvas lies, pixels
    shape : of the canvas

    Returns
    -------
    moved, known : array of the shape of the canvas, of the image's data type, 0 where not known;
        bool array
    """
    reach, whole = REACH["cubic"], np.floor(shift).astype(int)
    fraction = np.asarray(shift) - whole
    values, known = fill_around(image, valid, reach, image.dtype), valid.copy()
    margins = [(reach, reach - 1) if part else (0, 0) for part in fraction.tolist()]
    taps = [compute_weights("cubic", part) if part else None for part in fraction.tolist()]
    values = _filter_all_axes(np.pad(values, margins, mode="symmetric"), taps)
    for axis in np.flatnonzero(fraction):
        lines = np.moveaxis(known, axis, 0)
        lines[1:] &= lines[:-1].copy()
        lines[0] = False
    moved, canvas_known = np.zeros(tuple(shape), image.dtype), np.zeros(tuple(shape), bool)
    target, source = [], []
    for begin, size, length in zip(whole - np.asarray(first), image.shape, shape, strict=True):
        low, high = max(int(begin), 0), min(int(begin) + size, length)
        target.append(slice(low, max(high, low)))
        source.append(slice(low - int(begin), max(high, low) - int(begin)))
    canvas_known[tuple(target)] = known[tuple(source)]
    moved[tuple(target)] = values[tuple(source)]
    return np.where(canvas_known, moved, 0), canvas_known


def _write(target: NDArray[Any], values: NDArray[Any], mask: Bools | None) -> None:
    """Write values into `target` under a mask; None: everywhere."""
    if mask is None:
        target[...] = values
    else:
        np.copyto(target, values, where=mask)


def _interpolate(
    image: NDArray[Any],
    valid: Bools | None,
    region: Slices,
    frame_shape: Sequence[int],
    shift: Floats,
    first: Sequence[int],
    interpolation: str,
    moved: NDArray[Any],
    written: Bools,
    target: Sequence[slice],
) -> None:
    """Interpolate the `written` pixels of `moved` in the slices `target`, block by block."""
    reach = REACH[interpolation]
    floor = np.floor(shift).astype(int)
    taps = [
        compute_weights(interpolation, float(offset - whole)) if offset != whole else None
        for offset, whole in zip(shift, floor, strict=True)
    ]
    work_dtype = choose_work_dtype(image.dtype)
    averages = valid if interpolation == "linear" else None
    if valid is not None and averages is None:
        # Weights that are negative and reach far: invalid pixels are filled in from those around
        # them.
        image = fill_around(image, valid, reach, work_dtype)
    for block in cut_into_blocks(target):
        needed = []  # (first, stop) in the frame along each axis; may extend beyond it
        for side, begin, offset, tap in zip(block, first, floor.tolist(), taps, strict=True):
            margins = (reach, reach - 1) if tap is not None else (0, 0)
            needed.append(
                (side.start + begin - offset - margins[0], side.stop + begin - offset + margins[1])
            )
        if not written[block].any():
            continue
        values = _cut(image, region, frame_shape, needed).astype(work_dtype, copy=False)
        valid_pixels = None if averages is None else _cut(averages, region, frame_shape, needed)
        if valid_pixels is None or valid_pixels.all():
            result = _filter_all_axes(values, taps)
            mask = None if valid is None else written[block]
            _write(moved[block], convert_dtype(result, moved.dtype), mask)
        else:
            result = _average_valid(values, valid_pixels, taps)
            _write(moved[block], convert_dtype(result, moved.dtype), written[block])


def choose_work_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Choose the type for interpolation: single precision if it holds the pixels exactly."""
    return np.dtype(np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64)


def _filter_all_axes(
    values: NDArray[Any], taps: Sequence[NDArray[np.float64] | None]
) -> NDArray[Any]:
    """Filter along all axes that have taps, the last axis first, as it drops the most pixels."""
    for axis in reversed(range(values.ndim)):
        tap = taps[axis]
        if tap is not None:
            values = filter_along(values, tap, axis)
    return values


def _average_valid(
    values: NDArray[Any], valid: Bools, taps: Sequence[NDArray[np.float64] | None]
) -> NDArray[Any]:
    """Interpolate linearly between valid pixels alone: their weighted mean."""
    total = _filter_all_axes(np.where(valid, values, 0), taps)
    weight = _filter_all_axes(valid.astype(values.dtype), taps)
    return np.asarray(total / np.where(weight > 0, weight, 1))


def _cut(
    array: NDArray[Any],
    region: Slices,
    frame_shape: Sequence[int],
    needed: Sequence[tuple[int, int]],
) -> NDArray[Any]:
    """Cut the `needed` pixels out of a frame of which `array` holds a region; mirrored beyond it.

    `needed` are (first, stop) along each axis of the frame; what lies beyond its edges is mirrored.
    """
    inside, beyond = [], []
    for (low, high), side, size in zip(needed, region, frame_shape, strict=True):
        begin, stop = max(low, 0), min(high, size)
        beyond.append((begin - low, high - stop))
        inside.append(slice(begin - side.start, stop - side.start))
    piece = array[tuple(inside)]
    if any(sum(margin) for margin in beyond):
        return np.pad(piece, beyond, mode="symmetric")
    return piece


# What to do with invalid pixels.
INVALID = ("blank", "keep", "fill")
# How far, in pixels, a pixel affects others. The cubic spline's weights never end; those further
# out are below 1e-6.
REACH = {"nearest": 0, "linear": 1, "cubic": 12, "fourier": 24}
INTERPOLATIONS = tuple(REACH)
# Kaiser window of the sinc: with a reach of 24 the error is below 1e-3 for all frequencies up to
# 0.9 of the Nyquist frequency.
SINC_BETA = 7.0
# The pole of the cubic spline's prefilter (Unser 1999, doi:10.1109/79.799930).
POLE = np.sqrt(3.0) - 2.0


@lru_cache(maxsize=1024)
def compute_weights(interpolation: str, fraction: float) -> NDArray[np.float64]:
    """Compute the weights of the pixels around a position between them.

    Parameters
    ----------
    interpolation : "linear"; "cubic" (the spline through all pixels); "fourier" (the sinc, which is
        what a ramp on the phases does, under a window, so that it ends and nothing wraps around)
    fraction : 0..1, how far a frame is moved beyond whole pixels

    Returns
    -------
    (2 reach,) array; ``moved[j] = sum(weights[i] * pixels[j + i])`` with the first pixel `reach`
    before the pixel that is moved to *j* by the whole part
    """
    reach = REACH[interpolation]
    distance = np.arange(reach, -reach, -1) - fraction
    if interpolation == "linear":
        return np.asarray(np.maximum(1 - np.abs(distance), 0))
    if interpolation == "cubic":
        steps = np.arange(-3 * reach, 3 * reach + 1)
        prefilter = np.sqrt(3.0) * POLE ** np.abs(steps)
        weights = (prefilter * _compute_spline_weights(distance[:, None] - steps)).sum(axis=1)
    else:
        window = np.i0(SINC_BETA * np.sqrt(np.clip(1 - (distance / reach) ** 2, 0, 1)))
        weights = np.sinc(distance) * window
    return np.asarray(weights / weights.sum())


def _compute_spline_weights(x: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the cubic B-spline at `x`, pixels from its centre."""
    size = np.abs(x)
    inner = 2 / 3 - size**2 + size**3 / 2
    return np.asarray(np.where(size < 1, inner, np.maximum(2 - size, 0) ** 3 / 6))
