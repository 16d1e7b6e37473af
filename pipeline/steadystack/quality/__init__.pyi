from .advice import AdviceSettings
from .assessment import edit_shifts, judge_stored, verdict
from .judge import LARGE_ERROR_PX, judge_series
from .widening import widen_errors
from .worst_pairs import make_close_ups

__all__ = [
    "LARGE_ERROR_PX",
    "AdviceSettings",
    "edit_shifts",
    "judge_series",
    "judge_stored",
    "make_close_ups",
    "verdict",
    "widen_errors",
]
