"""Filters along one axis after another, and the blocks in which images are filtered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from steadystack.model import Slices

# Pixels computed at a time: they fit the cache, and limit the memory needed besides the images.
BLOCK_PIXELS = 2**18
# Pixels along an axis, and lines, per matrix product: such small products are not split among
# threads, which would wait for each other on a busy machine.
PANEL, LINES = 16, 256
# Filters up to this length are applied tap by tap.
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
    if values.strides[-1] != values.itemsize:
        values = np.ascontiguousarray(values)
    out = np.empty([*values.shape[:axis], size, *values.shape[axis + 1 :]], values.dtype)
    whole, before = size // PANEL * PANEL, (np.s_[:],) * axis
    for start, stop, panel in ((0, whole, PANEL), (whole, size, size - whole)):
        if start < stop:
            band = _make_band(weight, panel, values.dtype)
            piece = values[*before, start : stop + len(weight) - 1]
            _multiply_panels(band, piece, axis, out[*before, start:stop])
    return out


def _make_band(weight: NDArray[np.float64], panel: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The matrix that computes `panel` pixels from ``panel + len(weight) - 1``."""
    band = np.zeros((panel, panel + len(weight) - 1), dtype)
    for line in range(panel):
        band[line, line : line + len(weight)] = weight
    return band


def _multiply_panels(
    band: NDArray[Any], values: NDArray[Any], axis: int, out: NDArray[Any]
) -> None:
    """Multiply `band` with stretches of `values` along `axis`, writing to stretches of `out`."""
    panel, length = band.shape
    stretches = _cut_stretches(values, axis, length, panel)
    targets = _cut_stretches(out, axis, panel, panel)
    if axis == values.ndim - 1:
        band = np.ascontiguousarray(band.T)
        for first in range(0, stretches.shape[-2], LINES):
            rows = np.s_[..., first : first + LINES, :]
            np.matmul(stretches[rows], band, out=targets[rows])
    else:
        for first in range(0, stretches.shape[-1], LINES):
            columns = np.s_[..., first : first + LINES]
            np.matmul(band, stretches[columns], out=targets[columns])


def _cut_stretches(values: NDArray[Any], axis: int, length: int, step: int) -> NDArray[Any]:
    """A view of the stretches of `length` pixels along an axis, one every `step` pixels.

    Returns (stretches, other axes, pixels) for the last axis, else (stretches, other axes, pixels,
    last axis).
    """
    count = (values.shape[axis] - length) // step + 1
    others = [other for other in range(values.ndim) if other != axis]
    shape, strides = (
        [sizes[other] for other in others] for sizes in (values.shape, values.strides)
    )
    place = len(others) if axis == values.ndim - 1 else len(others) - 1
    shape.insert(place, length)
    strides.insert(place, values.strides[axis])
    return as_strided(values, (count, *shape), (step * values.strides[axis], *strides))
