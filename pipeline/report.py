"""Pictures of a result, from tables and sample images."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.model import Bools, FrameStatus, InputError, PairStatus, Registration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE_CHARACTERS = 130
COLOURS = {"z": "#009E73", "y": "#D55E00", "x": "#0072B2"}  # told apart by the colour-blind too


def require_matplotlib() -> None:
    """Raise InputError if there is nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise InputError(
            "output.report needs matplotlib: install steadystack[report], or leave it out"
        )


def prepare_figure(path: str) -> None:
    """Raise InputError if a figure could not be drawn to that path later on."""
    require_matplotlib()
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output.report {path} cannot be written: {error}") from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches) that draws without a screen."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def series_figure(
    shifts: xr.Dataset, before: NDArray[np.float64], after: NDArray[np.float64], title: str
) -> Figure:
    """Drift over time, residuals of the pairs, and the mean image before and after.

    Parameters
    ----------
    shifts : a solved shifts dataset
    before, after : mean images of one shape
    """
    figure = new_figure(12, 7.5)
    figure.suptitle(fill(title, TITLE_CHARACTERS), fontsize=11)
    rows = figure.subplot_mosaic([["drift", "residual"], ["before", "after"]], height_ratios=[2, 3])
    _draw_drift(rows["drift"], shifts)
    _draw_residuals(rows["residual"], shifts)
    known = np.concatenate([before[np.isfinite(before)], after[np.isfinite(after)]])
    low, high = np.percentile(known, [0.5, 99.5]) if known.size else (0.0, 1.0)
    for name, image in (("before", before), ("after", after)):
        rows[name].imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        rows[name].set(title=f"mean {name}", xticks=[], yticks=[])
    return figure


def pairs_figure(
    pairs: list[tuple[str, NDArray[Any], Bools, NDArray[Any], Bools, Registration]],
) -> Figure:
    """Pairs of images with their masks, and the shift that was found.

    Each row is (title, reference, reference mask, moving, moving mask, registration).
    """
    figure = new_figure(9, 3.2 * len(pairs))
    grid = figure.subplots(len(pairs), 3, squeeze=False)
    for (title, reference, reference_mask, moving, moving_mask, found), row in zip(
        pairs, grid, strict=True
    ):
        moved = np.full(reference.shape, np.nan)
        whole = np.rint(found.shift).astype(int) if np.isfinite(found.shift).all() else None
        if whole is not None:
            moved = np.roll(np.where(moving_mask, moving, np.nan), whole, axis=(0, 1))
        shift = ", ".join(f"{value:.1f}" for value in found.shift)
        images = (
            (f"{title}: reference", np.where(reference_mask, reference, np.nan)),
            ("moving", np.where(moving_mask, moving, np.nan)),
            (f"moved by ({shift}) px, {found.status}", moved),
        )
        for axes, (label, image) in zip(row, images, strict=True):
            axes.set_facecolor("#4477AA")
            axes.imshow(image, cmap="gray", interpolation="nearest")
            axes.set(title=label, xticks=[], yticks=[])
            axes.title.set_fontsize(9)
    return figure


def save_figure(figure: Figure, path: str) -> None:
    """Write a figure as PNG, SVG or PDF, by the path's suffix."""
    prepare_figure(path)
    figure.savefig(path, dpi=120)


def _draw_drift(axes: Axes, shifts: xr.Dataset) -> None:
    frame = shifts["frame"].to_numpy()
    for name in shifts["axis"].to_numpy():
        drift = -shifts["shift"].sel(axis=name).to_numpy()
        std = shifts["shift_std"].sel(axis=name).to_numpy()
        axes.plot(frame, drift, ".-", ms=3, lw=1, color=COLOURS[str(name)], label=str(name))
        axes.fill_between(
            frame, drift - 2 * std, drift + 2 * std, color=COLOURS[str(name)], alpha=0.25, lw=0
        )
    bad = ~np.isfinite(shifts["shift"].to_numpy()).all(axis=1)
    for index in frame[bad]:
        axes.axvline(index, color="0.8", lw=1, zorder=0)
    names = [
        str(FrameStatus.from_code(code))
        for code in np.unique(shifts["frame_status"].to_numpy()[bad])
    ]
    note = f"\ngrey: {int(bad.sum())} frames without a shift ({', '.join(names)})" if names else ""
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel="frame", ylabel="drift / px", title=f"drift, band: ± 2 std{note}")
    axes.legend(loc="best", frameon=False)


def _draw_residuals(axes: Axes, shifts: xr.Dataset) -> None:
    lag = (shifts["pair_moving"] - shifts["pair_reference"]).to_numpy()
    rejected = (shifts["pair_status"] == PairStatus.REJECTED.code).to_numpy()
    for name in shifts["axis"].to_numpy():
        residual = shifts["pair_residual"].sel(axis=name).to_numpy()
        residual = np.where(rejected, np.nan, residual)
        axes.plot(lag, residual, ".", ms=3, alpha=0.5, color=COLOURS[str(name)], label=str(name))
    note = f", {rejected.sum()} more are rejected (not shown)" if rejected.any() else ""
    usable = int((shifts["pair_count"].to_numpy().sum()) // 2)
    axes.axhline(0, color="0.5", lw=0.8)
    axes.locator_params(axis="x", integer=True)
    axes.set(
        xlabel="frames between reference and moving",
        ylabel="residual / px",
        title=f"{usable} of {len(lag)} pairs are usable{note}",
    )
