"""Decide which positions count in which frames, by majorities whose members all agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.joining.drift_fit import (
    ALIKE,
    Fit,
    find_known,
    find_median,
    find_residual,
    leave_room,
)
from steadystack.model import Bools, Ints
from steadystack.pairs import CONTRADICTS, NEAR_PX

# Iterations of medians, and of the choice of positions that count.
STEPS = 12
# Largest factor by which all stated errors may be too small (positions that differ by more
# contradict each other), and how significant that must be, over the root of the number of values.
MOST_UNDERSTATED, BEYOND_CHANCE = 2.0, 5.0
MEDIAN_OF_SQUARES = 0.455  # of values of variance 1
# A position moves by itself if it is typically this many times further off than its errors state.
TYPICALLY_OFF = 3.0
# Pairs of positions, over all frames, that are compared at once.
AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Votes:
    """Which parts count in which frames (parts, frames), and the outcome for positions.

    `offset` is the constant of each part (parts, axes), px; the others are as in `SharedDrift`.
    """

    used: Bools
    offset: NDArray[np.float64]
    contradicts: Bools
    agrees: Bools
    apart: Bools


def vote(
    values: NDArray[np.float64], variance: NDArray[np.float64], owner: Ints, count: int
) -> Votes:
    """Find the parts that count: in every frame a majority whose members all agree.

    A position that contradicts others in most of its frames, or is typically further off than its
    errors state, counts in none, and is dropped for good.
    """
    known = find_known(values)
    has_shift = merge_by_position(known, owner, count)
    offset = _guess_offsets(values)
    agrees, contradicts = np.ones(count, bool), np.zeros_like(has_shift)
    used = apart = np.zeros_like(known)
    for _ in range(STEPS + count):
        before, counted = (used, agrees), known & agrees[owner, None]
        stays = _leave_out(values - offset[:, None], variance, counted)
        majority = stays & (2 * stays.sum(axis=0) > counted.sum(axis=0))
        used = majority & _find_linked(majority)[:, None]
        apart = majority & ~used
        fights = merge_by_position(counted & ~stays, owner, count)
        contradicts = np.where(agrees[:, None], fights, contradicts)
        fit = Fit.of(values, np.where(used[..., None], 1 / variance, 0), offset)
        offset = fit.offset
        own_way = 2 * fights.sum(axis=1) > has_shift.sum(axis=1)
        if not own_way.any():
            own_way = _find_furthest(fit, values, variance, owner, agrees)
        agrees = agrees & ~own_way
        if np.array_equal(used, before[0]) and np.array_equal(agrees, before[1]):
            break
    used = used & agrees[owner, None]
    used &= _find_linked(used)[:, None]
    asked = has_shift.any(axis=1)
    if asked.sum() > 1 and 2 * (asked & agrees).sum() <= asked.sum():
        used = np.zeros_like(used)  # it is not known which is right
    lonely = np.asarray((apart & agrees[owner, None]).any(axis=0))
    return Votes(used, offset, contradicts, agrees, lonely)


def _find_furthest(
    fit: Fit,
    values: NDArray[np.float64],
    variance: NDArray[np.float64],
    owner: Ints,
    agrees: Bools,
) -> Bools:
    """Which of the agreeing positions is furthest off (positions,), if it is typically too far off.

    A slow drift of its own contradicts no other position near the middle of its frames.
    """
    off = find_residual(fit, values)
    squared = off**2 / (variance * leave_room(fit.share)) / MEDIAN_OF_SQUARES
    typical = np.zeros(len(agrees))
    for position in np.flatnonzero(agrees):
        mine = owner == position
        if find_median(np.linalg.norm(off[mine], axis=2).ravel(), 0) > NEAR_PX:
            typical[position] = find_median(squared[mine].ravel(), 0)
    return np.asarray((typical > TYPICALLY_OFF**2) & (typical >= ALIKE * typical.max()))


def merge_by_position(of_parts: Bools, owner: Ints, count: int) -> Bools:
    """Mark positions (positions, frames) for which any of their parts (parts, frames) is marked."""
    found = np.zeros((count, of_parts.shape[1]), bool)
    for row, position in enumerate(owner):
        found[position] |= of_parts[row]
    return found


def _guess_offsets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the constants of parts (parts, axes) by medians, which resist half the parts.

    Parts not linked to others by common frames get a constant of their own.
    """
    known = find_known(values)
    offset = np.full((len(values), values.shape[2]), np.nan)
    while np.isnan(offset).any():
        missing = np.isnan(offset).any(axis=1)
        middle = find_median(values - offset[:, None], 0)
        near = missing & (known & np.isfinite(middle).all(axis=1)).any(axis=1)
        if near.any():
            offset[near] = find_median(values[near] - middle, 1)
        else:
            offset[np.where(missing, known.sum(axis=1), -1).argmax()] = 0
    for _ in range(STEPS):
        middle = find_median(values - offset[:, None], 0)
        moved = find_median(values - middle, 1)
        offset = np.where(np.isfinite(moved), moved, offset)
    return offset


