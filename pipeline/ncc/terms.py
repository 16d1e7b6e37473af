"""The six correlation sums ("terms") of a pair of images, and how those of its parts are added.

For a reference image f with mask m and a moving image g with mask k, both zero where not valid,
and a lag u (Padfield 2012, IEEE Trans. Image Process. 21(5), doi:10.1109/TIP.2011.2181402)::

    N(u)  = sum_x m(x) k(x-u)    S_f(u) = sum_x f(x) k(x-u)    Q_f(u) = sum_x f(x)^2 k(x-u)
    C(u)  = sum_x f(x) g(x-u)    S_g(u) = sum_x m(x) g(x-u)    Q_g(u) = sum_x m(x) g(x-u)^2

They are sums over the pixels of the reference: those of its parts add up to those of the whole,
whatever offset and scale the values of a part were given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.ncc.images import Level, MaskedImage, alike, moments_of

Lags: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Valid pixels of an image, sum of its values and of their squares, and what a value means.

    `low` and `high` are the extreme pixels, `dtype` their type.
    """

    count: int
    total: float
    energy: float
    low: float
    high: float
    level: Level
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, image: MaskedImage, part: Any = None) -> Moments:
        """Those of an image, or of a part of it."""
        if part is None:
            if "moments" not in image.known:
                image.known["moments"] = cls.of(image, (...,))
            return cast(Moments, image.known["moments"])
        values, count = image.values[part], int(np.count_nonzero(image.mask.pixels[part]))
        # 0, which stands where nothing is valid, is the mean and lies between the extremes
        low, high = (
            image.level.offset + image.level.scale * v for v in (values.min(), values.max())
        )
        return cls(count, *moments_of(values), float(low), float(high), image.level, image.dtype)

    @property
    def flat(self) -> bool:
        """Whether the valid pixels do not differ by more than the rounding of their own type."""
        return alike(self.low, self.high, self.dtype)

    @property
    def variance(self) -> float:
        mean = self.total / max(self.count, 1)
        return max(self.energy / max(self.count, 1) - mean * mean, 0.0)

    def at(self, level: Level) -> Moments:
        """The same with values of another level."""
        a, b = _change(self.level, level)
        energy = a * a * self.energy + 2 * a * b * self.total + b * b * self.count
        return replace(self, total=a * self.total + b * self.count, energy=energy, level=level)

    def plus(self, other: Moments) -> Moments:
        """Of both parts together; at the level of the first that has pixels."""
        if not (self.count and other.count):
            return self if self.count else other
        other = other.at(self.level)
        return replace(
            self,
            count=self.count + other.count,
            total=self.total + other.total,
            energy=self.energy + other.energy,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
        )


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of a pair over the lags of a window, in double precision.

    `power` is the sum of squares over all lags that unrelated images with these spectra are
    expected to show in C, `overlap` the sum of N over the same lags.
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

    def at(self, reference: Level, moving: Level) -> Terms:
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


def _change(old: Level, new: Level) -> tuple[float, float]:
    """(a, b) such that a value v of the old level is ``a v + b`` at the new one."""
    return old.scale / new.scale, (old.offset - new.offset) / new.scale
