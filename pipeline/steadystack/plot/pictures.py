"""Draw images: before and after side by side, along a line over time, with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from steadystack.model import Bools, InputError
from steadystack.plot.canvas import get_axes, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOW_PERCENT, HIGH_PERCENT = 0.5, 99.5


def find_grey_range(*images: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Find the values of black and white: the 0.5 and 99.5 percentiles of all finite pixels."""
    finite_pixels = [image[np.isfinite(image)] for image in images]
    values = np.concatenate(finite_pixels) if finite_pixels else np.zeros(0)
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, [LOW_PERCENT, HIGH_PERCENT])
    return float(low), float(high)


def before_after(
    before: xr.DataArray | ArrayLike,
    after: xr.DataArray | ArrayLike,
    axes: tuple[Axes, Axes] | None = None,
) -> tuple[Axes, Axes]:
    """Draw two images on the same grey scale; for stacks, their means over t.

    Parameters
    ----------
    before, after : images, or DataArrays with the dim t, such as a stack and the result of
        `steadystack.correct`
    axes : two axes to draw on; None: new ones of pyplot

    Returns
    -------
    the two axes

    Raises
    ------
    InputError
        For anything other than images and stacks, such as a shifts dataset.
    """
    images = [_flatten(stack) for stack in (before, after)]
    if axes is None:
        require_matplotlib()
        from matplotlib import pyplot as plt

        axes = tuple(plt.subplots(1, 2, sharex=True, sharey=True)[1])
    elif not isinstance(axes, tuple | list | np.ndarray) or len(axes) != 2:
        raise InputError("before_after needs two axes, such as plt.subplots(1, 2)[1]")
    low, high = find_grey_range(*images)
    for ax, image, name in zip(axes, images, ("before", "after"), strict=True):
        ax.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        ax.set(title=f"mean {name}", xticks=[], yticks=[])
    return axes


def kymograph(
    image: ArrayLike,
    ax: Axes | None = None,
    *,
    axis: str = "y",
    span: tuple[float, float] | None = None,
) -> Axes:
    """Draw one line of a series over time: frames to the right, positions along `axis` downwards.

    `image` must have the shape (frames, positions), else InputError is raised; `span` gives the
    first and last frame, if they are not the first and last row.
    """
    values = _check_numbers(image, "one line of a stack over time, such as stack.isel(x=100)")
    if values.ndim != 2:
        raise InputError(
            f"a kymograph is (frames, positions), but this array has the shape {values.shape}: "
            "take one line of the stack, such as stack.isel(x=100)"
        )
    ax = get_axes(ax)
    low, high = find_grey_range(values)
    first, last = span or (0, len(values) - 1)
    ax.imshow(
        values.T, cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="nearest",
        extent=(first - 0.5, last + 0.5, values.shape[1] - 0.5, -0.5),
    )  # fmt: skip
    ax.set(xlabel="frame", ylabel=f"{axis} / px")
    return ax


def _flatten(stack: xr.DataArray | ArrayLike) -> NDArray[np.float64]:
    """Make an image (y, x) of a stack, as its mean over t and z; an image stays as it is."""
    if isinstance(stack, xr.DataArray):
        stack = stack.mean([dim for dim in ("t", "z") if dim in stack.dims]).to_numpy()
    image = _check_numbers(stack, "a stack and steadystack.correct(stack, shifts)")
    if image.ndim != 2:
        raise InputError(
            f"an image to draw has two axes, but this one has the shape {image.shape}: for a "
            "stack give its mean, or a DataArray with the dim t"
        )
    return image


def _check_numbers(image: object, expected: str) -> NDArray[np.float64]:
    """Convert to an array of numbers; refuse anything else, saying what was `expected`."""
    try:
        if isinstance(image, xr.Dataset):
            raise TypeError
        return np.asarray(image, float)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected {expected}, not a {type(image).__name__}") from error


SUFFIXES = (".png", ".svg", ".pdf")
# Most pixels of an image's side that are drawn: a picture has no more.
MOST_PIXELS = 1024
MASKED = (0.84, 0.37, 0.0, 0.45)  # red, green, blue, opacity


def check_picture(path: str) -> None:
    """Raise InputError if a picture could not be written to that path later on."""
    if find_spec("matplotlib") is None:
        raise InputError("--picture needs matplotlib: install steadystack[report]")
    if Path(path).suffix not in SUFFIXES:
        raise InputError(f"--picture {path} must end in .png, .svg or .pdf")
    if not Path(path).resolve().parent.is_dir():
        raise InputError(f"--picture {path}: its folder does not exist")


def draw_overlay(frames: Sequence[tuple[str, NDArray[Any], Bools]]) -> Figure:
    """Draw every frame as it is, and below with its invalid pixels in colour, if it has any.

    The axes are in pixels of the frame, so that regions can be read off.

    Parameters
    ----------
    frames : (title, image, valid), image and booleans of one shape ([z,] y, x); of volumes the
        middle plane is shown
    """
    from matplotlib.figure import Figure

    count = 1 if all(np.all(valid) for _, _, valid in frames) else 2
    sides = [image.shape[-2] / image.shape[-1] for _, image, _ in frames]
    height = 3.4 * min(max(sides), 2) + 0.8  # inches: a width of 3.4, and words above and below
    figure = Figure(figsize=(4 * len(frames), height * count), layout="constrained")
    rows = figure.subplots(count, len(frames), squeeze=False)
    for column, (title, image, valid) in enumerate(frames):
        pixels, is_valid = _take_plane(image), _take_plane(valid)
        known_values = pixels[np.isfinite(pixels)]
        valid_values = pixels[is_valid & np.isfinite(pixels)]
        values = valid_values if valid_values.size else known_values
        low, high = np.percentile(values, [0.5, 99.5]) if values.size else (0.0, 1.0)
        colour = np.zeros((*is_valid.shape, 4))
        colour[~is_valid] = MASKED
        height, width = image.shape[-2:]
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        headings = title, f"{np.mean(valid):.0%} valid (invalid pixels in colour)"
        for axes, heading in zip(rows[:, column], headings, strict=False):
            axes.imshow(pixels, "gray", vmin=low, vmax=high, interpolation="nearest", extent=extent)
            axes.set(title=heading, xlabel="x / px", ylabel="y / px" if column == 0 else "")
        if count > 1:
            rows[1, column].imshow(colour, interpolation="nearest", extent=extent)
    return figure


def _take_plane(image: NDArray[Any]) -> NDArray[Any]:
    """Take the middle plane (y, x) of an image, with few enough pixels for a picture."""
    while image.ndim > 2:
        image = image[len(image) // 2]
    step = max(1, -(-max(image.shape) // MOST_PIXELS))
    return image[::step, ::step]
