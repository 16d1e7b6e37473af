"""Move a frame by a shift; which part of it is known afterwards.

`boxes` are parts of a frame and of what is moved, `moving` the values between the pixels.
"""

from steadystack.warp.boxes import (
    Box,
    convert_dtype,
    find_common_box,
    find_source_part,
    find_whole_box,
    place_on_canvas,
    round_shift,
)
from steadystack.warp.moving import INTERPOLATIONS, REACH, check_interpolation, move, move_part

__all__ = [
    "INTERPOLATIONS",
    "REACH",
    "Box",
    "check_interpolation",
    "convert_dtype",
    "find_common_box",
    "find_source_part",
    "find_whole_box",
    "move",
    "move_part",
    "place_on_canvas",
    "round_shift",
]
