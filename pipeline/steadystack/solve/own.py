"""What of the pairs' errors is the frames' own: the same in all pairs of a frame.

The same noisy image takes part in all pairs of a frame. To first order its noise moves each of them
by the same, ``error[i, j] = e[j] - e[i] + rest[i, j]``, and only the rest (where noise meets noise,
where a scene changes) is the pair's alone. With D the design of the graph, ``E`` the variances of
the frames' own errors and ``R`` those of the rest, the pairs' covariance is ``D E D' + R``. What
the frames add lies in the range of D, so that

* the best linear solution has the weights of the rest alone, ``R^-1`` (Rao 1967; Zyskind 1967,
  doi:10.1214/aoms/1177698779): own errors change no weight;
* residuals show the rest alone: all cycles close around own errors;
* the solution's covariance is ``(D' R^-1 D)^-1 + E``: own errors do not average out.

A pair's stated variance is that of both, and the residuals' scatter tells how much is the rest: on
average over a component; the stated variances tell of the frames that are noisier than others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Ints

# Steps of the fit: where frames are alike the first is right, and each halves what is left.
STEPS = 12


def shared_part(rest: NDArray[np.float64], freedom: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of stated variances that is the frames' own (per component).

    `rest` is the part that residuals show, from so many degrees of `freedom`; where it may be all
    of it within one standard error, pairs pass for independent.
    """
    return np.asarray(np.maximum(1 - rest * (1 + np.sqrt(2 / freedom)), 0))


def own_variances(
    start: Ints, end: Ints, frame_count: int, shared: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Variances (frames,), px², whose sums over the two frames of pairs come next to `shared`.

    None is negative: every pair's variance is split between its frames as they have it now, and a
    frame takes the mean of its shares (Richardson 1972; Lucy 1974). Begun with all alike, which is
    what stays where sums leave it open (a chain, a star). 0 for frames without a pair.
    """
    ends = np.concatenate([start, end])
    number = np.maximum(np.bincount(ends, minlength=frame_count), 1)
    own = np.bincount(ends, np.tile(shared, 2), frame_count) / (2 * number)
    for _ in range(STEPS):
        both = own[start] + own[end]
        ratio = np.divide(shared, both, out=np.zeros_like(both), where=both > 0)
        share = np.bincount(start, ratio, frame_count) + np.bincount(end, ratio, frame_count)
        own = own * share / number
    return np.asarray(own, np.float64)
