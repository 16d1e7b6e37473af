"""Draw the result as one picture, or pairs of images side by side; encode pictures for a page."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path, PurePath
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack import plot
from steadystack.durable import check_link, get_place, make_absolute
from steadystack.model import (
    Bools,
    InputError,
    Registration,
    escape_unprintable,
)
from steadystack.outputs import (
    check_own_file,
    make_figure_metadata,
    replacing_own_file,
    writing_at_once,
)
from steadystack.plot import COLOURS, find_grey_range

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from steadystack.model import Image

TITLE_CHARACTERS = 130
# Packages that a report needs, by suffix; pictures need matplotlib alone.
NEEDS = {".html": ("matplotlib", "jinja2", "PIL")}


def check_report_path(path: str, key: str = "output.report") -> None:
    """Raise InputError, which names the key, if no report could be written to that path later."""
    for package in NEEDS.get(PurePath(path).suffix, ("matplotlib",)):
        if find_spec(package) is None:
            raise InputError(f"{key} needs {package}: install steadystack[report], or leave it out")
    try:
        get_place(path).check_writable()
    except InputError as error:
        raise InputError(f"{key} {error}") from error
    check_own_file(path, key)


def draw_series(
    shifts: xr.Dataset,
    before: NDArray[np.floating[Any]],
    after: NDArray[np.floating[Any]],
    title: str,
) -> Figure:
    """Draw drift over time, residuals of the pairs, and the mean image before and after.

    Parameters
    ----------
    shifts : a solved shifts dataset
    before, after : mean images (y, x) of one shape
    title : above all of them
    """
    figure = plot.new_figure(12, 7.5)
    lines = fill(escape_unprintable(title), TITLE_CHARACTERS)
    figure.suptitle(plot.make_plain(lines), fontsize=11)
    rows = figure.subplot_mosaic([["drift", "residual"], ["before", "after"]], height_ratios=[2, 3])
    plot.drift(shifts, rows["drift"])
    plot.residuals(shifts, rows["residual"])
    plot.before_after(before, after, (rows["before"], rows["after"]))
    return figure


def draw_pairs(
    pairs: list[tuple[str, NDArray[Any], Bools, NDArray[Any], Bools, Registration]],
) -> Figure:
    """Draw pairs of images with their masks, and moved by the shift that was found.

    Each of the `pairs` is (title, reference, reference mask, moving, moving mask, registration)
    with images and masks of one shape (y, x), and becomes a row of pictures.
    """
    figure = plot.new_figure(9, 3.2 * len(pairs))
    grid = figure.subplots(len(pairs), 3, squeeze=False)
    for (title, reference, reference_mask, moving, moving_mask, registration), row in zip(
        pairs, grid, strict=True
    ):
        moved = np.full(reference.shape, np.nan)
        if np.isfinite(registration.shift).all():
            whole_shift = np.rint(registration.shift).astype(int)
            moved = np.roll(np.where(moving_mask, moving, np.nan), whole_shift, axis=(0, 1))
        shift = ", ".join(f"{value:.1f}" for value in registration.shift)
        images = (
            (f"{title}: reference", np.where(reference_mask, reference, np.nan)),
            ("moving", np.where(moving_mask, moving, np.nan)),
            (f"moved by ({shift}) px, {registration.status}", moved),
        )
        for axes, (label, image) in zip(row, images, strict=True):
            axes.set_facecolor("#4477AA")
            axes.imshow(image, cmap="gray", interpolation="nearest")
            axes.set(title=plot.make_plain(label), xticks=[], yticks=[])
            axes.title.set_fontsize(9)
    return figure


def save_figure(figure: Figure, path: str, *, key: str = "", dpi: int = 120, run: str = "") -> None:
    """Write a figure as PNG, SVG or PDF, by the path's suffix; the same figure is the same file.

    Parameters
    ----------
    key : of the settings, for errors
    run : the name of its run, see `outputs.name_run`; "": none
    """
    from matplotlib import rc_context

    check_report_path(path, key or "output.report")
    suffix = PurePath(path).suffix
    path = check_link(path, make_absolute(path, Path.cwd()))  # the link stays
    with (
        writing_at_once(path),
        replacing_own_file(path, key) as partial,
        warnings.catch_warnings(),
        rc_context({"svg.hashsalt": "steadystack"}),
    ):
        warnings.filterwarnings("ignore", "Glyph")  # names may have letters missing in the font
        metadata = make_figure_metadata(suffix, run)
        figure.savefig(partial, dpi=dpi, format=suffix[1:], metadata=metadata)


# Colours that stand for those of the page, which can be dark or light.
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
    """Draw the figures made inside in the colours that a page sets."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def encode_svg(figure: Figure, name: str) -> str:
    """Encode a figure as an SVG element with ids that begin with `name`, in the page's colours."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for colour, variable in THEMED.items():
        svg = svg.replace(colour, variable)
    return svg


def shrink(image: Image, side: int) -> Image:
    """Shrink an image (y, x) to at most `side` pixels per side.

    Pixels become the means of squares; NaN stands for pixels that are not known.
    """
    step = max(-(-max(image.shape) // side), 1)
    if step == 1:
        return image
    height, width = (-(-size // step) * step for size in image.shape)
    padded = np.full((height, width), np.nan)
    padded[: image.shape[0], : image.shape[1]] = image
    squares = padded.reshape(height // step, step, width // step, step)
    is_known = np.isfinite(squares)
    count = is_known.sum(axis=(1, 3))
    total = np.where(is_known, squares, 0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def encode_grey(image: Image, limits: tuple[float, float]) -> str:
    """Encode an image (y, x) in greys as a data URL, transparent where it is NaN.

    `limits` are the values of black and white.
    """
    low, high = limits
    is_known = np.isfinite(image)
    scaled = (np.where(is_known, image, low) - low) / max(high - low, np.finfo(float).tiny)
    values = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    return _encode_webp(
        np.stack([values] * 3 + [np.where(is_known, 255, 0).astype(np.uint8)], axis=-1)
    )


def encode_colours(image: Image) -> str:
    """Encode a surface (lags, lags) in colours from its lowest to its highest value as a data URL.

    Transparent where it is NaN.
    """
    from matplotlib import colormaps

    is_known = np.isfinite(image)
    low, high = (image[is_known].min(), image[is_known].max()) if is_known.any() else (0.0, 1.0)
    scaled = (np.where(is_known, image, low) - low) / max(high - low, np.finfo(float).tiny)
    values = (255 * colormaps["viridis"](scaled)).astype(np.uint8)
    values[..., 3] = np.where(is_known, 255, 0)
    return _encode_webp(values)


def encode_same_greys(*images: Image) -> list[str]:
    """Encode images (y, x) on one grey scale, each as a data URL."""
    limits = find_grey_range(*images)
    return [encode_grey(image, limits) for image in images]


def _encode_webp(pixels: NDArray[Any]) -> str:
    """Encode pixels (y, x, 4), uint8, as a data URL."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(data, "WEBP", quality=WEBP_QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
