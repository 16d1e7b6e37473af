"""Which pairs of frames to measure, and which of them to measure together.

Integers in, integers out: nothing here looks at a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.model import InputError, Ints

STRATEGIES = ("consecutive", "reference", "window", "lags", "all")


def select_pairs(
    frame_count: int,
    strategy: str = "window",
    *,
    width: int = 5,
    lags: Sequence[int] = (1, 2, 4, 8),
    reference: int = 0,
) -> NDArray[np.int64]:
    """The pairs (reference, moving) that a strategy measures, as an array (pairs, 2).

    Parameters
    ----------
    frame_count : frames in the stack, at least 2
    strategy
        ``consecutive``: every frame with the next one; errors add up.
        ``reference``: every frame with the frame `reference`.
        ``window``: every pair at most `width` frames apart.
        ``lags``: every pair that is one of `lags` frames apart; long lags bound what adds up.
        ``all``: every pair.

    Returns
    -------
    Without repetition, sorted; the earlier frame is the reference, except in ``reference``.
    """
    if frame_count < 2:
        raise InputError(f"a stack of {frame_count} frame(s) has no pairs: at least 2 are needed")
    if strategy == "reference":
        if not 0 <= reference < frame_count:
            raise InputError(
                f"pairs.reference {reference} is not a frame: there are 0 to {frame_count - 1}"
            )
        others = np.delete(np.arange(frame_count), reference)
        return np.stack([np.full_like(others, reference), others], axis=1)
    steps = {
        "consecutive": [1],
        "window": range(1, width + 1),
        "lags": lags,
        "all": range(1, frame_count),
    }
    if strategy not in steps:
        raise InputError(f"pairs.strategy {strategy!r} is not one of {', '.join(STRATEGIES)}")
    if min(steps[strategy]) < 1:
        raise InputError(f"frames of a pair are at least 1 apart, not {min(steps[strategy])}")
    return _apart(frame_count, sorted({step for step in steps[strategy] if step < frame_count}))


def _apart(frame_count: int, steps: Sequence[int]) -> NDArray[np.int64]:
    if not steps:
        raise InputError(f"no pair: all lags are longer than the stack of {frame_count} frames")
    pairs = np.concatenate(
        [np.stack([np.arange(frame_count - s), np.arange(s, frame_count)], axis=1) for s in steps]
    )
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].astype(np.int64)


def batch_pairs(pairs: Ints, most_frames: int, most_pairs: int) -> list[NDArray[np.int64]]:
    """Cut pairs into batches that share frames: each batch as row numbers into `pairs`.

    The matrix of pairs is walked in square blocks of half of `most_frames`, so that a batch needs
    few frames for many pairs: near the diagonal for windows, blocks of the triangle for all pairs.

    Parameters
    ----------
    most_frames : frames a batch may touch, at least 2
    most_pairs : pairs in a batch, at least 1
    """
    if most_frames < 2 or most_pairs < 1:
        raise ValueError(f"a batch of {most_frames} frames, {most_pairs} pairs: at least 2 and 1")
    side = most_frames // 2
    reference, moving = pairs[:, 0], pairs[:, 1]
    batches: list[NDArray[np.int64]] = []
    rows: list[int] = []
    frames: set[int] = set()
    for row in np.lexsort((moving, reference, moving // side, reference // side)):
        needed = frames | {int(reference[row]), int(moving[row])}
        if rows and (len(needed) > most_frames or len(rows) == most_pairs):
            batches.append(np.array(rows, np.int64))
            rows, needed = [], {int(reference[row]), int(moving[row])}
        rows.append(int(row))
        frames = needed
    if rows:
        batches.append(np.array(rows, np.int64))
    return batches


def frames_held(pairs: Ints) -> tuple[int, int]:
    """The most frames to be held at a time if pairs (n, 2) are measured in this order.

    A frame is held from its first pair to its last. Also the most of them in both roles: a frame
    that has been reference as well as moving frame counts twice there.
    """
    frames, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(pairs.shape)
    rows = np.arange(len(pairs))
    first, last = np.full((len(frames), 2), len(pairs)), np.full(len(frames), -1)
    for role in (0, 1):
        np.minimum.at(first[:, role], place[:, role], rows)
        np.maximum.at(last, place[:, role], rows)

    def most(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> int:
        change = np.zeros(len(pairs) + 1, np.int64)
        np.add.at(change, starts, 1)
        np.add.at(change, stops + 1, -1)
        return int(np.cumsum(change).max(initial=0))

    taken = first < len(pairs)
    in_roles = most(first[taken], np.stack([last, last], axis=1)[taken])
    return most(first.min(axis=1), last), in_roles