def find_common_widening(values: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Factor for the variances of all parts, if most of them are stated too small.

    From medians over parts, and over the residuals of each from the median of all, so that a few
    that move by themselves hardly change it.
    """
    known = find_known(values)
    number = known.sum(axis=0)
    off = values - _guess_offsets(values)[:, None]
    off -= find_median(off, 0)
    free = np.maximum(1 - 1 / np.maximum(number, 1), 0.5)[:, None]
    compares = (known & (number > 1))[..., None]
    squared = np.where(compares, off**2 / (variance * free), np.nan)
    if not compares.any():
        return 1.0
    of_parts = find_median(squared.reshape(len(squared), -1), 1)
    found = float(np.nanmedian(of_parts)) / MEDIAN_OF_SQUARES
    is_by_chance = found <= 1 + BEYOND_CHANCE / np.sqrt(np.isfinite(squared).sum())
    return 1.0 if is_by_chance else min(found, MOST_UNDERSTATED**2)


def _leave_out(
    centred: NDArray[np.float64], variance: NDArray[np.float64], counted: Bools
) -> Bools:
    """Which of the counted parts (parts, frames) are left when none contradicts another.

    Those with the most contradictions go first, ties together: of two that only contradict each
    other, neither stays.
    """
    count, frames, axes = centred.shape
    stays = counted.copy()
    for first in range(0, frames, step := max(AT_ONCE // count**2, 1)):
        here = slice(first, first + step)
        value, error = (np.nan_to_num(one[:, here]).swapaxes(0, 1) for one in (centred, variance))
        inside = stays[:, here].T
        off, squared = np.zeros((2, len(inside), count, count))
        for axis in range(axes):
            difference = value[:, :, None, axis] - value[:, None, :, axis]
            both = error[:, :, None, axis] + error[:, None, :, axis]
            off = off + difference**2
            squared = squared + difference**2 / np.maximum(both, np.finfo(float).tiny)
        fights = (squared > CONTRADICTS[axes]) & (off > NEAR_PX**2)
        while True:
            number = (fights & inside[:, None]).sum(axis=2) * inside
            worst = number.max(axis=1, keepdims=True)
            if not worst.any():
                break
            inside = inside & ~((number == worst) & (worst > 0))
        stays[:, here] = inside.T
    return stays


def _find_linked(used: Bools) -> Bools:
    """The largest set (by frames) of parts (parts,) linked by common frames, directly or not."""
    together = (used.astype(np.float32) @ used.T.astype(np.float32)) > 0
    left, best = used.any(axis=1), np.zeros(len(used), bool)
    while left.any():
        found, grown = np.zeros(len(used), bool), np.arange(len(used)) == left.argmax()
        while (grown != found).any():
            found, grown = grown, grown | together[grown].any(axis=0)
        if used[found].any(axis=0).sum() > used[best].any(axis=0).sum():
            best = found
        left = left & ~found
    return best
