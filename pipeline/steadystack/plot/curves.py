"""Draw tables of a shifts dataset: drift over time and in the plane, residuals, NCC and overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.model import Bools, FrameStatus, InputError, PairStatus, Status, as_shifts
from steadystack.plot.canvas import BAD, COLOURS, MOST_MARKS, WORSE, get_axes, make_plain, thin_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEEDED = ("frame_shift_std", "frame_status", "pixel_size")


def drift(shifts: xr.Dataset, ax: Axes | None = None, *, physical: bool = False) -> Axes:
    """Draw drift over frames, or over time if it is known, with a band of two standard deviations.

    Frames without a shift are grey lines; frames with an interpolated shift are hollow points.

    Parameters
    ----------
    shifts : a solved shifts dataset
    ax : axes to draw on; None: the current ones
    physical : whether to draw in the unit of the pixel size instead of pixels

    Returns
    -------
    matplotlib axes

    Raises
    ------
    InputError
        For anything other than a solved shifts dataset.
    """
    shifts, ax = as_shifts(shifts, *NEEDED), get_axes(ax)
    scale, unit = _get_scale(shifts, physical)
    abscissa, label = get_abscissa(shifts)
    is_interpolated = shifts["frame_status"].to_numpy() == FrameStatus.INTERPOLATED.code
    is_lost = ~np.isfinite(shifts["frame_shift"].to_numpy()).all(axis=1)
    drawn_frames = thin_out(len(abscissa), is_interpolated | is_lost)
    hollow_frames = drawn_frames[is_interpolated[drawn_frames]]
    marker_size = 3 if len(drawn_frames) < 400 else 1.5
    for axis, name in enumerate(map(str, shifts["axis"].to_numpy())):
        values = -shifts["frame_shift"].to_numpy()[:, axis] * scale[axis]
        band = 2 * shifts["frame_shift_std"].to_numpy()[:, axis] * scale[axis]
        colour = COLOURS[name]
        drawn_values, hollow_values = values[drawn_frames], values[hollow_frames]
        ax.plot(
            abscissa[drawn_frames],
            drawn_values,
            ".-",
            ms=marker_size,
            lw=1,
            color=colour,
            label=name,
        )
        lower, upper = ((values + sign * band)[drawn_frames] for sign in (-1, 1))
        ax.fill_between(abscissa[drawn_frames], lower, upper, color=colour, alpha=0.25, lw=0)
        ax.plot(abscissa[hollow_frames], hollow_values, "o", ms=5, mfc="none", mec=colour, lw=0)
    lost_at = abscissa[is_lost]
    if len(lost_at):
        edges = np.repeat(lost_at, 3), np.tile([0, 1, np.nan], len(lost_at))
        bars = ax.get_xaxis_transform()
        raster = len(lost_at) > MOST_MARKS
        ax.plot(*edges, color="0.6", alpha=0.4, lw=1, zorder=0, transform=bars, rasterized=raster)
    ax.locator_params(axis="x", integer=label == "frame")
    ax.set(
        xlabel=label,
        ylabel=f"drift / {unit}",
        title="drift (band: ± 2 std)" + _describe_lost(shifts),
    )
    ax.legend(loc="best", frameon=False)
    return ax


def path(shifts: xr.Dataset, ax: Axes | None = None, *, physical: bool = False) -> Axes:
    """Draw the path of the specimen in the plane of the last two axes; a ring is the first frame.

    Parameters
    ----------
    shifts : a solved shifts dataset, with at least two axes
    ax : axes to draw on; None: the current ones
    physical : whether to draw in the unit of the pixel size instead of pixels

    Returns
    -------
    matplotlib axes

    Raises
    ------
    InputError
        For anything other than a solved shifts dataset, or for shifts along one axis.
    """
    shifts, ax = as_shifts(shifts, *NEEDED), get_axes(ax)
    scale, unit = _get_scale(shifts, physical)
    names = [str(name) for name in shifts["axis"].to_numpy()]
    if len(names) < 2:
        raise InputError(f"a path needs two axes, but these shifts have {names}")
    values = -shifts["frame_shift"].to_numpy() * scale
    known_frames = np.flatnonzero(np.isfinite(values).all(axis=1))
    drawn_frames = known_frames[thin_out(len(known_frames), np.zeros(len(known_frames), bool))]
    y, x = values[drawn_frames, -2], values[drawn_frames, -1]
    ax.plot(x, y, "-", lw=0.8, color="0.6", zorder=1)
    numbers = shifts["frame"].to_numpy()[drawn_frames]
    points = ax.scatter(x, y, c=numbers, s=9, cmap="viridis", zorder=2)
    if len(drawn_frames):
        ax.plot(x[:1], y[:1], "o", ms=9, mfc="none", mec=WORSE, mew=1.5, zorder=3)
        ax.figure.colorbar(points, ax=ax, label="frame", shrink=0.8)
    ax.set_aspect("equal", adjustable="datalim")
    ax.invert_yaxis()
    ax.set(
        xlabel=f"drift along {names[-1]} / {unit}",
        ylabel=f"drift along {names[-2]} / {unit}",
        title="path (ring: first frame)",
    )
    return ax


def get_abscissa(shifts: xr.Dataset) -> tuple[NDArray[np.float64], str]:
    """The frames' times (frames,) if they are known, else their indices, and the axis' label."""
    if "time" in shifts.coords and np.issubdtype(shifts["time"].dtype, np.floating):
        unit = make_plain(str(shifts["time"].attrs.get("unit", "")))
        return shifts["time"].to_numpy(), f"time / {unit}" if unit else "time"
    return shifts["frame"].to_numpy().astype(float), "frame"


def _get_scale(shifts: xr.Dataset, physical: bool) -> tuple[NDArray[np.float64], str]:
    """The factors (axes,) from pixels to the unit that is drawn, and that unit."""
    size = shifts["pixel_size"].to_numpy().astype(float)
    if not physical:
        return np.ones(len(size)), "px"
    if not np.isfinite(size).all():
        raise InputError("the pixel size is not known: physical=False draws pixels")
    return size, make_plain(str(shifts["pixel_size"].attrs.get("units", "unit")))


def _describe_lost(shifts: xr.Dataset) -> str:
    """Say how many frames have no shift, and why; "" if all have one."""
    is_lost = ~np.isfinite(shifts["frame_shift"].to_numpy()).all(axis=1)
    codes = shifts["frame_status"].to_numpy()[is_lost]
    names = [str(FrameStatus.from_code(code)) for code in np.unique(codes)]
    if not names:
        return ""
    return f"\ngrey: {int(is_lost.sum())} frames without a shift ({', '.join(names)})"


COLOUR_BY_STATUS: dict[Status, str] = {PairStatus.OK: COLOURS["x"], PairStatus.REJECTED: BAD}
ENDS = ("pair_reference", "pair_moving", "pair_status")
# Cells per side of a matrix; with more frames or separations, several share a cell.
MOST_CELLS = 400
# The percentile of the residuals that has the highest colour.
TOP_PERCENT = 99.0


def residuals(
    shifts: xr.Dataset,
    ax: Axes | None = None,
    *,
    kind: Literal["separation", "matrix"] = "separation",
) -> Axes:
    """Draw residuals: the shift of every pair minus that of the solution.

    Parameters
    ----------
    shifts : a solved shifts dataset
    ax : axes to draw on; None: the current ones
    kind : "separation" draws them over moving - reference; "matrix" draws their size over reference
        and moving (or over reference and separation if all pairs are close), with separate colours
        for rejected pairs and pairs without a shift

    Returns
    -------
    matplotlib axes

    Raises
    ------
    InputError
        For anything other than a solved shifts dataset.
    """
    if kind not in ("separation", "matrix"):
        raise InputError(f"kind {kind!r} is neither separation nor matrix")
    shifts = as_shifts(shifts, *ENDS, "pair_residual", "pair_count")
    ax = get_axes(ax)
    return _draw_matrix(shifts, ax) if kind == "matrix" else _draw_over_separations(shifts, ax)


def pairs(shifts: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw NCC over overlap of every pair, coloured by status; the dataset need not be solved."""
    shifts = as_shifts(shifts, *ENDS, "pair_ncc", "pair_overlap", solved=False)
    ax = get_axes(ax)
    status = shifts["pair_status"].to_numpy()
    ncc, overlap = shifts["pair_ncc"].to_numpy(), shifts["pair_overlap"].to_numpy()
    raster = len(status) > MOST_MARKS
    for code in np.unique(status):
        rows = status == code
        name = PairStatus.from_code(code)
        colour = COLOUR_BY_STATUS.get(name, WORSE)
        marker = "." if name is PairStatus.OK else "x"
        if np.isfinite(ncc[rows]).any():
            ax.plot(
                overlap[rows], ncc[rows], marker, ms=4, alpha=0.6, color=colour, lw=0,
                label=f"{name} ({rows.sum()})", rasterized=raster,
            )  # fmt: skip
    ax.locator_params(axis="x", nbins=6)
    ax.set(xlabel="overlap", ylabel="NCC at the peak", title="pairs: NCC and overlap")
    if ax.has_data():
        ax.legend(loc="best", frameon=False)
    return ax


