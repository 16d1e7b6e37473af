"""The pairs of a series: their residuals, what they look like, and which to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.model import Bools, InputError, PairStatus, Status, as_shifts
from steadystack.plot.canvas import BAD, COLOURS, MOST_MARKS, WORSE, axes_to_draw_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OF_STATUS: dict[Status, str] = {PairStatus.OK: COLOURS["x"], PairStatus.REJECTED: BAD}
ENDS = ("pair_reference", "pair_moving", "pair_status")
# Cells per side of a matrix; frames and lags beyond share them.
MOST_CELLS = 400
# Of pairs that fit, so many lie below the top of the colours.
TOP_PERCENT = 99.0


def residuals(
    shifts: xr.Dataset, ax: Axes | None = None, *, kind: Literal["lag", "matrix"] = "lag"
) -> Axes:
    """What every pair says minus what the solution says.

    Parameters
    ----------
    shifts : a solved shifts dataset
    ax : axes to draw on; None: the current ones
    kind : "lag" draws them over the frames between reference and moving, "matrix" their size
        over reference and moving (over reference and lag where pairs are near each other), with
        the pairs that have no shift or are rejected in colours of their own

    Returns
    -------
    matplotlib axes

    Raises
    ------
    InputError
        For what is no solved shifts dataset.
    """
    if kind not in ("lag", "matrix"):
        raise InputError(f"kind {kind!r} is neither lag nor matrix")
    shifts = as_shifts(shifts, *ENDS, "pair_residual", "pair_count")
    ax = axes_to_draw_on(ax)
    return _matrix(shifts, ax) if kind == "matrix" else _over_lags(shifts, ax)


def pairs(shifts: xr.Dataset, ax: Axes | None = None) -> Axes:
    """NCC and overlap of every pair of a shifts dataset, solved or not, by status."""
    shifts = as_shifts(shifts, *ENDS, "pair_ncc", "pair_overlap", solved=False)
    ax = axes_to_draw_on(ax)
    status = shifts["pair_status"].to_numpy()
    ncc, overlap = shifts["pair_ncc"].to_numpy(), shifts["pair_overlap"].to_numpy()
    raster = len(status) > MOST_MARKS
    for code in np.unique(status):
        rows = status == code
        name = PairStatus.from_code(code)
        colour = OF_STATUS.get(name, WORSE)
        marker = "." if name is PairStatus.OK else "x"
        if np.isfinite(ncc[rows]).any():
            ax.plot(
                overlap[rows], ncc[rows], marker, ms=4, alpha=0.6, color=colour, lw=0,
                label=f"{name} ({rows.sum()})", rasterized=raster,
            )  # fmt: skip
    ax.locator_params(axis="x", nbins=6)
    ax.set(xlabel="overlap", ylabel="NCC at the peak", title="pairs: likeness and overlap")
    if ax.has_data():
        ax.legend(loc="best", frameon=False)
    return ax


def _over_lags(shifts: xr.Dataset, ax: Axes) -> Axes:
    lag = (shifts["pair_moving"] - shifts["pair_reference"]).to_numpy()
    rejected = shifts["pair_status"].to_numpy() == PairStatus.REJECTED.code
    raster = len(lag) > MOST_MARKS
    for axis, name in enumerate(map(str, shifts["axis"].to_numpy())):
        residual = np.where(rejected, np.nan, shifts["pair_residual"].to_numpy()[:, axis])
        ax.plot(
            lag, residual, ".", ms=3, alpha=0.5, color=COLOURS[name], label=name, rasterized=raster
        )
    note = f", {rejected.sum()} more are rejected (not shown)" if rejected.any() else ""
    usable = int(shifts["pair_count"].to_numpy().sum()) // 2
    ax.axhline(0, color="0.5", lw=0.8)
    ax.locator_params(axis="x", integer=True)
    ax.set(
        xlabel="frames between reference and moving",
        ylabel="residual / px",
        title=f"{usable} of {len(lag)} pairs are usable{note}",
    )
    return ax


def _matrix(shifts: xr.Dataset, ax: Axes) -> Axes:
    from matplotlib.colors import ListedColormap

    reference, moving = (shifts[f"pair_{end}"].to_numpy() for end in ("reference", "moving"))
    lag = moving - reference
    near = len(lag) > 0 and np.abs(lag).max() * 4 < shifts.sizes["frame"]
    up, label = (lag, "moving - reference / frames") if near else (moving, "moving / frame")
    status = shifts["pair_status"].to_numpy()
    fits, rejected = (status == one.code for one in (PairStatus.OK, PairStatus.REJECTED))
    size = np.sqrt((shifts["pair_residual"].to_numpy() ** 2).sum(axis=1))
    extent = (*_span(reference), *_span(up))
    top = float(np.percentile(size[fits], TOP_PERCENT)) if fits.any() else 1.0
    place = _cells(reference, up, extent)
    image = _largest(place, np.where(fits, size, np.nan), fits)
    drawn = ax.imshow(
        image, origin="lower", extent=extent, aspect="auto", interpolation="nearest",
        cmap="viridis", vmin=0, vmax=top or 1.0,
    )  # fmt: skip
    for rows, colour in ((~fits & ~rejected, WORSE), (rejected, BAD)):
        marks = _largest(place, np.ones(len(lag)), rows)
        ax.imshow(
            marks, origin="lower", extent=extent, aspect="auto", interpolation="nearest",
            cmap=ListedColormap([colour]),
        )  # fmt: skip
    ax.figure.colorbar(drawn, ax=ax, label="residual / px", shrink=0.8)
    ax.locator_params(integer=True)
    ax.set(
        xlabel="reference / frame",
        ylabel=label,
        title=f"residuals; {int(rejected.sum())} rejected (pink), "
        f"{int((~fits & ~rejected).sum())} without a shift (orange)",
    )
    return ax


def _span(values: NDArray[np.int64]) -> tuple[float, float]:
    """From the first of these numbers to behind the last."""
    return (float(values.min()), float(values.max()) + 1) if len(values) else (0.0, 1.0)


def _cells(
    x: NDArray[np.int64], y: NDArray[np.int64], extent: tuple[float, float, float, float]
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[int, int]]:
    """The cell of every pair in a matrix of at most `MOST_CELLS` per side, and its shape."""
    left, right, low, high = extent
    width, height = (min(int(size), MOST_CELLS) for size in (right - left, high - low))
    column = ((x - left) * width / (right - left)).astype(np.int64)
    row = ((y - low) * height / (high - low)).astype(np.int64)
    return row, column, (height, width)


def _largest(
    place: tuple[NDArray[np.int64], NDArray[np.int64], tuple[int, int]],
    values: NDArray[np.float64],
    rows: Bools,
) -> NDArray[np.float64]:
    """The largest value of these pairs in every cell; NaN where there is none."""
    row, column, shape = place
    image = np.full(shape, -np.inf)
    np.maximum.at(image, (row[rows], column[rows]), values[rows])
    return np.where(np.isfinite(image), image, np.nan)
