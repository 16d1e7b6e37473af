"""What each part of the frame says about a pair: cells of a grid, evaluated separately.

- `grid`: divides the frame
- `smoothing`: prepares frames
- `score_sums`: sums over the pixels of pairs at their shift
- `scores`: by how much each part moves the shift of the whole
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
