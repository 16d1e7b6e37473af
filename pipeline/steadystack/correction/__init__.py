"""Move every frame by its shift: lazily, as a stack on disk, as pictures before and after.

`movements` says what becomes of every frame. `lazy` moves arrays; `means` shows a series before
and after. A stack on disk is laid out by `corrected`, cut into `chunks`, moved by `regions`, and
put together by `writing`.
"""

from steadystack.correction.corrected import Corrected, plan_corrected
from steadystack.correction.lazy import correct
from steadystack.correction.means import (
    SeriesImages,
    make_before_and_after,
    make_mean_before_and_after,
)
from steadystack.correction.movements import find_defects_left_out
from steadystack.correction.writing import write_corrected, write_tiff

__all__ = [
    "Corrected",
    "SeriesImages",
    "correct",
    "find_defects_left_out",
    "make_before_and_after",
    "make_mean_before_and_after",
    "plan_corrected",
    "write_corrected",
    "write_tiff",
]
