"""Which pairs are measured together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Ints


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
