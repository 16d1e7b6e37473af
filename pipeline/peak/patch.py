"""The lags around a peak, as a small spectrum: the grid that all patches of a size share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pipeline.model import Surface

Array: TypeAlias = NDArray[np.float64]
Spectrum: TypeAlias = NDArray[np.complexfloating[Any, Any]]

# Lags on each side of a peak that the fit looks at, by the number of searched axes.
RADII = {1: 13, 2: 13, 3: 7}
# From this fraction of the highest frequency on, a filter falls to nothing: nothing rings.
PASS_BAND = 0.7
# Width (px) of the most local filter whose slopes can still be read off whole lags.
LOCAL_WIDTH = 0.5
# Widths (px) of the blur that coloured noise may have; of blurred noise some part stays white, so
# that no frequency is thought to be free of it.
NOISE_WIDTHS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
WHITE_PARTS = (0.003, 0.03, 0.1)
# Distances (px) at which a scene with detail in all directions has fallen from its peak.
RIDGE_RING = (6.0, 8.0)
# Distances (px) at which the roughness of a surface is measured.
RING = (1.0, 5.0)


@dataclass(frozen=True)
class Grid:
    """A cube of 2 `radius` + 1 lags along each of `ndim` axes, and the half of its spectrum.

    Spectra are flat arrays over the frequencies that a real transform keeps; `weight` is how many
    each stands for.
    """

    ndim: int
    radius: int

    @property
    def side(self) -> int:
        return 2 * self.radius + 1

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return (self.side,) * self.ndim

    @cached_property
    def size(self) -> int:
        return int(math.prod(self.shape))

    @cached_property
    def offsets(self) -> Array:
        """Lags along one axis, from the centre."""
        return np.arange(-self.radius, self.radius + 1, dtype=np.float64)

    @cached_property
    def lines(self) -> list[Array]:
        """Angular frequencies along each axis, 1/px."""
        full = 2 * np.pi * fft.fftfreq(self.side)
        return [*[full] * (self.ndim - 1), 2 * np.pi * fft.rfftfreq(self.side)]

    @cached_property
    def frequency(self) -> Array:
        """Angular frequencies (axes, spectrum), 1/px."""
        axes = np.meshgrid(*self.lines, indexing="ij")
        return np.stack([axis.ravel() for axis in axes])

    @cached_property
    def length(self) -> Array:
        """Of every frequency, 1/px."""
        return np.asarray(np.sqrt((self.frequency**2).sum(axis=0)))

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Places of the lags of a patch in the order of transforms: the centre comes first."""
        places = np.arange(self.size).reshape(self.shape)
        return np.asarray(fft.ifftshift(places).ravel(), np.intp)

    @cached_property
    def products(self) -> Array:
        """Products of two frequencies, (axes, axes, spectrum), times `weight`."""
        k = self.frequency
        return np.asarray(k[:, None] * k[None] * self.weight)

    @cached_property
    def slope(self) -> Array:
        """Frequencies times `weight`, (axes, spectrum)."""
        return np.asarray(self.frequency * self.weight)

    @cached_property
    def weight(self) -> Array:
        return np.where(self.frequency[-1] == 0, 1.0, 2.0)

    @cached_property
    def bins(self) -> NDArray[np.intp]:
        """The ring of frequencies that each belongs to."""
        return np.asarray(np.rint(self.length * self.side / (2 * np.pi)), np.intp)

    @cached_property
    def ring_count(self) -> Array:
        return np.bincount(self.bins, self.weight).astype(np.float64)

    @cached_property
    def ring_frequency(self) -> Array:
        return self.ring_mean(self.length)

    @cached_property
    def colours(self) -> Array:
        """Spectra of noise of mean 1, white and blurred: (colours, rings)."""
        square, share = self.ring_frequency**2, self.ring_count / self.size
        blurred = [np.exp(-square * width**2) for width in NOISE_WIDTHS]
        return np.stack(
            [np.ones(len(square))]
            + [(1 - part) * one / (one @ share) + part for one in blurred for part in WHITE_PARTS]
        )

    def ring_mean(self, values: Array) -> Array:
        """The mean over each ring of frequencies: over all directions."""
        return np.asarray(np.bincount(self.bins, self.weight * values) / self.ring_count)

    @cached_property
    def pass_band(self) -> Array:
        """1 for low frequencies, falling to 0 at the highest."""
        beyond = np.clip((self.length / np.pi - PASS_BAND) / (1 - PASS_BAND), 0, 1)
        return np.asarray(np.cos(beyond * np.pi / 2) ** 2)

    def wave(self, at: Array) -> Spectrum:
        """What moves a point `at` (px from the centre) of the patch to the centre."""
        wave: Spectrum = np.ones(1, complex)
        for offset, line in zip(at, self.lines, strict=True):
            wave = np.multiply.outer(wave, np.exp(1j * offset * line)).ravel()
        return wave

    def taper(self, at: Array) -> Array:
        """A smooth window over the patch around a point `at` (px from the centre)."""
        window = np.ones(())
        for offset in at:
            arc = np.clip((self.offsets - offset) * (np.pi / (2 * self.radius - 1)), -1.58, 1.58)
            window = np.multiply.outer(window, np.cos(arc) ** 2)
        return np.asarray(window)

    @cached_property
    def window(self) -> Array:
        """The taper around the centre, in the order of transforms."""
        return np.asarray(fft.ifftshift(self.taper(np.zeros(self.ndim))))

    @cached_property
    def window_energy(self) -> float:
        return float((self.window**2).sum())

    def forward(self, patch: Array) -> Spectrum:
        """Spectrum of a patch of lags whose centre is the origin."""
        first = patch.ravel()[self.order].reshape(self.shape)
        return np.asarray(fft.rfftn(first, workers=1)).ravel()

    def backward(self, spectrum: NDArray[Any]) -> Array:
        """The patch, in the order of transforms: the origin comes first."""
        half = spectrum.reshape(*self.shape[:-1], -1)
        return np.asarray(fft.irfftn(half, self.shape, workers=1))

    def compact(self, response: Array) -> Array:
        """A filter of that response that reaches no further than the patch.

        A filter with a steep edge rings, and what rings reads the far ends of the patch.
        """
        kernel = self.backward(response * self.pass_band)
        return np.asarray(fft.rfftn(kernel * self.window, workers=1).real).ravel()

    @cached_property
    def local(self) -> Array:
        """The most local filter."""
        return self.compact(np.exp(-((self.length * LOCAL_WIDTH) ** 2) / 2))

    @cached_property
    def local_slopes(self) -> Array:
        return self.slopes(self.local)

    def slopes(self, filter_: Array) -> Array:
        """Weights of the lags in the slope of a filtered surface at its centre: (axes, lags)."""
        return np.stack([self.backward(1j * k * filter_).ravel() for k in self.frequency])

    @cached_property
    def ring(self) -> NDArray[np.intp]:
        """Places of the lags at which roughness is measured, in the order of transforms."""
        return np.flatnonzero((self.distance >= RING[0]) & (self.distance < RING[1]))

    @cached_property
    def ridge_ring(self) -> NDArray[np.intp]:
        """Places of the lags at which a ridge shows, in the order of transforms."""
        inside = (self.distance >= RIDGE_RING[0]) & (self.distance < RIDGE_RING[1])
        return np.flatnonzero(inside)

    @cached_property
    def lags(self) -> Array:
        """Every lag from the centre (axes, lags), in the order of transforms."""
        axes = np.meshgrid(*[fft.ifftshift(self.offsets)] * self.ndim, indexing="ij")
        return np.stack([axis.ravel() for axis in axes])

    @cached_property
    def distance(self) -> Array:
        """Of every lag from the centre, in the order of transforms."""
        return np.asarray(np.sqrt((self.lags**2).sum(axis=0)))

    @cached_property
    def smooth_odd(self) -> Array:
        """Orthonormal odd polynomials of degree 1 and 3 over the ring, weighted by 1/distance²."""
        lines = self.lags[:, self.ring]
        odd = [*lines]
        for i, one in enumerate(lines):
            for j, two in enumerate(lines[i:], i):
                odd += [one * two * three for three in lines[j:]]
        basis, _ = np.linalg.qr(np.stack(odd, axis=1) / self.distance[self.ring, None] ** 2)
        return np.asarray(basis)


