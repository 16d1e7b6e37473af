"""Find where frames show no scene: outside a round field of view, behind a stop, a dead border.

The edge of such an area stands still in the camera, and pulls shifts towards 0. Where the scene
moves, pixels outside change by their noise alone, whatever their value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats, transpose_planes

# Sides, px, of boxes: those whose means differ by a scene's details (above pixel noise, below
# uneven illumination), and the one over which changes are averaged.
FINE, COARSE, AVERAGED = 3, 13, 9
# Pixels inside change by at least this many times as much (in power) as those outside; pixels that
# change by less than this share of those inside are outside, like those that do not change at all.
LEAST_APART, NOTHING = 2.0, 0.02
# Most of the outside, this far from its edge, has hardly any constant details (in power, relative
# to those that change inside): otherwise it may be a scene at rest with something moving in front.
# And its changes are noise of single pixels: the means of boxes have at most this many times the
# power of white noise, or half the power, relative to single pixels, of those inside.
MOST_STEADY, WHITE, BLANK, AWAY = 0.2, 1.5, 0.8, 9
# Fewest pixels outside, and their largest share of the frame.
FEWEST_PIXELS, LEAST_SHARE, MOST_SHARE = 50, 0.005, 0.65
# The outside is extended into the scene by this many pixels, as boxes reach across the edge.
INTO_SCENE = 8
BINS = 128  # of the histogram
RESIDUE = 1e-6  # rounding error of running sums, as a share


def find_unseen(images: Sequence[NDArray[np.float32]], valid: Sequence[Bools]) -> Bools:
    """Find the pixels along the border of the frame that show no scene.

    Parameters
    ----------
    images : one per frame, (..., y, x), with equal mean and deviation, as from `standardize`
    valid : bool arrays of the same shapes

    Returns
    -------
    bool array (y, x) : True outside; nowhere if all pixels change equally, or if too little is left
    """
    change, single, steady, often = _measure_details(images, valid)
    nowhere = np.zeros(often.shape, bool)
    if not often.any() or not change[often].any():
        return nowhere
    level = float(np.quantile(change[often], 0.75))
    if level <= RESIDUE * change[often].max():
        return nowhere  # most of the frame does not change at all
    logarithm = np.log(np.maximum(change, NOTHING * level))
    edge = _split(logarithm[often])
    low = often & (logarithm < edge)
    high = often & ~low
    if not low.any() or not high.any():
        return nowhere
    if np.median(logarithm[high]) - np.median(logarithm[low]) < np.log(LEAST_APART):
        return nowhere
    colour = FINE**2 * change / np.maximum(single, NOTHING * level)
    is_white = colour < max(WHITE, float(np.median(colour[high])) / 2)
    is_blank = (steady < MOST_STEADY * level) & (is_white | (change < NOTHING * level))
    unseen = _select_along_border(low, often, is_blank)
    unseen = often & ndimage.binary_dilation(unseen, _DISC, iterations=INTO_SCENE)
    return unseen if unseen.sum() < MOST_SHARE * often.sum() else nowhere


_DISC = ndimage.generate_binary_structure(2, 1)


def _measure_details(
    images: Sequence[NDArray[np.float32]], valid: Sequence[Bools]
) -> tuple[Floats, Floats, Floats, Bools]:
    """Measure the strength of details around pixels (y, x), as variances; and where half is valid.

    Of details that change over time, of single pixels that change, and of constant details.
    """
    weight = np.zeros(images[0].shape)
    total, squares = np.zeros((2, *weight.shape)), np.zeros((2, *weight.shape))
    share = _Weights(valid[0])
    for image, is_valid in zip(images, valid, strict=True):
        if not np.array_equal(is_valid, share.valid):
            share = _Weights(is_valid)
        around, fine = share.average(image, COARSE, FINE)
        for number, values in enumerate((fine, image)):
            detail = values - around
            total[number] += share.weigh(detail)
            squares[number] += share.weigh(np.square(detail))
        weight += is_valid
    count = np.maximum(weight, 1)
    change, single = np.maximum(squares / count - np.square(total / count), 0)
    steady = np.square(total[0] / count) - change / np.maximum(count - 1, 1)
    known, over_planes = _Weights(weight > 0), tuple(range(weight.ndim - 2))
    change, single, steady = (
        known.average(values.astype(np.float32), AVERAGED)[0].mean(axis=over_planes)
        for values in (change, single, steady)
    )
    return change, single, steady, weight.mean(axis=over_planes) > len(images) / 2


@dataclass(eq=False)
class _Weights:
    """Which pixels of an image count, and the share of those in boxes around each, by side."""

    valid: Bools
    _shares: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    @cached_property
    def are_all(self) -> bool:
        return bool(self.valid.all())

    def weigh(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values where they count, 0 elsewhere."""
        return values if self.are_all else values * self.valid.astype(np.float32)

    def average(self, image: NDArray[np.float32], *sides: int) -> list[NDArray[np.float32]]:
        """The means, over boxes of these sides around each pixel, of the pixels that count."""
        means = _average_boxes(self.weigh(image), sides)
        if self.are_all:
            return means
        unknown = [side for side in sides if side not in self._shares]
        for side, share in zip(
            unknown, _average_boxes(self.valid.astype(np.float32), unknown), strict=True
        ):
            self._shares[side] = np.maximum(share, 1e-3)
        return [one / self._shares[side] for one, side in zip(means, sides, strict=True)]


