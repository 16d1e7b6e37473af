"""Move a frame by a shift; which part of it is known afterwards.

`boxes` are parts of a frame and of what is moved, `moving` the values between the pixels.
"""

from steadystack.warp.boxes import (
    Box,
    common_box,
    laid_out,
    source_part,
    to_dtype,
    whole_box,
    whole_shift,
)
from steadystack.warp.moving import INTERPOLATIONS, REACH, check_interpolation, move, move_part

__all__ = [
    "INTERPOLATIONS",
    "REACH",
    "Box",
    "check_interpolation",
    "common_box",
    "laid_out",
    "move",
    "move_part",
    "source_part",
    "to_dtype",
    "whole_box",
    "whole_shift",
]
