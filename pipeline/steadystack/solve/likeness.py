"""Find frames that fit their neighbours far less well than these fit each other.

A frame that is out of focus, covered or hit by a burst of noise may still get a shift, but its NCC
is low. To first order the NCC of a pair is a product of three factors: the fraction of scene in
each of the two frames, and how much of the scene is left at that separation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, Ints, PairStatus, PairTable

# A dissimilar frame has less than this fraction of its neighbours' NCC, and is more than this many
# deviations below the other frames of the series.
UNLIKE_FRACTION, OUTLIER = 0.5, 5.5
# Median absolute value of a standard normal variable.
MEDIAN_SIZE = 0.6745
# Fewest frames from which the ordinary NCC can be told.
FEWEST_FRAMES = 5
# Separations up to this one have a class each; beyond, there are this many classes per octave.
EACH, PER_OCTAVE = 16, 8
# The NCC assigned to pairs without any peak, and the NCC above which both images are the same one
# but for rounding.
NO_PEAK_NCC, SAME_IMAGE_NCC = 1e-3, 1 - 1e-6


def find_dissimilar_frames(pairs: PairTable) -> Bools:
    """Find the frames (bool) that are unlike those before and after them.

    The NCC of a frame with each partner is taken relative to the NCC of that partner with other
    frames of the same separation (mostly the one on its other side), which cancels how fast the
    scene changes. The median over the partners is taken for each side, before and after, and the
    higher side counts: so a series that fades or goes out of focus has no dissimilar frame, nor has
    one whose scene changes for good. Where all partners are on one side, the highest counts. The
    series sets the limit: where frames vary more, one has to lie further out.

    A frame most of whose partners are as bad is not found, nor any in fewer than five frames.
    """
    frame_count = len(pairs.frame_read_status)
    row, value = _select_ncc(pairs)
    start, end = pairs.reference[row], pairs.moving[row]
    apart = np.tile(_classify_separations(np.abs(end - start)), 2)
    frame, partner = np.concatenate([start, end]), np.concatenate([end, start])
    values = np.log(np.tile(value, 2))
    relative = values - _compute_median_of_others(
        values, partner * (apart.max(initial=0) + 1) + apart
    )

    is_known = np.isfinite(relative)
    frame, after, relative = (
        frame[is_known],
        (partner > frame)[is_known].astype(np.int64),
        relative[is_known],
    )
    sides = _rank_values(relative, 2 * frame + after, 2 * frame_count, 1, 2).reshape(-1, 2)
    highest = _rank_values(relative, frame, frame_count, 1, 1)
    relative = np.where(np.isnan(sides).any(axis=1), highest, sides.max(axis=1))

    has_value = np.isfinite(relative)
    if has_value.sum() < FEWEST_FRAMES:
        return np.zeros(frame_count, bool)
    middle = np.median(relative[has_value])
    deviation = np.median(np.abs(relative[has_value] - middle)) / MEDIAN_SIZE
    limit = np.minimum(np.log(UNLIKE_FRACTION), middle - OUTLIER * deviation)
    return np.asarray(has_value & (np.where(has_value, relative, 0) < limit), bool)


def _select_ncc(pairs: PairTable) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Select the pairs that show how alike their frames are: row numbers and sizes of the NCC."""
    size = np.abs(pairs.ncc)
    no_peak = np.isnan(size) & (pairs.status == PairStatus.LOW_NCC.code)
    size = np.where(no_peak, NO_PEAK_NCC, np.maximum(size, NO_PEAK_NCC))
    rows = np.flatnonzero(size < SAME_IMAGE_NCC)  # a frame stored twice tells nothing about others
    return rows, size[rows]


def _classify_separations(separation: Ints) -> NDArray[np.int64]:
    """Number the class of every separation (frames); one class counts as one separation."""
    octave = np.log2(np.maximum(separation, EACH) / EACH)
    classes = np.where(separation <= EACH, separation, EACH + 1 + np.floor(PER_OCTAVE * octave))
    return classes.astype(np.int64)


def _compute_median_of_others(values: NDArray[np.float64], group: Ints) -> NDArray[np.float64]:
    """Compute for every value the (lower) median of its group's others; NaN if there are none."""
    order = np.lexsort((values, group))
    _, first, group_number, size = np.unique(
        group[order], return_index=True, return_inverse=True, return_counts=True
    )
    first, size = first[group_number], size[group_number]
    middle = first + (size - 2) // 2
    middle += middle >= np.arange(len(values))  # skip the value itself
    medians = np.empty(len(values))
    medians[order] = np.where(size > 1, values[order][middle], np.nan)
    return medians


def _rank_values(
    values: NDArray[np.float64], group: Ints, count: int, above: int, divisor: int
) -> NDArray[np.float64]:
    """Find the quantile `above` / `divisor` of the values in every group (count,).

    `group` is the number of the group of every value; groups without values get NaN.
    """
    order = np.lexsort((values, group))
    numbers, first, size = np.unique(group[order], return_index=True, return_counts=True)
    ranked = np.full(count, np.nan)
    ranked[numbers] = values[order][first + np.minimum(above * size // divisor, size - 1)]
    return ranked
