"""Judge a run: checks that measure some pairs again, findings, advice, the verdict.

`assessment` makes the checks of a run and gives the verdict on a dataset. `judge` has the verdict
and the findings from tables of pairs and frames; `advice` has every advice text, and the findings
from the checks. `fixed_pattern_check`, `moving_parts` and `mask_check` are these checks;
`worst_pairs` reads the pairs that fit worst again; `borders` finds pixels that seem to hold no
data.
"""

from steadystack.quality.advice import NO_MOTION_PX, AdviceSettings
from steadystack.quality.assessment import (
    CHECKED,
    check_series,
    edit_shifts,
    judge_stored,
    verdict,
)
from steadystack.quality.borders import Border, find_constant_border, find_no_data
from steadystack.quality.fixed_pattern_check import check_fixed_pattern
from steadystack.quality.judge import judge_series
from steadystack.quality.mask_check import check_mask, find_doubt_of_mask
from steadystack.quality.moving_parts import check_moving_parts
from steadystack.quality.worst_pairs import make_close_ups

__all__ = [
    "CHECKED",
    "NO_MOTION_PX",
    "AdviceSettings",
    "Border",
    "check_fixed_pattern",
    "check_mask",
    "check_moving_parts",
    "check_series",
    "edit_shifts",
    "find_constant_border",
    "find_doubt_of_mask",
    "find_no_data",
    "judge_series",
    "judge_stored",
    "make_close_ups",
    "verdict",
]