def _draw_over_separations(shifts: xr.Dataset, ax: Axes) -> Axes:
    """Draw the residuals of every pair over its separation, moving - reference."""
    separation = (shifts["pair_moving"] - shifts["pair_reference"]).to_numpy()
    is_rejected = shifts["pair_status"].to_numpy() == PairStatus.REJECTED.code
    raster = len(separation) > MOST_MARKS
    for axis, name in enumerate(map(str, shifts["axis"].to_numpy())):
        residual = np.where(is_rejected, np.nan, shifts["pair_residual"].to_numpy()[:, axis])
        ax.plot(
            separation,
            residual,
            ".",
            ms=3,
            alpha=0.5,
            color=COLOURS[name],
            label=name,
            rasterized=raster,
        )
    note = f", {is_rejected.sum()} rejected (not shown)" if is_rejected.any() else ""
    usable = int(shifts["pair_count"].to_numpy().sum()) // 2
    ax.axhline(0, color="0.5", lw=0.8)
    ax.locator_params(axis="x", integer=True)
    ax.set(
        xlabel="moving - reference / frames",
        ylabel="residual / px",
        title=f"{usable} of {len(separation)} pairs are usable{note}",
    )
    return ax


def _draw_matrix(shifts: xr.Dataset, ax: Axes) -> Axes:
    """Draw residual size over reference and moving frame, or over separation if all are close."""
    from matplotlib.colors import ListedColormap

    reference, moving = (shifts[f"pair_{end}"].to_numpy() for end in ("reference", "moving"))
    separation = moving - reference
    is_near = len(separation) > 0 and np.abs(separation).max() * 4 < shifts.sizes["frame"]
    ordinate, label = (
        (separation, "moving - reference / frames") if is_near else (moving, "moving / frame")
    )
    status = shifts["pair_status"].to_numpy()
    is_ok, is_rejected = status == PairStatus.OK.code, status == PairStatus.REJECTED.code
    size = np.sqrt((shifts["pair_residual"].to_numpy() ** 2).sum(axis=1))
    extent = (*_get_span(reference), *_get_span(ordinate))
    largest_colour = float(np.percentile(size[is_ok], TOP_PERCENT)) if is_ok.any() else 1.0
    cells = _bin_pairs(reference, ordinate, extent)
    image = _find_largest(cells, np.where(is_ok, size, np.nan), is_ok)
    mappable = ax.imshow(
        image, origin="lower", extent=extent, aspect="auto", interpolation="nearest",
        cmap="viridis", vmin=0, vmax=largest_colour or 1.0,
    )  # fmt: skip
    for rows, colour in ((~is_ok & ~is_rejected, WORSE), (is_rejected, BAD)):
        marks = _find_largest(cells, np.ones(len(separation)), rows)
        ax.imshow(
            marks, origin="lower", extent=extent, aspect="auto", interpolation="nearest",
            cmap=ListedColormap([colour]),
        )  # fmt: skip
    ax.figure.colorbar(mappable, ax=ax, label="residual / px", shrink=0.8)
    ax.locator_params(integer=True)
    ax.set(
        xlabel="reference / frame",
        ylabel=label,
        title=f"residuals; {int(is_rejected.sum())} rejected (pink), "
        f"{int((~is_ok & ~is_rejected).sum())} without a shift (orange)",
    )
    return ax


