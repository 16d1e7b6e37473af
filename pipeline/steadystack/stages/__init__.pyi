from .in_memory import estimate_series, estimate_shifts, open_stack
from .many_inputs import TABLED, Command, Outcome, run_all
from .measuring import Progress, recall_settings
from .reporting import export, find_boxes_left_out, make_report_images
from .results import list_estimated_images, load_own_shifts, open_sums
from .steps import correct, measure, plan, report, run, solve

__all__ = [
    "TABLED",
    "Command",
    "Outcome",
    "Progress",
    "correct",
    "estimate_series",
    "estimate_shifts",
    "export",
    "find_boxes_left_out",
    "list_estimated_images",
    "load_own_shifts",
    "make_report_images",
    "measure",
    "open_stack",
    "open_sums",
    "plan",
    "recall_settings",
    "report",
    "run",
    "run_all",
    "solve",
]
