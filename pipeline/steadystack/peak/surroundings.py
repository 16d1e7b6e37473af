"""Measure signal and noise around the peaks of surfaces, and find the maxima after filtering.

The best linear estimate of a shift is the maximum of the surface after a filter that weighs
frequencies by signal over noise (Hannan & Thomson 1973; Knapp & Carter 1976,
doi:10.1109/TASSP.1976.1162830)::

    H = S / (2 S N + N^2)

with S and N the power spectra of the scene and of each image's noise. Both are read off the surface
itself: S is its part that is symmetric around the peak, and N follows from how far the NCC stays
below 1, with the colour that fits the antisymmetric part best. For images that are not equally
noisy, 2 S N becomes S (N1 + N2), and N^2 becomes N1 N2. Where masks are full of holes, neighbouring
lags compare different pixels, and the surface is rough in proportion to its fall from the peak:
then only the closest lags can be used, and the filter is the most local one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steadystack.peak.cutting import SurfaceAtLag, compute_likeness
from steadystack.peak.patch import (
    Array,
    Grid,
    Spectrum,
    make_grid,
    multiply,
    take_last,
)

# White noise is preferred unless another colour is more likely by e to this power.
WHITE_PREFERRED = 2.0
# Smallest 1 - NCC that rounding leaves.
LEAST_NOISE = 1e-7
# Detail is long along an axis if it is this many times as long as along the next axis.
LONG = 2.0
# Most Newton steps, the step length (px) at which they end, and the longest step (px).
STEPS, FINE, LONGEST = 12, 1e-5, 0.5


@dataclass(frozen=True)
class SignalAndNoise:
    """Signal and noise of surfaces, each around a point near its peak.

    Spectra of signal and noise are per ring of frequencies; signal and `noise` add up to the power
    of one image of variance 1. For images that are not equally noisy, `noise` is the mean of both,
    for products with the scene, and `noise_product` stands for the product of the two.
    """

    top: Array  # (surfaces,), height of the surface
    noise: Array  # (surfaces, rings)
    noise_product: Array  # (surfaces, rings), its square is N1 N2
    response: Array  # (surfaces, rings), of the best linear filter
    best: Array  # (surfaces, spectrum), this filter over all frequencies
    even: Array  # (surfaces, spectrum), of the part that is symmetric around the point
    spectrum: Spectrum  # (surfaces, spectrum), of the surface around the point, tapered


@dataclass(frozen=True)
class PeakSurroundings:
    """The lags around one index of every surface, as patches and their spectra."""

    grid: Grid
    count: Array  # (surfaces,), pixels that overlap
    averaged: Array  # (surfaces,), number of images that the reference is the mean of
    patches: Array  # (surfaces, lags)
    spectra: Spectrum  # (surfaces, spectrum)

    @classmethod
    def compute(cls, requests: Sequence[SurfaceAtLag], free: Sequence[int]) -> PeakSurroundings:
        """Compute the patches around the indices of requests, over the `free` axes."""
        grid, patches = make_grid(len(free)), compute_likeness(requests, free)
        count = np.array([float(surface.overlap_count[index]) for surface, index in requests])
        averaged = np.array([surface.averaged for surface, _ in requests])
        return cls(grid, count, averaged, patches, grid.transform(patches) / grid.size)

    def select_rows(self, rows: NDArray[np.intp]) -> PeakSurroundings:
        """Select some of the surfaces."""
        count, averaged = self.count[rows], self.averaged[rows]
        return PeakSurroundings(self.grid, count, averaged, self.patches[rows], self.spectra[rows])

    def stretch_rings(self, axis: int | None) -> PeakSurroundings:
        """The same surfaces, with rings that are stretched along an axis."""
        return replace(self, grid=make_grid(self.grid.ndim, axis))

    def find_stretched_axes(self, filters: Array, points: Array) -> list[int | None]:
        """Find the axis along which each scene's detail is much longer than along all others.

        Along it the filtered surface curves `LONG` squared times less, at its `points` (surfaces,
        axes), px from the centres, than along the next axis. None: there is no such axis.
        """
        grid = self.grid
        if grid.ndim == 1:
            return [None] * len(points)
        moved = self.spectra * filters * grid.make_wave(points)
        curvature = grid.compute_curvature(moved.real.copy())
        along = np.diagonal(curvature, axis1=1, axis2=2)
        least, next_to = np.moveaxis(np.sort(along, axis=1)[:, :2], 1, 0)
        is_long = np.isfinite(points[:, 0]) & (least > 0) & (next_to > LONG**2 * least)
        axes = zip(is_long.tolist(), np.argmin(along, axis=1).tolist(), strict=True)
        return [axis if long else None for long, axis in axes]

    def replace_rows(self, rows: NDArray[np.intp], others: PeakSurroundings) -> None:
        """Replace the patches of some surfaces, in place, by others of the same surfaces."""
        self.count[rows] = others.count
        self.patches[rows], self.spectra[rows] = others.patches, others.spectra

    def measure(self, points: Array) -> SignalAndNoise:
        """Measure signal and noise around `points` (surfaces, axes), px from the centres."""
        grid = self.grid
        wave = grid.make_wave(points)
        spectrum = grid.transform(self.patches * grid.make_taper(points)) * wave
        top = (spectrum.real * grid.weight).sum(axis=-1) / grid.size  # the taper is 1 at the point
        missing, missing_product = split_noise(top, self.averaged)
        signal = np.maximum(multiply(grid.ring_mean, spectrum.real.copy()), 0)
        odd = (
            multiply(grid.ring_mean, spectrum.imag**2)
            * (2 * self.count / grid.window_energy)[:, None]
        )

        noises = missing[:, None, None] * grid.colours
        noise_products = missing_product[:, None, None] * grid.colours
        errors = 2 * signal[:, None] * noises + noise_products**2
        unlikely = ((np.log(errors) + odd[:, None] / errors)[..., 1:] * grid.ring_count[1:]).sum(-1)
        unlikely[:, 0] -= 2 * WHITE_PREFERRED
        likeliest = np.arange(len(points)), np.argmin(unlikely, axis=-1)

        response = signal / errors[likeliest]
        response /= np.maximum(response.max(axis=-1, keepdims=True), np.finfo(float).tiny)
        return SignalAndNoise(
            top=top,
            noise=noises[likeliest],
            noise_product=noise_products[likeliest],
            response=response,
            best=multiply(grid.ring_filters, response),
            even=(self.spectra * wave).real.copy(),
            spectrum=spectrum,
        )

    def find_highest(self, filters: Array) -> NDArray[np.intp]:
        """Find the highest whole lags of filtered surfaces, from the centres: (surfaces, axes).

        Lags at the border of the patch are excluded.
        """
        grid = self.grid
        filtered = take_last(grid.transform_back(self.spectra * filters), grid.inner)
        return np.asarray(grid.lags.T[grid.inner[np.argmax(filtered, axis=-1)]], np.intp)

    def choose_filters(self, measured: SignalAndNoise) -> tuple[Array, Array]:
        """Choose the filters that promise the smaller errors of the shifts.

        The best linear filter of the rings is best if errors are alike at all lags; on a rough
        surface the most local filter is better.

        Returns
        -------
        filters (surfaces, spectrum), covariances of the shifts (surfaces, axes, axes), px²
        """
        grid = self.grid
        falls, roughness = self.measure_falls(measured)
        slopes = multiply(grid.ring_slopes, measured.response).reshape(len(falls), grid.ndim, -1)
        errors = falls**2 * (2 * roughness)[:, None]  # of opposite lags, taken as independent
        best = self.compute_covariance(measured.best, slopes, measured, errors)
        local = self.compute_covariance(grid.local, grid.local_slopes, measured, errors)
        prefer_local = ~(_compute_trace(best) <= _compute_trace(local)) & np.isfinite(
            _compute_trace(local)
        )
        return (
            np.where(prefer_local[:, None], grid.local, measured.best),
            np.where(prefer_local[:, None, None], local, best),
        )

    def compute_local_covariance(self, measured: SignalAndNoise) -> Array:
        """Compute the covariance of the maxima of surfaces after the most local filter, px²."""
        grid = self.grid
        falls, roughness = self.measure_falls(measured)
        errors = falls**2 * (2 * roughness)[:, None]
        return self.compute_covariance(grid.local, grid.local_slopes, measured, errors)

    def measure_falls(self, measured: SignalAndNoise) -> tuple[Array, Array]:
        """Measure how far surfaces fall from their points, and how rough they are.

        Roughness is the variance of the independent error of a lag, per squared fall. It is
        measured on the antisymmetric part of the surface, less its smooth part and the contribution
        of white noise.

        Returns
        -------
        falls to the lags `half` (surfaces, half), roughness (surfaces,)
        """
        grid = self.grid
        patches = grid.transform_back(measured.spectrum)
        half, opposite = (
            take_last(patches, lags) for lags in (grid.half, grid.opposite[grid.half])
        )
        window = np.maximum(grid.window[grid.half], 1e-2)
        falls = np.maximum(measured.top[:, None] - (half + opposite) / 2 / window, 0)

        nearness = grid.distance[grid.near] ** -2.0
        uneven = take_last(half - opposite, grid.near) / 2 * nearness
        basis = grid.smooth_odd
        rest = uneven - multiply(basis, multiply(basis.T, uneven))
        # the fraction of each value's variance that the fit leaves
        remaining = nearness**2 * (1 - (basis**2).sum(axis=1))
        white = (measured.noise_product**2 * grid.ring_count).sum(axis=-1) / grid.size / self.count
        excess = 2 * (rest**2).sum(axis=-1) - white * remaining.sum()
        expected = (remaining * take_last(falls, grid.near) ** 2).sum(axis=-1)
        roughness = np.maximum(excess, 0) / np.where(expected > 0, expected, np.inf)
        return falls, roughness

    def compute_covariance(
        self, filters: Array, slopes: Array, measured: SignalAndNoise, errors: Array
    ) -> Array:
        """Compute the covariance of the maxima of filtered surfaces, px²; NaN where one curves up.

        It is the covariance of the slopes, multiplied by the inverse curvature on both sides:
        (surfaces, axes, axes). `slopes` are the weights of the lags `half` in the slopes, and
        `errors` the variances of the difference of each of these lags from its opposite.
        """
        grid = self.grid
        inverse = _invert(grid.compute_curvature(filters * measured.even))
        square = filters**2 / (grid.size * self.count)[:, None]
        noise, noise_product = (
            take_last(spectrum, grid.rings) for spectrum in (measured.noise, measured.noise_product)
        )
        of_noise = grid.compute_curvature(square * noise_product**2)
        of_scene = grid.compute_curvature(square * 2 * noise * measured.even * grid.size)
        excess = ~_is_positive_definite(of_scene)  # more noise than scene
        if excess.any():
            values, axes = np.linalg.eigh(of_scene[excess])
            of_scene[excess] = (axes * np.maximum(values, 0)[:, None]) @ axes.swapaxes(1, 2)
        of_lags = (slopes * errors[:, None]) @ slopes.swapaxes(-1, -2)
        covariances = inverse @ (of_noise + of_scene + of_lags) @ inverse.swapaxes(1, 2)
        return np.asarray(covariances)

    def climb(self, filters: Array, start: Array) -> Array:
        """Climb from `start` to the maxima of filtered surfaces; NaN where there is none.

        `start` and the result are points (surfaces, axes), px from the centres.
        """
        grid, points = self.grid, start.copy()
        filtered = self.spectra * filters
        rows = np.arange(len(points))
        for _ in range(STEPS):
            moved = filtered[rows] * grid.make_wave(points[rows])
            uphill = -multiply(grid.slope, moved.imag.copy())
            step = multiply(_invert(grid.compute_curvature(moved.real.copy())), uphill)
            stepped = points[rows] + np.clip(step, -LONGEST, LONGEST)
            stepped[np.abs(stepped).max(axis=1) > grid.reach] = np.nan
            points[rows] = stepped
            rows = rows[np.isfinite(stepped[:, 0]) & (np.abs(step).max(axis=1) >= FINE)]
            if not rows.size:
                break
        return points


def split_noise(top: Array, averaged: Array) -> tuple[Array, Array]:
    """Split the difference of peaks from height 1 into `noise` and `noise_product` (surfaces,).

    The reference is the mean of `averaged` images as noisy as the moving one. If the scene is the
    fractions ``s1`` and ``s2`` of their power, the peak's height is ``sqrt(s1 s2)``.
    """
    missing = np.maximum(1 - top, LEAST_NOISE)
    # 1 / top^2 = (1 + r) (1 + r / averaged), with r the moving image's noise over the scene
    inverse = 1 / np.clip(top, LEAST_NOISE, 1 - LEAST_NOISE) ** 2
    half = (1 + averaged) / 2
    r = averaged * (inverse - 1) / (half + np.sqrt(half**2 + averaged * (inverse - 1)))
    s1, s2 = 1 / (1 + r / averaged), 1 / (1 + r)
    ratio = np.sqrt(s1 / s2)
    noise, noise_product = (ratio * (1 - s2) + (1 - s1) / ratio) / 2, np.sqrt((1 - s1) * (1 - s2))
    alike = np.equal(averaged, 1)
    return np.where(alike, missing, noise), np.where(alike, missing, noise_product)


def _compute_trace(matrices: Array) -> Array:
    return np.asarray(np.trace(matrices, axis1=-2, axis2=-1))


def _is_positive_definite(matrices: Array) -> NDArray[np.bool_]:
    """Whether symmetric matrices are positive definite (Sylvester)."""
    is_positive = matrices[..., 0, 0] > 0
    for size in range(2, matrices.shape[-1] + 1):
        is_positive &= np.linalg.det(matrices[..., :size, :size]) > 0
    return np.asarray(is_positive)


def _invert(matrices: Array) -> Array:
    """Invert symmetric matrices (..., n, n); NaN where they are not positive definite."""
    positive = _is_positive_definite(matrices)[..., None, None]
    inverse = np.linalg.inv(np.where(positive, matrices, np.eye(matrices.shape[-1])))
    return np.where(positive, inverse, np.nan)
