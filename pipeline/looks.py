"""What a frame looks like: whether its mask seems inverted, and which pixels seem to hold no data.

Hints for a person. No number of a result depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model import Bools

# Pixels that it takes to tell what they are of, and how alike neighbours are in a scene.
LEAST_SEEN, SCENE_LIKENESS = 64, 0.4
LOOKS_INVERTED = (
    "the mask looks inverted: what it takes away looks like a scene, what it leaves does not"
)
# Valid pixels of a line that tell whether it is of one value.
LEAST_OF_LINE = 8
# Pixels whose values are counted; of more every so many-th.
MOST_COUNTED = 2**20


@dataclass(frozen=True)
class Border:
    """A border of one value: how many pixels of it lie along each side, the wider one per axis."""

    value: float
    widths: tuple[int, ...]


def constant_border(image: NDArray[Any], valid: Bools) -> Border | None:
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


def frequent_extremes(values: NDArray[Any], few: float) -> list[tuple[float, float]]:
    """Lowest and highest value, each with its share where that is more than `few` and not 1."""
    found = []
    for extreme in {values.min().item(), values.max().item()} if values.size else ():
        share = float(np.mean(values == extreme))
        if few < share < 1:
            found.append((extreme, share))
    return sorted(found)


def looks_inverted(image: NDArray[Any], usable: Bools) -> bool:
    """Whether the pixels that are left have nothing in them, and those taken away a scene.

    A scene varies, and neighbouring pixels vary alike; nothing in them have pixels that are mostly
    of one value (a beam stop, saturation), or vary far less and each on its own.
    """
    finite = np.isfinite(image)
    left, taken = usable & finite, ~usable & finite
    if left.sum() < LEAST_SEEN or taken.sum() < LEAST_SEEN:
        return False
    values = image.astype(float)
    if _likeness(values, taken) < SCENE_LIKENESS:
        return False
    counts = np.unique(_some(values[left]), return_counts=True)[1]
    if counts.max() > counts.sum() / 2 and len(counts) < counts.sum() / 2:
        taken_counts = np.unique(_some(values[taken]), return_counts=True)[1]
        return bool(taken_counts.max() < taken_counts.sum() / 2)
    quiet = values[left].std() < values[taken].std() / 3
    return bool(quiet and _likeness(values, left) < SCENE_LIKENESS / 2)


def _likeness(values: NDArray[Any], chosen: Bools) -> float:
    """The correlation of neighbours along the last axis, both of them among the chosen."""
    both = chosen[..., 1:] & chosen[..., :-1]
    one, other = values[..., 1:][both], values[..., :-1][both]
    if one.size < LEAST_SEEN or not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _some(values: NDArray[Any]) -> NDArray[Any]:
    """Values enough to count them."""
    return values[:: max(values.size // MOST_COUNTED, 1)]
