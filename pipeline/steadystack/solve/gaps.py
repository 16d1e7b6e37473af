"""Fill in the shifts of frames that have none, between frames that have one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from steadystack.model import NO_COMPONENT, Bools, FrameStatus, FrameTable, LocalStatus
from steadystack.warp import compute_rotation, compute_rotation_vector, compute_scale

Interpolation = Literal["linear", "spline"]


def interpolate_missing(
    frames: FrameTable, method: Interpolation, pixel_size: Sequence[float] | None = None
) -> FrameTable:
    """Give a shift to frames without one that lie between two frames of the same component.

    `pixel_size` (one per axis) is needed for the errors of rotations; None: equal on all axes.
    """
    shift, std, component = interpolate_columns(
        frames.shift, frames.shift_std, frames.component, method
    )
    status = frames.status.copy()
    status[(component != NO_COMPONENT) & (frames.component == NO_COMPONENT)] = (
        FrameStatus.INTERPOLATED.code
    )
    filled = replace(frames, shift=shift, shift_std=std, component=component, status=status)
    if np.isfinite(frames.local_shift).any():
        return _fill_in_local(filled, frames, method)
    if not is_linear(frames):
        return filled
    return _fill_in_linear(filled, frames.component, method, pixel_size)


def is_linear(frames: FrameTable) -> bool:
    """Whether frames have a linear motion (rotation, scale) besides the shift."""
    return bool(np.isfinite(frames.linear).any())


def _fill_in_local(filled: FrameTable, frames: FrameTable, method: Interpolation) -> FrameTable:
    """Fill in the local shifts of filled-in frames, too; none of their nodes counts as measured."""
    count, shape = len(frames.shift), frames.local_shift.shape
    component = np.where(frames.component == 0, 0, NO_COMPONENT)
    value, std, _ = interpolate_columns(
        frames.local_shift.reshape(count, -1), frames.local_shift_std.reshape(count, -1),
        component, method,
    )  # fmt: skip
    compares = (frames.component == 0) | (
        (frames.component == NO_COMPONENT) & (filled.component == 0)
    )
    value[~compares], std[~compares] = np.nan, np.nan
    status = frames.local_status.copy()
    is_unknown = (status == LocalStatus.UNKNOWN.code).reshape(count, -1).all(axis=1)
    given = np.isfinite(value).all(axis=1) & is_unknown
    status[given] = LocalStatus.FRAME.code
    shaped = value.reshape(shape), std.reshape(shape)
    return replace(filled, local_shift=shaped[0], local_shift_std=shaped[1], local_status=status)


def _fill_in_linear(
    filled: FrameTable,
    component: NDArray[np.int64],
    method: Interpolation,
    pixel_size: Sequence[float] | None,
) -> FrameTable:
    """Fill in the linear motion, too; `component` is each frame's from before the filling."""
    count, scale_std = len(filled.shift), filled.scale_std
    if not np.isfinite(scale_std).any():  # a model without scale knows nothing of it
        scale_std = np.zeros(count)
    in_plane = filled.linear.shape[1] == 2
    derive = compute_rotation if in_plane else compute_rotation_vector
    turns = derive(filled.linear, pixel_size)
    turns_std = filled.rotation_std if in_plane else filled.rotation_vector_std
    values = [filled.linear, turns, compute_scale(filled.linear)]
    stds = [filled.linear_std, turns_std, scale_std]
    values, stds = ([each.reshape(count, -1) for each in columns] for columns in (values, stds))
    value, std, _ = interpolate_columns(
        np.concatenate(values, axis=1), np.concatenate(stds, axis=1), component, method
    )
    shape, size = filled.linear.shape, values[0].shape[1]
    filled = replace(
        filled,
        linear=value[:, :size].reshape(shape),
        linear_std=std[:, :size].reshape(shape),
        scale_std=std[:, -1] if np.isfinite(filled.scale_std).any() else filled.scale_std,
    )
    turns_std = std[:, size:-1].reshape(turns_std.shape)
    if in_plane:
        return replace(filled, rotation_std=turns_std)
    return replace(filled, rotation_vector_std=turns_std)


