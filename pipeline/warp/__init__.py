"""Move a frame by a shift; which part of it is known afterwards."""

from pipeline.warp.boxes import Box, common_box, source_part, whole_box, whole_shift
from pipeline.warp.frames import laid_out, to_dtype
from pipeline.warp.kernels import INTERPOLATIONS, REACH
from pipeline.warp.moving import check_interpolation, move, move_part

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
