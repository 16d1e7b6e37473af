"""Which pixels of a frame seem to hold no data.

Hints for a person. No number of a result depends on them.
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
    """The border of one value that an image has on any side; None if it has none.

    Only whole lines of pixels count; of those along a side that are not valid nothing is known. A
    side may have none of it, and an image of one value has no border.
    """
    values, widths = list[float](), list[int]()
    for axis in range(image.ndim):
        widest = 0
        for order in (1, -1):
            lines = np.moveaxis(image, axis, 0)[::order]
            known = np.moveaxis(valid, axis, 0)[::order]
            width, value = _alike_lines(lines, known)
            if width and value is not None and value not in values[:1]:
                values.append(value)
            widest = max(widest, width)
        widths.append(widest)
    if len(values) != 1 or any(
        2 * width >= size for width, size in zip(widths, image.shape, strict=True)
    ):
        return None
    return Border(values[0], tuple(widths))


def _alike_lines(lines: NDArray[Any], known: Bools) -> tuple[int, float | None]:
    """How many of the first lines hold one value and no other, and which."""
    value: float | None = None
    for width, (line, here) in enumerate(zip(lines, known, strict=True)):
        seen = line[here]
        first = seen[0].item() if seen.size >= LEAST_OF_LINE else None
        if first is None or (seen != first).any() or value not in (None, first):
            return width, value
        value = first
    return len(lines), value


def find_frequent_extremes(values: NDArray[Any], few: float) -> list[tuple[float, float]]:
    """Lowest and highest value, each with its share where that is more than `few` and not 1."""
    found = []
    for extreme in {values.min().item(), values.max().item()} if values.size else ():
        share = float(np.mean(values == extreme))
        if few < share < 1:
            found.append((extreme, share))
    return sorted(found)
