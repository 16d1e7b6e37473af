"""Move every frame by its shift: lazily, for a stack or a mean on disk, or for pictures.

- `movements`: how each frame is moved
- `lazy`: moves arrays
- `means`: their mean, and a series before and after
- `corrected`: lays out a stack on disk; `chunks` divides, `regions` moves and `writing` writes it
- `averaging`: plans and writes the mean of a stack on disk, from `moments`
"""

from steadystack.correction.averaging import check_own_mean, plan_mean, write_mean
from steadystack.correction.corrected import Corrected, hash_correct_settings, plan_corrected
from steadystack.correction.lazy import correct
from steadystack.correction.means import (
    SeriesImages,
    make_before_and_after,
    make_mean_before_and_after,
    mean,
)
from steadystack.correction.moments import SteadyMean
from steadystack.correction.movements import (
    Weights,
    find_defects_left_out,
    find_movements,
    find_shown_box,
    get_channel_offsets,
    get_linear,
    get_motion,
)
from steadystack.correction.writing import write_corrected, write_tiff

__all__ = [
    "Corrected",
    "SeriesImages",
    "SteadyMean",
    "Weights",
    "check_own_mean",
    "correct",
    "find_defects_left_out",
    "find_movements",
    "find_shown_box",
    "get_channel_offsets",
    "get_linear",
    "get_motion",
    "hash_correct_settings",
    "make_before_and_after",
    "make_mean_before_and_after",
    "mean",
    "plan_corrected",
    "plan_mean",
    "write_corrected",
    "write_mean",
    "write_tiff",
]
