"""From settings to an opened run: everything that is known before the first frame is read.

`inputs` are the settings of each of many inputs; `series` opens a stack with its masks; `prior` is
what is known of shifts before; `layout` makes pairs, method and sizes of tasks; `forecast` says
what that will take.
"""

from steadystack.planning.forecast import CorrectedPlan, Plan, plan_of, workers_that_fit
from steadystack.planning.inputs import ALL, images_of, inputs_of, only_input
from steadystack.planning.layout import (
    Setup,
    default_task_bytes,
    set_up,
    settings_that_differ,
    wanted_workers,
)
from steadystack.planning.prior import given_shifts
from steadystack.planning.series import Series, check_frames, in_memory, open_series, still_digests

__all__ = [
    "ALL",
    "CorrectedPlan",
    "Plan",
    "Series",
    "Setup",
    "check_frames",
    "default_task_bytes",
    "given_shifts",
    "images_of",
    "in_memory",
    "inputs_of",
    "only_input",
    "open_series",
    "plan_of",
    "set_up",
    "settings_that_differ",
    "still_digests",
    "wanted_workers",
    "workers_that_fit",
]
