"""What each part of the frame says of a pair: cells of a grid that are asked by themselves.

`grid` cuts the frame; `smoothing` makes frames ready; `score_sums` goes over the pixels of pairs
at their shift, and `scores` tells by how much each part moves the shift of the whole.
"""

from steadystack.parts.grid import PartGrid
from steadystack.parts.scores import (
    PartScores,
    compute_jackknife_std,
    compute_scores,
    compute_steps_of_pairs,
)
from steadystack.parts.smoothing import ScoreImage, SmoothedMask, make_score_image

__all__ = [
    "PartGrid",
    "PartScores",
    "ScoreImage",
    "SmoothedMask",
    "compute_jackknife_std",
    "compute_scores",
    "compute_steps_of_pairs",
    "make_score_image",
]
