"""What judges a run: checks that measure some pairs again, findings, advice, the verdict.

`judge` makes the verdict of tables and findings, with the words and the `advice` beside it.
`fixed_pattern_check`, `moving_parts` and `mask_check` look for what could be wrong; `worst_pairs`
are those to look at; `looks` says what holds no data in a frame.
"""

from steadystack.quality.advice import NO_MOTION_PX, Asked
from steadystack.quality.fixed_pattern_check import static_effect
from steadystack.quality.judge import judge
from steadystack.quality.looks import Border, constant_border, frequent_extremes
from steadystack.quality.mask_check import doubt_of_mask, mask_seen
from steadystack.quality.moving_parts import local_motion
from steadystack.quality.worst_pairs import close_ups

__all__ = [
    "NO_MOTION_PX",
    "Asked",
    "Border",
    "close_ups",
    "constant_border",
    "doubt_of_mask",
    "frequent_extremes",
    "judge",
    "local_motion",
    "mask_seen",
    "static_effect",
]
