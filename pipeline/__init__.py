"""steadystack: time-lapse drift correction that works on real, partly unusable images."""

from pipeline.model import InputError, PairStatus, Registration
from pipeline.register import masked_ncc, register_translation

__all__ = [
    "InputError",
    "PairStatus",
    "Registration",
    "masked_ncc",
    "register_translation",
]
