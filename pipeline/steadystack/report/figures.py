"""The result in one picture, and pairs of images side by side."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import PurePath
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack import plot
from steadystack.durable import get_place
from steadystack.model import Bools, InputError, Registration
from steadystack.plot import COLOURS, find_grey_range

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from steadystack.model import Image

TITLE_CHARACTERS = 130
# What each kind of report is made with.
NEEDS = {".html": ("matplotlib", "jinja2", "PIL")}


def check_report_path(path: str) -> None:
    """Raise InputError if a report could not be written to that path later on."""
    for package in NEEDS.get(PurePath(path).suffix, ("matplotlib",)):
        if find_spec(package) is None:
            raise InputError(
                f"output.report needs {package}: install steadystack[report], or leave it out"
            )
    try:
        get_place(path).check_writable()
    except InputError as error:
        raise InputError(f"output.report {error}") from error


def draw_series(
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


def draw_pairs(
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
    check_report_path(path)
    with get_place(path).replacing() as partial:
        figure.savefig(partial, dpi=120, format=PurePath(path).suffix[1:])


# Colours of a figure's own that the page sets, so that it can be dark or light.
INK, PAPER = "#010203", "#fdfefc"
THEMED = {INK: "var(--ink)", PAPER: "var(--paper)"} | {
    colour: f"var(--{axis})" for axis, colour in COLOURS.items()
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.facecolor": PAPER,
} | dict.fromkeys(
    ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color",
     "ytick.color", "legend.labelcolor"),
    INK,
)  # fmt: skip
WEBP_QUALITY = 80


@contextmanager
def apply_style() -> Iterator[None]:
    """What is drawn in here has the colours that a page sets."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def encode_svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element whose names are its own and whose colours are the page's."""
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", drawn)
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", drawn, count=1)
    drawn = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawn, count=1)
    for colour, variable in THEMED.items():
        drawn = drawn.replace(colour, variable)
    return drawn


def shrink(image: Image, side: int) -> Image:
    """The image with at most so many pixels per side: means of the known pixels of each square."""
    step = max(-(-max(image.shape) // side), 1)
    if step == 1:
        return image
    height, width = (-(-size // step) * step for size in image.shape)
    padded = np.full((height, width), np.nan)
    padded[: image.shape[0], : image.shape[1]] = image
    squares = padded.reshape(height // step, step, width // step, step)
    known = np.isfinite(squares)
    count = known.sum(axis=(1, 3))
    total = np.where(known, squares, 0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def encode_grey(image: Image, limits: tuple[float, float]) -> str:
    """An image in greys between two values, transparent where nothing is known, as a data URL."""
    low, high = limits
    known = np.isfinite(image)
    scaled = (np.where(known, image, low) - low) / max(high - low, np.finfo(float).tiny)
    values = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    return _encode_webp(
        np.stack([values] * 3 + [np.where(known, 255, 0).astype(np.uint8)], axis=-1)
    )


def encode_colours(image: Image) -> str:
    """A surface in colours from its lowest to its highest value, as a data URL."""
    from matplotlib import colormaps

    known = np.isfinite(image)
    low, high = (image[known].min(), image[known].max()) if known.any() else (0.0, 1.0)
    scaled = (np.where(known, image, low) - low) / max(high - low, np.finfo(float).tiny)
    values = (255 * colormaps["viridis"](scaled)).astype(np.uint8)
    values[..., 3] = np.where(known, 255, 0)
    return _encode_webp(values)


def encode_same_greys(*images: Image) -> list[str]:
    """Images in the same greys."""
    limits = find_grey_range(*images)
    return [encode_grey(image, limits) for image in images]


def _encode_webp(pixels: NDArray[Any]) -> str:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(data, "WEBP", quality=WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
