from .forecast import CorrectedPlan, Plan, count_fitting_workers, format_mib, make_plan
from .growth import LOOKED_AT_AGAIN, look_again, recall_growth
from .initial_shifts import convert_initial_shifts, read_mean_weights
from .inputs import (
    ALL,
    PLACEHOLDER,
    list_images,
    name_inputs,
    resolve_inputs,
    resolve_only_input,
)
from .layout import (
    Setup,
    bound_search,
    count_wanted_workers,
    decide,
    get_default_task_bytes,
    leave_out_found,
    list_changed_settings,
    set_up,
)
from .masking import convert_object_mask
from .outside_image import (
    convert_outside_image,
    digest_camera_images,
    find_other_size,
    locate_other_stack,
)
from .paths import check_further, check_paths, check_target
from .series import (
    Growth,
    Series,
    check_frames,
    follow_path,
    make_series,
    open_series,
)

__all__ = [
    "ALL",
    "LOOKED_AT_AGAIN",
    "PLACEHOLDER",
    "CorrectedPlan",
    "Growth",
    "Plan",
    "Series",
    "Setup",
    "bound_search",
    "check_frames",
    "check_further",
    "check_paths",
    "check_target",
    "convert_initial_shifts",
    "convert_object_mask",
    "convert_outside_image",
    "count_fitting_workers",
    "count_wanted_workers",
    "decide",
    "digest_camera_images",
    "find_other_size",
    "follow_path",
    "format_mib",
    "get_default_task_bytes",
    "leave_out_found",
    "list_changed_settings",
    "list_images",
    "locate_other_stack",
    "look_again",
    "make_plan",
    "make_series",
    "name_inputs",
    "open_series",
    "read_mean_weights",
    "recall_growth",
    "resolve_inputs",
    "resolve_only_input",
    "set_up",
]
