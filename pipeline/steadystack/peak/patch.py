"""The grid of the lags around peaks ("patches") and of their spectra, shared by all patches.

Everything works on many patches at once, along the leading axis, as single patches would spend most
of the time on calls. Still, to the last bit, the numbers of a patch do not depend on the others:
matrices are multiplied with one patch at a time (`multiply`), and nothing else mixes patches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array: TypeAlias = NDArray[np.float64]
Spectrum: TypeAlias = NDArray[np.complexfloating[Any, Any]]

# Lags on each side of a peak that the fit uses, by number of searched axes.
RADII = {1: 13, 2: 13, 3: 7}
# Lags at the border of the patch in which no peak is searched for.
BORDER = 4
# Filters fall to 0 from this fraction of the highest frequency on, so that nothing rings.
PASS_BAND = 0.7
# Width (px) of the most local filter, the narrowest whose slopes whole lags still sample.
LOCAL_WIDTH = 0.5
# Widths (px) of the blur that coloured noise may have; a fraction of blurred noise is white, so
# that no frequency is taken to be free of noise.
NOISE_WIDTHS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
WHITE_PARTS = (0.003, 0.03, 0.1)
# How many times longer detail must be along one axis for rings to be stretched along it. At four
# times, rings would hold too few frequencies each to tell signal from noise.
STRETCH = 2.0
# Distances (px) at which the roughness of a surface is measured.
RING = (1.0, 5.0)


@dataclass(frozen=True)
class Grid:
    """A cube of 2 `radius` + 1 lags along each of `ndim` axes, and the half of its spectrum.

    Patches (..., lags) are flat and in FFT order, the centre first; spectra are flat over the
    frequencies that a real transform keeps, and `weight` says how many each stands for. A ring
    joins frequencies of about the same length; frequencies along the axis `stretched` count
    `STRETCH` times, for scenes whose detail is longer there.
    """

    ndim: int
    radius: int
    stretched: int | None = None

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
        """How many lags from the centre a peak is searched for."""
        return self.radius - BORDER

    @cached_property
    def offsets(self) -> Array:
        """Lags along one axis, the centre first."""
        return fft.ifftshift(np.arange(-self.radius, self.radius + 1, dtype=np.float64))

    @cached_property
    def lines(self) -> list[Array]:
        """Angular frequencies along each axis, rad/px."""
        full = 2 * np.pi * fft.fftfreq(self.side)
        return [*[full] * (self.ndim - 1), 2 * np.pi * fft.rfftfreq(self.side)]

    @cached_property
    def frequency(self) -> Array:
        """Angular frequencies (axes, spectrum), rad/px."""
        axes = np.meshgrid(*self.lines, indexing="ij")
        return np.stack([axis.ravel() for axis in axes])

    @cached_property
    def length(self) -> Array:
        """Length of every frequency vector (spectrum,), 1/px."""
        return np.asarray(np.sqrt((self.frequency**2).sum(axis=0)))

    @cached_property
    def weight(self) -> Array:
        return np.where(self.frequency[-1] == 0, 1.0, 2.0)

    @cached_property
    def slope(self) -> Array:
        """Matrix from a spectrum's imaginary part to the slope at the centre: (axes, spectrum)."""
        return np.asarray(self.frequency * self.weight)

    @cached_property
    def products(self) -> Array:
        """Products of two frequencies times `weight`: (axes * axes, spectrum)."""
        k = self.frequency
        return np.reshape(k[:, None] * k * self.weight, (self.ndim**2, -1))

    def compute_curvature(self, spectra: Array) -> Array:
        """Compute minus the curvature of even patches at the centre: (..., axes, axes)."""
        curvatures = multiply(self.products, spectra)
        return curvatures.reshape(*curvatures.shape[:-1], self.ndim, self.ndim)

    @cached_property
    def rings(self) -> NDArray[np.intp]:
        """Number of the ring, by length, that every frequency belongs to: (spectrum,)."""
        frequency = self.frequency.copy()
        if self.stretched is not None:
            frequency[self.stretched] *= STRETCH
        length = np.sqrt((frequency**2).sum(axis=0))
        return np.asarray(np.rint(length * self.side / (2 * np.pi)), np.intp)

    @cached_property
    def ring_count(self) -> Array:
        return np.bincount(self.rings, self.weight).astype(np.float64)

    @cached_property
    def ring_members(self) -> Array:
        """1 for the frequencies of each ring: (rings, spectrum)."""
        return np.asarray(np.arange(len(self.ring_count))[:, None] == self.rings, np.float64)

    @cached_property
    def ring_mean(self) -> Array:
        """Matrix that takes the mean over each ring: (rings, spectrum)."""
        return np.asarray(self.ring_members * self.weight / self.ring_count[:, None])

    @cached_property
    def colours(self) -> Array:
        """Spectra of noise of mean 1, white and blurred: (colours, rings)."""
        square, share = multiply(self.ring_mean, self.length) ** 2, self.ring_count / self.size
        blurred = [np.exp(-square * width**2) for width in NOISE_WIDTHS]
        return np.stack(
            [np.ones(len(square))]
            + [
                (1 - white) * spectrum / (spectrum @ share) + white
                for spectrum in blurred
                for white in WHITE_PARTS
            ]
        )

    def make_wave(self, points: Array) -> Spectrum:
        """Make phase factors that move the `points` (..., axes), px, of patches to the centre."""
        wave: Spectrum = np.ones((*points.shape[:-1], 1), complex)
        for axis, line in enumerate(self.lines):
            wave = _multiply_outer(wave, np.exp(1j * points[..., axis, None] * line))
        return wave

    def make_taper(self, points: Array) -> Array:
        """Make smooth windows over patches around `points` (..., axes), px from the centre."""
        window = np.ones((*points.shape[:-1], 1))
        arcs = (self.offsets - points[..., None]) * (np.pi / (2 * self.radius - 1))
        lines = np.cos(np.clip(arcs, -1.58, 1.58)) ** 2
        for axis in range(self.ndim):
            window = _multiply_outer(window, lines[..., axis, :])
        return window

    @cached_property
    def window(self) -> Array:
        """The taper around the centre."""
        return self.make_taper(np.zeros(self.ndim))

    @cached_property
    def window_energy(self) -> float:
        return float((self.window**2).sum())

    def transform(self, patches: Array) -> Spectrum:
        """Transform patches (..., lags) to spectra (..., spectrum)."""
        lead = patches.shape[:-1]
        cubes = patches.reshape(*lead, *self.shape)
        spectra: Spectrum = fft.rfftn(cubes, axes=range(len(lead), cubes.ndim), workers=1)
        return spectra.reshape(*lead, -1)

    def transform_back(self, spectra: NDArray[Any]) -> Array:
        """Transform spectra (..., spectrum) back to patches (..., lags)."""
        lead = spectra.shape[:-1]
        halves = spectra.reshape(*lead, *self.shape[:-1], -1)
        axes = range(len(lead), halves.ndim)
        patches: Array = fft.irfftn(halves, self.shape, axes=axes, workers=1)
        return patches.reshape(*lead, -1)

    def make_compact(self, responses: Array) -> Array:
        """Make filters of these responses (..., spectrum) that do not reach beyond the patch.

        A filter with a steep edge rings, and ringing picks up the far ends of the patch.
        """
        beyond = np.clip((self.length / np.pi - PASS_BAND) / (1 - PASS_BAND), 0, 1)
        kernel = self.transform_back(responses * np.cos(beyond * np.pi / 2) ** 2)
        return np.asarray(self.transform(kernel * self.window).real)

    def compute_slopes(self, filters: Array) -> Array:
        """Compute the weights of the lags `half` in filtered patches' slopes: (axes, ..., half)."""
        return np.stack(
            [self.transform_back(1j * k * filters)[..., self.half] for k in self.frequency]
        )

    @cached_property
    def ring_filters(self) -> Array:
        """Matrix from the response in every ring to a filter: (spectrum, rings)."""
        return np.ascontiguousarray(self.make_compact(self.ring_members).T)

    @cached_property
    def ring_slopes(self) -> Array:
        """Matrix from the response in every ring to `compute_slopes`: (axes * half, rings)."""
        slopes = self.compute_slopes(self.make_compact(self.ring_members))
        return np.ascontiguousarray(np.moveaxis(slopes, 1, -1).reshape(-1, len(self.ring_count)))

    @cached_property
    def local(self) -> Array:
        """The most local filter."""
        return self.make_compact(np.exp(-((self.length * LOCAL_WIDTH) ** 2) / 2))

    @cached_property
    def local_slopes(self) -> Array:
        return self.compute_slopes(self.local)

    @cached_property
    def lags(self) -> Array:
        """Every lag from the centre: (axes, lags)."""
        axes = np.meshgrid(*[self.offsets] * self.ndim, indexing="ij")
        return np.stack([axis.ravel() for axis in axes])

    @cached_property
    def inner(self) -> NDArray[np.intp]:
        """Positions in a patch of the lags not at its border, in array order (not FFT order)."""
        inside = np.flatnonzero((np.abs(self.lags) <= self.reach).all(axis=0))
        return np.asarray(inside[np.lexsort(self.lags[::-1, inside])])

    @cached_property
    def half(self) -> NDArray[np.intp]:
        """Positions in a patch of one of every two opposite lags, without the centre."""
        return np.flatnonzero(np.arange(self.size) < self.opposite)

    @cached_property
    def opposite(self) -> NDArray[np.intp]:
        """Position in a patch of the opposite of every lag."""
        positions = np.arange(self.size).reshape(self.shape)
        for axis in range(self.ndim):
            positions = np.roll(np.flip(positions, axis), 1, axis)
        return np.asarray(positions.ravel())

    @cached_property
    def distance(self) -> Array:
        """Distance of the lags `half` from the centre, px."""
        return np.asarray(np.sqrt((self.lags[:, self.half] ** 2).sum(axis=0)))

    @cached_property
    def near(self) -> NDArray[np.intp]:
        """Indices into `half` of the lags at which roughness is measured."""
        return np.flatnonzero((self.distance >= RING[0]) & (self.distance < RING[1]))

    @cached_property
    def smooth_odd(self) -> Array:
        """Orthonormal odd polynomials of degree 1 and 3 over `near`, weighted by 1/distance²."""
        lines = self.lags[:, self.half[self.near]]
        odd = [*lines]
        for i, first in enumerate(lines):
            for j, second in enumerate(lines[i:], i):
                odd += [first * second * third for third in lines[j:]]
        basis, _ = np.linalg.qr(np.stack(odd, axis=1) / self.distance[self.near, None] ** 2)
        return np.ascontiguousarray(basis)


@lru_cache(maxsize=16)
def make_grid(ndim: int, stretched: int | None = None) -> Grid:
    """Make the grid for surfaces with `ndim` searched axes; cached."""
    return Grid(ndim, RADII[ndim], stretched)


def multiply(matrix: Array, vectors: Array) -> Array:
    """Multiply a matrix with many vectors (..., n), one at a time.

    The result for one vector does not depend, to the last bit, on the others.
    """
    return np.asarray(np.matmul(matrix, vectors[..., None])[..., 0])


def take_last(values: Array, positions: NDArray[np.intp]) -> Array:
    """Take values along the last axis, contiguous in memory, so that sums run row by row."""
    return np.asarray(np.take(values, positions, axis=-1))


def _multiply_outer(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Outer product of the last axes, flattened: (..., n * m)."""
    products = left[..., :, None] * right[..., None, :]
    return np.asarray(products.reshape(*left.shape[:-1], -1))
