from .fixed_pattern_check import check_fixed_pattern, is_at_rest
from .mask_check import NO_MOTION_PX, check_mask, explain_doubtful_mask
from .moving_parts import check_moving_parts
from .pilot import find_what_to_leave_out, run_pilot, try_pairs
from .probe_pairs import check_probe_pairs
from .probing import list_boxes
from .run_checks import (
    CHECKED,
    FAILED_CHECKS,
    FIXED_PATTERN_EFFECT,
    PROBES,
    SHARPNESS,
    check_channel_offsets,
    check_linear_motion,
    check_series,
    is_checked,
    is_majority_confirmed,
    read_check,
    read_failed_checks,
    read_local_motion,
    read_unmodelled_motion,
)
from .sampling import CoarseFrames, name_parts
from .sharpness import check_sharpness

__all__ = [
    "CHECKED",
    "FAILED_CHECKS",
    "FIXED_PATTERN_EFFECT",
    "NO_MOTION_PX",
    "PROBES",
    "SHARPNESS",
    "CoarseFrames",
    "check_channel_offsets",
    "check_fixed_pattern",
    "check_linear_motion",
    "check_mask",
    "check_moving_parts",
    "check_probe_pairs",
    "check_series",
    "check_sharpness",
    "explain_doubtful_mask",
    "find_what_to_leave_out",
    "is_at_rest",
    "is_checked",
    "is_majority_confirmed",
    "list_boxes",
    "name_parts",
    "read_check",
    "read_failed_checks",
    "read_local_motion",
    "read_unmodelled_motion",
    "run_pilot",
    "try_pairs",
]
