"""Combine the shifts of a pair in several channels to one.

Channels that agree within their errors are averaged, weighted by inverse covariance. Otherwise the
majority counts, if there is one; a channel so noisy that it agrees with all others cannot decide
between two that disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools

# Two channels contradict each other if they differ by more than this many squared errors (by number
# of axes; by chance one in ten thousand does), and by more than this many pixels.
CONTRADICTS, NEAR_PX = {1: 15.1, 2: 18.4, 3: 21.1}, 0.1
# The joint error is widened if the channels' chi-square is this many of its deviations above its
# expectation.
SURPRISES = 3.0
# Smallest error, px: those of images without noise are practically 0.
LEAST_STD = 1e-6


@dataclass(frozen=True, eq=False)
class JoinedChannels:
    """Shifts of pairs, joined over their channels.

    Attributes
    ----------
    shift, covariance : (pairs, axes) px and (pairs, axes, axes) px²; NaN where no channel has a
        shift, or those that have one contradict each other without a majority
    weights : (pairs, channels, axes, axes), weights of the channels' shifts in the sum; 0 for those
        not used
    """

    shift: NDArray[np.float64]
    covariance: NDArray[np.float64]
    weights: NDArray[np.float64]

    def without(self, pairs: Bools) -> JoinedChannels:
        """The same, where some pairs (pairs,) have no shift."""
        return JoinedChannels(
            np.where(pairs[:, None], np.nan, self.shift),
            np.where(pairs[:, None, None], np.nan, self.covariance),
            np.where(pairs[:, None, None, None], 0, self.weights),
        )


def join_channels(shift: NDArray[np.float64], covariance: NDArray[np.float64]) -> JoinedChannels:
    """Join the shifts of channels to one for each pair.

    Parameters
    ----------
    shift : (pairs, channels, axes), px; NaN where a channel has no shift
    covariance : (pairs, channels, axes, axes), px²

    The joint covariance is widened where channels differ by more than their errors explain.
    """
    used = _find_majority(_agree(shift, covariance))
    axes = shift.shape[2]
    floor = LEAST_STD**2 * np.eye(axes)
    safe = np.where(used[..., None, None], covariance, np.eye(axes)) + floor
    precision = np.where(used[..., None, None], np.linalg.inv(safe), 0)
    total = precision.sum(axis=1)
    known = np.asarray(used.any(axis=1))
    joint = np.linalg.inv(np.where(known[:, None, None], total, np.eye(axes)))
    weights = joint[:, None] @ precision
    values = np.where(used[..., None], shift, 0)
    joined = np.einsum("pcij,pcj->pi", weights, values)
    off = np.where(used[..., None], values - joined[:, None], 0)
    chi_squared = np.einsum("pci,pcij,pcj->p", off, precision, off)
    freedom = np.maximum(used.sum(axis=1) - 1, 1) * axes
    joint = joint * find_widening(chi_squared, freedom)[:, None, None]
    return JoinedChannels(
        np.where(known[:, None], joined, np.nan),
        np.where(known[:, None, None], joint, np.nan),
        weights,
    )


def find_widening(
    chi_squared: NDArray[np.float64], freedom: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The factor to widen variances by if values differ by more than they explain; 1: none.

    `chi_squared` is the sum of squared deviations over variances, with `freedom` degrees of
    freedom.
    """
    beyond = (chi_squared - SURPRISES * np.sqrt(2 * freedom)) / freedom
    return np.asarray(np.maximum(beyond, 1))


def _agree(shift: NDArray[np.float64], covariance: NDArray[np.float64]) -> Bools:
    """Which channels of a pair agree (pairs, channels, channels); False without a shift."""
    axes = shift.shape[2]
    known: Bools = np.asarray(np.isfinite(shift).all(axis=2))
    values = np.where(known[..., None], shift, 0)
    errors = np.where(known[..., None, None], covariance, np.eye(axes))
    off = values[:, :, None] - values[:, None]
    both = errors[:, :, None] + errors[:, None] + LEAST_STD**2 * np.eye(axes)
    squared = np.einsum("pabi,pabij,pabj->pab", off, np.linalg.inv(both), off)
    alike = (squared <= CONTRADICTS[axes]) | (np.linalg.norm(off, axis=3) <= NEAR_PX)
    return np.asarray(alike & known[:, :, None] & known[:, None], np.bool_)


def _find_majority(agree: Bools) -> Bools:
    """The channels (pairs, channels) of the largest set of which all agree, over half of them.

    None for a pair with two such sets, as it is not known which is right.
    """
    pairs, channels = agree.shape[:2]
    count = np.einsum("pcc->pc", agree).sum(axis=1)
    used, found = np.zeros((pairs, channels), bool), np.zeros(pairs, bool)
    for size in range(channels, 0, -1):
        sets = np.zeros((pairs,), np.int64)
        chosen = np.zeros((pairs, channels), bool)
        for members in map(np.array, combinations(range(channels), size)):
            together = agree[:, members][:, :, members].all(axis=(1, 2))
            sets += together
            chosen[np.ix_(np.flatnonzero(together), members)] = True
        is_largest = ~found & (sets > 0)
        counts = is_largest & (sets == 1) & (2 * size > count)
        used[counts] = chosen[counts]
        found |= is_largest
    return used
