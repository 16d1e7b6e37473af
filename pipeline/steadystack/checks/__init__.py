"""Check what could be wrong with a measured series, on some of its frames and pairs.

`run_checks` makes all checks of a run. `fixed_pattern_check`, `moving_parts`, `mask_check`,
`probe_pairs` and `sharpness` are these; `pilot` tries conditionings, before a run and after it;
`sampling` says which pairs and pixels they look at; `borders` finds pixels that seem to hold no
data.
"""

from steadystack.checks.borders import Border, find_constant_border, find_no_data
from steadystack.checks.fixed_pattern_check import check_fixed_pattern
from steadystack.checks.mask_check import NO_MOTION_PX, check_mask, find_doubt_of_mask
from steadystack.checks.moving_parts import check_moving_parts
from steadystack.checks.pilot import find_defects, find_what_to_leave_out, run_pilot
from steadystack.checks.probe_pairs import check_probe_pairs, list_boxes
from steadystack.checks.run_checks import CHECKED, PROBES, check_series, is_majority_confirmed
from steadystack.checks.sampling import name_parts
from steadystack.checks.sharpness import check_sharpness

__all__ = [
    "CHECKED",
    "NO_MOTION_PX",
    "PROBES",
    "Border",
    "check_fixed_pattern",
    "check_mask",
    "check_moving_parts",
    "check_probe_pairs",
    "check_series",
    "check_sharpness",
    "find_constant_border",
    "find_defects",
    "find_doubt_of_mask",
    "find_no_data",
    "find_what_to_leave_out",
    "is_majority_confirmed",
    "list_boxes",
    "name_parts",
    "run_pilot",
]
