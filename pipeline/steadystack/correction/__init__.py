"""Move every frame by its shift: lazily, as a stack or a mean on disk, for pictures.

`movements` says what becomes of every frame. `lazy` moves arrays; `means` takes their mean, and
shows a series before and after. A stack on disk is laid out by `corrected`, cut into `chunks`,
moved by `regions`, and put together by `writing`; its mean is planned and written by `averaging`
from `moments`.
"""

from steadystack.correction.averaging import check_own_mean, plan_mean, write_mean
from steadystack.correction.corrected import Corrected, compute_how, plan_corrected
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
    "compute_how",
    "correct",
    "find_defects_left_out",
    "find_movements",
    "find_shown_box",
    "get_channel_offsets",
    "get_linear",
    "get_motion",
    "make_before_and_after",
    "make_mean_before_and_after",
    "mean",
    "plan_corrected",
    "plan_mean",
    "write_corrected",
    "write_mean",
    "write_tiff",
]
