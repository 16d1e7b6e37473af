"""Filters along one axis after another, and the blocks in which images are filtered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Slices

# Pixels computed at a time: they fit in a cache, and limit the memory needed beside the images.
BLOCK_PIXELS = 2**18
# Pixels that one matrix product computes along an axis.
PANEL = 32
# Filters up to this length are added up tap by tap.
SHORT = 4


def cut_into_blocks(target: Sequence[slice]) -> Iterator[Slices]:
    """Cut a box into blocks of about `BLOCK_PIXELS` with sides as equal as possible."""
    sizes = [side.stop - side.start for side in target]
    sides, left = [0] * len(sizes), float(BLOCK_PIXELS)
    for rank, axis in enumerate(sorted(range(len(sizes)), key=lambda a: sizes[a])):
        sides[axis] = min(sizes[axis], max(int(left ** (1 / (len(sizes) - rank))), 1))
        left /= sides[axis]
    cuts = [
        [slice(a, min(a + step, side.stop)) for a in range(side.start, side.stop, step)]
        for side, step in zip(target, sides, strict=True)
    ]
    return iter(product(*cuts))


def filter_along(values: NDArray[Any], weight: NDArray[np.float64], axis: int) -> NDArray[Any]:
    """Compute ``sum(weight[i] * values[j + i])`` along an axis, ``len(weight) - 1`` shorter."""
    size = values.shape[axis] - len(weight) + 1
    if len(weight) <= SHORT:
        lines = np.moveaxis(values, axis, 0)
        total = lines[:size] * values.dtype.type(weight[0])
        for step, tap in enumerate(weight[1:], 1):
            total += lines[step : step + size] * values.dtype.type(tap)
        return np.moveaxis(total, 0, axis)
    panel = min(PANEL, size)
    band = np.zeros((panel, panel + len(weight) - 1), values.dtype)
    for line in range(panel):
        band[line, line : line + len(weight)] = weight
    shape = list(values.shape)
    shape[axis] = size
    out = np.empty(shape, values.dtype)
    last = axis == values.ndim - 1
    for start in range(0, size, panel):
        length = min(panel, size - start)
        piece = [slice(None)] * values.ndim
        piece[axis] = slice(start, start + length + len(weight) - 1)
        target = [slice(None)] * values.ndim
        target[axis] = slice(start, start + length)
        matrix = band[:length, : length + len(weight) - 1]
        if last:
            out[tuple(target)] = values[tuple(piece)] @ matrix.T
        elif axis == values.ndim - 2:
            out[tuple(target)] = matrix @ values[tuple(piece)]
        else:
            out[tuple(target)] = np.moveaxis(
                np.tensordot(matrix, values[tuple(piece)], axes=(1, axis)), 0, axis
            )
    return out
