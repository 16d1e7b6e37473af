"""The six correlation sums ("terms") of a pair of images, and how those of its parts are added.

For a reference image f with mask m and a moving image g with mask k, both zero where not valid,
and a lag u (Padfield 2012, IEEE Trans. Image Process. 21(5), doi:10.1109/TIP.2011.2181402)::

    N(u)  = sum_x m(x) k(x-u)    S_f(u) = sum_x f(x) k(x-u)    Q_f(u) = sum_x f(x)^2 k(x-u)
    C(u)  = sum_x f(x) g(x-u)    S_g(u) = sum_x m(x) g(x-u)    Q_g(u) = sum_x m(x) g(x-u)^2

They are sums over the pixels of the reference: those of its parts add up to those of the whole,
whatever offset and scale the values of a part were given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import fft

from steadystack.model import Slices, Surface
from steadystack.ncc.lags import Window
from steadystack.ncc.masked import MaskedImage, Scaling, is_constant_range, moments_of, sample_of

Lags: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class FramePart:
    """Where in a frame a part of it lies: its shape, the part's first pixel, the grid's squares.

    `inside` are the pixels of the image that count as the part's own; None: all of them.
    """

    frame_shape: tuple[int, ...]
    begin: tuple[int, ...]
    side: int
    inside: Slices | None = None


@dataclass(frozen=True, eq=False)
class Coarse:
    """Sums of an image's values, and its valid pixels, in the squares of a grid over the frame."""

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    side: int  # of a square, px

    @classmethod
    def of(cls, image: MaskedImage, place: FramePart) -> Coarse:
        """Those of a part of a frame; the others are 0."""
        grids = [np.zeros([math.ceil(n / place.side) for n in place.frame_shape]) for _ in "sc"]
        part = place.inside or (...,)
        where = tuple(
            slice(begin // place.side, (begin + n - 1) // place.side + 1)
            for begin, n in zip(place.begin, image.values[part].shape, strict=True)
        )
        for grid, pixels in zip(grids, (image.values[part], image.mask.pixels[part]), strict=True):
            grid[where] = _square_sums(pixels, place)
        return cls(grids[0], grids[1], place.side)

    def power_with(self, other: Coarse, means: tuple[float, float]) -> float:
        """The sum of squares over all lags of the correlation with another image's."""
        size = [n + m for n, m in zip(self.sums.shape, other.sums.shape, strict=True)]
        spectra = [
            np.abs(fft.fftn(one.sums - mean * one.counts, size, workers=1)) ** 2
            for one, mean in zip((self, other), means, strict=True)
        ]
        squares: int = math.prod(size) * self.side**self.sums.ndim
        return float((spectra[0] * spectra[1]).sum()) / squares


def _square_sums(pixels: NDArray[Any], place: FramePart) -> NDArray[np.float64]:
    sums = pixels
    for axis, begin in enumerate(place.begin):
        lines = sums.swapaxes(axis, 0)
        edges = [0, *range(place.side - begin % place.side, len(lines), place.side), len(lines)]
        pieces = [lines[low:high].sum(axis=0, dtype=np.float64) for low, high in pairwise(edges)]
        sums = np.stack(pieces).swapaxes(axis, 0)
    return np.asarray(sums, np.float64)


@dataclass(frozen=True, eq=False)
class Moments:
    """Valid pixels of an image, sum of its values and of their squares, and what a value means.

    `low` and `high` are the extreme pixels, or two that are not alike; `dtype` is their type;
    `level` is None if no pixel has a say. `coarse` is kept of frames that are cut: it knows what
    is larger than the parts.
    """

    count: int
    total: float
    energy: float
    low: float
    high: float
    level: Scaling | None
    dtype: np.dtype[Any]
    coarse: Coarse | None = None

    @classmethod
    def of(cls, image: MaskedImage, place: FramePart | None = None) -> Moments:
        """Those of a frame, or of its part at `place`; kept with the image."""
        if "moments" in image.known:
            return cast(Moments, image.known["moments"])
        part = place.inside if place is not None and place.inside is not None else (...,)
        values, level = image.values[part], image.level
        # 0 stands where nothing is valid, and lies between the extremes of the image; pixels that
        # are not alike, wherever they are, tell as much as the extremes
        for some in (values[sample_of(values)], values):
            low, high = (level.offset + level.scale * float(v) for v in (some.min(), some.max()))
            if not is_constant_range(low, high, image.dtype):
                break
        count = int(np.count_nonzero(image.mask.pixels[part]))
        found = cls(
            count,
            *(image.moments if values.size == image.values.size else moments_of(values)),
            low if count else np.inf,
            high if count else -np.inf,
            level if image.mask.count else None,
            image.dtype,
            Coarse.of(image, place) if place is not None else None,
        )
        image.known["moments"] = found
        return found

    @property
    def flat(self) -> bool:
        """Whether the valid pixels do not differ by more than the rounding of their own type."""
        return is_constant_range(self.low, self.high, self.dtype)

    @property
    def mean(self) -> float:
        return self.total / max(self.count, 1)

    @property
    def variance(self) -> float:
        return max(self.energy / max(self.count, 1) - self.mean**2, 0.0)

    def at(self, level: Scaling | None) -> Moments:
        """The same with values of another level."""
        a, b = _change(self.level, level)
        energy = a * a * self.energy + 2 * a * b * self.total + b * b * self.count
        total, coarse = a * self.total + b * self.count, self.coarse
        if coarse is not None:
            coarse = replace(coarse, sums=a * coarse.sums + b * coarse.counts)
        return replace(self, total=total, energy=energy, level=level, coarse=coarse)

    def plus(self, other: Moments) -> Moments:
        """Of both parts together, at the level of the one with the larger scale."""
        level = max((one.level for one in (self, other)), key=lambda one: one.scale if one else 0)
        one, two = self.at(level), other.at(level)
        coarse = one.coarse
        if one.coarse is not None and two.coarse is not None:
            coarse = replace(
                one.coarse,
                sums=one.coarse.sums + two.coarse.sums,
                counts=one.coarse.counts + two.coarse.counts,
            )
        return replace(
            one,
            count=one.count + two.count,
            total=one.total + two.total,
            energy=one.energy + two.energy,
            low=min(one.low, two.low),
            high=max(one.high, two.high),
            coarse=coarse,
        )


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of a pair over the lags of a window, in double precision.

    `power` is the sum of squares over all lags that unrelated images with the spectra of these
    tiles are expected to show in C, `overlap` the sum of N over the same lags.
    """

    count: Lags
    sum_f: Lags
    sum_g: Lags
    square_f: Lags
    square_g: Lags
    cross: Lags
    reference: Moments
    moving: Moments
    power: float
    overlap: float

    def at(self, reference: Scaling | None, moving: Scaling | None) -> Terms:
        """The same for images whose values have another offset and scale."""
        if (reference, moving) == (self.reference.level, self.moving.level):
            return self
        (a, b), (c, d) = (
            _change(self.reference.level, reference),
            _change(self.moving.level, moving),
        )
        n, f, g = self.count, self.sum_f, self.sum_g
        return Terms(
            count=n,
            sum_f=a * f + b * n,
            sum_g=c * g + d * n,
            square_f=a * a * self.square_f + 2 * a * b * f + b * b * n,
            square_g=c * c * self.square_g + 2 * c * d * g + d * d * n,
            cross=a * c * self.cross + a * d * f + b * c * g + b * d * n,
            reference=self.reference.at(reference),
            moving=self.moving.at(moving),
            power=(a * c) ** 2 * self.power,
            overlap=self.overlap,
        )

    def plus(self, other: Terms) -> Terms:
        """The terms of two parts of a pair: those of the whole."""
        reference = self.reference.plus(other.reference)
        moving = self.moving.plus(other.moving)
        one, two = (part.at(reference.level, moving.level) for part in (self, other))
        return Terms(
            count=one.count + two.count,
            sum_f=one.sum_f + two.sum_f,
            sum_g=one.sum_g + two.sum_g,
            square_f=one.square_f + two.square_f,
            square_g=one.square_g + two.square_g,
            cross=one.cross + two.cross,
            reference=reference,
            moving=moving,
            power=one.power + two.power,
            overlap=one.overlap + two.overlap,
        )

    @property
    def chance_deviation(self) -> float:
        """Standard deviation of ncc * sqrt(N) for unrelated images with these spectra.

        The variance of a correlation is the sum over lags of the product of both autocorrelations
        (Bartlett 1946), which is the mean product of both power spectra (Parseval). Spectra of
        tiles do not know what is larger than a tile; the coarse images of the frames do.
        """
        f, g = self.reference, self.moving
        spread = f.variance * g.variance
        if not (spread and self.overlap):
            return float("nan")
        deviation = self.power / (spread * self.overlap)
        if f.coarse is not None and g.coarse is not None:
            large = f.coarse.power_with(g.coarse, (f.mean, g.mean))
            deviation = max(deviation, large / (spread * f.count * g.count))
        return math.sqrt(deviation)

    def over(self, window: Window, wanted: Window) -> Terms:
        """The same over another window; at those of its lags that are new, the images do not touch.

        `window` is that of the terms.
        """
        if window == wanted:
            return self

        def over(term: Lags) -> Lags:
            found = np.zeros(wanted.shape)
            sides = list(zip(window.first, window.last, wanted.first, wanted.last, strict=True))
            low_high = [(max(lo, a), min(hi, b)) for lo, hi, a, b in sides]
            if all(low <= high for low, high in low_high):
                both = Window(*(tuple(ends) for ends in zip(*low_high, strict=True)))
                found[wanted.places_of(both)] = term[window.places_of(both)]
            return found

        return replace(
            self,
            count=over(self.count),
            sum_f=over(self.sum_f),
            sum_g=over(self.sum_g),
            square_f=over(self.square_f),
            square_g=over(self.square_g),
            cross=over(self.cross),
        )


def _change(old: Scaling | None, new: Scaling | None) -> tuple[float, float]:
    """(a, b) such that a value v of the old level is ``a v + b`` at the new one.

    Of what has no level all values are 0, and there is nothing that it could be moved to.
    """
    if old is None or new is None:
        return 1.0, 0.0
    return old.scale / new.scale, (old.offset - new.offset) / new.scale


# What rounding leaves of a sum, in units of the largest sum and the transforms' precision.
ROUNDING = 32


def compute_surface(
    terms: Terms,
    window: Window,
    min_overlap: float | None = None,
    dtype: DTypeLike = np.float32,
) -> Surface:
    """The NCC surface that the terms make up.

    Parameters
    ----------
    terms, window
        Of the whole pair, and the lags that they are for.
    min_overlap
        Lags at which fewer than this fraction (0..1) of the smaller image's valid pixels overlap
        are NaN. None: no limit but what rounding sets.
    dtype
        Of the result, and that the terms were computed in: a contrast that does not stand above
        its rounding is not known.
    """
    count = terms.count
    f, g = terms.reference, terms.moving
    smaller = min(f.count, g.count)
    each = 1 / np.maximum(count, 1)
    variance_f = terms.square_f - terms.sum_f * terms.sum_f * each
    variance_g = terms.square_g - terms.sum_g * terms.sum_g * each
    covariance = terms.cross - terms.sum_f * terms.sum_g * each
    noise = ROUNDING * float(np.finfo(dtype).eps) * smaller
    known = (count >= 2) & (variance_f > noise * f.variance) & (variance_g > noise * g.variance)
    if min_overlap is not None:
        known &= count >= min_overlap * smaller
    scale = np.sqrt(np.where(known, variance_f * variance_g, 1))
    ncc = np.where(known, np.clip(covariance / scale, -1, 1), np.nan)
    return Surface(
        ncc=ncc.astype(dtype),
        overlap_count=count,
        first_lag=window.first,
        valid_count=(f.count, g.count),
        chance_deviation=terms.chance_deviation,
        variances=(variance_f * each, variance_g * each),
    )