def _average_boxes(image: NDArray[np.float32], sides: Sequence[int]) -> list[NDArray[np.float32]]:
    """The means of boxes of these sides around each pixel, in its plane.

    The last axis is contiguous in memory, so the image is transposed for the other.
    """
    turned, means = transpose_planes(image), []
    for side in sides:
        lines = transpose_planes(ndimage.uniform_filter1d(turned, side))
        means.append(ndimage.uniform_filter1d(lines, side, output=lines))
    return means


def _split(values: Floats) -> float:
    """The threshold that best splits values into two groups (Otsu 1979)."""
    counts, edges = np.histogram(values, BINS)
    below = np.cumsum(counts)[:-1]
    middles = (edges[1:] + edges[:-1]) / 2
    moments = np.cumsum(counts * middles)
    total, moment = below[-1] + counts[-1], moments[-1]
    is_split = (below > 0) & (below < total)
    apart = np.zeros(BINS - 1)
    below, moments = below[is_split], moments[:-1][is_split]
    apart[is_split] = np.square(moment * below / total - moments) / (below * (total - below))
    return float(edges[int(np.argmax(apart)) + 1])


def _select_along_border(low: Bools, often: Bools, is_blank: Bools) -> Bools:
    """Select the pixels that lie in large enough regions along the frame's border.

    Away from its edge it must be blank.
    """
    wide = np.pad(low, 2 * FINE, mode="edge")
    inner = (slice(2 * FINE, -2 * FINE),) * 2
    opened = ndimage.binary_opening(wide, _DISC, iterations=FINE)[inner]
    # Invalid pixels connect regions behind them to the border.
    dark = opened | ~often
    labels, count = ndimage.label(dark)
    along = {*labels[0], *labels[-1], *labels[:, 0], *labels[:, -1]} - {0}
    sizes = np.bincount(labels[opened], minlength=count + 1)
    least = max(FEWEST_PIXELS, LEAST_SHARE * low.size)
    core = opened & ndimage.binary_erosion(dark, _DISC, iterations=AWAY, border_value=1)
    counts = np.bincount(labels[core], minlength=count + 1)
    blank = np.bincount(labels[core & is_blank], minlength=count + 1)
    is_unseen = (sizes >= least) & (blank >= BLANK * counts) & (counts > 0)
    is_unseen[[number for number in range(count + 1) if number not in along]] = False
    return np.asarray(opened & is_unseen[labels])


def list_runs(chosen: Bools) -> list[tuple[tuple[int, int], ...]]:
    """List boxes (y, x), first pixel and one past the last, that exactly cover pixels.

    They are runs along x; equal runs in consecutive rows are one box.
    """
    boxes, open_runs = list[tuple[tuple[int, int], ...]](), dict[tuple[int, int], int]()
    for y in range(len(chosen) + 1):
        row = chosen[y] if y < len(chosen) else np.zeros(chosen.shape[1], bool)
        ends = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
        runs = {(int(first), int(stop)) for first, stop in ends.reshape(-1, 2)}
        for run in sorted(open_runs.keys() - runs):
            boxes.append(((open_runs.pop(run), y), run))
        for run in runs - open_runs.keys():
            open_runs[run] = y
    return boxes
