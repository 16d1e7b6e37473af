from .borders import Border, find_constant_border, find_far_value, find_no_data
from .change_search import measure_changes, measure_repeats, measure_unexplained
from .defect_search import find_defects, find_lines
from .field_search import find_field_of_view
from .object_tracing import follow_object
from .reach import average_boxes, choose_reach, find_coarse_shift, find_reach
from .slope_search import measure_slopes
from .static_evidence import (
    add_separable,
    has_little_detail,
    is_background_subtracted,
    is_explained,
    is_left_behind,
)
from .unchanged import FrameSums

__all__ = [
    "Border",
    "FrameSums",
    "add_separable",
    "average_boxes",
    "choose_reach",
    "find_coarse_shift",
    "find_constant_border",
    "find_defects",
    "find_far_value",
    "find_field_of_view",
    "find_lines",
    "find_no_data",
    "find_reach",
    "follow_object",
    "has_little_detail",
    "is_background_subtracted",
    "is_explained",
    "is_left_behind",
    "measure_changes",
    "measure_repeats",
    "measure_slopes",
    "measure_unexplained",
]
