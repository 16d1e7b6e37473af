"""Smooth fields from the shifts of boxes, with a prior estimated from the data.

The motion of a frame relative to its own shift is modelled as a Gaussian process in space (Matérn
5/2) with one length scale and a size for each frame. The stated variances of boxes are multiplied
by a factor. All three are chosen from lists of candidates by maximum likelihood (empirical Bayes;
Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, ch. 5).

Where fields are smooth in time, too, they are one process over space and frames, of a single size,
with a memory (the coefficient of a first-order autoregression) that is chosen likewise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import splu

from steadystack.model import Floats

# Candidates: lengths as shares of the longest side of a frame, sizes in pixels, and factors of the
# noise variance.
LENGTHS = (0.2, 0.35, 0.6, 1.2)
SIZES = (0.0, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
FACTORS = (1.0, 1.5, 2.2, 3.5)
# The smallest length, sides of a box.
LEAST_SIDES = 1.5
# Frames from which length and factor are estimated.
SAMPLE = 16
# There is a field if it raises the log-likelihood of a frame of the sample by this, in the mean.
# (All frames share the noise of the anchor.)
LEAST_GAIN = 3.0
# Candidates for fields smooth in time: correlations of neighbouring frames; sizes and noise
# variances as multiples of those estimated frame by frame.
MEMORIES = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
SIZE_TIMES, NOISE_TIMES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8), (1.0, 1.4, 2.0, 2.8)
# With less memory, fields are found frame by frame.
LEAST_MEMORY = 0.8
CHOOSING_STEPS = 2
# Consecutive frames that these are chosen from: at most and at least, and the most coefficients.
MOST_IN_A_ROW, LEAST_IN_A_ROW, MOST_COEFFICIENTS = 32, 8, 1500
# Spatial patterns with less than this share of the noise variance are left out.
LEAST_OF_NOISE = 0.1
SAMPLES = 128  # random samples for the errors of fields smooth in time, which are then good to 6 %
UNKNOWN_VARIANCE = 1e6  # px², of boxes without a measurement
TINY = 1e-8  # px², keeps matrices regular


@dataclass(frozen=True, eq=False)
class Prior:
    """The prior of the fields.

    Attributes
    ----------
    length : length scale of the process, pixels; 0: there is no field
    factor : multiplies the variances of boxes
    size : (frames,) pixels, root mean square along an axis
    gain : log-likelihood of the sample with fields less that without, per frame
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
    """The shifts of boxes relative to the frames' own shifts.

    Attributes
    ----------
    places : of the boxes (boxes, axes), pixels
    off, variance : (frames, boxes, axes), px and px²; NaN where not known
    common : (frames, axes) pixels, the error of the frame's own shift
    """

    places: NDArray[np.float64]
    off: NDArray[np.float64]
    variance: NDArray[np.float64]
    common: NDArray[np.float64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the shift of a box in a frame is known (frames, boxes)."""
        return np.asarray(
            np.isfinite(self.off).all(axis=2) & np.isfinite(self.variance).all(axis=2)
        )

    def select(self, frames: NDArray[np.intp]) -> BoxShifts:
        """Select frames by index."""
        return BoxShifts(self.places, self.off[frames], self.variance[frames], self.common[frames])

    def fill(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values and variances (frames, axes, boxes); 0 and very large where not known."""
        known = self.known[..., None]
        off, variance = (
            np.where(known, self.off, 0),
            np.where(known, self.variance, UNKNOWN_VARIANCE),
        )
        return off.swapaxes(1, 2), variance.swapaxes(1, 2)


def estimate_prior(boxes: BoxShifts, longest: float, side: float) -> Prior:
    """Estimate the prior by maximum likelihood.

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
    """Find fields at places (places, axes): means and standard deviations (frames, places, axes).

    By Gaussian process regression; all in pixels.
    """
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


def find_fields_in_time(
    boxes: BoxShifts, prior: Prior, places: NDArray[np.float64], anchor: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], Chain | None]:
    """Find the fields like `find_fields`, but smooth in time as well, relative to the anchor.

    Also returns how they vary in time, the most likely `Chain`; None: not smooth in time.
    """
    if prior.is_flat:
        return *find_fields(boxes, prior, places), None
    among, to = (_correlate(each, boxes.places, prior.length) for each in (boxes.places, places))
    size, noise = float(np.sqrt((prior.size**2).mean())), np.median(boxes.variance[boxes.known])
    by_frame, boxes = boxes, _halve_variances(boxes, prior, anchor)
    values, vectors = np.linalg.eigh(among)
    seen = size**2 * values > LEAST_OF_NOISE * noise
    seen[-1] = True
    values, vectors = values[seen], vectors[:, seen]
    # spatial patterns with coefficients of variance 1, then a constant, at the boxes and at places
    patterns = np.column_stack([vectors * np.sqrt(values), np.ones(len(among))])
    here = np.column_stack([to @ vectors / np.sqrt(values), np.ones(len(places))])
    chain = _choose_chain(boxes, size, patterns)
    if chain.memory < LEAST_MEMORY:
        return *find_fields(by_frame, prior, places), None
    shape = (len(boxes.off), *places.shape)
    mean, std = np.zeros(shape), np.zeros(shape)
    missing = np.clip(1 - (here[:, :-1] ** 2).sum(axis=1), 0, 1)  # share not in patterns
    apart = 2 * chain.size**2 * (1 - chain.memory ** np.abs(np.arange(len(mean)) - anchor))
    for axis in range(mean.shape[2]):
        found, sampled = chain.solve(boxes, patterns, axis)
        mean[..., axis] = (found - found[anchor]) @ here.T
        spread = np.zeros(mean.shape[:2])
        for sample in sampled:
            spread += ((sample - sample[anchor]) @ here.T) ** 2 / SAMPLES
        std[..., axis] = np.sqrt(spread + apart[:, None] * missing)
    return mean, std, chain


def _halve_variances(boxes: BoxShifts, prior: Prior, anchor: int) -> BoxShifts:
    """Halve the variances of boxes, half of which come from the anchor's noise.

    The anchor itself gets the median of the other frames.
    """
    off, variance = boxes.fill()
    variance = (prior.factor * variance / 2).swapaxes(1, 2)
    told = np.delete(boxes.known, anchor, axis=0)
    for box in np.flatnonzero(told.any(axis=0)):
        variance[anchor, box] = np.median(
            np.delete(variance[:, box], anchor, axis=0)[told[:, box]], axis=0
        )
    return BoxShifts(boxes.places, off.swapaxes(1, 2), variance, boxes.common)


def _choose_chain(boxes: BoxShifts, size: float, patterns: Floats) -> Chain:
    """Choose memory, noise and size, one after the other, by maximum likelihood."""
    most = MOST_COEFFICIENTS // patterns.shape[1]
    count = min(len(boxes.off), max(min(most, MOST_IN_A_ROW), LEAST_IN_A_ROW))
    first = (len(boxes.off) - count) // 2
    some = boxes.select(np.arange(first, first + count))
    told = [_make_rows(some, patterns, axis) for axis in range(some.off.shape[2])]
    best = Chain(size, 0.0, 1.0)
    sizes = [size * times for times in SIZE_TIMES]
    tried = {"memory": MEMORIES, "noise": NOISE_TIMES, "size": sizes}
    for name, each in list(tried.items()) * CHOOSING_STEPS:
        chains = [replace(best, **{name: value}) for value in each]
        likely = [
            sum(c.compute_likelihood(some.common[:, axis], *rows) for axis, rows in enumerate(told))
            for c in chains
        ]
        best = chains[int(np.argmax(likely))]
    return best


def _make_rows(
    boxes: BoxShifts, patterns: Floats, axis: int
) -> tuple[sparse.csr_array, NDArray[np.float64]]:
    """Make the equations of all boxes for the coefficients: weighted rows and values.

    They are divided by the boxes' standard deviations. Coefficients are those of (frames x
    patterns), then the errors of the boxes in the anchor.
    """
    frames, root = len(boxes.off), 1 / np.sqrt(boxes.variance[..., axis].ravel() + TINY)
    of_frames = sparse.kron(sparse.eye_array(frames), patterns)
    of_anchor = sparse.kron(np.ones((frames, 1)), sparse.eye_array(len(patterns)))
    rows = sparse.diags_array(root) @ sparse.hstack([of_frames, of_anchor])
    return sparse.csr_array(rows), root * boxes.off[..., axis].ravel()


@dataclass(frozen=True)
class Chain:
    """Fields of consecutive frames as a first-order autoregression, and the noise of boxes.

    Attributes
    ----------
    size : standard deviation of the fields, pixels
    memory : correlation of neighbouring frames, from 0 to below 1
    noise : multiplies the variances of boxes
    """

    size: float
    memory: float
    noise: float

    def make_root(self, common: NDArray[np.float64], patterns: int, boxes: int) -> sparse.csr_array:
        """Make a square root of the prior information matrix of the coefficients.

        Parameters
        ----------
        common : (frames,) pixels, prior standard deviation of the error common to all boxes
        patterns : their number in a frame; the last is the common error
        boxes : their number in the anchor; their errors have a very wide prior
        """
        scale = np.full(len(common), 1 / (self.size * np.sqrt(1 - self.memory**2)))
        scale[0] = 1 / self.size
        below = sparse.diags_array(-self.memory * scale[1:], offsets=-1)
        root = sparse.diags_array(scale) + below
        own = sparse.diags_array(1 / np.maximum(common, np.sqrt(TINY)))
        last = np.arange(patterns) == patterns - 1
        of_patterns, of_common = (
            sparse.kron(each, sparse.diags_array(which * 1.0))
            for each, which in ((root, ~last), (own, last))
        )
        of_anchor = sparse.eye_array(boxes) / np.sqrt(UNKNOWN_VARIANCE)
        return sparse.csr_array(sparse.block_diag([of_patterns + of_common, of_anchor]))

    def compute_likelihood(
        self, common: NDArray[np.float64], rows: sparse.csr_array, values: Floats
    ) -> float:
        """Compute the log-likelihood, up to a constant."""
        boxes = len(values) // len(common)
        root = self.make_root(common, (rows.shape[1] - boxes) // len(common), boxes)
        whole = (root.T @ root + rows.T @ rows / self.noise).toarray()
        lower = linalg.cholesky(whole, lower=True)
        white = linalg.solve_triangular(lower, rows.T @ values / self.noise, lower=True)
        spread = np.log(root.diagonal()).sum() - np.log(np.diagonal(lower)).sum()
        left = (values @ values / self.noise - white @ white) / 2
        return float(spread - left - len(values) * np.log(self.noise) / 2)

    def solve(
        self, boxes: BoxShifts, patterns: Floats, axis: int
    ) -> tuple[NDArray[np.float64], Iterator[NDArray[np.float64]]]:
        """Solve for the coefficients (frames, patterns), and draw samples of their errors."""
        rng, (frames, count) = np.random.default_rng(0), boxes.off.shape[:2]
        rows, values = _make_rows(boxes, patterns, axis)
        root = self.make_root(boxes.common[:, axis], patterns.shape[1], count)
        rows, values = rows / np.sqrt(self.noise), values / np.sqrt(self.noise)
        factors = splu(sparse.csc_array(root.T @ root + rows.T @ rows))

        def solve(told: Floats) -> NDArray[np.float64]:
            found = factors.solve(told)[: frames * patterns.shape[1]]
            return np.asarray(found.reshape(frames, -1), np.float64)

        def draw() -> Iterator[NDArray[np.float64]]:
            for _ in range(SAMPLES):
                noise = root.T @ rng.normal(size=root.shape[0])
                yield solve(noise + rows.T @ rng.normal(size=len(values)))

        return solve(rows.T @ values), draw()


def _correlate(places: Floats, others: Floats, length: float) -> NDArray[np.float64]:
    """Compute the Matérn 5/2 correlation between places and others (places, others)."""
    apart = np.linalg.norm(places[:, None] - others, axis=2) * np.sqrt(5) / length
    return np.asarray((1 + apart + apart**2 / 3) * np.exp(-apart))


def _compute_likelihoods(
    boxes: BoxShifts, length: float, factor: float, sizes: tuple[float, ...]
) -> NDArray[np.float64]:
    """Compute the log-likelihood of every frame for each size (sizes, frames)."""
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