@lru_cache(maxsize=8)
def grid_of(ndim: int) -> Grid:
    """The grid for surfaces with so many searched axes."""
    return Grid(ndim, RADII[ndim])


def alike_around(surface: Surface, index: tuple[int, ...], grid: Grid) -> Array:
    """How alike the images are at the lags around `index`: 1 - (mean square difference) / 2.

    The difference is that of the overlapping pixels after both images are brought to the mean 0 and
    the deviation 1 of `index`. There it equals the NCC; the NCC of the other lags divides by their
    own deviations, which change with the part of the scene that overlaps, and where there is noise
    it then has a slope at the true shift, which the mean square difference has not. Lags that are
    not known get the lowest value.
    """
    free = [axis for axis, size in enumerate(surface.ncc.shape) if size > 1]
    inside, outside = [], []
    for axis, size in enumerate(surface.ncc.shape):
        reach = grid.radius if axis in free else 0
        low, high = max(index[axis] - reach, 0), min(index[axis] + reach + 1, size)
        outside.append(slice(low, high))
        inside.append(slice(low - index[axis] + reach, high - index[axis] + reach))
    part = tuple(outside)
    ncc = surface.ncc[part].astype(np.float64)
    if surface.variances is not None:
        # where nothing is known, rounding may have made them negative
        one, two = (np.maximum(each[part] / each[index], 0) for each in surface.variances)
        # no deeper than the NCC: a bright detail at the border of the overlap makes no cliff
        ncc = np.maximum(ncc * np.sqrt(one * two) - (one + two) / 2 + 1, -1)
    known = np.isfinite(ncc)
    if known.all() and ncc.size == grid.size:
        return ncc.reshape(grid.shape)
    lowest = float(ncc[known].min())
    patch = np.full([grid.side if axis in free else 1 for axis in range(surface.ncc.ndim)], lowest)
    patch[tuple(inside)] = np.where(known, ncc, lowest)
    return patch.reshape(grid.shape)
