"""What becomes of every frame: moved by its shift, left as it is, or blank."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.model import Bools, FrameStatus, InputError
from steadystack.warp import Box, convert_dtype, find_common_box, find_whole_box

BORDERS = ("same", "crop", "expand")


@dataclass(frozen=True, eq=False)
class Movements:
    """What to do to every frame.

    Attributes
    ----------
    shift : (frames, axes) pixels; 0 for a frame that is left as it is, NaN for one that stays blank
    good : (frames,) which are moved by a shift that is known
    """

    shift: NDArray[np.float64]
    good: Bools


def find_movements(
    shifts: xr.Dataset, *, interpolated: str = "moved", unusable: str = "blank"
) -> Movements:
    """The movements that a shifts dataset asks for.

    Parameters
    ----------
    interpolated : "moved", "unmoved" or "blank": frames whose shift is that of frames around them
    unusable : "unmoved" or "blank": frames without a shift, or with one that does not compare with
        that of the anchor (another component)
    """
    for name, given, allowed in (
        ("interpolated", interpolated, ("moved", "unmoved", "blank")),
        ("unusable", unusable, ("unmoved", "blank")),
    ):
        if given not in allowed:
            raise InputError(f"{name} {given!r} is not one of {', '.join(allowed)}")
    shift = shifts["frame_shift"].to_numpy().astype(np.float64)
    known: Bools = np.asarray(np.isfinite(shift).all(axis=1))
    if "component" in shifts:
        known &= shifts["component"].to_numpy() == 0
    if not known.any():
        reasons = json.loads(shifts.attrs.get("verdict_reasons", "[]"))
        said = ": " + "; ".join(one["words"] for one in reasons) if reasons else " (solve first)"
        raise InputError(f"no frame has a shift: there is nothing to correct{said}")
    guessed = np.zeros(len(shift), bool)
    if "frame_status" in shifts:
        guessed = known & (shifts["frame_status"].to_numpy() == FrameStatus.INTERPOLATED.code)
    shift = np.where(known[:, None], shift, 0.0 if unusable == "unmoved" else np.nan)
    if interpolated != "moved":
        shift[guessed] = 0.0 if interpolated == "unmoved" else np.nan
        known[guessed] = False
    return Movements(shift, known)


def choose_canvas(moved: Movements, shape: Sequence[int], border: str) -> Box:
    """The box of pixels that a corrected stack shows.

    Parameters
    ----------
    shape : of a frame, along the axes of the shifts
    border : "same": that of the frames; "crop": what is seen in every good frame; "expand":
        everything that is seen in any frame
    """
    if border == "same":
        return Box((0,) * len(shape), tuple(shape))
    if border == "expand":
        return find_whole_box(moved.shift[np.isfinite(moved.shift).all(axis=1)], shape)
    common = find_common_box(moved.shift[moved.good], shape)
    if common is None:
        span = np.ptp(moved.shift[moved.good], axis=0)
        raise InputError(
            f"correct.border crop leaves nothing: the shifts span {span.round(1).tolist()} "
            f"pixels, and frames have {tuple(shape)}; set it to same or expand"
        )
    return common


def choose_fill_value(given: float | None, dtype: np.dtype[Any]) -> float:
    """What is written where nothing is known, checked: NaN or 0 unless given."""
    if np.issubdtype(dtype, np.floating):
        return np.nan if given is None else given
    value = 0 if given is None else given
    if convert_dtype(np.array([value], np.float64), dtype)[0] != value:
        raise InputError(f"fill_value {given} cannot be stored as {dtype}")
    return value
