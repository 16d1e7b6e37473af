"""Find what becomes of every frame: moved by its shift, left as it is, or blank."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.model import NODE_DIMS, PILOT, Bools, FrameStatus, InputError, Pilot
from steadystack.warp import (
    AnyMotion,
    Box,
    LocalField,
    check_linear_interpolation,
    convert_dtype,
    find_common_box,
    find_warped_common_box,
    find_warped_whole_box,
    find_whole_box,
)

# Weights of frames in a mean: None, "precision", or a number for every frame.
PRECISION = "precision"
Weights: TypeAlias = str | NDArray[np.float64] | None
BORDERS = ("same", "crop", "expand")
# Frames of a grown series whose motion changed by less than this, pixels, are not rewritten.
NEAR = 0.05
# Statuses of frames with missing pixels when they were measured.
NOT_WHOLE = tuple(
    status.code for status in (FrameStatus.MISSING, FrameStatus.INCOMPLETE, FrameStatus.UNREADABLE)
)


@dataclass(frozen=True, eq=False)
class Movements:
    """The movement of every frame.

    Attributes
    ----------
    shift : (frames, axes) pixels; 0 for an unmoved frame, NaN for a blank one
    good : (frames,) which frames are moved by a known shift
    linear : (frames, axes, axes) about the middle of a frame, or local shifts, which hold the
        shift; None: frames are shifted alone
    offsets : (channels, axes) pixels, additional shift of each channel; None: none
    is_whole : (frames,) of which no pixel was missing when it was measured; None: all are
    """

    shift: NDArray[np.float64]
    good: Bools
    linear: AnyMotion | None = None
    is_whole: Bools | None = None
    offsets: NDArray[np.float64] | None = None


def find_movements(
    shifts: xr.Dataset, *, interpolated: str = "moved", unusable: str = "blank"
) -> Movements:
    """Find the movements of all frames from a shifts dataset.

    Parameters
    ----------
    interpolated : "moved", "unmoved" or "blank": frames whose shift is that of frames around them
    unusable : "unmoved" or "blank": frames without a shift, or with one that does not compare with
        that of the anchor (another component)
    """
    for name, value, allowed in (
        ("interpolated", interpolated, ("moved", "unmoved", "blank")),
        ("unusable", unusable, ("unmoved", "blank")),
    ):
        if value not in allowed:
            raise InputError(f"{name} {value!r} is not one of {', '.join(allowed)}")
    shift = shifts["frame_shift"].to_numpy().astype(np.float64)
    has_shift: Bools = np.asarray(np.isfinite(shift).all(axis=1))
    if "component" in shifts:
        has_shift &= shifts["component"].to_numpy() == 0
    linear = get_motion(shifts)
    if linear is not None:
        has_shift &= np.isfinite(np.asarray(linear)).reshape(len(shift), -1).all(axis=1)
    if not has_shift.any():
        reasons = json.loads(shifts.attrs.get("verdict_reasons", "[]"))
        words = "; ".join(reason["words"] for reason in reasons)
        note = f": {words}" if reasons else " (solve first)"
        raise InputError(f"no frame has a shift: there is nothing to correct{note}")
    is_interpolated = np.zeros(len(shift), bool)
    if "frame_status" in shifts:
        status = shifts["frame_status"].to_numpy()
        is_interpolated = has_shift & (status == FrameStatus.INTERPOLATED.code)
    shift = np.where(has_shift[:, None], shift, 0.0 if unusable == "unmoved" else np.nan)
    if interpolated != "moved":
        shift[is_interpolated] = 0.0 if interpolated == "unmoved" else np.nan
        has_shift[is_interpolated] = False
    if isinstance(linear, LocalField):
        linear = linear.flattened(~has_shift, shift)
    elif linear is not None:
        linear = np.where(has_shift[:, None, None], linear, np.eye(shift.shape[1]))
    is_whole = np.ones(len(shift), bool)
    if "frame_read_status" in shifts:
        is_whole = ~np.isin(shifts["frame_read_status"].to_numpy(), NOT_WHOLE)
    return Movements(shift, has_shift, linear, is_whole)


def keep_near(
    movements: Movements,
    shift: NDArray[np.float64],
    linear: NDArray[np.float64] | None,
    shape: Sequence[int],
) -> tuple[Movements, Bools]:
    """Keep the earlier movement of first frames if it has changed by no more than `NEAR`.

    Parameters
    ----------
    shift, linear : as `Movements` has them, of the first frames as they were moved before
    shape : pixels of a frame along the axes of the shifts

    Returns
    -------
    movements : those before where frames stay
    stays : (frames,) which frames stay, judged by the corner that moved farthest; none if the kind
        of motion has changed, or is local
    """
    count, ndim = shift.shape
    is_same = (linear is None) == (movements.linear is None)
    if isinstance(movements.linear, LocalField) or not is_same:
        return movements, np.zeros(len(movements.shift), bool)
    before = np.eye(ndim) if linear is None else linear
    now = np.eye(ndim) if movements.linear is None else movements.linear[:count]
    corners = np.array(list(product(*([-size / 2, size / 2] for size in shape))))
    moved = (movements.shift[:count] - shift)[:, None] + np.einsum(
        "...ij,cj->...ci", now - before, corners
    )
    moved[~np.isfinite(moved)] = np.inf  # frames that were incomplete
    blank = np.isnan(shift).any(axis=1) & np.isnan(movements.shift[:count]).any(axis=1)
    stays = np.zeros(len(movements.shift), bool)
    stays[:count] = blank | (np.linalg.norm(moved, axis=-1).max(axis=-1) <= NEAR)
    kept, chosen = np.flatnonzero(stays), movements.shift.copy()
    chosen[kept] = shift[kept]
    if movements.linear is None:
        return replace(movements, shift=chosen), stays
    turned = movements.linear.copy()
    turned[kept] = np.broadcast_to(before, (count, ndim, ndim))[kept]
    return replace(movements, shift=chosen, linear=turned), stays


def add_channel_offsets(
    movements: Movements, shifts: xr.Dataset, channels: Sequence[int], count: int
) -> Movements:
    """The movements with the offsets of the `count` channels of a stack, as far as any is known.

    `channels` are the indices of those that were measured, in the order of the dataset.
    """
    known = get_channel_offsets(shifts)
    if known is None or len(channels) != len(known):
        return movements
    offsets = np.zeros((count, known.shape[1]))
    offsets[list(channels)] = known
    return replace(movements, offsets=offsets)


def list_all(movements: Movements) -> Movements:
    """The movements of all frames, for each channel in turn if channels have offsets."""
    if movements.offsets is None:
        return movements
    several, count = np.unique(movements.offsets, axis=0), len(movements.shift)
    frames, by = np.tile(np.arange(count), len(several)), np.repeat(several, count, axis=0)
    linear = None if movements.linear is None else movements.linear[frames]
    if isinstance(linear, LocalField):
        linear = linear.shifted(by)
    return Movements(movements.shift[frames] + by, movements.good[frames], linear)


def spread_over_axes(
    shift: NDArray[np.float64], axes: Sequence[str], spatial: Sequence[str]
) -> NDArray[np.float64]:
    """Spread shifts along `axes` over those of a stack, (frames, spatial axes); 0 along others."""
    spread = np.zeros((len(shift), len(spatial)))
    spread[:, [spatial.index(axis) for axis in axes]] = shift
    return spread


def get_channel_offsets(shifts: xr.Dataset) -> NDArray[np.float64] | None:
    """The offsets of all channels (channels, axes), px, 0 where not known; None: none is known."""
    if "channel_offset" not in shifts:
        return None
    offsets = np.nan_to_num(shifts["channel_offset"].to_numpy().astype(np.float64))
    return offsets if offsets.any() else None


def get_linear(shifts: xr.Dataset) -> NDArray[np.float64] | None:
    """The linear motion of all frames (frames, axes, axes); None where they are shifted alone."""
    if "frame_linear" not in shifts:
        return None
    linear = shifts["frame_linear"].to_numpy().astype(np.float64)
    return linear if np.isfinite(linear).any() else None


def get_motion(shifts: xr.Dataset) -> AnyMotion | None:
    """The linear motion of all frames, or their local shifts; None where they are shifted alone."""
    if "frame_local_shift" not in shifts or not shifts["frame_local_shift"].notnull().any():
        return get_linear(shifts)
    dims = [name for name in NODE_DIMS if name in shifts["frame_local_shift"].dims]
    values = shifts["frame_local_shift"].transpose("frame", *dims, "axis").to_numpy()
    nodes = tuple(shifts[name].to_numpy().astype(np.float64) for name in dims)
    return LocalField(nodes, values.astype(np.float64))


def make_motion_array(
    movements: Movements, interpolation: str, other_shape: bool
) -> tuple[xr.DataArray, tuple[NDArray[np.float64], ...] | None]:
    """The linear motion of all frames (identity: shift alone), or local shifts and their nodes.

    Along t and the axes of what a frame has. Raises InputError where it cannot be applied so.
    """
    count, ndim = movements.shift.shape
    if movements.linear is None:
        one = np.tile(np.eye(ndim), (count, 1, 1))
        return xr.DataArray(one, dims=("t", "axis", "of_axis")), None
    check_linear_interpolation(interpolation)
    if other_shape:
        raise InputError(
            "other_shape=True: these frames turn or are magnified about the centre of the measured "
            "frames, or move locally at positions in them, which frames of another shape do not "
            "have: correct whole frames, and crop them afterwards"
        )
    if isinstance(movements.linear, LocalField):
        dims = ("t", *NODE_DIMS[-movements.linear.ndim :], "axis")
        return xr.DataArray(movements.linear.values, dims=dims), movements.linear.nodes
    return xr.DataArray(movements.linear, dims=("t", "axis", "of_axis")), None


def find_shown_box(
    shift: NDArray[np.float64], linear: AnyMotion | None, shape: Sequence[int]
) -> Box | None:
    """Find the box of pixels that all frames show when they are moved; None if there is none."""
    if linear is None:
        return find_common_box(shift, shape)
    return find_warped_common_box(linear, shift, shape)


def find_ok_frames(shifts: xr.Dataset) -> Bools:
    """Find the frames with a shift of their own that compares with the anchor's: (frames,) bool.

    Those whose status is ok; in a dataset without statuses, those that have a shift.
    """
    ok: Bools = np.asarray(np.isfinite(shifts["frame_shift"].to_numpy()).all(axis=1))
    if "component" in shifts:
        ok &= shifts["component"].to_numpy() == 0
    if "frame_status" in shifts:
        ok &= shifts["frame_status"].to_numpy() == FrameStatus.OK.code
    return ok


def find_weights(shifts: xr.Dataset, weights: Weights) -> NDArray[np.float64]:
    """Find by what weight every frame counts in a mean, (frames,); 0 for those that are not ok.

    Parameters
    ----------
    shifts : of all frames
    weights : None: all the same; "precision": ``1 / (1 + 12 s^2)`` with *s*, pixels, the standard
        deviation of the shift, root mean square over the axes: the variance of a pixel's width,
        1/12, over that plus the shift's; or a number for every frame, such as its dose

    Raises
    ------
    InputError
        For weights that do not fit the frames, and where no frame counts.
    """
    ok = find_ok_frames(shifts)
    values = np.ones(len(ok))
    if isinstance(weights, str):
        if weights != PRECISION:
            raise InputError(f"weights {weights!r} are not {PRECISION}, None, or numbers")
        if "frame_shift_std" not in shifts:
            raise InputError(f"weights {PRECISION!r} need the variable frame_shift_std")
        variance = (shifts["frame_shift_std"].to_numpy().astype(np.float64) ** 2).mean(axis=1)
        values = 1 / (1 + 12 * variance)
    elif weights is not None:
        values = np.asarray(weights, np.float64)
        if values.shape != ok.shape:
            raise InputError(
                f"weights have the shape {values.shape}: one for each of {len(ok)} frames is needed"
            )
    wrong = np.flatnonzero(ok & ~((values >= 0) & np.isfinite(values)))
    if len(wrong):
        raise InputError(
            f"the weight of frame {wrong[0]} is {values[wrong[0]]:g}: weights are 0 or more, and "
            f"every frame that is ok needs one ({len(wrong)} have none)"
        )
    found = np.where(ok, values, 0.0)
    if not found.any():
        raise InputError("no frame is ok and has a weight above 0, so there is no mean")
    return found


def choose_canvas(movements: Movements, shape: Sequence[int], border: str) -> Box:
    """Choose the box of pixels that a corrected stack shows.

    Parameters
    ----------
    movements : of all frames
    shape : pixels of a frame along the axes of the shifts
    border : "same": the box of the frames; "crop": what every good frame shows; "expand":
        everything that any frame shows
    """
    if border == "same":
        return Box((0,) * len(shape), tuple(shape))
    movements = list_all(movements)
    shown, linear = np.isfinite(movements.shift).all(axis=1), movements.linear
    good, known = movements.good, movements.shift[shown]
    if border == "expand" and linear is not None:
        return find_warped_whole_box(linear[shown], known, shape)
    if border == "expand":
        return find_whole_box(known, shape)
    common = find_shown_box(movements.shift[good], None if linear is None else linear[good], shape)
    if common is None:
        span = np.ptp(movements.shift[movements.good], axis=0)
        raise InputError(
            f"correct.border crop leaves nothing: the shifts span {span.round(1).tolist()} "
            f"pixels, and frames have {tuple(shape)}; set it to same or expand"
        )
    return common


def choose_fill_value(setting: float | None, dtype: np.dtype[Any]) -> float:
    """Choose what is written where nothing is known: NaN or 0, unless the settings say.

    Raises InputError for a value that `dtype` cannot hold.
    """
    if np.issubdtype(dtype, np.floating):
        return np.nan if setting is None else setting
    value = 0 if setting is None else setting
    if convert_dtype(np.array([value], np.float64), dtype)[0] != value:
        raise InputError(f"fill_value {setting} cannot be stored as {dtype}")
    return value


def find_defects_left_out(shifts: xr.Dataset) -> tuple[int, ...]:
    """Find the pixels (flat indices in a frame) that were excluded from measuring as defects."""
    if PILOT not in shifts.attrs:
        return ()
    try:
        pilot = Pilot.parse(shifts.attrs[PILOT])
    except ValueError as error:
        raise InputError(f"the shifts dataset is damaged: {error}") from error
    return pilot.defects.pixels if pilot.defects is not None else ()
