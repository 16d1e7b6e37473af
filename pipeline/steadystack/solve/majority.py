"""Leave out parts of the frame that do not move with the majority of the parts.

The shift of a whole frame is the mean over its parts. An object, a label or a cell that moves by
itself in one part pulls that mean. A few such parts hardly move a robust location, Tukey's biweight
(Beaton & Tukey 1974, Technometrics 16, 147-185), which is used instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from steadystack.model import Bools, Ints

# Parts more than this many deviations from the others have no weight; it falls off towards there.
BIWEIGHT = 4.5
# Nothing is left out unless a part is this many deviations off in half of the frames.
OFF = 4.0
# Smallest deviation assumed, px; and fewest parts that can have a majority.
LEAST_DEVIATION, FEWEST_PARTS = 0.002, 5
MOST_STEPS, CLOSE = 50, 1e-6
# Leaving parts out changes a shift by a one-step estimate, taken to be wrong by this fraction.
STEP_ERROR = 0.5


@dataclass(frozen=True, eq=False)
class Majority:
    """The shifts on which the majority of the parts agrees.

    Attributes
    ----------
    shift : (frames, axes), px
    part_step : (frames, parts, axes), px, how far each part moves that shift
    part_weight : (frames, parts), how much each part counts, 0..1; NaN: no such part
    step_error : (frames, axes), px, the uncertainty of the change that leaving parts out made to
        the shifts
    """

    shift: NDArray[np.float64]
    part_step: NDArray[np.float64]
    part_weight: NDArray[np.float64]
    step_error: NDArray[np.float64]

    @property
    def widening(self) -> NDArray[np.float64]:
        """Factor (frames,) by which noise grows because fewer parts are used."""
        count = np.isfinite(self.part_weight).sum(axis=1)
        counted = np.nansum(self.part_weight, axis=1)
        return np.asarray(np.sqrt(count / np.where(counted > 0, counted, count)), np.float64)


def find_majority(
    shift: NDArray[np.float64], part_step: NDArray[np.float64], is_free: Bools
) -> Majority | None:
    """Find the shifts that most parts of the frames agree on.

    Parameters
    ----------
    shift : of the whole frames (frames, axes), px
    part_step : by how much each part moves it (frames, parts, axes), px; NaN: no such part
    is_free : (frames,), which frames are no anchors

    Returns
    -------
    None if all parts move together, or if too little is known to tell.
    """
    is_told = np.isfinite(part_step).all(axis=2) & (part_step != 0).any(axis=2)
    places = np.flatnonzero(is_told.any(axis=0))  # without parts masked in all frames
    known = np.asarray(np.isfinite(part_step[:, places]).all(axis=(1, 2)) & is_free)
    if len(places) < FEWEST_PARTS or not known.any():
        return None
    steps = part_step[np.ix_(known, places)]
    tracks = shift[known][:, None] + len(places) * steps
    location, weight, distance = _find_locations(tracks)
    if np.median(distance, axis=0).max() <= OFF:
        return None
    new_shift, new_step = shift.copy(), part_step.copy()
    new_shift[known] = location
    counted = weight / weight.sum(axis=1, keepdims=True)
    new_step[np.ix_(known, places)] = counted[..., None] * (tracks - location[:, None])
    part_weight = np.full(part_step.shape[:2], np.nan)
    part_weight[:, places] = 1
    part_weight[np.ix_(known, places)] = weight
    error = np.where(known[:, None], STEP_ERROR * np.abs(new_shift - shift), 0)
    return Majority(new_shift, new_step, part_weight, error)


def weigh_parts(
    shift: NDArray[np.float64],
    part_step: NDArray[np.floating[Any]],
    pairs: Ints,
    part_weight: NDArray[np.floating[Any]],
) -> NDArray[np.float64]:
    """Weigh the parts of pairs as those of their frames are weighed in the solution.

    Parameters
    ----------
    shift, part_step : (pairs, axes) and (pairs, parts, axes), px
    pairs : (pairs, 2), frames
    part_weight : (frames, parts), 0..1; NaN: no such part

    Returns the shifts of the pairs (pairs, axes), px; unchanged where no part is known.
    """
    weight = np.nan_to_num(part_weight[pairs].min(axis=1).astype(np.float64))
    steps = part_step.astype(np.float64)
    known = np.asarray(np.isfinite(steps).all(axis=2))
    weight = np.where(known, weight, 0)
    count, total = known.sum(axis=1), weight.sum(axis=1)
    change = (weight[..., None] * np.where(known[..., None], steps, 0)).sum(axis=1)
    usable = (total > 0) & (weight < known).any(axis=1)
    factor = np.where(usable, count / np.where(total > 0, total, 1), 0)
    return np.asarray(shift + factor[:, None] * change)


def _find_locations(
    tracks: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Find the biweight location of the parts in every frame.

    `tracks` are (frames, parts, axes), px. Returns the locations (frames, axes), and for each part
    (frames, parts) its weight and how many deviations it lies from the others.
    """
    normal = float(np.sqrt(2 * special.gammaincinv(tracks.shape[2] / 2, 0.5)))  # the median of chi
    location = np.median(tracks, axis=1)
    distance = np.linalg.norm(tracks - location[:, None], axis=2)
    scale = np.maximum(np.median(distance, axis=1) / normal, LEAST_DEVIATION)[:, None]
    for _ in range(MOST_STEPS):
        distance = np.linalg.norm(tracks - location[:, None], axis=2) / scale
        weight = np.where(distance < BIWEIGHT, (1 - (distance / BIWEIGHT) ** 2) ** 2, 0.0)
        before = location
        location = (weight[..., None] * tracks).sum(axis=1) / weight.sum(axis=1)[:, None]
        if np.abs(location - before).max() < CLOSE:
            break
    return location, weight, distance
