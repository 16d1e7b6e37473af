"""The result in one picture, and pairs of images side by side."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import PurePath
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack import plot
from steadystack.model import Bools, InputError, Registration
from steadystack.store.files import check_writable, staged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE_CHARACTERS = 130
# What each kind of report is made with.
NEEDS = {".html": ("matplotlib", "jinja2", "PIL")}


def prepare(path: str) -> None:
    """Raise InputError if a report could not be written to that path later on."""
    for package in NEEDS.get(PurePath(path).suffix, ("matplotlib",)):
        if find_spec(package) is None:
            raise InputError(
                f"output.report needs {package}: install steadystack[report], or leave it out"
            )
    try:
        check_writable(path)
    except InputError as error:
        raise InputError(f"output.report {error}") from error


def series_figure(
    shifts: xr.Dataset,
    before: NDArray[np.floating[Any]],
    after: NDArray[np.floating[Any]],
    title: str,
) -> Figure:
    """Drift over time, residuals of the pairs, and the mean image before and after.

    Parameters
    ----------
    shifts : a solved shifts dataset
    before, after : mean images of one shape
    """
    figure = plot.new_figure(12, 7.5)
    figure.suptitle(fill(title, TITLE_CHARACTERS), fontsize=11)
    rows = figure.subplot_mosaic([["drift", "residual"], ["before", "after"]], height_ratios=[2, 3])
    plot.drift(shifts, rows["drift"])
    plot.residuals(shifts, rows["residual"])
    plot.before_after(before, after, (rows["before"], rows["after"]))
    return figure


def pairs_figure(
    pairs: list[tuple[str, NDArray[Any], Bools, NDArray[Any], Bools, Registration]],
) -> Figure:
    """Pairs of images with their masks, and the shift that was found.

    Each row is (title, reference, reference mask, moving, moving mask, registration).
    """
    figure = plot.new_figure(9, 3.2 * len(pairs))
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
    prepare(path)
    with staged(path) as partial:
        figure.savefig(partial, dpi=120, format=PurePath(path).suffix[1:])
