"""Frames moved by their shifts, and which of their pixels are known afterwards.

`boxes` are regions of frames and of moved frames; `moving` interpolates between the pixels, by the
filters of `separable`; `filling` gives these values where a mask has none, and `holes` fills small
ones for the eye.
"""

from steadystack.warp.boxes import (
    Box,
    convert_dtype,
    find_common_box,
    find_source_part,
    find_whole_box,
    round_shift,
)
from steadystack.warp.holes import HOLE_REACH, fill_small_holes
from steadystack.warp.moving import (
    INTERPOLATIONS,
    INVALID,
    REACH,
    check_interpolation,
    choose_work_dtype,
    move,
    move_part,
    place_on_canvas,
)

__all__ = [
    "HOLE_REACH",
    "INTERPOLATIONS",
    "INVALID",
    "REACH",
    "Box",
    "check_interpolation",
    "choose_work_dtype",
    "convert_dtype",
    "fill_small_holes",
    "find_common_box",
    "find_source_part",
    "find_whole_box",
    "move",
    "move_part",
    "place_on_canvas",
    "round_shift",
]
