"""Evaluate the parts of the frame separately: how each of them contributes to a pair's shift.

- `grid`: divides the frame into parts
- `smoothing`: prepares frames
- `score_sums`: sums over the pixels of a pair at its shift
- `scores`: by how much each part moves the shift of the whole frame
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
