"""Images before and after: side by side, and along a line over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from steadystack.model import InputError
from steadystack.plot.canvas import axes_to_draw_on, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOW_PERCENT, HIGH_PERCENT = 0.5, 99.5


def grey_range(*images: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Which values to draw black and white: all but a few of those that are known."""
    values = [image[np.isfinite(image)] for image in images]
    known = np.concatenate([part.ravel() for part in values]) if values else np.zeros(0)
    if not known.size:
        return 0.0, 1.0
    low, high = np.percentile(known, [LOW_PERCENT, HIGH_PERCENT])
    return float(low), float(high)


def before_after(
    before: xr.DataArray | ArrayLike,
    after: xr.DataArray | ArrayLike,
    axes: tuple[Axes, Axes] | None = None,
) -> tuple[Axes, Axes]:
    """Two images in the same greys; of stacks their means over t.

    Parameters
    ----------
    before, after : images, or DataArrays that have the dim t, such as a stack and what
        `steadystack.correct` makes of it
    axes : two axes to draw on; None: new ones of pyplot

    Returns
    -------
    the two axes

    Raises
    ------
    InputError
        For what is no image and no stack, such as a shifts dataset.
    """
    images = [_flat(stack) for stack in (before, after)]
    if axes is None:
        require_matplotlib()
        from matplotlib import pyplot as plt

        axes = tuple(plt.subplots(1, 2, sharex=True, sharey=True)[1])
    elif not isinstance(axes, tuple | list | np.ndarray) or len(axes) != 2:
        raise InputError("before_after draws on two axes, such as plt.subplots(1, 2)[1]")
    low, high = grey_range(*images)
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
    """One line of a series over time: frames to the right, the position along `axis` down.

    `image` is (frames, positions); `span` are the first and the last frame, if they are not 0 and
    the number of the last row. Raises InputError for another shape.
    """
    drawn = _numbers(image, "one line of a stack over time, such as stack.isel(x=100)")
    if drawn.ndim != 2:
        raise InputError(
            f"a kymograph is (frames, positions), and this array is of shape {drawn.shape}: take "
            "one line of the stack, such as stack.isel(x=100)"
        )
    ax = axes_to_draw_on(ax)
    low, high = grey_range(drawn)
    first, last = span or (0, len(drawn) - 1)
    ax.imshow(
        drawn.T, cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="nearest",
        extent=(first - 0.5, last + 0.5, drawn.shape[1] - 0.5, -0.5),
    )  # fmt: skip
    ax.set(xlabel="frame", ylabel=f"{axis} / px")
    return ax


def _flat(stack: xr.DataArray | ArrayLike) -> NDArray[np.float64]:
    """An image of a stack: its mean over t, and over z."""
    if isinstance(stack, xr.DataArray):
        stack = stack.mean([dim for dim in ("t", "z") if dim in stack.dims]).to_numpy()
    image = _numbers(stack, "a stack and steadystack.correct(stack, shifts)")
    if image.ndim != 2:
        raise InputError(
            f"an image to draw has two axes, and this one is of shape {image.shape}: of a stack "
            "give a mean, or a DataArray with the dim t"
        )
    return image


def _numbers(image: object, wanted: str) -> NDArray[np.float64]:
    """An array of numbers; of a dataset, a path or axes nothing can be drawn."""
    try:
        if isinstance(image, xr.Dataset):
            raise TypeError
        return np.asarray(image, float)
    except (TypeError, ValueError) as error:
        raise InputError(f"images are wanted, {wanted}, not a {type(image).__name__}") from error
