"""steadystack: time-lapse drift correction that works on real, partly unusable images.

Given a stack and a mask, it measures the translation between pairs of frames by masked normalized
cross-correlation (Padfield 2012), solves all pairs together for one shift per frame, and says how
sure it is.
"""

from importlib.metadata import PackageNotFoundError, version

from steadystack import plot
from steadystack.config import load_config
from steadystack.correction import correct
from steadystack.model import (
    FrameStatus,
    InputError,
    PairStatus,
    Registration,
    RunError,
    Verdict,
)
from steadystack.quality import edit_shifts, verdict
from steadystack.register import masked_ncc, register_translation
from steadystack.stages import estimate_shifts, open_stack, run, run_all

try:
    __version__ = version("steadystack")
except PackageNotFoundError:  # imported from its folder, and not installed
    __version__ = "not installed"

__all__ = [
    "FrameStatus",
    "InputError",
    "PairStatus",
    "Registration",
    "RunError",
    "Verdict",
    "__version__",
    "correct",
    "edit_shifts",
    "estimate_shifts",
    "load_config",
    "masked_ncc",
    "open_stack",
    "plot",
    "register_translation",
    "run",
    "run_all",
    "verdict",
]
