"""Select the pairs of frames that a strategy measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from steadystack.model import InputError, Ints

Strategy: TypeAlias = Literal[
    "auto", "consecutive", "reference", "window", "separations", "multiscale", "all", "list"
]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
# From this many frames on, accumulated errors outweigh those of pairs far apart.
LONG = 400


def choose_strategy(strategy: str, frame_count: int) -> str:
    """Resolve "auto" for a series of that many frames; any other strategy is returned as it is."""
    if strategy != "auto":
        return strategy
    return "window" if frame_count < LONG else "multiscale"


def select_pairs(
    frame_count: int,
    strategy: str = "auto",
    *,
    width: int = 5,
    separations: Sequence[int] = (1, 2, 4, 8),
    max_separation: int | None = None,
    reference: int = 0,
    listed: Sequence[Sequence[int]] | Ints | None = None,
) -> NDArray[np.int64]:
    """Select the pairs (reference, moving) that a strategy measures: an array (pairs, 2).

    Parameters
    ----------
    frame_count : frames in the stack, at least 2
    strategy
        ``auto``: ``window`` of fewer than 400 frames, else ``multiscale``.
        ``consecutive``: every frame with the next one; errors add up.
        ``reference``: every frame with the frame `reference`.
        ``window``: every pair at most `width` frames apart.
        ``separations``: every pair that is one of `separations` frames apart; pairs far apart
        limit how errors add up.
        ``multiscale``: every frame with the next `width`, every second one with the next `width` of
        the second ones, every fourth of the fourth ones, and so on up to pairs `max_separation`
        frames apart (None: no limit). Less than ``2 width`` pairs a frame; between any two frames
        a path of pairs leads whose length grows with the logarithm of their distance, and so do
        errors.
        ``all``: every pair.
        ``list``: the pairs `listed`, an integer array (pairs, 2) of (reference, moving).

    Returns
    -------
    Without repetition, sorted; the earlier frame is the reference, except in ``reference`` and
    ``list``.
    """
    if frame_count < 2:
        raise InputError(f"a stack of {frame_count} frame(s) has no pairs: at least 2 are needed")
    strategy = choose_strategy(strategy, frame_count)
    if strategy == "reference":
        if not 0 <= reference < frame_count:
            raise InputError(
                f"pairs.reference {reference} is not a frame: frames are 0 to {frame_count - 1}"
            )
        others = np.delete(np.arange(frame_count), reference)
        return np.stack([np.full_like(others, reference), others], axis=1)
    if strategy == "list":
        return _check_pairs(np.asarray([] if listed is None else listed), frame_count)
    if strategy == "multiscale":
        return _select_multiscale(
            frame_count, width, frame_count if max_separation is None else max_separation
        )
    steps = {
        "consecutive": [1],
        "window": range(1, min(width, frame_count) + 1),
        "separations": separations,
        "all": range(1, frame_count),
    }
    if strategy not in steps:
        raise InputError(f"pairs.strategy {strategy!r} is not one of {', '.join(STRATEGIES)}")
    if min(steps[strategy]) < 1:
        raise InputError(f"frames of a pair are at least 1 apart, not {min(steps[strategy])}")
    return _select_apart(
        frame_count, sorted({step for step in steps[strategy] if step < frame_count})
    )


def _select_multiscale(frame_count: int, width: int, max_separation: int) -> NDArray[np.int64]:
    """Select windows of `width` over every frame, every 2nd, every 4th, ...; each pair once."""
    if width < 1 or max_separation < 1:
        raise InputError(f"frames of a pair are at least 1 apart, not {min(width, max_separation)}")
    pairs, stride = [], 1
    while stride < frame_count and stride <= max_separation:
        frames = np.arange(0, frame_count, stride, dtype=np.int64)
        for step in range(1, min(width, len(frames) - 1, max_separation // stride) + 1):
            # the next stride, if any, covers even steps between even positions
            again = step % 2 == 0 and 2 * stride <= max_separation
            start = np.arange(1, len(frames) - step, 2) if again else np.arange(len(frames) - step)
            pairs.append(np.stack([frames[start], frames[start + step]], axis=1))
        stride *= 2
    joined, bits = np.concatenate(pairs), frame_count.bit_length()
    # Sorting whole numbers is much faster than sorting pairs.
    order = np.sort((joined[:, 0] << bits) | joined[:, 1])
    joined[:, 0], joined[:, 1] = order >> bits, order & ((1 << bits) - 1)
    return joined


def _check_pairs(pairs: NDArray[np.int64], frame_count: int) -> NDArray[np.int64]:
    """Check the pairs that a user gave, and sort them.

    Raises InputError for the first one that is no pair of different frames, or is there twice.
    """
    if pairs.size == 0:
        raise InputError("no pair is listed: give [reference, moving] for each")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise InputError("every pair must be two whole numbers, [reference, moving]")
    reference, moving = pairs.astype(np.int64).T
    outside = (np.minimum(reference, moving) < 0) | (np.maximum(reference, moving) >= frame_count)
    for wrong, problem in (
        (outside, f"has a frame that does not exist: frames are 0 to {frame_count - 1}"),
        (reference == moving, "is a frame with itself"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(f"pair {row}, [{reference[row]}, {moving[row]}], {problem}")
    order = np.lexsort((np.maximum(reference, moving), np.minimum(reference, moving)))
    low, high = np.minimum(reference, moving)[order], np.maximum(reference, moving)[order]
    same = np.flatnonzero((np.diff(low) == 0) & (np.diff(high) == 0))
    if len(same):
        first, second = sorted(order[same[0] : same[0] + 2].tolist())
        raise InputError(
            f"pairs {first} and {second} have the same two frames, {low[same[0]]} and "
            f"{high[same[0]]}: remove one"
        )
    return np.stack([reference, moving], axis=1)[np.lexsort((moving, reference))]


def _select_apart(frame_count: int, steps: Sequence[int]) -> NDArray[np.int64]:
    """Select every pair that is one of `steps` frames apart."""
    if not steps:
        raise InputError(f"no pair: all separations exceed the stack of {frame_count} frames")
    apart = np.array(steps, np.int64)
    inner = max(frame_count - int(apart[-1]), 0)  # frames from which every step stays in the series
    pairs = np.empty((frame_count * len(apart) - int(apart.sum()), 2), np.int64)
    block = pairs[: inner * len(apart)].reshape(inner, len(apart), 2)
    block[:, :, 0] = np.arange(inner)[:, None]
    np.add(block[:, :, 0], apart, out=block[:, :, 1])
    rest = np.arange(inner, frame_count, dtype=np.int64)
    counts = np.searchsorted(apart, frame_count - rest)
    last = pairs[inner * len(apart) :]
    last[:, 0] = np.repeat(rest, counts)
    number = np.arange(len(last)) - np.repeat(np.cumsum(counts) - counts, counts)
    last[:, 1] = last[:, 0] + apart[number]
    return pairs
