"""Solve for one drift of all positions that share a stage, from the shifts of each.

The shifts of a position are those of the stage plus a constant, as each is relative to a frame of
its own. Positions are weighted by their errors; where some contradict each other, those that agree
with more than half of all count. Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from steadystack.joining.drift_fit import (
    ALL_OF_IT,
    find_frame_widening,
    find_known,
    find_residual,
    find_std,
    leave_room,
    widen,
)
from steadystack.joining.finished import SolvedSeries
from steadystack.joining.position_votes import find_common_widening, merge_by_position, vote
from steadystack.joining.shift_errors import ShiftErrors, find_shift_errors
from steadystack.model import Bools
from steadystack.quality import widen_errors


@dataclass(frozen=True, eq=False)
class PositionPart:
    """Shifts (frames, axes), px, of a connected part of a position; NaN in other frames."""

    position: int
    shift: NDArray[np.float64]
    errors: ShiftErrors


@dataclass(frozen=True, eq=False)
class SharedDrift:
    """The drift that positions share, and how each of them fits.

    Attributes
    ----------
    shift, std : (frames, axes) px; NaN where not known; relative to `anchor`
    anchor : the first frame that counts, at 0; None: none does
    weight : (positions, frames), contribution of a position to the drift in a frame, 0 to 1
    residual : (positions, frames, axes) px: shift of the position, without its constant, minus the
        drift; where no frame of that is known, minus the median of the positions
    excess : (positions,) residuals over stated errors, root mean square; NaN where not known
    has_shift, contradicts : (positions, frames), and in which of these it contradicts others
    agrees : (positions,) all but those that contradict others in more than half of their frames, or
        typically are much further off than is stated
    apart : (frames,) frames not linked with the others by any position
    """

    shift: NDArray[np.float64]
    std: NDArray[np.float64]
    anchor: int | None
    weight: NDArray[np.float64]
    residual: NDArray[np.float64]
    excess: NDArray[np.float64]
    has_shift: Bools
    contradicts: Bools
    agrees: Bools
    apart: Bools

    @property
    def is_alone(self) -> Bools:
        """Where the drift is practically that of one position (positions, frames)."""
        return np.asarray(self.weight >= ALL_OF_IT)

    @cached_property
    def rms(self) -> NDArray[np.float64]:
        """How far positions are from the drift (positions,), px; NaN where no other has a shift."""
        squared = np.square(self.residual).sum(axis=2)
        known = np.isfinite(squared) & ~self.is_alone
        count = np.where(known.any(axis=1), known.sum(axis=1), np.nan)
        return np.asarray(np.sqrt(np.where(known, squared, 0).sum(axis=1) / count))

    @property
    def known(self) -> Bools:
        """Which frames have a shift (frames,)."""
        return np.asarray(np.isfinite(self.shift).all(axis=1))


def list_parts(series: Sequence[SolvedSeries]) -> Iterator[PositionPart]:
    """List the connected parts of series, with their errors as datasets state them.

    A series without any gets one part in which nothing is known.
    """
    for position, one in enumerate(series):
        frames = widen_errors(one.frames, one.known)
        if not frames.anchors:
            unknown = np.full(frames.shift.shape, np.nan)
            yield PositionPart(position, unknown, ShiftErrors.independent(unknown))
        for component in range(len(frames.anchors)):
            errors = find_shift_errors(one.pairs, frames, component)
            codec = errors.known[:, None] * one.setup.series.codec_std**2  # independent per frame
            errors = replace(errors, own=errors.own + codec)
            shift = np.where(errors.known[:, None], frames.shift, np.nan)
            yield PositionPart(position, shift, errors)


def solve_shared_drift(parts: Sequence[PositionPart], count: int) -> SharedDrift:
    """Solve for the drift of `count` positions, each of one or more parts, over the same frames."""
    values = np.stack([part.shift for part in parts])
    variance = np.stack([part.errors.compute_variance() for part in parts])
    known = find_known(values) & find_known(variance)
    values, variance = (np.where(known[..., None], one, np.nan) for one in (values, variance))
    owner = np.array([part.position for part in parts])
    stated, common = variance, find_common_widening(values, variance)
    variance = stated * common
    votes = vote(values, variance, owner, count)
    fit, widening = widen(values, variance, votes.used, votes.offset)
    used_frames = votes.used.any(axis=0)
    anchor = int(used_frames.argmax()) if used_frames.any() else None
    shift, std = np.full((2, *values.shape[1:]), np.nan)
    if anchor is not None:
        shift = fit.drift - fit.drift[anchor]
        std = find_std(fit, [part.errors for part in parts], widening * common, anchor)
        frames = find_frame_widening(fit, values, variance * widening[:, None, None])
        std *= np.sqrt(np.maximum(frames, frames[anchor]))[:, None]  # the anchor's error is in all
    off = find_residual(fit, values)
    tells = known & find_known(off) & (fit.share < ALL_OF_IT).all(axis=2)
    squared = np.where(tells[..., None], off**2 / (stated * leave_room(fit.share)), 0)
    per_position = np.stack([np.bincount(owner, some, count) for some in (
        squared.sum(axis=(1, 2)), tells.sum(axis=1) * values.shape[2])])  # fmt: skip
    with np.errstate(invalid="ignore"):
        excess = np.sqrt(per_position[0] / per_position[1])
    residual = np.full((count, *values.shape[1:]), np.nan)
    weight = np.zeros(residual.shape[:2])
    for row, position in enumerate(owner):
        residual[position][known[row]] = off[row][known[row]]
        weight[position] += fit.share[row].mean(axis=1)
    return SharedDrift(
        shift, std, anchor, weight, residual, excess, merge_by_position(known, owner, count),
        votes.contradicts, votes.agrees, votes.apart,
    )  # fmt: skip
