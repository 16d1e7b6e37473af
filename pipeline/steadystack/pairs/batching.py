"""Group pairs into batches that are measured together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Ints

# Rows searched for the end of a batch at first; then twice as many, and so on.
FIRST_LOOK = 256


def batch_pairs(
    pairs: Ints, most_frames: int, most_pairs: int, fewest: int = 1
) -> Iterator[NDArray[np.int64]]:
    """Cut pairs into batches that share frames: yields each batch as row numbers into `pairs`.

    The matrix of pairs is walked in square blocks that a batch can hold, so that few frames serve
    many pairs: near the diagonal for windows, blocks of the triangle for all pairs. Batches are of
    equal size, give or take a pair, as far as their frames allow. Each is made on demand, so the
    first of very many pairs is available at once.

    Parameters
    ----------
    pairs : integer array (pairs, 2)
    most_frames : frames a batch may touch, at least 2
    most_pairs : pairs in a batch, at least 1
    fewest : smallest number of batches, if there are as many pairs
    """
    if most_frames < 2 or most_pairs < 1:
        raise ValueError(
            f"a batch of {most_frames} frames, {most_pairs} pairs: it needs at least 2 and 1"
        )
    fewest = max(min(fewest, len(pairs)), math.ceil(len(pairs) / most_pairs), 1)
    side = max(1, min(most_frames // 2, math.isqrt(math.ceil(len(pairs) / fewest))))
    return _cut(pairs, _walk_in_blocks(pairs, side), most_frames, most_pairs, fewest)


def _cut(
    pairs: Ints,
    strips: Iterator[NDArray[np.int64]],
    most_frames: int,
    most_pairs: int,
    fewest: int,
) -> Iterator[NDArray[np.int64]]:
    """Cut strips of rows into batches, as long as frames and pairs allow."""
    left, rows = len(pairs), np.empty(0, np.int64)
    while left:
        quota = math.ceil(left / max(math.ceil(left / most_pairs), fewest))
        fewest -= 1
        if len(rows) < min(quota, left):
            waiting, count = [rows], len(rows)
            while count < min(2 * quota, left):
                waiting.append(next(strips))
                count += len(waiting[-1])
            rows = np.concatenate(waiting)
        taken = _count_fitting(pairs, rows[:quota], most_frames)
        yield rows[:taken]
        left, rows = left - taken, rows[taken:]


def _walk_in_blocks(pairs: Ints, side: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of `side` references at a time, grouped by as many moving frames."""
    strip = pairs[:, 0] // side
    order = None
    if (strip[1:] < strip[:-1]).any():
        order = np.argsort(strip, kind="stable")
        strip = strip[order]
    edges = [0, *(np.flatnonzero(strip[1:] != strip[:-1]) + 1).tolist(), len(pairs)]
    for begin, end in pairwise(edges):
        rows = np.arange(begin, end) if order is None else order[begin:end]
        reference, moving = pairs[rows].T
        yield rows[np.lexsort((moving, reference, moving // side))].astype(np.int64, copy=False)


def _count_fitting(pairs: Ints, rows: Ints, most_frames: int) -> int:
    """Count how many of the first rows touch at most `most_frames` frames; at least 1."""
    look = FIRST_LOOK
    while True:
        touched = pairs[rows[:look]]
        if touched.size <= most_frames and look >= len(rows):
            return len(rows)
        is_new = np.zeros(touched.size, np.int64)
        is_new[np.unique(touched, return_index=True)[1]] = 1
        frames = np.cumsum(is_new.reshape(-1, 2).sum(axis=1))
        if frames[-1] > most_frames or look >= len(rows):
            return int(np.searchsorted(frames, most_frames, side="right"))
        look *= 2


def count_held_frames(pairs: Ints) -> tuple[int, int]:
    """Count the most frames held at a time if pairs (n, 2) are measured in this order.

    A frame is held from its first pair to its last. Returns the most frames, and the most roles:
    there a frame that has been both reference and moving frame counts twice.
    """
    frames, position = np.unique(pairs, return_inverse=True)
    position = position.reshape(pairs.shape)
    rows = np.arange(len(pairs))
    first, last = np.full((len(frames), 2), len(pairs)), np.full(len(frames), -1)
    for role in (0, 1):
        np.minimum.at(first[:, role], position[:, role], rows)
        np.maximum.at(last, position[:, role], rows)

    def count_most(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> int:
        change = np.zeros(len(pairs) + 1, np.int64)
        np.add.at(change, starts, 1)
        np.add.at(change, stops + 1, -1)
        return int(np.cumsum(change).max(initial=0))

    has_role = first < len(pairs)
    in_roles = count_most(first[has_role], np.stack([last, last], axis=1)[has_role])
    return count_most(first.min(axis=1), last), in_roles
