"""Smooth fields from what boxes say of them, with a prior whose strength the data tell.

What a frame does besides its own shift is a Gaussian process in space (Matérn, 5/2), of a
length and, frame by frame, a size; the noise of boxes is as they state, times a factor. All three
are those of some that make the data likeliest (empirical Bayes; Rasmussen & Williams 2006,
Gaussian Processes for Machine Learning, ch. 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats

# Lengths as shares of the longest side of a frame, sizes in pixels, factors of the noise's
# variance that are tried.
LENGTHS = (0.2, 0.35, 0.6, 1.2)
SIZES = (0.0, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
FACTORS = (1.0, 1.5, 2.2, 3.5)
# A field changes over no less than so many sides of a box.
LEAST_SIDES = 1.5
# Frames of a sample that tells length and factor.
SAMPLE = 16
# There is a field if it makes a frame of the sample likelier than none by this, the logarithm, in
# the mean: the noise of the anchor is in all of them alike.
LEAST_GAIN = 3.0
UNKNOWN_VARIANCE = 1e6  # px², of a box that tells nothing
TINY = 1e-8  # px², for matrices that can be solved


@dataclass(frozen=True, eq=False)
class Prior:
    """What is taken of fields before boxes are asked.

    Attributes
    ----------
    length : pixels, over which a field changes; 0: there is no field
    factor : of the variances of boxes
    size : (frames,) pixels, root mean square along an axis
    gain : by how much the sample is likelier with fields than without: logarithm, per frame
    """

    length: float
    factor: float
    size: NDArray[np.float64]
    gain: float

    @property
    def is_flat(self) -> bool:
        """Whether there is no field at all."""
        return not self.length


@dataclass(frozen=True, eq=False)
class BoxShifts:
    """What boxes say of frames beyond their own shifts.

    Attributes
    ----------
    places : (boxes, axes) pixels
    off, variance : (frames, boxes, axes), px and px²; NaN where not known
    common : (frames, axes) pixels, what the frame's own shift may be off
    """

    places: NDArray[np.float64]
    off: NDArray[np.float64]
    variance: NDArray[np.float64]
    common: NDArray[np.float64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(frames, boxes)"""
        return np.asarray(
            np.isfinite(self.off).all(axis=2) & np.isfinite(self.variance).all(axis=2)
        )

    def select(self, frames: NDArray[np.intp]) -> BoxShifts:
        """Those of some frames."""
        return BoxShifts(self.places, self.off[frames], self.variance[frames], self.common[frames])

    def fill(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values and variances (frames, axes, boxes), a very large one of what is not known."""
        known = self.known[..., None]
        off, variance = (
            np.where(known, self.off, 0),
            np.where(known, self.variance, UNKNOWN_VARIANCE),
        )
        return off.swapaxes(1, 2), variance.swapaxes(1, 2)


def estimate_prior(boxes: BoxShifts, longest: float, side: float) -> Prior:
    """Estimate the prior that makes what boxes say likeliest.

    `longest` is the longest side of a frame, `side` that of a box, pixels.
    """
    count = len(boxes.off)
    told = np.flatnonzero(
        boxes.known.any(axis=1) & (np.nan_to_num(boxes.variance).max(axis=(1, 2)) > 0)
    )
    none = Prior(0.0, 1.0, np.zeros(count), 0.0)
    if not len(told):
        return none
    some = told[np.unique(np.linspace(0, len(told) - 1, SAMPLE).round().astype(int))]
    sample, best = boxes.select(some), (-np.inf, 0.0, 1.0)
    without = max(
        float(_compute_likelihoods(sample, longest, factor, (0.0,)).sum()) for factor in FACTORS
    )
    lengths = [float(share * longest) for share in LENGTHS]
    lengths = [length for length in lengths if length >= LEAST_SIDES * side] or lengths[-1:]
    for length, factor in product(lengths, FACTORS):
        likeliest = _compute_likelihoods(sample, length, factor, SIZES).max(axis=0)
        best = max(best, (float(likeliest.sum()), length, factor))
    likely, length, factor = best
    gain = (likely - without) / len(some)
    if gain < LEAST_GAIN:
        return Prior(0.0, 1.0, np.zeros(count), gain)
    size = np.zeros(count)
    likelihoods = _compute_likelihoods(boxes.select(told), length, factor, SIZES)
    size[told] = np.array(SIZES)[likelihoods.argmax(axis=0)]
    return Prior(length, factor, size, gain)


def find_fields(
    boxes: BoxShifts, prior: Prior, places: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the fields at places (places, axes): means and deviations (frames, places, axes), px."""
    shape = (len(boxes.off), *places.shape)
    if prior.is_flat:
        return np.zeros(shape), np.broadcast_to(boxes.common[:, None], shape).copy()
    off, variance = boxes.fill()
    among, to = (_correlate(each, boxes.places, prior.length) for each in (boxes.places, places))
    mean, std = np.zeros(shape), np.zeros(shape)
    for frame, size in enumerate(prior.size):
        for axis in range(shape[2]):
            common = boxes.common[frame, axis] ** 2
            whole = size**2 * among + common
            whole[np.diag_indices(len(whole))] += prior.factor * variance[frame, axis] + TINY
            across = size**2 * to + common
            solved = np.linalg.solve(whole, np.column_stack([across.T, off[frame, axis]]))
            mean[frame, :, axis] = across @ solved[:, -1]
            left = size**2 + common - np.einsum("pb,bp->p", across, solved[:, :-1])
            std[frame, :, axis] = np.sqrt(np.maximum(left, 0))
    return mean, std


def _correlate(places: Floats, others: Floats, length: float) -> NDArray[np.float64]:
    """How alike a field of size 1 is at places and at others (places, others)."""
    apart = np.linalg.norm(places[:, None] - others, axis=2) * np.sqrt(5) / length
    return np.asarray((1 + apart + apart**2 / 3) * np.exp(-apart))


def _compute_likelihoods(
    boxes: BoxShifts, length: float, factor: float, sizes: tuple[float, ...]
) -> NDArray[np.float64]:
    """Compute the logarithm of the likelihood of every frame (sizes, frames)."""
    off, variance = boxes.fill()
    among, count = _correlate(boxes.places, boxes.places, length), off.shape[2]
    base = np.broadcast_to((boxes.common**2)[..., None, None], (*off.shape, count)).copy()
    base[..., np.arange(count), np.arange(count)] += factor * variance + TINY
    likelihoods = []
    for size in sizes:
        lower = np.linalg.cholesky(base + size**2 * among)
        white = np.linalg.solve(lower, off[..., None])[..., 0]
        spread = np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(axis=-1)
        likelihoods.append(-((white**2).sum(axis=-1) / 2 + spread).sum(axis=1))
    return np.array(likelihoods)
