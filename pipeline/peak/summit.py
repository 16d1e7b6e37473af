"""Between the pixels: where the peak of a surface lies, and how sure that is.

Two noisy images of one scene show its autocorrelation, moved by their shift, and noise. The best
linear estimate of the shift is the maximum of the surface after a filter that weighs frequencies by
signal over noise (Hannan & Thomson 1973; Knapp & Carter 1976, doi:10.1109/TASSP.1976.1162830)::

    H = S / (2 S N + N^2)

with S and N the power spectra of the scene and of each image's noise. Both are read off the surface
itself: S is its part that is symmetric around the peak, and N follows from what the NCC lacks of 1,
in the colour that fits the antisymmetric part best. Of images that are not equally noisy, 2 S N
becomes S (N1 + N2), and N^2 becomes N1 N2. Where masks are full of holes, neighbouring lags compare
different pixels, and the surface is rough in proportion to its fall from the peak: then only the
closest lags are of use, and the filter is the most local one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import lapack

from pipeline.model import Surface
from pipeline.peak.patch import Array, Grid, Spectrum, alike_around, grid_of

# White noise is preferred unless another colour is more likely by e to this power.
WHITE_PREFERRED = 2.0
# What rounding leaves of 1 - NCC.
LEAST_NOISE = 1e-7
# The filtered peak is looked for in all but so many lags at the border of the patch.
BORDER = 4
# Variance, px², of a whole lag that is all there is: a pixel to either side.
NO_MAXIMUM = 1 / 3
# A surface that falls by less than this part of its height at some pixels' distance is a ridge.
LEAST_FALL = 0.02
# How often the patch may follow the filtered peak, and signal and noise be read anew.
MOVES, ROUNDS = 3, 3
SETTLED = 0.05  # px: a smaller change of the point that they are read around changes nothing
# Newton steps, until they are shorter than this, px.
STEPS, FINE, LONGEST = 12, 1e-5, 0.5


@dataclass(frozen=True)
class Summit:
    """The maximum of a surface: index of the nearest lag, distance from it, covariance, px².

    Axes that were not searched have neither. Without a maximum between the lags it is a whole lag,
    good to a pixel. `located` tells whether the surface falls off in all directions: of
    a line or an edge it does not.
    """

    index: tuple[int, ...]
    offset: Array
    covariance: Array
    located: bool = True


@dataclass(frozen=True)
class Look:
    """What a surface shows of signal and noise around a point near its peak.

    Spectra are per ring of frequencies; those of signal and `noise` add up to the power of one
    image of variance 1. Of images that are not equally noisy, `noise` is the mean with which the
    scene meets the noise of the other one, and `both` with which the two noises meet.
    """

    noise: Array
    both: Array
    best: Array  # the best linear filter
    fall: Array | None = None  # of the surface from the point, at every lag
    roughness: float = 0.0  # variance of a lag's own error per squared fall
    located: bool = True  # whether the surface falls off in all directions


def summit(surface: Surface, index: tuple[int, ...]) -> Summit:
    """The maximum of the filtered surface near the lag at `index`."""
    free = [axis for axis, size in enumerate(surface.ncc.shape) if size > 1]
    if not free:
        return Summit(index, np.zeros(surface.ncc.ndim), np.zeros((surface.ncc.ndim,) * 2))
    view = View(surface, index, free)
    centre = np.zeros(len(free))
    look = view.look(centre)
    for _ in range(MOVES):
        moved = view.highest(look)
        if moved == view.index:
            break
        view = View(surface, moved, free)
        look = view.look(centre)

    at = view.climb(look.best, centre)
    covariance: Array | None = None
    for _ in range(ROUNDS):
        if at is None:
            break
        before, look = at, view.look(at, rough=True)
        filter_, covariance = view.best_filter(look, at)
        at = view.climb(filter_, at)
        if at is not None and np.abs(at - before).max() < SETTLED:
            break
    if at is None or covariance is None:
        return _in_all_axes(view, centre, NO_MAXIMUM * np.eye(len(free)))
    return _in_all_axes(view, at, covariance, located=look.located)


def _in_all_axes(view: View, at: Array, covariance: Array, *, located: bool = True) -> Summit:
    """The same with the axes that were not searched."""
    ndim, free = len(view.index), view.free
    offset, whole, spread = np.zeros(ndim), np.array(view.index), np.zeros((ndim, ndim))
    nearest = np.rint(at)
    whole[free] += nearest.astype(int)
    offset[free] = at - nearest
    spread[np.ix_(free, free)] = covariance
    inside = np.clip(whole, 0, np.array(view.surface.ncc.shape) - 1)
    offset += whole - inside
    return Summit(tuple(int(i) for i in inside), offset, spread, located)


class View:
    """The lags around one of a surface, as a patch and its spectrum."""

    def __init__(self, surface: Surface, index: tuple[int, ...], free: list[int]) -> None:
        self.surface, self.index, self.free = surface, index, free
        self.grid: Grid = grid_of(len(free))
        self.count = float(surface.overlap_count[index])
        self.patch = alike_around(surface, index, self.grid)
        self.spectrum: Spectrum = self.grid.forward(self.patch) / self.grid.size

    def look(self, at: Array, *, rough: bool = False) -> Look:
        """Signal and noise around a point `at`, px from the centre; the roughness if asked."""
        grid = self.grid
        wave = grid.wave(at)
        seen = grid.forward(self.patch * grid.taper(at)) * wave
        top = float(seen.real @ grid.weight) / grid.size  # the taper is 1 there
        missing, both_missing = noise_parts(top, self.surface.averaged)
        signal = np.maximum(grid.ring_mean(seen.real), 0)
        odd = grid.ring_mean(seen.imag**2) * (2 * self.count / grid.window_energy)

        noises, boths = missing * grid.colours, both_missing * grid.colours
        errors = 2 * signal * noises + boths**2
        unlikely = (np.log(errors) + odd / errors) @ np.where(
            np.arange(len(odd)) > 0, grid.ring_count, 0
        )
        unlikely[0] -= 2 * WHITE_PREFERRED
        colour = int(np.argmin(unlikely))
        noise, both, error = noises[colour], boths[colour], errors[colour]

        response = signal / error
        response /= max(response.max(), float(np.finfo(float).tiny))
        look = Look(noise, both, grid.compact(response[grid.bins]))
        if not rough:
            return look
        symmetric = grid.backward(seen.real).ravel() / np.maximum(grid.window.ravel(), 1e-2)
        fall = np.maximum(top - symmetric, 0)
        uneven = grid.backward(1j * seen.imag).ravel()[grid.ring]
        white = float(both**2 @ grid.ring_count) / grid.size / self.count
        return replace(
            look,
            fall=fall,
            roughness=_roughness(grid, uneven, fall[grid.ring], white),
            located=bool(fall[grid.ridge_ring].min(initial=np.inf) > LEAST_FALL * top),
        )

    def highest(self, look: Look) -> tuple[int, ...]:
        """Index of the highest whole lag of the filtered surface, not too far from the centre."""
        grid = self.grid
        filtered = np.empty(grid.size)
        filtered[grid.order] = grid.backward(self.spectrum * look.best).ravel()
        inner = filtered.reshape(grid.shape)[(slice(BORDER, -BORDER),) * grid.ndim]
        places = np.unravel_index(int(np.argmax(inner)), inner.shape)
        moved = list(self.index)
        for axis, place in zip(self.free, places, strict=True):
            last = self.surface.ncc.shape[axis] - 1
            moved[axis] = min(max(moved[axis] + int(place) + BORDER - grid.radius, 0), last)
        known = np.isfinite(self.surface.ncc[tuple(moved)])
        return tuple(moved) if known else self.index

    def best_filter(self, look: Look, at: Array) -> tuple[Array, Array | None]:
        """The filter that promises the smaller error of the shift, and the covariance of that.

        What the rings say of the best linear filter holds for errors that are alike at all lags;
        a rough surface asks for the most local one.
        """
        filters = (look.best, self.grid.local)
        even = (self.spectrum * self.grid.wave(at)).real
        choices = [(filter_, self.covariance(filter_, look, even)) for filter_ in filters]
        known = [(f, c) for f, c in choices if c is not None]
        return min(known, key=lambda choice: float(np.trace(choice[1])), default=(look.best, None))

    def covariance(self, filter_: Array, look: Look, even: Array) -> Array | None:
        """Of the maximum of the filtered surface, px²; None if it curves up.

        The inverse of the curvature on both sides of the covariance of the slopes. `even` is the
        spectrum of what is symmetric around the maximum, not tapered.
        """
        grid = self.grid
        curvature = grid.products @ (filter_ * even)
        inverse = _solved(curvature, np.eye(grid.ndim))
        if inverse is None:
            return None
        square = filter_**2 / (grid.size * self.count)
        slopes = grid.products @ (square * look.both[grid.bins] ** 2)
        scene = grid.products @ (square * 2 * look.noise[grid.bins] * even * grid.size)
        if _solved(scene, np.eye(grid.ndim)) is None:  # noise is more than what there is of it
            values, axes = np.linalg.eigh(scene)
            scene = (axes * np.maximum(values, 0)) @ axes.T
        slopes += scene
        if look.fall is not None and look.roughness > 0:
            each = grid.local_slopes if filter_ is grid.local else grid.slopes(filter_)
            slopes += look.roughness * (each * look.fall**2) @ each.T
        return np.asarray(inverse @ slopes @ inverse.T)

    def climb(self, filter_: Array, start: Array) -> Array | None:
        """The maximum of the filtered surface near `start`; None if there is none."""
        grid, at = self.grid, start
        filtered = self.spectrum * filter_
        for _ in range(STEPS):
            moved = filtered * grid.wave(at)
            curvature = grid.products @ moved.real
            step = _solved(curvature, -(grid.slope @ moved.imag))
            if step is None:
                return None
            at = at + np.clip(step, -LONGEST, LONGEST)
            if np.abs(at).max() > grid.radius - BORDER:
                return None
            if np.abs(step).max() < FINE:
                break
        return at


def noise_parts(top: float, averaged: float) -> tuple[float, float]:
    """The noise that a peak of this height lacks of 1, as `Look` takes it: `noise` and `both`.

    The reference is the mean of so many images as noisy as the moving one. With the part of the
    scene in the power of each, ``s1`` and ``s2``, the peak is ``sqrt(s1 s2)``.
    """
    if averaged == 1:
        missing = max(1 - top, LEAST_NOISE)
        return missing, missing
    # 1 / top^2 = (1 + r) (1 + r / averaged), with r the moving image's noise over the scene
    inverse = 1 / min(max(top, LEAST_NOISE), 1 - LEAST_NOISE) ** 2
    half = (1 + averaged) / 2
    r = averaged * (inverse - 1) / (half + math.sqrt(half**2 + averaged * (inverse - 1)))
    s1, s2 = 1 / (1 + r / averaged), 1 / (1 + r)
    ratio = math.sqrt(s1 / s2)
    return (ratio * (1 - s2) + (1 - s1) / ratio) / 2, math.sqrt((1 - s1) * (1 - s2))


def _solved(matrix: Array, right: Array) -> Array | None:
    """The solution of a small symmetric system; None if the matrix is not positive definite."""
    _, solution, failed = lapack.dposv(matrix, right)
    return None if failed else np.asarray(solution)


def _roughness(grid: Grid, uneven: Array, fall: Array, white: float) -> float:
    """Variance of the error that every lag has for itself, per squared fall from the peak.

    Read off the antisymmetric part of the surface, `uneven`, without what is smooth in it; `white`
    is the variance that white noise explains.
    """
    nearness = grid.distance[grid.ring] ** -2.0
    basis = grid.smooth_odd
    lines = uneven * nearness
    rest = lines - basis @ (basis.T @ lines)
    # what the fit leaves of each value: opposite lags are one value
    left = nearness**2 * (1 - 2 * (basis**2).sum(axis=1))
    excess = 2 * float(rest @ rest) - white * float(left.sum())
    expected = float(left @ fall**2)
    return max(excess / expected, 0.0) if expected > 0 else 0.0
