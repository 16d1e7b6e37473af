"""How much of a series that seems to be at rest changes, over most of the frame.

Where something that stands still outweighs the scene, shifts say that nothing moves, and pairs
without it may say nothing at all. But a scene that moves behind it changes most pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steadystack.defects import choose_near, compare_changes
from steadystack.measure import Sample
from steadystack.pairs import spread_evenly
from steadystack.survey.slope_search import read_levelled

# Frames lie within so many pixels of one of them, most of them: what moves by less is explained.
REACH, LEAST_NEAR = 0.5, 0.75
# So many frames are looked at, at most, and no fewer.
MOST_FRAMES, FEWEST_FRAMES = 24, 6


def measure_changes(sample: Sample, shifts: NDArray[np.float64]) -> float:
    """Measure how much of a sample changes beside what makes no other scene of it.

    Relative to the detail of the mean frame; 0 where there is too little to tell, or frames move.

    Parameters
    ----------
    shifts : (frames, axes) pixels, NaN where not known: such frames are not looked at
    """
    near, known = choose_near(shifts, REACH), np.isfinite(shifts).all(axis=1)
    if len(near) < LEAST_NEAR * known.sum():
        return 0.0
    read = read_levelled(sample, spread_evenly(near, MOST_FRAMES), filtered=False)
    if read is None or len(read[0]) < FEWEST_FRAMES:
        return 0.0
    return compare_changes(*read)
