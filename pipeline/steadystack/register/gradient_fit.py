"""Fit the shift at which the difference of two images no longer contains their slopes.

A surface compares at every lag what overlaps there, and filtering it mixes lags with different
overlaps. That loses precision where the scene's detail is nearly as long as the frame, as along z
in volumes with a long axial PSF. Here the images are overlaid first. At the true shift their
difference is noise alone, uncorrelated with anything; it is correlated with slopes of their mean at
several scales, weighted by their errors (the generalised method of moments: Hansen 1982,
doi:10.2307/1912775; slopes: Lucas & Kanade 1981). The mean and the difference of two equally noisy
images have independent noise, so noise does not flatten the slopes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Registration, Slices
from steadystack.register.leave_out import Groups, Spread, compute_spread, count_cuts
from steadystack.register.plain_pair import PlainPair

Array: TypeAlias = NDArray[np.float64]

# Images are splines of order ORDER; TAPS pixels on each side contribute to a value.
ORDER, TAPS = 5, 3
# Widths of the slope filters along the axis of the shortest detail, px; along others they grow with
# the length of detail, up to LONGEST times.
SCALES = (1.0, 2.0, 4.0)
LONGEST = 10.0
# The fit of the contrast uses the mean image at this scale, px.
CONTRAST_SCALE = 1.5
# Most Gauss-Newton steps; the largest, px; the deviations of a step that ends them; and those
# allowed of the last one, as near whole pixels shift and overlap may alternate.
STEPS, LARGEST_STEP, FINE, LAST = 8, 0.5, 0.03, 0.5
# The fit stays within this many pixels of its start, times the relative length of detail.
FARTHEST = 1.0
# A shift within this of whole pixels, px, is not interpolated.
WHOLE = 0.005
# Fewest overlapping pixels along each searched axis, and in all; and the fraction of valid pixels
# that must be left without those next to invalid ones.
THINNEST_OVERLAP, FEWEST_PIXELS, LEAST_KEPT = 2, 64, 0.5
# More pixels take too much memory.
MOST_PIXELS = 2**20
# Invalid pixels are filled with means of this width, px.
FILL_WIDTH = 2.0
# Fraction of the slopes' total that cannot be told from rounding.
RIDGE = 1e-6


@dataclass(frozen=True)
class GradientFit:
    """Two images of equal brightness and contrast, as splines, and their valid pixels."""

    splines: tuple[Array, Array]
    valid: tuple[Bools, Bools]
    free: tuple[int, ...]

    @classmethod
    def make(cls, pair: PlainPair, free: Sequence[int], *, inverted: bool = False) -> GradientFit:
        """Prepare a fit along the axes `free` of a pair whose moving image may be inverted."""
        splines, masks = [], pair.find_valid()
        for image, valid, sign in zip(
            (pair.reference, pair.moving), masks, (1, -1 if inverted else 1), strict=True
        ):
            values = image.astype(np.float64)
            values = values / max(float(np.abs(values[valid]).max()), np.finfo(float).tiny)
            values = sign * (values - values[valid].mean()) / values[valid].std()
            filled = _fill(values, valid)
            splines.append(ndimage.spline_filter(filled, order=5, mode="mirror"))
        return cls((splines[0], splines[1]), masks, tuple(free))

    def find(self, start: Array) -> tuple[Array, Array, Spread] | None:
        """Find the shift near `start` (axes,), px.

        Returns it, its covariance and its deviations by the jackknife over parts of the frame; None
        if too little overlaps or no shift is found.
        """
        shift, ratio = start.copy(), None
        for number in range(STEPS):
            overlap = self._overlay(shift)
            if overlap is None:
                return None
            ratio = overlap.find_lengths() if ratio is None else ratio
            step, covariance, spread = overlap.solve(ratio)
            longest = LARGEST_STEP * ratio[list(self.free)]
            shift[list(self.free)] -= np.clip(step, -longest, longest)
            if not (np.abs(shift - start) <= FARTHEST * ratio).all():  # false for NaN, too
                return None
            variance = np.diag(covariance)
            allowed = FINE if number < STEPS - 1 else LAST
            if (step**2 < allowed**2 * variance).all():
                return shift, covariance, spread
        return None

    def _overlay(self, shift: Array) -> Overlap | None:
        """Lay the moving image on the reference by a shift, and cut out what overlaps."""
        whole = np.rint(shift).astype(int)
        offset = np.where(np.abs(shift - whole) < WHOLE, 0, whole - shift)
        shapes = [spline.shape for spline in self.splines]
        reference, moving = [], []
        for lag, by, size, other in zip(whole.tolist(), offset.tolist(), *shapes, strict=True):
            # no values beyond the first and the last pixel of the moving image
            begin, end = max(0, lag + (by < 0)), min(size, other + lag - (by > 0))
            reference.append(slice(begin, end))
            moving.append(slice(begin - lag, end - lag))
        sizes = [max(side.stop - side.start, 0) for side in reference]
        if min(sizes[axis] for axis in self.free) < THINNEST_OVERLAP or min(sizes) < 1:
            return None
        boxes = tuple(reference), tuple(moving)
        valid = self._find_shared_pixels(boxes, bool(offset.any()))
        if valid is None:
            return None
        zero = np.zeros(len(shift))
        images, slopes = [], []
        for spline, by, box in zip(self.splines, (zero, offset), boxes, strict=True):
            image = _evaluate(spline, by)[box]
            scale = 1 / image[valid].std()
            images.append((image - image[valid].mean()) * scale)
            slopes.append([_evaluate(spline, by, axis)[box] * scale for axis in self.free])
        return Overlap((images[0], images[1]), (slopes[0], slopes[1]), valid, self.free)

    def _find_shared_pixels(self, boxes: tuple[Slices, Slices], between: bool) -> Bools | None:
        """Find the pixels that are valid in both images; None if too few."""
        reference, moving = (v[box] for v, box in zip(self.valid, boxes, strict=True))
        shared = reference & moving
        if between and not moving.all():
            ones = np.ones((3,) * moving.ndim, bool)
            kept = reference & ndimage.binary_erosion(moving, ones, border_value=1)
            if np.count_nonzero(kept) < LEAST_KEPT * np.count_nonzero(shared):
                return None
            shared = kept
        return shared if np.count_nonzero(shared) >= FEWEST_PIXELS else None


@dataclass(frozen=True)
class Overlap:
    """Two overlaid images, with their slopes along the axes `free`.

    Both have the mean 0 and the deviation 1 over their shared pixels.
    """

    images: tuple[Array, Array]
    slopes: tuple[list[Array], list[Array]]
    valid: Bools
    free: tuple[int, ...]

    @cached_property
    def mean(self) -> Array:
        return (self.images[0] + self.images[1]) / 2

    @cached_property
    def half_difference(self) -> Array:
        return np.asarray((self.images[0] - self.images[1]) / 2 * self.valid)

    @cached_property
    def _mean_and_half_difference(self) -> tuple[Array, Array]:
        """The mean and half the difference of the images, with invalid pixels filled."""
        mean, half = _fill(self.mean, self.valid), _fill(self.half_difference, self.valid)
        return mean, half

    @cached_property
    def _slopes_of_both(self) -> tuple[list[Array], list[Array]]:
        """Slopes of the mean and of half the difference, 0 where they are not valid."""
        pairs = list(zip(*self.slopes, strict=True))
        return (
            [(one + other) / 2 * self.valid for one, other in pairs],
            [(one - other) / 2 * self.valid for one, other in pairs],
        )

    @cached_property
    def part_numbers(self) -> NDArray[np.intp]:
        """The number of the part of the frame that every pixel lies in, flat."""
        numbers = np.zeros(self.valid.shape, np.intp)
        for axis, size in enumerate(self.valid.shape):
            cuts = count_cuts(size)
            lines = np.arange(size) * cuts // size
            numbers = numbers * cuts + lines.reshape(
                [-1 if other == axis else 1 for other in range(self.valid.ndim)]
            )
        return numbers.ravel()

    def find_lengths(self) -> Array:
        """Find how many times longer detail is along each axis than along that of the shortest."""
        widths = np.ones(self.valid.ndim)
        energy = [
            float(self._multiply_slopes(widths, axis)[1][number].sum())
            for number, axis in enumerate(self.free)
        ]
        largest = max(*energy, np.finfo(float).tiny)
        lengths = np.ones(self.valid.ndim)
        lengths[list(self.free)] = np.sqrt(largest / np.maximum(energy, largest / LONGEST**2))
        return lengths

    def _multiply_slopes(self, widths: Array, axis: int) -> tuple[Array, list[Array]]:
        """Multiply smoothed slopes of the scene along an axis with its slopes along all axes.

        Returns the smoothed slopes of the mean image, and the products (axes): noise that is not
        shared by both images cancels out of their sum.
        """
        mean, half = (_smooth(each, widths, axis) for each in self._mean_and_half_difference)
        mean *= self.valid
        slopes, of_half = self._slopes_of_both
        return mean, [mean * one - half * other for one, other in zip(slopes, of_half, strict=True)]

    def solve(self, lengths: Array) -> tuple[Array, Array, Spread]:
        """Solve for the remaining shift between the images along the axes `free`, px.

        Returns that, its covariance and its deviations by the jackknife over parts of the frame.
        The contrast and brightness in which the images differ are solved for, too.
        """
        compared, table = self._compare(lengths)
        whole, size = table.sum(axis=0), len(self.free)
        flat = np.stack([each.ravel() for each in compared])
        difference = self.half_difference[self.valid] * 2
        weights, covariance = _weigh(flat @ flat.T, whole[:, :-1])
        step = _solve_moments(weights, whole)[:size]
        covariance = covariance[:size, :size] * float((difference**2).mean())
        parts = table[table.any(axis=(1, 2))]

        def measure_without(groups: Groups) -> Array:
            rest = [whole - parts[sorted(group)].sum(axis=0) for group in groups]
            return np.array([_solve_moments(weights, each)[:size] for each in rest])

        grid = np.ndindex(*map(count_cuts, self.valid.shape))
        places = [place for place, part in zip(grid, table, strict=True) if part.any()]
        spread = compute_spread(places, measure_without, np.sqrt(np.diag(covariance)))
        return step, covariance, spread

    def _compare(self, lengths: Array) -> tuple[list[Array], Array]:
        """Multiply the comparison images (slopes) with all components of the images' difference.

        Returns the comparison images, and a table of sums over each part of the frame (parts,
        compared, unknowns and difference); unknowns are the shift, contrast and brightness.
        """
        ones, difference = self.valid.astype(np.float64), 2 * self.half_difference
        unknown = [*self._slopes_of_both[0], self.mean * self.valid, ones]
        compared, rows = [], []
        for scale in SCALES:
            for axis in self.free:
                slope, products = self._multiply_slopes(scale * lengths, axis)
                others = [slope * each for each in (*unknown[len(products) :], difference)]
                compared.append(slope)
                rows.append(self._sum_parts([*products, *others]))
        smooth = _smooth(self._mean_and_half_difference[0], CONTRAST_SCALE * lengths)
        for other in (smooth * self.valid, ones):
            compared.append(other)
            rows.append(self._sum_parts([other * each for each in (*unknown, difference)]))
        return compared, np.moveaxis(np.array(rows), -1, 0)

    def _sum_parts(self, values: Sequence[Array]) -> Array:
        """Sum images over each part of the frame: (images, parts)."""
        count = int(self.part_numbers.max()) + 1
        return np.array([np.bincount(self.part_numbers, v.ravel(), count) for v in values])


def fit_gradients(
    registration: Registration, pair: PlainPair
) -> tuple[Registration, Spread] | None:
    """Refine the shift of a registration that is ok by a fit to the images' slopes.

    Returns it with its stated covariance, and how much the parts of the frame disagree; None if no
    shift is found near the given one.
    """
    free = np.flatnonzero(np.diag(registration.covariance) > 0).tolist()
    if not free or max(pair.reference.size, pair.moving.size) > MOST_PIXELS:
        return None
    found = GradientFit.make(pair, free, inverted=registration.ncc < 0).find(
        np.asarray(registration.shift, np.float64)
    )
    if found is None:
        return None
    shift, covariance, spread = found
    if not np.all(np.isfinite(covariance)) or not np.all(np.diag(covariance) > 0):
        return None
    ndim = len(shift)
    whole, widths = np.zeros((ndim, ndim)), np.zeros((len(spread), ndim))
    whole[np.ix_(free, free)], widths[:, free] = covariance, spread
    return replace(registration, shift=shift, covariance=whole), Spread(*widths)


def _weigh(noise: Array, slopes: Array) -> tuple[Array, Array]:
    """Weight the comparisons by `noise` (compared, compared) and `slopes` (compared, unknowns).

    Returns the weights (unknowns, compared) and the unknowns' covariance for noise of 1.
    """
    scale = 1 / np.sqrt(np.maximum(np.diag(noise), np.finfo(float).tiny))
    scaled = noise * np.outer(scale, scale) + RIDGE * np.eye(len(noise))
    weights: Array = (np.linalg.solve(scaled, slopes * scale[:, None]) * scale[:, None]).T
    try:
        return weights, np.asarray(np.linalg.inv(weights @ slopes))
    except np.linalg.LinAlgError:
        return weights, np.full((slopes.shape[1],) * 2, np.nan)


def _solve_moments(weights: Array, table: Array) -> Array:
    """Solve weighted sums of a `table` (compared, unknowns and difference) for the unknowns."""
    try:
        return np.asarray(np.linalg.solve(weights @ table[:, :-1], weights @ table[:, -1]))
    except np.linalg.LinAlgError:
        return np.full(table.shape[1] - 1, np.nan)


def _fill(values: Array, valid: Bools) -> Array:
    """Fill invalid pixels with means of what is valid near them, and 0 far from that."""
    if valid.all():
        return values
    weight = ndimage.gaussian_filter(valid.astype(np.float64), FILL_WIDTH)
    mean = ndimage.gaussian_filter(np.where(valid, values, 0), FILL_WIDTH)
    return np.where(valid, values, mean / np.maximum(weight, 1e-3))


def _smooth(image: Array, widths: Array, slope: int | None = None) -> Array:
    """Smooth an image by Gaussians of these widths, px, or take its slope along an axis."""
    for axis, width in enumerate(widths.tolist()):
        if image.shape[axis] > 1:
            order = int(slope == axis)
            image = ndimage.gaussian_filter1d(
                image, width, axis, order, mode="nearest", truncate=3.0
            )
    return image


def _evaluate(spline: Array, offset: Array, slope: int | None = None) -> Array:
    """Evaluate an image, or its slope along an axis, `offset` pixels beyond each pixel."""
    knots = np.arange(-TAPS, TAPS + 1, dtype=np.float64)
    for axis, by in enumerate(offset.tolist()):
        if spline.shape[axis] > 1:
            if slope == axis:
                halves = (_compute_basis(ORDER - 1, by - knots + half) for half in (0.5, -0.5))
                taps = np.subtract(*halves)
            else:
                taps = _compute_basis(ORDER, by - knots)
            spline = ndimage.correlate1d(spline, taps, axis, mode="mirror")
    return np.asarray(spline)


def _compute_basis(order: int, at: Array) -> Array:
    """Compute the centred B-spline of an order at some positions."""
    values = np.zeros_like(at)
    for knot in range(order + 2):
        power = np.maximum(at + (order + 1) / 2 - knot, 0) ** order
        values += (-1) ** knot * math.comb(order + 1, knot) * power / math.factorial(order)
    return values
