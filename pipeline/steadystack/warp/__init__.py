"""Move a frame by a shift; which part of it is known afterwards."""

from steadystack.warp.boxes import Box, common_box, source_part, whole_box, whole_shift
from steadystack.warp.frames import laid_out, to_dtype
from steadystack.warp.kernels import INTERPOLATIONS, REACH
from steadystack.warp.moving import check_interpolation, move, move_part

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
