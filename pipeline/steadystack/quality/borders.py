"""Find the pixels of a frame that seem to hold no data.

They are hints for a person: no result depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools

# Valid pixels of a line that tell whether it is of one value.
LEAST_OF_LINE = 8


@dataclass(frozen=True)
class Border:
    """A border of one value: how many pixels of it lie along each side, the wider one per axis."""

    value: float
    widths: tuple[int, ...]


def find_constant_border(image: NDArray[Any], valid: Bools) -> Border | None:
    """Find a border of one value on any side of an image; None if there is none.

    `image` and the boolean `valid` have the same shape. Only whole lines of pixels count, by their
    valid pixels. A side may be without border, and an image of one value has no border.
    """
    values, widths = list[float](), list[int]()
    for axis in range(image.ndim):
        widest = 0
        for order in (1, -1):
            lines = np.moveaxis(image, axis, 0)[::order]
            valid_lines = np.moveaxis(valid, axis, 0)[::order]
            width, value = _count_uniform_lines(lines, valid_lines)
            if width and value is not None and value not in values[:1]:
                values.append(value)
            widest = max(widest, width)
        widths.append(widest)
    if len(values) != 1 or any(
        2 * width >= size for width, size in zip(widths, image.shape, strict=True)
    ):
        return None
    return Border(values[0], tuple(widths))


def _count_uniform_lines(lines: NDArray[Any], valid_lines: Bools) -> tuple[int, float | None]:
    """Count the first lines that hold one value and no other; returns the number and that value.

    `lines` (lines, ...) are pixels, `valid_lines` the booleans that say which of them are valid.
    """
    value: float | None = None
    for width, (line, valid_line) in enumerate(zip(lines, valid_lines, strict=True)):
        pixels = line[valid_line]
        first = pixels[0].item() if pixels.size >= LEAST_OF_LINE else None
        if first is None or (pixels != first).any() or value not in (None, first):
            return width, value
        value = first
    return len(lines), value


def find_frequent_extremes(values: NDArray[Any], least_share: float) -> list[tuple[float, float]]:
    """Find the lowest and the highest value, each with its share of all values.

    Only those are returned whose share is above `least_share` and below 1.
    """
    extremes = []
    for extreme in {values.min().item(), values.max().item()} if values.size else ():
        share = float(np.mean(values == extreme))
        if least_share < share < 1:
            extremes.append((extreme, share))
    return sorted(extremes)
