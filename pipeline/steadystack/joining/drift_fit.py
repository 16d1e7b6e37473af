"""Fit the common drift of positions by weighted least squares, and propagate the errors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.joining.shift_errors import ShiftErrors
from steadystack.model import Bools
from steadystack.pairs import find_widening

# Parts with a scatter of at least this share of the largest are widened together with it.
ALIKE = 0.99
# Largest share of the drift at which a position's scatter is used: near 1 it tells nothing.
ALL_OF_IT = 0.95


@dataclass(frozen=True, eq=False)
class Fit:
    """Drift and constants of parts by weighted least squares, each axis by itself.

    Attributes
    ----------
    offset : (parts, axes) px, constants; unchanged for parts without a weight
    drift : (frames, axes) px, NaN where no part has a weight
    weight, share : (parts, frames, axes), 1/px², and relative to the sum in a frame
    inverse : (axes, parts, parts) px², inverse normal matrix of the constants, one held fixed
    """

    offset: NDArray[np.float64]
    drift: NDArray[np.float64]
    weight: NDArray[np.float64]
    share: NDArray[np.float64]
    inverse: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        values: NDArray[np.float64],
        weight: NDArray[np.float64],
        offset: NDArray[np.float64],
    ) -> Fit:
        """Fit values (parts, frames, axes) with weights, which are 0 where there is none.

        Parts with weights must be linked by common frames, directly or through others. One of them
        keeps its `offset`.
        """
        total = weight.sum(axis=0)
        share = weight / np.where(total > 0, total, 1)
        centred = np.where(weight > 0, values - offset[:, None], 0)
        rest = centred - (share * centred).sum(axis=0)
        parts, _, axes = weight.shape
        free = np.flatnonzero((weight > 0).any(axis=(1, 2)))[1:]
        offset, inverse = offset.copy(), np.zeros((axes, parts, parts))
        for axis in range(axes):
            one = weight[:, :, axis]
            normal = np.diag(one.sum(axis=1)) - one @ share[:, :, axis].T
            inverse[axis][np.ix_(free, free)] = np.linalg.inv(normal[np.ix_(free, free)])
            offset[:, axis] += inverse[axis] @ (one * rest[:, :, axis]).sum(axis=1)
        moved = np.where(weight > 0, values - offset[:, None], 0)
        drift = np.where(total > 0, (share * moved).sum(axis=0), np.nan)
        return cls(offset, drift, weight, share, inverse)


def find_known(values: NDArray[np.float64]) -> Bools:
    """Find the frames in which all axes of a part are known (parts, frames)."""
    return np.asarray(np.isfinite(values).all(axis=2))


def find_median(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """The median of known values; NaN if there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=axis))


def find_residual(fit: Fit, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The residuals of parts from the drift (parts, frames, axes), also of parts that do not count.

    Those of the latter have median 0. Where there is no drift, the median of the parts replaces it.
    """
    drift = fit.drift
    if not np.isfinite(drift).any():
        drift = find_median(values - fit.offset[:, None], 0)
    off = values - fit.offset[:, None] - drift
    without = ~(fit.weight > 0).any(axis=(1, 2))
    off[without] -= find_median(off[without], 1)[:, None]
    return np.asarray(off)


def leave_room(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factor by which a part's residual variance is reduced because it contributes to the drift."""
    return np.asarray(1 - np.minimum(share, ALL_OF_IT))


def widen(
    values: NDArray[np.float64],
    variance: NDArray[np.float64],
    used: Bools,
    offset: NDArray[np.float64],
) -> tuple[Fit, NDArray[np.float64]]:
    """Fit, widening the variances (parts,) of parts that differ by more than stated.

    The worst part first, as its effect on the drift is in the residuals of all others.
    """
    widening, axes = np.ones(len(values)), values.shape[2]
    while True:
        wide = variance * widening[:, None, None]
        fit = Fit.of(values, np.where(used[..., None], 1 / wide, 0), offset)
        off = np.where(used[..., None], find_residual(fit, values), 0)
        tells = used & (fit.share < ALL_OF_IT).all(axis=2)
        squared = np.where(tells[..., None], off**2 / (wide * leave_room(fit.share)), 0)
        freedom = axes * np.maximum(tells.sum(axis=1) - 1, 1)
        found = find_widening(squared.sum(axis=(1, 2)), freedom)
        if found.max() <= 1 + 1e-9:
            return fit, widening
        widening = widening * np.where(found >= ALIKE * found.max(), found, 1)


def find_frame_widening(
    fit: Fit, values: NDArray[np.float64], variance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Factors (frames,) for the variance of frames in which parts differ by more than stated."""
    used = fit.weight > 0
    off = np.where(used, find_residual(fit, values), 0)
    squared = np.where(used, off**2 / variance, 0).sum(axis=(0, 2))
    freedom = (used.sum(axis=0) - 1).sum(axis=1)
    return np.where(freedom > 0, find_widening(squared, np.maximum(freedom, 1)), 1)


def find_std(
    fit: Fit, errors: Sequence[ShiftErrors], widening: NDArray[np.float64], anchor: int
) -> NDArray[np.float64]:
    """Standard deviations (frames, axes) of the drift relative to a frame, px, by propagation.

    The drift of a frame is a weighted sum of the shifts of all parts in all frames: those of its
    own frame enter by their shares, all others through the fitted constants.
    """
    frames, axes = fit.drift.shape
    variance = np.zeros((frames, axes))
    for axis in range(axes):
        weight, share, inverse = fit.weight[..., axis], fit.share[..., axis], fit.inverse[axis]
        change = (share - share[:, [anchor]]).T  # (frames, parts) of constants
        spread = inverse @ weight
        for part, (error, times) in enumerate(zip(errors, widening, strict=True)):
            mine = share[part]
            of_constants = np.outer(inverse[:, part], weight[part]) - spread * mine
            at_anchor = np.zeros((frames, 1))
            at_anchor[anchor] = mine[anchor]
            vectors = np.concatenate([of_constants.T, at_anchor], axis=1)
            product = error.multiply(vectors, axis)
            among = of_constants @ product[:, :-1]
            terms = mine**2 * error.diagonal[:, axis] + mine[anchor] * product[anchor, -1]
            terms -= 2 * mine * product[:, -1]
            terms += ((change @ among) * change).sum(axis=1)
            terms -= 2 * mine * (product[:, :-1] * change).sum(axis=1)
            terms += 2 * mine[anchor] * (change @ product[anchor, :-1])
            variance[:, axis] += times * terms
    std = np.sqrt(np.maximum(variance, 0))
    std[anchor] = 0
    return np.where(np.isfinite(fit.drift), std, np.nan)
