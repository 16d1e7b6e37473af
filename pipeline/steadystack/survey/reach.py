"""Estimate how far to search, from the shifts of some pairs of coarse frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from steadystack.measure import Sample
from steadystack.model import Bools, Floats, Ints, PairStatus, Reach
from steadystack.pairs import spread_by_separation
from steadystack.planning import Setup
from steadystack.register import register_all_as_they_are

# Largest side of coarse frames, px; number of pairs, half of them close together, half far apart;
# the share of them that must have a shift.
COARSE_SIDE, PAIRS, FOUND = 128, 32, 0.5
# Searched is this many times the largest shift, plus this many pixels, but at least this many.
TIMES, MORE, LEAST = 2, 16, 32
# If nothing is known, a quarter of a frame is searched, but at most this many pixels.
GUESSED = 128
# If the range is this share of a frame, every lag is searched: limiting it would save nothing.
NEARLY_ALL = 0.5
HALF = 0.5


def find_reach(setup: Setup) -> Reach | None:
    """Estimate the largest shift of a run's pairs, from some pairs of coarse frames.

    Every lag is searched, in frames that are averaged over squares. For frames measured in blocks
    that would take too long: a quarter of a frame, or less, is a guess. None: the settings do not
    ask for it, or searches have centres.
    """
    method = setup.method
    has_centres = method.initial_shifts is not None or method.places is not None
    if setup.config.register_.is_decided or has_centres:
        return None
    sides = np.array(method.search.shape)
    if len(method.search.blocks) > 1:
        return Reach(0, 0, tuple(np.clip(sides // 4, 1, GUESSED).tolist()))
    apart = np.abs(setup.pairs[:, 1] - setup.pairs[:, 0])
    pairs = setup.pairs[spread_by_separation(apart, PAIRS)]
    frames = np.unique(pairs)
    sample = Sample(setup.series.source, method, setup.size, frames, np.ones(len(frames)))
    steps = [-(-size // COARSE_SIDE) for size in sides.tolist()]
    images = sample.images(np.ones(len(frames), bool))
    coarse = {
        frame: average_boxes(*image, steps)
        for frame, image in zip(frames.tolist(), images, strict=True)
    }
    moved = _measure(coarse, pairs, steps)
    if len(moved) < FOUND * len(pairs):  # larger boxes average out more noise
        halves = [min(2, size) for size in coarse[int(frames[0])][0].shape]
        coarser = {frame: average_boxes(*image, halves) for frame, image in coarse.items()}
        steps = [step * half for step, half in zip(steps, halves, strict=True)]
        moved = max(moved, _measure(coarser, pairs, steps), key=len)
    return choose_reach(moved, len(pairs), sides)


def choose_reach(moved: Sequence[NDArray[np.float64]], looked_at: int, sides: Ints) -> Reach:
    """Choose how far to search in frames of these sides (axes,), pixels.

    `moved` are the sizes of shifts (axes,), pixels, of those of the `looked_at` pairs that have
    one.
    """
    if len(moved) < FOUND * looked_at:
        bounds = np.clip(sides // 4, LEAST, GUESSED)
    else:
        bounds = np.maximum(np.ceil(TIMES * np.max(moved, axis=0) + MORE), LEAST).astype(int)
        if (bounds >= NEARLY_ALL * sides).all():
            return Reach(looked_at, len(moved))
    searched = tuple(np.minimum(bounds, sides - 1).tolist())
    return Reach(looked_at, len(moved), searched, widen=True)


def find_coarse_shift(setup: Setup, reference: int, moving: int) -> NDArray[np.float64] | None:
    """Find the shift of a pair of coarse frames, at any lag: (axes,), pixels.

    None if it is not found, or if frames are measured in blocks.
    """
    method = setup.method
    if len(method.search.blocks) > 1:
        return None
    sides = [side.stop - side.start for side in method.whole_region]
    steps = [-(-size // COARSE_SIDE) for size in sides]
    pair = np.array([reference, moving])
    sample = Sample(setup.series.source, method, setup.size, pair, np.ones(2))
    images = [average_boxes(*image, steps) for image in sample.images(np.ones(2, bool))]
    (found,) = _register_coarse(dict(enumerate(images)), np.array([[0, 1]]))
    return None if found is None else found * np.array(steps, float)


def _measure(
    images: Mapping[int, tuple[Floats, Bools]], pairs: Ints, steps: Sequence[int]
) -> list[NDArray[np.float64]]:
    """Measure the sizes of the shifts of pairs, in pixels of the full frames, where known.

    `images` are averaged over boxes of `steps` pixels.
    """
    found = _register_coarse(images, pairs)
    return [(np.abs(shift) + 1) * steps for shift in found if shift is not None]


def _register_coarse(
    images: Mapping[int, tuple[Floats, Bools]], pairs: Ints
) -> list[NDArray[np.float64] | None]:
    """Find the shifts of pairs of coarse images with their masks, in their pixels.

    Contrast may be inverted; None: there is no shift.
    """
    both = [(int(reference), int(moving)) for reference, moving in pairs]
    found = register_all_as_they_are(images, both)
    inverted = [row for row, one in enumerate(found) if one.status is PairStatus.INVERTED]
    again = register_all_as_they_are(images, [both[row] for row in inverted], allow_inverted=True)
    for row, registration in zip(inverted, again, strict=True):
        found[row] = registration
    return [
        np.asarray(one.shift, np.float64) if one.status is PairStatus.OK else None for one in found
    ]


def average_boxes(
    image: Floats, valid: Bools, steps: Sequence[int], share: float = HALF
) -> tuple[NDArray[np.float64], Bools]:
    """Average the valid pixels of boxes of these sides; a box is valid if this share of it is.

    Pixels at the end of an axis that do not fill a box are dropped.
    """
    counts = [size // step for size, step in zip(image.shape, steps, strict=True)]
    inside = tuple(slice(0, count * step) for count, step in zip(counts, steps, strict=True))
    boxes = [number for both in zip(counts, steps, strict=True) for number in both]
    within = tuple(range(1, len(boxes), 2))
    if valid.all():
        known, values = np.full(counts, math.prod(steps)), image
    else:
        known = valid[inside].reshape(boxes).sum(axis=within)
        values = np.where(valid, image, 0)
    values = _sum_boxes(values[inside], steps)
    return values / np.maximum(known, 1), known >= max(np.prod(steps) * share, 1)


def _sum_boxes(values: Floats, steps: Sequence[int]) -> NDArray[np.float64]:
    """Sum boxes with these sides, which fill an array."""
    sums = values.astype(np.float64)
    for axis, step in enumerate(steps):
        if step > 1:
            lines = np.moveaxis(sums, axis, 0)
            added = reduce(np.add, (lines[first::step] for first in range(step)))
            sums = np.moveaxis(added, 0, axis)
    return sums
