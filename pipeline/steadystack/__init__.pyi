from . import plot
from .config import load_config
from .correction import correct, mean
from .joining import join_series
from .model import (
    FrameStatus,
    InputError,
    PairStatus,
    Registration,
    RunError,
    Verdict,
)
from .quality import edit_shifts, verdict
from .register import masked_ncc, register_translation
from .stages import estimate_shifts, open_stack, run, run_all

__version__: str

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
    "join_series",
    "load_config",
    "masked_ncc",
    "mean",
    "open_stack",
    "plot",
    "register_translation",
    "run",
    "run_all",
    "verdict",
]
