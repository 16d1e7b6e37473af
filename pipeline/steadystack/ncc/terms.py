"""The six correlation sums ("terms") of a pair of images, and how those of its blocks add up.

For a reference image f with mask m and a moving image g with mask k, both zero where not valid,
and a lag u (Padfield 2012, IEEE Trans. Image Process. 21(5), doi:10.1109/TIP.2011.2181402)::

    N(u)  = sum_x m(x) k(x-u)    S_f(u) = sum_x f(x) k(x-u)    Q_f(u) = sum_x f(x)^2 k(x-u)
    C(u)  = sum_x f(x) g(x-u)    S_g(u) = sum_x m(x) g(x-u)    Q_g(u) = sum_x m(x) g(x-u)^2

They are sums over the pixels of the reference: those of its blocks add up to those of the whole,
whatever offset and scale the values of a block were given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from steadystack.model import Slices
from steadystack.ncc.lags import Window
from steadystack.ncc.masked import (
    MaskedImage,
    Scaling,
    compute_bright_share,
    compute_moments,
    is_constant_range,
    select_sample,
)

Lags: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class FramePart:
    """Where an image lies in its frame, and a grid of squares over that frame."""

    frame_shape: tuple[int, ...]
    begin: tuple[int, ...]  # first pixel of the image in the frame
    side: int  # of a square, px
    inside: Slices | None = None  # pixels that no other image of the frame has; None: all


@dataclass(frozen=True, eq=False)
class Coarse:
    """A frame on a coarse grid: sum of values and number of valid pixels in each square."""

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    side: int  # of a square, px

    @classmethod
    def compute(cls, image: MaskedImage, frame_part: FramePart) -> Coarse:
        """Sum an image over the squares of its frame's grid; squares outside the image are 0."""
        region, side = frame_part.inside or (...,), frame_part.side
        values, valid = image.values[region], image.mask.pixels[region]
        sums, counts = np.zeros((2, *(math.ceil(n / side) for n in frame_part.frame_shape)))
        squares = tuple(
            slice(begin // side, (begin + n - 1) // side + 1)
            for begin, n in zip(frame_part.begin, values.shape, strict=True)
        )
        sums[squares] = _sum_squares(values, frame_part.begin, side)
        counts[squares] = _sum_squares(valid, frame_part.begin, side)
        return cls(sums, counts, side)

    def compute_power_with(self, other: Coarse, means: tuple[float, float]) -> float:
        """Sum the squares over all lags of the correlation with another coarse frame.

        `means` are the mean values of the valid pixels of the two frames; they are subtracted.
        """
        size = [n + m for n, m in zip(self.sums.shape, other.sums.shape, strict=True)]
        spectra = [
            np.abs(fft.fftn(coarse.sums - mean * coarse.counts, size, workers=1)) ** 2
            for coarse, mean in zip((self, other), means, strict=True)
        ]
        squares: int = math.prod(size) * self.side**self.sums.ndim
        return float((spectra[0] * spectra[1]).sum()) / squares


def _sum_squares(pixels: NDArray[Any], begins: Sequence[int], side: int) -> NDArray[np.float64]:
    """Sum pixels over each square, of `side` pixels, of a grid; the first pixel is at `begins`."""
    sums = pixels
    for axis, begin in enumerate(begins):
        lines = sums.swapaxes(axis, 0)
        edges = [0, *range(side - begin % side, len(lines), side), len(lines)]
        pieces = [lines[low:high].sum(axis=0, dtype=np.float64) for low, high in pairwise(edges)]
        sums = np.stack(pieces).swapaxes(axis, 0)
    return np.asarray(sums, np.float64)


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the valid pixels of an image, which add up over the blocks of a frame.

    `low` and `high` are the extreme pixels, or any two that differ by more than rounding.
    """

    count: int
    total: float  # sum of the values
    energy: float  # sum of their squares
    low: float
    high: float
    level: Scaling | None  # None: no pixel is valid
    dtype: np.dtype[Any]  # of the pixels
    coarse: Coarse | None = None  # of frames cut into tiles, for structure larger than a tile
    bright_share: float = 1.0  # of the pixels, that has most of the contrast

    @classmethod
    def compute(cls, image: MaskedImage, frame_part: FramePart | None = None) -> Moments:
        """Sum up an image (a whole frame, or its part at `frame_part`), cached with the image."""
        if "moments" in image.cache:
            return cast(Moments, image.cache["moments"])
        inside = frame_part.inside if frame_part is not None else None
        region = (...,) if inside is None else inside
        values, level = image.values[region], image.level
        # invalid pixels are 0, which lies between the extremes of the valid ones; any two pixels
        # that differ by more than rounding do as well as the extremes
        for pixels in (values[select_sample(values)], values):
            ends = float(pixels.min()), float(pixels.max())
            low, high = (level.offset + level.scale * end for end in ends)
            if not is_constant_range(low, high, image.dtype):
                break
        count = int(np.count_nonzero(image.mask.pixels[region]))
        moments = cls(
            count,
            *(image.moments if values.size == image.values.size else compute_moments(values)),
            low if count else np.inf,
            high if count else -np.inf,
            level if image.mask.count else None,
            image.dtype,
            Coarse.compute(image, frame_part) if frame_part is not None else None,
            compute_bright_share(values, count),
        )
        image.cache["moments"] = moments
        return moments

    @property
    def flat(self) -> bool:
        """Whether the valid pixels differ by no more than the rounding of their type."""
        return is_constant_range(self.low, self.high, self.dtype)

    @property
    def mean(self) -> float:
        return self.total / max(self.count, 1)

    @property
    def variance(self) -> float:
        return max(self.energy / max(self.count, 1) - self.mean**2, 0.0)

    def convert_to(self, level: Scaling | None) -> Moments:
        """Convert the sums to values with another offset and scale."""
        a, b = _compute_level_change(self.level, level)
        energy = a * a * self.energy + 2 * a * b * self.total + b * b * self.count
        total, coarse = a * self.total + b * self.count, self.coarse
        if coarse is not None:
            coarse = replace(coarse, sums=a * coarse.sums + b * coarse.counts)
        return replace(self, total=total, energy=energy, level=level, coarse=coarse)

    def add(self, other: Moments) -> Moments:
        """Add up two blocks of a frame, at the level of the one with the larger scale."""
        level = max(self.level, other.level, key=lambda level: level.scale if level else 0)
        first, second = self.convert_to(level), other.convert_to(level)
        coarse = first.coarse
        if first.coarse is not None and second.coarse is not None:
            coarse = replace(
                first.coarse,
                sums=first.coarse.sums + second.coarse.sums,
                counts=first.coarse.counts + second.coarse.counts,
            )
        return replace(
            first,
            count=first.count + second.count,
            total=first.total + second.total,
            energy=first.energy + second.energy,
            low=min(first.low, second.low),
            high=max(first.high, second.high),
            coarse=coarse,
            bright_share=max(first.bright_share, second.bright_share),
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

    def convert_to(self, reference: Scaling | None, moving: Scaling | None) -> Terms:
        """Convert the terms to images whose values have another offset and scale."""
        if (reference, moving) == (self.reference.level, self.moving.level):
            return self
        (a, b), (c, d) = (
            _compute_level_change(self.reference.level, reference),
            _compute_level_change(self.moving.level, moving),
        )
        n, f, g = self.count, self.sum_f, self.sum_g
        return Terms(
            count=n,
            sum_f=a * f + b * n,
            sum_g=c * g + d * n,
            square_f=a * a * self.square_f + 2 * a * b * f + b * b * n,
            square_g=c * c * self.square_g + 2 * c * d * g + d * d * n,
            cross=a * c * self.cross + a * d * f + b * c * g + b * d * n,
            reference=self.reference.convert_to(reference),
            moving=self.moving.convert_to(moving),
            power=(a * c) ** 2 * self.power,
            overlap=self.overlap,
        )

    def add(self, other: Terms) -> Terms:
        """Add up the terms of two blocks of a pair."""
        reference = self.reference.add(other.reference)
        moving = self.moving.add(other.moving)
        first, second = (terms.convert_to(reference.level, moving.level) for terms in (self, other))
        return Terms(
            count=first.count + second.count,
            sum_f=first.sum_f + second.sum_f,
            sum_g=first.sum_g + second.sum_g,
            square_f=first.square_f + second.square_f,
            square_g=first.square_g + second.square_g,
            cross=first.cross + second.cross,
            reference=reference,
            moving=moving,
            power=first.power + second.power,
            overlap=first.overlap + second.overlap,
        )

    @property
    def chance_deviation(self) -> float:
        """Standard deviation of ncc * sqrt(N) for unrelated images with these spectra.

        The variance of a correlation is the sum over lags of the product of both autocorrelations
        (Bartlett 1946), which is the mean product of both power spectra (Parseval). Spectra of
        tiles do not show structure larger than a tile; the coarse images of the frames do.
        """
        f, g = self.reference, self.moving
        spread = f.variance * g.variance
        if not (spread and self.overlap):
            return float("nan")
        deviation = self.power / (spread * self.overlap)
        if f.coarse is not None and g.coarse is not None:
            large = f.coarse.compute_power_with(g.coarse, (f.mean, g.mean))
            deviation = max(deviation, large / (spread * f.count * g.count))
        return math.sqrt(deviation)

    def change_window(self, window: Window, target: Window) -> Terms:
        """Move the terms from their `window` to the window `target`.

        New lags get 0: there the images must not touch.
        """
        if window == target:
            return self

        def change(term: Lags) -> Lags:
            changed = np.zeros(target.shape)
            sides = list(zip(window.first, window.last, target.first, target.last, strict=True))
            low_high = [(max(lo, a), min(hi, b)) for lo, hi, a, b in sides]
            if all(low <= high for low, high in low_high):
                common = Window(*(tuple(ends) for ends in zip(*low_high, strict=True)))
                changed[target.locate(common)] = term[window.locate(common)]
            return changed

        return replace(
            self,
            count=change(self.count),
            sum_f=change(self.sum_f),
            sum_g=change(self.sum_g),
            square_f=change(self.square_f),
            square_g=change(self.square_g),
            cross=change(self.cross),
        )


def _compute_level_change(old: Scaling | None, new: Scaling | None) -> tuple[float, float]:
    """Compute (a, b) such that a value v of the old level is ``a v + b`` at the new one.

    An image without a level has no valid pixel and only zeros, which stay as they are.
    """
    if old is None or new is None:
        return 1.0, 0.0
    return old.scale / new.scale, (old.offset - new.offset) / new.scale
