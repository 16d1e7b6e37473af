"""Interpolation as short filters along the axes, one after the other.

A shift is the same for all pixels of a frame, so that what lies between the pixels is a sum over
neighbours with fixed weights, along each axis by itself. A product with a band of weights does many
pixels at a time, which is several times faster than evaluating a spline pixel by pixel.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# How far away, in pixels, a pixel has a say. Of the cubic spline (whose weights never end) what
# lies further out has a weight of less than 1e-6.
REACH = {"whole": 0, "linear": 1, "cubic": 12, "fourier": 24}
INTERPOLATIONS = tuple(REACH)
# Kaiser window of the sinc: with a reach of 24 all waves up to 0.9 of the Nyquist frequency come
# out with an error of less than 1e-3.
SINC_BETA = 7.0
# The pole of the cubic spline's prefilter (Unser 1999, doi:10.1109/79.799930).
POLE = np.sqrt(3.0) - 2.0
# Pixels that are made by one product.
PANEL = 32
# Filters up to this length are added up by themselves.
SHORT = 4


@lru_cache(maxsize=1024)
def weights(interpolation: str, rest: float) -> NDArray[np.float64]:
    """Weights of the pixels around a place between them.

    Parameters
    ----------
    interpolation : "linear"; "cubic" (the spline through all pixels); "fourier" (the sinc, which is
        what a ramp on the phases does, under a window, so that it ends and nothing wraps around)
    rest : 0..1, how far a frame is moved beyond whole pixels

    Returns
    -------
    (2 reach,) array; ``moved[j] = sum(weights[i] * pixels[j + i])`` with the first pixel `reach`
    before the pixel that is moved to *j* by the whole part
    """
    reach = REACH[interpolation]
    away = np.arange(reach, -reach, -1) - rest
    if interpolation == "linear":
        return np.asarray(np.maximum(1 - np.abs(away), 0))
    if interpolation == "cubic":
        steps = np.arange(-3 * reach, 3 * reach + 1)
        prefilter = np.sqrt(3.0) * POLE ** np.abs(steps)
        found = (prefilter * _cubic_spline(away[:, None] - steps)).sum(axis=1)
    else:
        window = np.i0(SINC_BETA * np.sqrt(np.clip(1 - (away / reach) ** 2, 0, 1)))
        found = np.sinc(away) * window
    return np.asarray(found / found.sum())


def _cubic_spline(x: NDArray[Any]) -> NDArray[np.float64]:
    size = np.abs(x)
    inner = 2 / 3 - size**2 + size**3 / 2
    return np.asarray(np.where(size < 1, inner, np.maximum(2 - size, 0) ** 3 / 6))


def filtered(values: NDArray[Any], weight: NDArray[np.float64], axis: int) -> NDArray[Any]:
    """``sum(weight[i] * values[j + i])`` along an axis, of which ``len(weight) - 1`` are lost."""
    size = values.shape[axis] - len(weight) + 1
    if len(weight) <= SHORT:
        lines = np.moveaxis(values, axis, 0)
        total = lines[:size] * values.dtype.type(weight[0])
        for step, one in enumerate(weight[1:], 1):
            total += lines[step : step + size] * values.dtype.type(one)
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
        part = band[:length, : length + len(weight) - 1]
        if last:
            out[tuple(target)] = values[tuple(piece)] @ part.T
        elif axis == values.ndim - 2:
            out[tuple(target)] = part @ values[tuple(piece)]
        else:
            out[tuple(target)] = np.moveaxis(
                np.tensordot(part, values[tuple(piece)], axes=(1, axis)), 0, axis
            )
    return out
