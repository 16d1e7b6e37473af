"""The lags around a peak, as a small spectrum: the grid that all patches of a size share.

Everything works on many patches at once, along the leading axis, as most of the time of one goes
into calls. Still the numbers of a patch do not depend on those beside it, to the last bit: matrices
are multiplied with each by itself (`multiply`), and nothing else goes across.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from steadystack.model import Surface

Array: TypeAlias = NDArray[np.float64]
Spectrum: TypeAlias = NDArray[np.complexfloating[Any, Any]]
Index: TypeAlias = tuple[int, ...]
SurfaceAtLag: TypeAlias = tuple[Surface, Index]  # what stands around an index of it?

# Lags on each side of a peak that the fit looks at, by the number of searched axes.
RADII = {1: 13, 2: 13, 3: 7}
# Of these, the lags at the border of the patch in which a peak is not looked for.
BORDER = 4
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

    Patches (..., lags) are flat and in the order of transforms, the centre first; spectra are flat
    over the frequencies that a real transform keeps, and `weight` is how many each stands for.
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

    @property
    def reach(self) -> int:
        """Lags from the centre within which a peak is looked for."""
        return self.radius - BORDER

    @cached_property
    def offsets(self) -> Array:
        """Lags along one axis, the centre first."""
        return fft.ifftshift(np.arange(-self.radius, self.radius + 1, dtype=np.float64))

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
    def weight(self) -> Array:
        return np.where(self.frequency[-1] == 0, 1.0, 2.0)

    @cached_property
    def slope(self) -> Array:
        """What makes a spectrum's imaginary part the slope at the centre: (axes, spectrum)."""
        return np.asarray(self.frequency * self.weight)

    @cached_property
    def products(self) -> Array:
        """Products of two frequencies times `weight`: (axes * axes, spectrum)."""
        k = self.frequency
        return np.reshape(k[:, None] * k * self.weight, (self.ndim**2, -1))

    def curvature(self, spectra: Array) -> Array:
        """The curvature of even patches at the centre, with the other sign: (..., axes, axes)."""
        found = multiply(self.products, spectra)
        return found.reshape(*found.shape[:-1], self.ndim, self.ndim)

    @cached_property
    def rings(self) -> NDArray[np.intp]:
        """The ring of frequencies that each belongs to."""
        return np.asarray(np.rint(self.length * self.side / (2 * np.pi)), np.intp)

    @cached_property
    def ring_count(self) -> Array:
        return np.bincount(self.rings, self.weight).astype(np.float64)

    @cached_property
    def ring_members(self) -> Array:
        """1 for the frequencies of each ring: (rings, spectrum)."""
        return np.asarray(np.arange(len(self.ring_count))[:, None] == self.rings, np.float64)

    @cached_property
    def ring_mean(self) -> Array:
        """What takes the mean over each ring, over all directions: (rings, spectrum)."""
        return np.asarray(self.ring_members * self.weight / self.ring_count[:, None])

    @cached_property
    def colours(self) -> Array:
        """Spectra of noise of mean 1, white and blurred: (colours, rings)."""
        square, share = multiply(self.ring_mean, self.length) ** 2, self.ring_count / self.size
        blurred = [np.exp(-square * width**2) for width in NOISE_WIDTHS]
        return np.stack(
            [np.ones(len(square))]
            + [(1 - part) * one / (one @ share) + part for one in blurred for part in WHITE_PARTS]
        )

    def wave(self, at: Array) -> Spectrum:
        """What moves points `at` (..., axes), px from the centre, of patches to the centre."""
        wave: Spectrum = np.ones((*at.shape[:-1], 1), complex)
        for axis, line in enumerate(self.lines):
            wave = _multiply_outer(wave, np.exp(1j * at[..., axis, None] * line))
        return wave

    def taper(self, at: Array) -> Array:
        """Smooth windows over the patch around points `at` (..., axes), px from the centre."""
        window = np.ones((*at.shape[:-1], 1))
        arcs = (self.offsets - at[..., None]) * (np.pi / (2 * self.radius - 1))
        lines = np.cos(np.clip(arcs, -1.58, 1.58)) ** 2
        for axis in range(self.ndim):
            window = _multiply_outer(window, lines[..., axis, :])
        return window

    @cached_property
    def window(self) -> Array:
        """The taper around the centre."""
        return self.taper(np.zeros(self.ndim))

    @cached_property
    def window_energy(self) -> float:
        return float((self.window**2).sum())

    def forward(self, patches: Array) -> Spectrum:
        """Spectra of patches."""
        lead = patches.shape[:-1]
        cubes = patches.reshape(*lead, *self.shape)
        found: Spectrum = fft.rfftn(cubes, axes=range(len(lead), cubes.ndim), workers=1)
        return found.reshape(*lead, -1)

    def backward(self, spectra: NDArray[Any]) -> Array:
        """Patches from spectra."""
        lead = spectra.shape[:-1]
        halves = spectra.reshape(*lead, *self.shape[:-1], -1)
        axes = range(len(lead), halves.ndim)
        found: Array = fft.irfftn(halves, self.shape, axes=axes, workers=1)
        return found.reshape(*lead, -1)

    def compact(self, responses: Array) -> Array:
        """Filters of those responses (..., spectrum) that reach no further than the patch.

        A filter with a steep edge rings, and what rings reads the far ends of the patch.
        """
        beyond = np.clip((self.length / np.pi - PASS_BAND) / (1 - PASS_BAND), 0, 1)
        kernel = self.backward(responses * np.cos(beyond * np.pi / 2) ** 2)
        return np.asarray(self.forward(kernel * self.window).real)

    def slopes(self, filters: Array) -> Array:
        """Weights of the lags `half` in the slopes of filtered patches: (axes, ..., half)."""
        return np.stack([self.backward(1j * k * filters)[..., self.half] for k in self.frequency])

    @cached_property
    def ring_filters(self) -> Array:
        """What makes a filter of the response in every ring: (spectrum, rings)."""
        return np.ascontiguousarray(self.compact(self.ring_members).T)

    @cached_property
    def ring_slopes(self) -> Array:
        """What makes `slopes` of the response in every ring: (axes * half, rings)."""
        slopes = self.slopes(self.compact(self.ring_members))
        return np.ascontiguousarray(np.moveaxis(slopes, 1, -1).reshape(-1, len(self.ring_count)))

    @cached_property
    def local(self) -> Array:
        """The most local filter."""
        return self.compact(np.exp(-((self.length * LOCAL_WIDTH) ** 2) / 2))

    @cached_property
    def local_slopes(self) -> Array:
        return self.slopes(self.local)

    @cached_property
    def lags(self) -> Array:
        """Every lag from the centre: (axes, lags)."""
        axes = np.meshgrid(*[self.offsets] * self.ndim, indexing="ij")
        return np.stack([axis.ravel() for axis in axes])

    @cached_property
    def inner(self) -> NDArray[np.intp]:
        """Places of the lags that are not at the border, in the order of their axes."""
        inside = np.flatnonzero((np.abs(self.lags) <= self.reach).all(axis=0))
        return np.asarray(inside[np.lexsort(self.lags[::-1, inside])])

    @cached_property
    def half(self) -> NDArray[np.intp]:
        """Places of one of every two opposite lags; not of the centre."""
        return np.flatnonzero(np.arange(self.size) < self.opposite)

    @cached_property
    def opposite(self) -> NDArray[np.intp]:
        """Places of the opposite of every lag."""
        places = np.arange(self.size).reshape(self.shape)
        for axis in range(self.ndim):
            places = np.roll(np.flip(places, axis), 1, axis)
        return np.asarray(places.ravel())

    @cached_property
    def distance(self) -> Array:
        """Of the lags `half` from the centre, px."""
        return np.asarray(np.sqrt((self.lags[:, self.half] ** 2).sum(axis=0)))

    @cached_property
    def near(self) -> NDArray[np.intp]:
        """Which of `half` are those at which roughness is measured."""
        return np.flatnonzero((self.distance >= RING[0]) & (self.distance < RING[1]))

    @cached_property
    def far(self) -> NDArray[np.intp]:
        """Which of `half` are those at which a ridge shows."""
        return np.flatnonzero((self.distance >= RIDGE_RING[0]) & (self.distance < RIDGE_RING[1]))

    @cached_property
    def smooth_odd(self) -> Array:
        """Orthonormal odd polynomials of degree 1 and 3 over `near`, weighted by 1/distance²."""
        lines = self.lags[:, self.half[self.near]]
        odd = [*lines]
        for i, one in enumerate(lines):
            for j, two in enumerate(lines[i:], i):
                odd += [one * two * three for three in lines[j:]]
        basis, _ = np.linalg.qr(np.stack(odd, axis=1) / self.distance[self.near, None] ** 2)
        return np.ascontiguousarray(basis)


