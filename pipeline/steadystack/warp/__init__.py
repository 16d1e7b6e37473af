"""Move frames by their shifts, and find which of their pixels are known afterwards.

- `boxes`: regions of frames and of moved frames
- `moving`: moves by a shift, interpolating with the filters of `separable`
- `turning`: moves by a `linear` motion or by local `fields`, interpolating with `splines`
- `filling`: gives values to pixels that a mask excludes
- `holes`: fills small holes, for display
"""

from steadystack.warp.boxes import (
    Box,
    convert_dtype,
    find_common_box,
    find_source_part,
    find_whole_box,
    join_parts,
    round_shift,
)
from steadystack.warp.fields import AnyMotion, LocalField, make_nodes
from steadystack.warp.holes import HOLE_REACH, fill_small_holes
from steadystack.warp.linear import (
    compute_rotation,
    compute_rotation_vector,
    compute_scale,
    find_middle,
    find_moved_corners,
    make_affine,
)
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
from steadystack.warp.turning import (
    check_linear_interpolation,
    find_spread,
    find_warped_common_box,
    find_warped_part,
    find_warped_whole_box,
    warp,
    warp_part,
)

__all__ = [
    "HOLE_REACH",
    "INTERPOLATIONS",
    "INVALID",
    "REACH",
    "AnyMotion",
    "Box",
    "LocalField",
    "check_interpolation",
    "check_linear_interpolation",
    "choose_work_dtype",
    "compute_rotation",
    "compute_rotation_vector",
    "compute_scale",
    "convert_dtype",
    "fill_small_holes",
    "find_common_box",
    "find_middle",
    "find_moved_corners",
    "find_source_part",
    "find_spread",
    "find_warped_common_box",
    "find_warped_part",
    "find_warped_whole_box",
    "find_whole_box",
    "join_parts",
    "make_affine",
    "make_nodes",
    "move",
    "move_part",
    "place_on_canvas",
    "round_shift",
    "warp",
    "warp_part",
]
