"""The drift of a series: over time, and in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.model import FrameStatus, InputError, as_shifts
from steadystack.plot.canvas import COLOURS, MOST_MARKS, WORSE, axes_to_draw_on, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEEDED = ("shift_std", "frame_status", "pixel_size")


def drift(shifts: xr.Dataset, ax: Axes | None = None, *, physical: bool = False) -> Axes:
    """Drift over frames, or over time where it is known, with a band of two deviations.

    Frames without a shift are grey lines, frames whose shift is interpolated hollow points.

    Parameters
    ----------
    shifts : a solved shifts dataset
    ax : axes to draw on; None: the current ones
    physical : whether in the unit of the pixel size instead of pixels

    Returns
    -------
    matplotlib axes

    Raises
    ------
    InputError
        For what is no solved shifts dataset.
    """
    shifts, ax = as_shifts(shifts, *NEEDED), axes_to_draw_on(ax)
    scale, unit = _scale(shifts, physical)
    along, label = _along(shifts)
    interpolated = shifts["frame_status"].to_numpy() == FrameStatus.INTERPOLATED.code
    lost = ~np.isfinite(shifts["shift"].to_numpy()).all(axis=1)
    drawn = thinned(len(along), interpolated | lost)
    hollow = drawn[interpolated[drawn]]
    size = 3 if len(drawn) < 400 else 1.5
    for axis, name in enumerate(map(str, shifts["axis"].to_numpy())):
        values = -shifts["shift"].to_numpy()[:, axis] * scale[axis]
        spread = 2 * shifts["shift_std"].to_numpy()[:, axis] * scale[axis]
        colour = COLOURS[name]
        ax.plot(along[drawn], values[drawn], ".-", ms=size, lw=1, color=colour, label=name)
        low, high = (values + sign * spread for sign in (-1, 1))
        ax.fill_between(along[drawn], low[drawn], high[drawn], color=colour, alpha=0.25, lw=0)
        ax.plot(along[hollow], values[hollow], "o", ms=5, mfc="none", mec=colour, lw=0)
    marked = along[lost]
    if len(marked):
        edges = np.repeat(marked, 3), np.tile([0, 1, np.nan], len(marked))
        bars = ax.get_xaxis_transform()
        raster = len(marked) > MOST_MARKS
        ax.plot(*edges, color="0.6", alpha=0.4, lw=1, zorder=0, transform=bars, rasterized=raster)
    ax.locator_params(axis="x", integer=label == "frame")
    ax.set(xlabel=label, ylabel=f"drift / {unit}", title="drift, band: ± 2 std" + _lost(shifts))
    ax.legend(loc="best", frameon=False)
    return ax


def path(shifts: xr.Dataset, ax: Axes | None = None, *, physical: bool = False) -> Axes:
    """The way of the specimen in the plane of the last two axes; the first frame is marked.

    Parameters, return and errors as in `drift`.
    """
    shifts, ax = as_shifts(shifts, *NEEDED), axes_to_draw_on(ax)
    scale, unit = _scale(shifts, physical)
    names = [str(name) for name in shifts["axis"].to_numpy()]
    if len(names) < 2:
        raise InputError(f"a path needs two axes, and these shifts have {names}")
    values = -shifts["shift"].to_numpy() * scale
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    drawn = known[thinned(len(known), np.zeros(len(known), bool))]
    y, x = values[drawn, -2], values[drawn, -1]
    ax.plot(x, y, "-", lw=0.8, color="0.6", zorder=1)
    points = ax.scatter(x, y, c=drawn, s=9, cmap="viridis", zorder=2)
    if len(drawn):
        ax.plot(x[:1], y[:1], "o", ms=9, mfc="none", mec=WORSE, mew=1.5, zorder=3)
        ax.figure.colorbar(points, ax=ax, label="frame", shrink=0.8)
    ax.set_aspect("equal", adjustable="datalim")
    ax.invert_yaxis()
    ax.set(
        xlabel=f"drift along {names[-1]} / {unit}",
        ylabel=f"drift along {names[-2]} / {unit}",
        title="path, ring: the first frame",
    )
    return ax


def _along(shifts: xr.Dataset) -> tuple[NDArray[np.float64], str]:
    """What to draw over: time where it is known as a number, else the frame's index."""
    if "time" in shifts.coords and np.issubdtype(shifts["time"].dtype, np.floating):
        unit = shifts["time"].attrs.get("unit", "")
        return shifts["time"].to_numpy(), f"time / {unit}" if unit else "time"
    return shifts["frame"].to_numpy().astype(float), "frame"


def _scale(shifts: xr.Dataset, physical: bool) -> tuple[NDArray[np.float64], str]:
    """What a pixel is along every axis, and in which unit."""
    size = shifts["pixel_size"].to_numpy().astype(float)
    if not physical:
        return np.ones(len(size)), "px"
    if not np.isfinite(size).all():
        raise InputError("the size of a pixel is not known: physical=False draws pixels")
    return size, shifts["pixel_size"].attrs.get("units", "unit")


def _lost(shifts: xr.Dataset) -> str:
    """How many frames have no shift, and why."""
    lost = ~np.isfinite(shifts["shift"].to_numpy()).all(axis=1)
    codes = shifts["frame_status"].to_numpy()[lost]
    names = [str(FrameStatus.from_code(code)) for code in np.unique(codes)]
    return f"\ngrey: {int(lost.sum())} frames without a shift ({', '.join(names)})" if names else ""
