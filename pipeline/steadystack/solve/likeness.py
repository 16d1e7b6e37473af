"""Frames that fit the frames around them far less well than these fit each other.

Out of focus, covered, hit by a burst of noise: what is left of the scene in such a frame may still
give it a shift, and its NCC tells. To first order the NCC of a pair is a product of three: how much
of each frame is the scene, and how much of a scene is left after so many frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, Ints, PairStatus, PairTable

# An unlike frame has less than this part of the NCC of its neighbours, and lies further out than so
# many deviations of the series' frames.
PART, OUTLIER = 0.5, 5.5
# Median of the absolute value of a normal deviate.
MEDIAN_SIZE = 0.6745
# Frames with a say that are enough to tell what is ordinary.
FEWEST_FRAMES = 5
# Distances up to this are told apart; beyond, so many to an octave.
EACH, PER_OCTAVE = 16, 8
# NCC of pairs that show no peak at all; and from here on both are the same image, to rounding.
NONE, SAME = 1e-3, 1 - 1e-6


def find_dissimilar_frames(pairs: PairTable) -> Bools:
    """Which frames (bool) are unlike those before and after them.

    The NCC of a frame with a partner is taken relative to that of the partner with others as far
    away, mostly the one frame on its other side: how fast a scene changes is in both. The median
    over the partners counts, on the side, before or after the frame, where it is the higher one:
    so a series that fades or goes out of focus has no unlike frame, nor a change of the scene or a
    step that lasts. Where all partners are on one side, the highest counts. What "far less" is
    follows from the series: where frames vary, one has to lie further out.

    It says nothing where most partners of a frame are as bad, or of fewer than five frames.
    """
    frame_count = len(pairs.frame_read_status)
    row, value = _select_ncc(pairs)
    start, end = pairs.reference[row], pairs.moving[row]
    apart = np.tile(_classify_separations(np.abs(end - start)), 2)
    frame, partner = np.concatenate([start, end]), np.concatenate([end, start])
    values = np.log(np.tile(value, 2))
    away = values - _compute_median_of_others(values, partner * (apart.max(initial=0) + 1) + apart)

    told = np.isfinite(away)
    frame, after, away = frame[told], (partner > frame)[told].astype(np.int64), away[told]
    sides = _rank_values(away, 2 * frame + after, 2 * frame_count, 1, 2).reshape(-1, 2)
    highest = _rank_values(away, frame, frame_count, 1, 1)
    away = np.where(np.isnan(sides).any(axis=1), highest, sides.max(axis=1))

    known = np.isfinite(away)
    if known.sum() < FEWEST_FRAMES:
        return np.zeros(frame_count, bool)
    middle = np.median(away[known])
    deviation = np.median(np.abs(away[known] - middle)) / MEDIAN_SIZE
    limit = np.minimum(np.log(PART), middle - OUTLIER * deviation)
    return np.asarray(known & (np.where(known, away, 0) < limit), bool)


def _select_ncc(pairs: PairTable) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Rows of the pairs that tell how alike their frames are, and the size of their NCC."""
    value = np.abs(pairs.ncc)
    nothing = np.isnan(value) & (pairs.status == PairStatus.LOW_NCC.code)
    value = np.where(nothing, NONE, np.maximum(value, NONE))
    rows = np.flatnonzero(value < SAME)  # a frame that was stored twice says nothing of others
    return rows, value[rows]


def _classify_separations(lag: Ints) -> NDArray[np.int64]:
    """Numbers of lags, the same for those that pass for equally far apart."""
    octave = np.log2(np.maximum(lag, EACH) / EACH)
    return np.where(lag <= EACH, lag, EACH + 1 + np.floor(PER_OCTAVE * octave)).astype(np.int64)


def _compute_median_of_others(values: NDArray[np.float64], group: Ints) -> NDArray[np.float64]:
    """For every value the (lower) median of the others of its group; NaN if there is none."""
    order = np.lexsort((values, group))
    _, first, which, size = np.unique(
        group[order], return_index=True, return_inverse=True, return_counts=True
    )
    first, size = first[which], size[which]
    middle = first + (size - 2) // 2
    middle += middle >= np.arange(len(values))  # of the others: without the value itself
    found = np.empty(len(values))
    found[order] = np.where(size > 1, values[order][middle], np.nan)
    return found


def _rank_values(
    values: NDArray[np.float64], group: Ints, count: int, above: int, parts: int
) -> NDArray[np.float64]:
    """The value of every group (count,) that `above` of so many `parts` lie below; else NaN."""
    order = np.lexsort((values, group))
    numbers, first, size = np.unique(group[order], return_index=True, return_counts=True)
    found = np.full(count, np.nan)
    found[numbers] = values[order][first + np.minimum(above * size // parts, size - 1)]
    return found
