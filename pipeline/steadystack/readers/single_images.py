"""Read a single image from a file of any format, with any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from steadystack.durable import get_place
from steadystack.file_formats import explaining_damage
from steadystack.model import InputError
from steadystack.readers.formats import find_image
from steadystack.readers.positions import AXIS_NAMES, find_channel
from steadystack.units import choose_common_unit


@dataclass(frozen=True, eq=False)
class ReadImage:
    """A single image as read: its values, the size of its pixels (NaN: not known) and its unit.

    `values` has the axes of a frame; `pixel_size` one value for each.
    """

    values: NDArray[np.float64]
    pixel_size: tuple[float, ...]
    unit: str


def read_any_image(
    path: str,
    axes: Sequence[str],
    channel: int | str | None = None,
    series: int | None = None,
) -> ReadImage:
    """Read a single image of any size, with the axes of a frame.

    Parameters
    ----------
    axes : of a frame, such as y, x; an array with as many unnamed axes is taken to have these
    channel : number or name, if the image has several
    series : which image of a TIFF file that holds several

    Raises
    ------
    InputError
        If there is none, or more than one image.
    """
    with get_place(path).explaining_outages():
        find = partial(find_image, path, is_coded=True, series=series)
        located = get_place(path).call_interruptibly(find)
        pixels = located.pixels
        unnamed = list(axes) if len(pixels.shape) == len(axes) else None
        names = [AXIS_NAMES.get(name.lower(), name) for name in located.axes or unnamed or ()]
        if len(set(names)) != len(pixels.shape) or not set(names) <= set("tczyx"):
            raise InputError(
                f"{path} has the shape {tuple(pixels.shape)}: one image with the axes "
                f"{', '.join(axes)} is needed"
            )
        if pixels.dtype.kind not in "biuf":
            raise InputError(f"{path} holds {pixels.dtype}: real numbers are needed")
        sizes = dict(zip(names, pixels.shape, strict=True))
        if sizes.get("t", 1) > 1:
            raise InputError(
                f"{path} holds {sizes['t']} frames: one image is needed, such as the mean that "
                "output.mean of its run writes"
            )
        where = {"t": slice(0, 1)}
        if "c" in names:
            several = channel if sizes["c"] > 1 else None
            found = find_channel(path, sizes["c"], located.channel_names, several, True) or 0
            where["c"] = slice(found, found + 1)
        spatial = [a for a in "zyx" if a in sizes and (sizes[a] > 1 or a in axes)]
        if spatial != list(axes):
            raise InputError(
                f"{path} has the axes {', '.join(spatial)}, but a frame has {', '.join(axes)}"
            )
        region = tuple(where.get(axis, slice(0, sizes[axis])) for axis in names)
        with explaining_damage(path, "the image"):
            values = np.asarray(pixels.read(region), np.float64)
    order = [names.index(axis) for axis in axes]
    rest = [index for index in range(len(names)) if index not in order]
    values = values.transpose(*rest, *order).reshape([sizes[axis] for axis in axes])
    scale = located.scale or [np.nan] * len(names)
    units = located.units or [""] * len(names)
    size, unit = choose_common_unit([scale[i] for i in order], [units[i] for i in order])
    return ReadImage(values, size, unit)