def interpolate_columns(
    shift: NDArray[np.float64],
    std: NDArray[np.float64],
    component: NDArray[np.int64],
    method: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Fill in the frames that lie between two frames of one component.

    ``linear`` is a straight line between the two; ``spline`` a cubic Hermite spline through all
    frames of the component that does not overshoot at a jump (Fritsch & Butland 1984).

    The standard deviation has two sources: the errors of the two frames, taken as fully correlated,
    and how far known frames lie from a straight line across a gap of the same width elsewhere in
    the component, scaled as for a random walk (largest in the middle, 0 at the ends). If the
    component is too short for such a gap, the rate of its steps is used instead; if that is not
    known either, it is NaN.

    Parameters
    ----------
    shift, std : (frames, axes), px; NaN where not known
    component : (frames,), `NO_COMPONENT` where not known

    Returns
    -------
    shift, std, component : copies with those frames filled in
    """
    before, after = _find_neighbours(component != NO_COMPONENT)
    inside = (component == NO_COMPONENT) & (before >= 0) & (after >= 0)
    inside &= component[before] == component[after]
    gap = np.flatnonzero(inside)
    shift, std, component = shift.copy(), std.copy(), component.copy()
    gap_component = component[before[gap]]
    for number in np.unique(gap_component):
        frames = gap[gap_component == number]
        known_frames = np.flatnonzero(component == number)
        first, last = before[frames], after[frames]
        fraction = ((frames - first) / (last - first))[:, None]
        if method == "spline" and len(known_frames) > 2:
            from scipy import interpolate  # slow to import, and few settings need it

            filled = interpolate.PchipInterpolator(known_frames, shift[known_frames])(frames)
        else:
            filled = (1 - fraction) * shift[first] + fraction * shift[last]
        ends = (1 - fraction) * std[first] + fraction * std[last]
        straying = (
            _measure_straying(shift, known_frames, last - first) * 4 * fraction * (1 - fraction)
        )
        shift[frames], std[frames] = filled, np.sqrt(ends**2 + straying)
    component[gap] = gap_component
    return shift, std, component


def _find_neighbours(is_known: Bools) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the nearest known frame at or before, and at or after, every frame; -1: none."""
    frames = np.arange(len(is_known))
    before = np.maximum.accumulate(np.where(is_known, frames, -1))
    after = np.minimum.accumulate(np.where(is_known, frames, len(is_known))[::-1])[::-1]
    return before, np.where(after == len(is_known), -1, after)


def _measure_straying(
    shift: NDArray[np.float64], known_frames: NDArray[np.intp], widths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Measure how far shifts stray from a straight line in the middle of gaps of these widths.

    Returns mean squares (gaps, axes), px².
    """
    values = np.full(shift.shape, np.nan)
    values[known_frames] = shift[known_frames]
    different, rows = np.unique(widths, return_inverse=True)
    mean_squares = np.full((len(different), shift.shape[1]), np.nan)
    for row, width in enumerate(different):
        middle = width // 2
        if len(values) > width:
            first, last = values[:-width], values[width:]
            between = values[middle : len(values) - width + middle]
            deviation = between - first - (last - first) * (middle / width)
            is_known = np.isfinite(deviation).all(axis=1)
            if is_known.any():
                scale = 4 * (middle / width) * (1 - middle / width)
                mean_squares[row] = (deviation[is_known] ** 2).mean(axis=0) / scale
        if np.isnan(mean_squares[row]).any() and len(known_frames) > 2:
            steps = np.diff(shift[known_frames], axis=0) ** 2 / np.diff(known_frames)[:, None]
            mean_squares[row] = steps.mean(axis=0) * width / 4
    return mean_squares[rows]
