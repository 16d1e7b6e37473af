"""Pictures of frames with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
# Larger images are thinned out: a picture has no more pixels.
MOST_PIXELS = 1024
MASKED = (0.84, 0.37, 0.0, 0.45)  # red, green, blue, how much of it


def check_picture(path: str) -> None:
    """Raise InputError if a picture could not be drawn to that path later on."""
    if find_spec("matplotlib") is None:
        raise InputError("--picture needs matplotlib: install steadystack[report]")
    if Path(path).suffix not in SUFFIXES:
        raise InputError(f"--picture {path} must end in .png, .svg or .pdf")
    if not Path(path).resolve().parent.is_dir():
        raise InputError(f"--picture {path}: there is no such folder")


def overlay_figure(frames: Sequence[tuple[str, NDArray[Any], Bools]]) -> Figure:
    """Every frame as it is, and with what is not valid in it in colour.

    Parameters
    ----------
    frames : (title, image, valid); of volumes the middle plane is shown
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(frames), 8), layout="constrained")
    rows = figure.subplots(2, len(frames), squeeze=False)
    for column, (title, image, valid) in enumerate(frames):
        pixels, usable = _plane(image), _plane(valid)
        known = pixels[np.isfinite(pixels)]
        inside = pixels[usable & np.isfinite(pixels)]
        shown = inside if inside.size else known
        low, high = np.percentile(shown, [0.5, 99.5]) if shown.size else (0.0, 1.0)
        colour = np.zeros((*usable.shape, 4))
        colour[~usable] = MASKED
        for row, heading in enumerate((title, f"{np.mean(valid):.0%} valid, the rest in colour")):
            rows[row, column].imshow(
                pixels, cmap="gray", vmin=low, vmax=high, interpolation="nearest"
            )
            rows[row, column].set(title=heading, xticks=[], yticks=[])
        rows[1, column].imshow(colour, interpolation="nearest")
    return figure


def _plane(image: NDArray[Any]) -> NDArray[Any]:
    """The middle plane of an image, with few enough pixels for a picture."""
    while image.ndim > 2:
        image = image[len(image) // 2]
    step = max(1, -(-max(image.shape) // MOST_PIXELS))
    return image[::step, ::step]
