"""Prepare pictures: matplotlib, figures and axes to draw on, colours, and not too many points."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"z": "#009e73", "y": "#d55e00", "x": "#0072b2"}
"""The colours of the axes, which colour-blind readers can tell apart, too."""
BAD, WORSE = "#cc79a7", "#e69f00"
# Most points of a curve that are drawn, and most marks that are not drawn as pixels.
MOST_POINTS, MOST_MARKS = 2000, 3000
EDGE = 0.04  # of a figure that is left blank, inches


def require_matplotlib() -> None:
    """Raise InputError if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise InputError("pictures need matplotlib: install steadystack[report]")


def new_figure(width: float, height: float, *, layout: bool = True) -> Figure:
    """An empty figure of this width and height, inches, that draws without a screen.

    `layout` says whether matplotlib places its axes; if not, call `lay_out` at the end.
    """
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": layout}):
        return Figure(figsize=(width, height))


def lay_out(figure: Figure) -> None:
    """Scale all axes of a figure alike, so that they and their labels fill it.

    Labels are measured once, where matplotlib's layouts measure them twice and draw once more.
    """
    from matplotlib.transforms import Bbox

    places = np.array([ax.get_position(original=True).get_points() for ax in figure.axes])
    boxes = [box for ax in figure.axes if (box := ax.get_tightbbox(for_layout_only=True))]
    outer = Bbox.union(boxes).transformed(figure.transFigure.inverted()).get_points()
    inner = np.array([places.min(axis=(0, 1)), places.max(axis=(0, 1))])
    edge = EDGE / figure.get_size_inches()
    room = np.array([edge, 1 - edge]) + inner - outer
    scale = (room[1] - room[0]) / (inner[1] - inner[0])
    if (scale > 0).all():
        for ax, place in zip(figure.axes, places, strict=True):
            ax.set_position(Bbox(room[0] + (place - inner[0]) * scale))


def make_plain(text: str) -> str:
    """Escape a text, such as a name, so that matplotlib draws it as it is: $ starts no formula."""
    return text.replace("$", r"\$")


def get_axes(ax: Axes | None) -> Axes:
    """The axes `ax`, or those that pyplot would draw on, as with xarray's plots."""
    if ax is not None:
        return ax
    require_matplotlib()
    from matplotlib import pyplot as plt

    return plt.gca()


def thin_out(count: int, is_marked: Bools, most: int = MOST_POINTS) -> NDArray[np.intp]:
    """Choose which points to draw: all if they are few, else evenly spread and marked ones.

    `is_marked` is (count,), `most` about how many are drawn. Returns indices, sorted.
    """
    step = max(-(-count // most), 1)
    is_chosen = np.zeros(count, bool)
    is_chosen[::step] = True
    is_chosen[-1:] = True
    if is_marked.sum() <= most:
        is_chosen |= is_marked
    return np.flatnonzero(is_chosen)