def _get_span(values: NDArray[np.int64]) -> tuple[float, float]:
    """The smallest of the numbers and one more than the largest; 0 and 1 if there are none."""
    return (float(values.min()), float(values.max()) + 1) if len(values) else (0.0, 1.0)


def _bin_pairs(
    x: NDArray[np.int64], y: NDArray[np.int64], extent: tuple[float, float, float, float]
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[int, int]]:
    """Find the cell of every pair in a matrix of at most `MOST_CELLS` per side.

    `x` and `y` are (pairs,), `extent` is (left, right, low, high). Returns rows, columns, both
    (pairs,), and the shape of the matrix.
    """
    left, right, low, high = extent
    width, height = (min(int(size), MOST_CELLS) for size in (right - left, high - low))
    column = ((x - left) * width / (right - left)).astype(np.int64)
    row = ((y - low) * height / (high - low)).astype(np.int64)
    return row, column, (height, width)


def _find_largest(
    cells: tuple[NDArray[np.int64], NDArray[np.int64], tuple[int, int]],
    values: NDArray[np.float64],
    rows: Bools,
) -> NDArray[np.float64]:
    """Find the largest value in every cell of a matrix; NaN where there is none.

    `cells` is what `_bin_pairs` returns; only those of the `values` (pairs,) count that the
    booleans `rows` choose.
    """
    row, column, shape = cells
    image = np.full(shape, -np.inf)
    np.maximum.at(image, (row[rows], column[rows]), values[rows])
    return np.where(np.isfinite(image), image, np.nan)
