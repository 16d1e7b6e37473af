"""Figures and images as text that a page can hold."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from steadystack.plot.canvas import COLOURS
from steadystack.plot.stacks import grey_range

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from steadystack.model import Image

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
def styled() -> Iterator[None]:
    """What is drawn in here has the colours that a page sets."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def svg(figure: Figure, name: str) -> str:
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


def smaller(image: Image, side: int) -> Image:
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


def grey(image: Image, limits: tuple[float, float]) -> str:
    """An image in greys between two values, transparent where nothing is known, as a data URL."""
    low, high = limits
    known = np.isfinite(image)
    scaled = (np.where(known, image, low) - low) / max(high - low, np.finfo(float).tiny)
    values = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    return _webp(np.stack([values] * 3 + [np.where(known, 255, 0).astype(np.uint8)], axis=-1))


def colours(image: Image) -> str:
    """A surface in colours from its lowest to its highest value, as a data URL."""
    from matplotlib import colormaps

    known = np.isfinite(image)
    low, high = (image[known].min(), image[known].max()) if known.any() else (0.0, 1.0)
    scaled = (np.where(known, image, low) - low) / max(high - low, np.finfo(float).tiny)
    values = (255 * colormaps["viridis"](scaled)).astype(np.uint8)
    values[..., 3] = np.where(known, 255, 0)
    return _webp(values)


def same_greys(*images: Image) -> list[str]:
    """Images in the same greys."""
    limits = grey_range(*images)
    return [grey(image, limits) for image in images]


def _webp(pixels: NDArray[Any]) -> str:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(data, "WEBP", quality=WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
