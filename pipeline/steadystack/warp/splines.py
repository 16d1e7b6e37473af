"""Interpolate images at any place between their pixels: linearly, or by cubic splines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools
from steadystack.warp.filling import fill_around
from steadystack.warp.moving import REACH, choose_work_dtype

# Interpolations that can apply a linear motion, and the order of their splines.
ORDERS = {"nearest": 0, "linear": 1, "cubic": 3}
# Along fewer pixels than this, SciPy's filter is wrong by more than rounding.
FEW = 8


@dataclass(frozen=True, eq=False)
class Interpolator:
    """Interpolates the values of an image between its pixels; invalid pixels do not contribute."""

    values: NDArray[Any]
    weights: NDArray[Any] | None
    order: Any  # 0, 1 or 3

    @classmethod
    def make(cls, image: NDArray[Any], valid: Bools | None, order: int) -> Interpolator:
        """Prepare splines of that order; 0: the nearest pixel, which is taken elsewhere.

        `image` has any number of axes; `valid` None: all of it is.
        """
        dtype = choose_work_dtype(image.dtype)
        if not order:
            return cls(image, None, order)
        if order == 1:
            if valid is None or valid.all():
                return cls(image.astype(dtype, copy=False), None, order)
            values = np.zeros(image.shape, dtype)
            np.copyto(values, image, where=valid, casting="unsafe")
            return cls(values, valid.astype(dtype), order)
        if valid is None:
            spline = image.astype(dtype)
        else:
            spline = fill_around(image, valid, REACH["cubic"], dtype)
        _filter_in_place(spline)
        return cls(spline, None, order)

    def at(self, places: NDArray[np.float64]) -> NDArray[Any]:
        """The values at places (axes, ...), pixels of the image, which is mirrored at its edges."""
        total = self._look_up(self.values, places)
        if self.weights is None:
            return total
        weight = self._look_up(self.weights, places)
        return np.asarray(total / np.where(weight > 0, weight, 1))

    def _look_up(self, values: NDArray[Any], places: NDArray[np.float64]) -> NDArray[Any]:
        found = np.empty(places.shape[1:], values.dtype)
        ndimage.map_coordinates(
            values, places, output=found, order=self.order, mode="reflect", prefilter=False
        )
        return found


def _filter_in_place(values: NDArray[Any]) -> None:
    """Turn pixels into the coefficients of the cubic spline through them, mirrored at the edges."""
    for axis, size in enumerate(values.shape):
        if size >= FEW:
            ndimage.spline_filter1d(values, 3, axis, output=values, mode="reflect")
        elif size > 1:
            at_pixels = 4 * np.eye(size) + np.eye(size, k=1) + np.eye(size, k=-1)
            at_pixels[0, 0] = at_pixels[-1, -1] = 5
            inverse = (6 * np.linalg.inv(at_pixels)).astype(values.dtype)
            values[...] = np.moveaxis(np.tensordot(inverse, values, (1, axis)), 0, axis)
