"""Find what becomes of every frame: moved by its shift, left as it is, or blank."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.model import PILOT, Bools, FrameStatus, InputError, Pilot
from steadystack.warp import Box, convert_dtype, find_common_box, find_whole_box

BORDERS = ("same", "crop", "expand")


@dataclass(frozen=True, eq=False)
class Movements:
    """The movement of every frame.

    Attributes
    ----------
    shift : (frames, axes) pixels; 0 for a frame that is left as it is, NaN for one that stays blank
    good : (frames,) which frames are moved by a shift that is known
    """

    shift: NDArray[np.float64]
    good: Bools


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
    return Movements(shift, has_shift)


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
    if border == "expand":
        return find_whole_box(movements.shift[np.isfinite(movements.shift).all(axis=1)], shape)
    common = find_common_box(movements.shift[movements.good], shape)
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
    """Find the pixels, flat indices in a frame, that shifts were measured without as defects."""
    if PILOT not in shifts.attrs:
        return ()
    try:
        pilot = Pilot.parse(shifts.attrs[PILOT])
    except ValueError as error:
        raise InputError(f"the shifts dataset is damaged: {error}") from error
    return pilot.defects.pixels if pilot.defects is not None else ()
