"""Judge a run by what its checks found: findings, advice, the verdict.

`assessment` gives the verdict on a dataset. `judge` has the verdict and the findings on frames,
`pair_findings` those on pairs, `check_findings` those from the checks; `advice` has every advice
text; `worst_pairs` reads the pairs that fit worst again.
"""

from steadystack.quality.advice import AdviceSettings
from steadystack.quality.assessment import edit_shifts, judge_stored, verdict, widen_errors
from steadystack.quality.judge import judge_series
from steadystack.quality.worst_pairs import make_close_ups

__all__ = [
    "AdviceSettings",
    "edit_shifts",
    "judge_series",
    "judge_stored",
    "make_close_ups",
    "verdict",
    "widen_errors",
]
