"""From settings to an opened run: everything that is known before the first frame is read.

`inputs` are the settings of each of many inputs; `series` opens a stack with its masks;
`initial_shifts` is what is known of shifts before; `layout` makes pairs, method and sizes of tasks;
`forecast` says what that will take. `paths` refuses outputs on inputs or on each other.
"""

from steadystack.planning.forecast import CorrectedPlan, Plan, count_fitting_workers, make_plan
from steadystack.planning.initial_shifts import convert_initial_shifts
from steadystack.planning.inputs import (
    ALL,
    PLACEHOLDER,
    list_images,
    resolve_inputs,
    resolve_only_input,
)
from steadystack.planning.layout import (
    Setup,
    count_wanted_workers,
    decide,
    get_default_task_bytes,
    leave_out_defects,
    list_changed_settings,
    set_up,
)
from steadystack.planning.paths import check_paths
from steadystack.planning.series import (
    Series,
    check_frames,
    digest_camera_images,
    make_series,
    open_series,
)

__all__ = [
    "ALL",
    "PLACEHOLDER",
    "CorrectedPlan",
    "Plan",
    "Series",
    "Setup",
    "check_frames",
    "check_paths",
    "convert_initial_shifts",
    "count_fitting_workers",
    "count_wanted_workers",
    "decide",
    "digest_camera_images",
    "get_default_task_bytes",
    "leave_out_defects",
    "list_changed_settings",
    "list_images",
    "make_plan",
    "make_series",
    "open_series",
    "resolve_inputs",
    "resolve_only_input",
    "set_up",
]