@lru_cache(maxsize=8)
def make_grid(ndim: int) -> Grid:
    """The grid for surfaces with so many searched axes."""
    return Grid(ndim, RADII[ndim])


def multiply(matrix: Array, vectors: Array) -> Array:
    """A matrix times every one of many vectors (..., n) by itself, whatever is beside it."""
    return np.asarray(np.matmul(matrix, vectors[..., None])[..., 0])


def take_last(values: Array, places: NDArray[np.intp]) -> Array:
    """Some values along the last axis, in rows in memory: sums are then taken row by row."""
    return np.asarray(np.take(values, places, axis=-1))


def _multiply_outer(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Products of all elements along the last axes, flat."""
    products = one[..., :, None] * other[..., None, :]
    return np.asarray(products.reshape(*one.shape[:-1], -1))


def compute_likeness(asked: Sequence[SurfaceAtLag], free: Sequence[int]) -> Array:
    """How alike images are at the lags around an index: 1 - (mean square difference) / 2.

    The patch of every surface around an index, over its `free` axes. The difference is that of the
    overlapping pixels after both images are brought to the mean 0 and the deviation 1 of the index.
    There it equals the NCC; the NCC of the other lags divides by their own deviations, which change
    with the part of the scene that overlaps, and where there is noise it then has a slope at the
    true shift, which the mean square difference has not. Lags that are not known get the lowest
    value.
    """
    grid = make_grid(len(free))
    ncc, one, two = np.full((3, len(asked), *grid.shape), np.nan)
    for row, (surface, index) in enumerate(asked):
        inside: list[slice] = []
        outside: list[int | slice] = list(index)
        for axis in free:
            low, high = index[axis] - grid.radius, index[axis] + grid.radius + 1
            start, stop = max(low, 0), min(high, surface.ncc.shape[axis])
            outside[axis] = slice(start, stop)
            inside.append(slice(start - low, stop - low))
        part, place = tuple(outside), tuple(inside)
        ncc[row][place] = surface.ncc[part]
        one[row], two[row] = 1, 1
        if surface.variances is not None:
            for to, each in zip((one, two), surface.variances, strict=True):
                to[row][place] = each[part] / each[index]
    # where nothing is known, rounding may have made variances negative; and no deeper than the
    # NCC: a bright detail at the border of the overlap makes no cliff
    one, two = np.maximum(one, 0), np.maximum(two, 0)
    alike = np.maximum(ncc * np.sqrt(one * two) - (one + two) / 2 + 1, -1)
    flat = fft.ifftshift(alike, range(1, alike.ndim)).reshape(len(asked), -1)
    lowest = np.fmin.reduce(flat, axis=1, keepdims=True)
    return np.where(np.isfinite(flat), flat, lowest)
