"""Which positions count in which frames: majorities of which all agree."""

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

# Steps of what is settled step by step: medians, and which positions count where.
STEPS = 12
# By how much errors of all positions may be stated too small at most: what differs by more
# contradicts. They are, from so many over the root of the number of values on.
MOST_UNDERSTATED, BEYOND_CHANCE = 2.0, 5.0
MEDIAN_OF_SQUARES = 0.455  # of values of variance 1
# A position goes its own way that is typically so many times further off than its errors say.
TYPICALLY_OFF = 3.0
# Pairs of positions, in all frames together, that are compared at once.
AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Votes:
    """Which parts count in which frames (parts, frames), and what became of positions.

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
    """Find the parts that count: in every frame a majority of which all agree.

    A position that contradicts others in most of its frames, or typically is further off than its
    errors say, counts in none, and is not asked again.
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
        used = np.zeros_like(used)  # nobody knows who is right
    lonely = np.asarray((apart & agrees[owner, None]).any(axis=0))
    return Votes(used, offset, contradicts, agrees, lonely)


def _find_furthest(
    fit: Fit,
    values: NDArray[np.float64],
    variance: NDArray[np.float64],
    owner: Ints,
    agrees: Bools,
) -> Bools:
    """Which position that agrees is furthest off (positions,), if that is typically too far.

    A slow way of its own contradicts nobody in the frames that are near its middle.
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
    """Which is so (positions, frames) of what is so of their parts (parts, frames)."""
    found = np.zeros((count, of_parts.shape[1]), bool)
    for row, position in enumerate(owner):
        found[position] |= of_parts[row]
    return found


def _guess_offsets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The constants of parts (parts, axes) by medians alone, which half of the parts cannot move.

    Parts that have no frame in common with others, nor by others, get one of their own.
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
    """By what the variances of all parts are to be multiplied, as most of them are too small.

    By the median of parts, and of what each of these differs by from the median of all: some that
    go their own way cannot change it much.
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
    """Which of the parts that are counted (parts, frames) stay, once none contradicts another.

    Those that contradict most go first, all that do so alike: of two that only contradict each
    other, none stays.
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
    """The parts (parts,) that have frames in common, also by others: the set of most frames."""
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
