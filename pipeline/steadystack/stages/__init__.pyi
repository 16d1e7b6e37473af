from .in_memory import (
    estimate_series,
    estimate_shifts,
    measure_series,
    open_stack,
    solve_in_memory,
)
from .many_inputs import TABLED, Command, Outcome, run_all, share_inputs
from .measuring import Progress, recall_run, recall_settings
from .reporting import (
    export,
    find_boxes_left_out,
    make_report_images,
)
from .results import (
    add_camera_images,
    check_same_frames,
    copy_camera_images,
    get_lasting_attributes,
    list_estimated_images,
    load_own_shifts,
    make_run_dataset,
    open_sums,
)
from .solving import recall_motion, solve_series
from .steps import correct, measure, plan, report, run, solve

__all__ = [
    "TABLED",
    "Command",
    "Outcome",
    "Progress",
    "add_camera_images",
    "check_same_frames",
    "copy_camera_images",
    "correct",
    "estimate_series",
    "estimate_shifts",
    "export",
    "find_boxes_left_out",
    "get_lasting_attributes",
    "list_estimated_images",
    "load_own_shifts",
    "make_report_images",
    "make_run_dataset",
    "measure",
    "measure_series",
    "open_stack",
    "open_sums",
    "plan",
    "recall_motion",
    "recall_run",
    "recall_settings",
    "report",
    "run",
    "run_all",
    "share_inputs",
    "solve",
    "solve_in_memory",
    "solve_series",
]
