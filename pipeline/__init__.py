"""steadystack: time-lapse drift correction that works on real, partly unusable images.

Given a stack and a mask, it measures the translation between pairs of frames by masked normalized
cross-correlation (Padfield 2012), solves all pairs together for one shift per frame, and says how
sure it is.
"""

from pipeline import plot
from pipeline.config import load_config
from pipeline.correct import correct
from pipeline.model import InputError, PairStatus, Registration
from pipeline.register import masked_ncc, register_translation
from pipeline.stages import estimate_shifts, open_stack, run, run_all

__all__ = [
    "InputError",
    "PairStatus",
    "Registration",
    "correct",
    "estimate_shifts",
    "load_config",
    "masked_ncc",
    "open_stack",
    "plot",
    "register_translation",
    "run",
    "run_all",
]
