"""What surfaces show of signal and noise around their peaks, and where they are highest.

The best linear estimate of a shift is the maximum of the surface after a filter that weighs
frequencies by signal over noise (Hannan & Thomson 1973; Knapp & Carter 1976,
doi:10.1109/TASSP.1976.1162830)::

    H = S / (2 S N + N^2)

with S and N the power spectra of the scene and of each image's noise. Both are read off the surface
itself: S is its part that is symmetric around the peak, and N follows from what the NCC lacks of 1,
in the colour that fits the antisymmetric part best. Of images that are not equally noisy, 2 S N
becomes S (N1 + N2), and N^2 becomes N1 N2. Where masks are full of holes, neighbouring lags compare
different pixels, and the surface is rough in proportion to its fall from the peak: then only the
closest lags are of use, and the filter is the most local one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.peak.patch import (
    Array,
    Grid,
    Spectrum,
    SurfaceAtLag,
    compute_likeness,
    make_grid,
    multiply,
    take_last,
)

# White noise is preferred unless another colour is more likely by e to this power.
WHITE_PREFERRED = 2.0
# What rounding leaves of 1 - NCC.
LEAST_NOISE = 1e-7
# A surface that falls by less than this part of its height at some pixels' distance is a ridge.
LEAST_FALL = 0.02
# Newton steps, until they are shorter than this, px.
STEPS, FINE, LONGEST = 12, 1e-5, 0.5


@dataclass(frozen=True)
class SignalAndNoise:
    """What surfaces show of signal and noise, each around a point near its peak.

    Spectra of signal and noise are per ring of frequencies; those of signal and `noise` add up to
    the power of one image of variance 1. Of images that are not equally noisy, `noise` is the mean
    with which the scene meets the noise of the other one, `both` with which the two noises meet.
    """

    top: Array  # height of the surface
    noise: Array
    both: Array
    response: Array  # of the best linear filter
    best: Array  # this filter, over all frequencies
    even: Array  # spectrum of what is symmetric around the point
    seen: Spectrum  # of the surface around the point, tapered


@dataclass(frozen=True)
class PeakSurroundings:
    """The lags around one of every surface, as patches and their spectra."""

    grid: Grid
    count: Array  # pixels that overlap
    averaged: Array  # images that the reference is the mean of
    patches: Array
    spectra: Spectrum

    @classmethod
    def around(cls, asked: Sequence[SurfaceAtLag], free: Sequence[int]) -> PeakSurroundings:
        grid, patches = make_grid(len(free)), compute_likeness(asked, free)
        count = np.array([float(surface.overlap_count[index]) for surface, index in asked])
        averaged = np.array([surface.averaged for surface, _ in asked])
        return cls(grid, count, averaged, patches, grid.forward(patches) / grid.size)

    def of(self, rows: NDArray[np.intp]) -> PeakSurroundings:
        """Some of them."""
        count, averaged = self.count[rows], self.averaged[rows]
        return PeakSurroundings(self.grid, count, averaged, self.patches[rows], self.spectra[rows])

    def put(self, rows: NDArray[np.intp], others: PeakSurroundings) -> None:
        """Others of the same surfaces in place of some."""
        self.count[rows] = others.count
        self.patches[rows], self.spectra[rows] = others.patches, others.spectra

    def look(self, at: Array) -> SignalAndNoise:
        """Signal and noise around the points `at`, px from the centres."""
        grid = self.grid
        wave = grid.wave(at)
        seen = grid.forward(self.patches * grid.taper(at)) * wave
        top = (seen.real * grid.weight).sum(axis=-1) / grid.size  # the taper is 1 there
        missing, both_missing = split_noise(top, self.averaged)
        signal = np.maximum(multiply(grid.ring_mean, seen.real.copy()), 0)
        odd = (
            multiply(grid.ring_mean, seen.imag**2) * (2 * self.count / grid.window_energy)[:, None]
        )

        noises = missing[:, None, None] * grid.colours
        boths = both_missing[:, None, None] * grid.colours
        errors = 2 * signal[:, None] * noises + boths**2
        unlikely = ((np.log(errors) + odd[:, None] / errors)[..., 1:] * grid.ring_count[1:]).sum(-1)
        unlikely[:, 0] -= 2 * WHITE_PREFERRED
        likely = np.arange(len(at)), np.argmin(unlikely, axis=-1)

        response = signal / errors[likely]
        response /= np.maximum(response.max(axis=-1, keepdims=True), np.finfo(float).tiny)
        return SignalAndNoise(
            top=top,
            noise=noises[likely],
            both=boths[likely],
            response=response,
            best=multiply(grid.ring_filters, response),
            even=(self.spectra * wave).real.copy(),
            seen=seen,
        )

    def highest(self, filters: Array) -> NDArray[np.intp]:
        """The highest whole lags of filtered surfaces, from the centres; none at the border."""
        grid = self.grid
        filtered = take_last(grid.backward(self.spectra * filters), grid.inner)
        return np.asarray(grid.lags.T[grid.inner[np.argmax(filtered, axis=-1)]], np.intp)

    def best_filter(self, look: SignalAndNoise) -> tuple[Array, Array, NDArray[np.bool_]]:
        """The filters that promise the smaller errors of the shifts, and the covariances of those.

        What the rings say of the best linear filter holds for errors that are alike at all lags;
        a rough surface asks for the most local one. Also whether surfaces fall off on all sides.
        """
        grid = self.grid
        falls, roughness, located = self.falls(look)
        slopes = multiply(grid.ring_slopes, look.response).reshape(len(falls), grid.ndim, -1)
        errors = falls**2 * (2 * roughness)[:, None]  # of opposite lags, each for itself
        best = self.covariance(look.best, slopes, look, errors)
        local = self.covariance(grid.local, grid.local_slopes, look, errors)
        better = ~(_compute_trace(best) <= _compute_trace(local)) & np.isfinite(
            _compute_trace(local)
        )
        return (
            np.where(better[:, None], grid.local, look.best),
            np.where(better[:, None, None], local, best),
            located,
        )

    def falls(self, look: SignalAndNoise) -> tuple[Array, Array, NDArray[np.bool_]]:
        """How far surfaces fall from their points to the lags `half`; how rough they are.

        Roughness is the variance of the error that every lag has for itself, per squared fall. It
        is read off the antisymmetric part of the surface, without what is smooth in it and what
        white noise explains. Also whether surfaces fall off in all directions.
        """
        grid = self.grid
        around = grid.backward(look.seen)
        one, other = (take_last(around, side) for side in (grid.half, grid.opposite[grid.half]))
        window = np.maximum(grid.window[grid.half], 1e-2)
        falls = np.maximum(look.top[:, None] - (one + other) / 2 / window, 0)

        nearness = grid.distance[grid.near] ** -2.0
        uneven = take_last(one - other, grid.near) / 2 * nearness
        basis = grid.smooth_odd
        rest = uneven - multiply(basis, multiply(basis.T, uneven))
        # what the fit leaves of each value
        left = nearness**2 * (1 - (basis**2).sum(axis=1))
        white = (look.both**2 * grid.ring_count).sum(axis=-1) / grid.size / self.count
        excess = 2 * (rest**2).sum(axis=-1) - white * left.sum()
        expected = (left * take_last(falls, grid.near) ** 2).sum(axis=-1)
        roughness = np.maximum(excess, 0) / np.where(expected > 0, expected, np.inf)
        return falls, roughness, take_last(falls, grid.far).min(axis=-1) > LEAST_FALL * look.top

    def covariance(
        self, filters: Array, slopes: Array, look: SignalAndNoise, errors: Array
    ) -> Array:
        """Of the maxima of filtered surfaces, px²; NaN where one curves up.

        The inverse of the curvature on both sides of the covariance of the slopes. `slopes` are the
        weights of the lags `half` in them, and `errors` the variances of what these have in
        common with their opposites.
        """
        grid = self.grid
        inverse = _invert(grid.curvature(filters * look.even))
        square = filters**2 / (grid.size * self.count)[:, None]
        noise, both = (take_last(one, grid.rings) for one in (look.noise, look.both))
        of_noise = grid.curvature(square * both**2)
        of_scene = grid.curvature(square * 2 * noise * look.even * grid.size)
        excess = ~_is_positive_definite(of_scene)  # noise is more than what there is of the scene
        if excess.any():
            values, axes = np.linalg.eigh(of_scene[excess])
            of_scene[excess] = (axes * np.maximum(values, 0)[:, None]) @ axes.swapaxes(1, 2)
        of_lags = (slopes * errors[:, None]) @ slopes.swapaxes(-1, -2)
        found = inverse @ (of_noise + of_scene + of_lags) @ inverse.swapaxes(1, 2)
        return np.asarray(found)

    def climb(self, filters: Array, start: Array) -> Array:
        """The maxima of filtered surfaces near `start`; NaN where there is none."""
        grid, at = self.grid, start.copy()
        filtered = self.spectra * filters
        rows = np.arange(len(at))
        for _ in range(STEPS):
            moved = filtered[rows] * grid.wave(at[rows])
            uphill = -multiply(grid.slope, moved.imag.copy())
            step = multiply(_invert(grid.curvature(moved.real.copy())), uphill)
            here = at[rows] + np.clip(step, -LONGEST, LONGEST)
            here[np.abs(here).max(axis=1) > grid.reach] = np.nan
            at[rows] = here
            rows = rows[np.isfinite(here[:, 0]) & (np.abs(step).max(axis=1) >= FINE)]
            if not rows.size:
                break
        return at


def split_noise(top: Array, averaged: Array) -> tuple[Array, Array]:
    """What peaks of this height lack of 1, as the `noise` and `both` of `SignalAndNoise`.

    The reference is the mean of so many images as noisy as the moving one. With the part of the
    scene in the power of each, ``s1`` and ``s2``, the peak is ``sqrt(s1 s2)``.
    """
    missing = np.maximum(1 - top, LEAST_NOISE)
    # 1 / top^2 = (1 + r) (1 + r / averaged), with r the moving image's noise over the scene
    inverse = 1 / np.clip(top, LEAST_NOISE, 1 - LEAST_NOISE) ** 2
    half = (1 + averaged) / 2
    r = averaged * (inverse - 1) / (half + np.sqrt(half**2 + averaged * (inverse - 1)))
    s1, s2 = 1 / (1 + r / averaged), 1 / (1 + r)
    ratio = np.sqrt(s1 / s2)
    noise, both = (ratio * (1 - s2) + (1 - s1) / ratio) / 2, np.sqrt((1 - s1) * (1 - s2))
    alike = np.equal(averaged, 1)
    return np.where(alike, missing, noise), np.where(alike, missing, both)


def _compute_trace(matrices: Array) -> Array:
    return np.asarray(np.trace(matrices, axis1=-2, axis2=-1))


def _is_positive_definite(matrices: Array) -> NDArray[np.bool_]:
    """Whether symmetric matrices are positive definite (Sylvester)."""
    found = matrices[..., 0, 0] > 0
    for size in range(2, matrices.shape[-1] + 1):
        found &= np.linalg.det(matrices[..., :size, :size]) > 0
    return np.asarray(found)


def _invert(matrices: Array) -> Array:
    """Of symmetric matrices; NaN where they are not positive definite."""
    positive = _is_positive_definite(matrices)[..., None, None]
    inverse = np.linalg.inv(np.where(positive, matrices, np.eye(matrices.shape[-1])))
    return np.where(positive, inverse, np.nan)
