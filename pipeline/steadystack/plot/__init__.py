"""Figures of a shifts dataset for Python: they take axes, draw on them, and return them.

`curves` draws tables, `nodes` local shifts, `pictures` images and masks, on a `canvas`.
"""

from steadystack.plot.canvas import COLOURS, lay_out, make_plain, new_figure, require_matplotlib
from steadystack.plot.curves import drift, pairs, path, residuals
from steadystack.plot.nodes import NodeShifts, local_shifts, local_traces
from steadystack.plot.pictures import (
    before_after,
    check_picture,
    draw_overlay,
    find_grey_range,
    kymograph,
)

__all__ = [
    "COLOURS",
    "NodeShifts",
    "before_after",
    "check_picture",
    "draw_overlay",
    "drift",
    "find_grey_range",
    "kymograph",
    "lay_out",
    "local_shifts",
    "local_traces",
    "make_plain",
    "new_figure",
    "pairs",
    "path",
    "require_matplotlib",
    "residuals",
]
