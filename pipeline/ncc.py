"""Masked normalized cross-correlation: six correlation sums ("terms"), one quotient.

For a reference image f with mask m and a moving image g with mask k, both zero where not valid,
and a lag u (Padfield 2012, IEEE Trans. Image Process. 21(5), doi:10.1109/TIP.2011.2181402)::

    N(u)  = sum_x m(x) k(x-u)    S_f(u) = sum_x f(x) k(x-u)    Q_f(u) = sum_x f(x)^2 k(x-u)
    C(u)  = sum_x f(x) g(x-u)    S_g(u) = sum_x m(x) g(x-u)    Q_g(u) = sum_x m(x) g(x-u)^2

    NCC   = (C - S_f S_g / N) / sqrt((Q_f - S_f^2 / N) (Q_g - S_g^2 / N))

The NCC does not change when an image is scaled or a constant is added, so every image is first
brought to mean 0 and standard deviation 1 under its mask: without that, the differences above
cancel in single precision. Only wanted lags are kept free of wrap-around, so the padding of the
transforms is the largest wanted shift and not the size of the other image, and the inverse
transforms are carried out for wanted rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import fft

from pipeline.model import Bools, Floats, Surface

Complexes: TypeAlias = NDArray[np.complexfloating[Any, Any]]


@dataclass(frozen=True)
class Window:
    """The wanted lags: along axis *d* from `first[d]` to `last[d]`, both included."""

    first: tuple[int, ...]
    last: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(hi - lo + 1 for lo, hi in zip(self.first, self.last, strict=True))

    def margin_around(self, inner: Window) -> tuple[tuple[int, int], ...]:
        """How many more lags this window has than `inner`, before and after, along each axis."""
        return tuple(
            (low - first, last - high)
            for first, last, low, high in zip(
                self.first, self.last, inner.first, inner.last, strict=True
            )
        )


@dataclass(frozen=True)
class Spectra:
    """An image made ready for correlation: the transforms of its mask, values and squares."""

    mask: Complexes
    value: Complexes
    square: Complexes
    fft_shape: tuple[int, ...]
    valid_count: int


def lag_window(
    reference_shape: Sequence[int], moving_shape: Sequence[int], max_shift: Sequence[int] | None
) -> Window:
    """The lags within ± `max_shift` (pixels, one per axis) at which the two images touch.

    ``max_shift=None`` gives every lag at which they touch.
    """
    first = tuple(-(size - 1) for size in moving_shape)
    last = tuple(size - 1 for size in reference_shape)
    if max_shift is None:
        return Window(first, last)
    return Window(
        tuple(max(lo, -bound) for lo, bound in zip(first, max_shift, strict=True)),
        tuple(min(hi, bound) for hi, bound in zip(last, max_shift, strict=True)),
    )


def padded_shape(
    reference_shape: Sequence[int], moving_shape: Sequence[int], window: Window
) -> tuple[int, ...]:
    """The transform's shape: the smallest fast one at which no wanted lag wraps around.

    A circular correlation of period P mixes the lag u with u - P and u + P. Those are empty if
    u + P lies beyond the last lag at which the images touch and u - P before the first.
    """
    return tuple(
        int(fft.next_fast_len(max(reference - lo, moving + hi, reference, moving), real=True))
        for reference, moving, lo, hi in zip(
            reference_shape, moving_shape, window.first, window.last, strict=True
        )
    )


def is_flat(image: NDArray[Any], mask: Bools) -> bool:
    """Whether the valid pixels do not differ by more than the rounding of their own type."""
    values = image[mask]
    low, high = float(values.min()), float(values.max())
    kept = image.dtype if np.issubdtype(image.dtype, np.floating) else np.dtype(np.float64)
    return high - low <= 2 * float(np.finfo(kept).eps) * max(abs(low), abs(high))


def standardized(image: NDArray[Any], mask: Bools, dtype: DTypeLike = np.float32) -> Floats | None:
    """`image` with mean 0 and standard deviation 1 under `mask`, 0 elsewhere; None if it is flat.

    Mean and deviation are taken in double precision. There must be valid pixels, all finite.
    """
    if is_flat(image, mask):
        return None
    values = image[mask].astype(np.float64)
    low = float(values.min())
    mean = low + float((values - low).mean())
    spread = float(np.sqrt(np.mean((values - mean) ** 2)))
    result = np.zeros(image.shape, dtype)
    result[mask] = (values - mean) / spread
    return result


def transform(values: Floats, mask: Bools, fft_shape: tuple[int, ...]) -> Spectra:
    """The spectra of a standardized image: three real transforms, padded with zeros."""

    def forward(array: Floats) -> Complexes:
        return np.asarray(fft.rfftn(array, fft_shape, workers=1))

    return Spectra(
        mask=forward(mask.astype(values.dtype)),
        value=forward(values),
        square=forward(values * values),
        fft_shape=fft_shape,
        valid_count=int(np.count_nonzero(mask)),
    )


def correlate(
    reference: Spectra, moving: Spectra, window: Window, min_overlap: float | None = None
) -> Surface:
    """The NCC surface of two images over the lags of `window`.

    Parameters
    ----------
    reference, moving
        Transforms of the same `fft_shape`, as from `padded_shape` for this window.
    min_overlap
        Lags at which fewer than this fraction (0..1) of the smaller image's valid pixels overlap
        are NaN. None: no limit but what rounding sets.
    """
    if reference.fft_shape != moving.fft_shape:
        raise ValueError(
            f"spectra of different shapes: {reference.fft_shape} and {moving.fft_shape}"
        )

    def term(left: Complexes, right: Complexes) -> Floats:
        return _inverse(left * right.conj(), reference.fft_shape, window)

    count = np.rint(np.maximum(term(reference.mask, moving.mask), 0))
    safe_count = np.maximum(count, 1)
    sum_f = term(reference.value, moving.mask)
    sum_g = term(reference.mask, moving.value)
    variance_f = term(reference.square, moving.mask) - sum_f * sum_f / safe_count
    variance_g = term(reference.mask, moving.square) - sum_g * sum_g / safe_count
    cross = reference.value * moving.value.conj()
    covariance = _inverse(cross, reference.fft_shape, window) - sum_f * sum_g / safe_count

    # What remains of a sum after rounding in the transforms is of the order of eps times the
    # largest sum; a contrast that is not well above it is not known.
    smaller = min(reference.valid_count, moving.valid_count)
    noise = 32 * float(np.finfo(count.dtype).eps) * smaller
    known = (count >= 2) & (variance_f > noise) & (variance_g > noise)
    if min_overlap is not None:
        known &= count >= min_overlap * smaller
    scale = np.sqrt(np.where(known, variance_f * variance_g, 1))
    ncc = np.where(known, np.clip(covariance / scale, -1, 1), np.asarray(np.nan, count.dtype))
    return Surface(
        ncc=ncc,
        overlap_count=count,
        first_lag=window.first,
        valid_count=(reference.valid_count, moving.valid_count),
        chance_deviation=_chance_deviation(cross, reference, moving),
    )


def _chance_deviation(cross: Complexes, reference: Spectra, moving: Spectra) -> float:
    """Standard deviation of ncc * sqrt(N) for unrelated images with these power spectra.

    The variance of a correlation is the sum over lags of the product of both autocorrelations
    (Bartlett 1946), which is the mean product of both power spectra (Parseval).
    """
    last = reference.fft_shape[-1]
    weight = np.full(cross.shape[-1], 2.0)  # a real transform keeps one of each conjugate pair
    weight[0] = 1
    if last % 2 == 0:
        weight[-1] = 1
    power = (cross.real**2 + cross.imag**2).reshape(-1, cross.shape[-1])
    lines = power.sum(axis=0, dtype=np.float64)
    total = float(weight @ lines) / float(np.prod(reference.fft_shape))
    return float(np.sqrt(total / (reference.valid_count * moving.valid_count)))


def _inverse(product: Complexes, fft_shape: tuple[int, ...], window: Window) -> Floats:
    """Inverse real transform for the lags of `window` only: after each axis the rest is dropped."""

    def wanted(lines: NDArray[Any], axis: int) -> NDArray[Any]:
        lags = np.arange(window.first[axis], window.last[axis] + 1) % fft_shape[axis]
        return np.take(lines, lags, axis=axis)

    last = len(fft_shape) - 1
    for axis in range(last):
        product = wanted(fft.ifft(product, axis=axis, workers=1), axis)
    return wanted(fft.irfft(product, fft_shape[last], axis=last, workers=1), last)
