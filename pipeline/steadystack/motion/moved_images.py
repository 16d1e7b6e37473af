"""Move frames by their known motion, ready for scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Floats
from steadystack.parts import ScoreImage
from steadystack.warp import LocalField

# Splines reach across the edge of a mask: a rim this wide, pixels, is not used.
EDGE = 2
# A position between pixels is used if its interpolated mask is above this.
WHOLE = 0.999
# Sigma, pixels, of a Gaussian: noise that interpolation removes would look like a change of
# contrast, and that like a change of scale.
SIGMA = 0.7


def smooth_further(image: ScoreImage) -> ScoreImage:
    """Smooth the valid pixels of a frame, so that interpolation hardly changes scene or noise."""
    weights = np.ones_like(image.values) if image.weights is None else image.weights
    valid = (weights > 0).astype(np.float32)
    around = ndimage.gaussian_filter(valid, SIGMA, mode="constant")
    values = ndimage.gaussian_filter(image.values * valid, SIGMA, mode="constant")
    values = np.divide(values, around, out=np.zeros_like(values), where=around > 0)
    return ScoreImage(values, weights, image.begin)


def move_score_image(
    image: ScoreImage, linear: Floats, shift: Floats, middle: Floats
) -> ScoreImage:
    """Move a frame by its linear motion onto the pixels of the anchor.

    Parameters
    ----------
    linear, shift, middle : as in `warp.make_affine`
    """
    inverse = np.linalg.inv(linear)
    first, last = np.array(image.begin), np.array(image.begin) + image.values.shape - 1
    corners = np.array(list(product(*zip(first, last, strict=True))))
    moved = (corners - middle) @ np.asarray(linear).T + middle + shift
    begin = np.floor(moved.min(axis=0)).astype(int)
    shape = tuple((np.ceil(moved.max(axis=0)).astype(int) - begin + 1).tolist())
    offset = middle + inverse @ (begin - middle - shift) - first

    def interpolate(values: NDArray[Any], order: Any, mode: Any) -> NDArray[np.float32]:
        moved = np.empty(shape, np.float32)
        ndimage.affine_transform(
            values, inverse, offset, shape, output=moved, order=order, mode=mode
        )
        return moved

    return _move(image, interpolate, tuple(begin.tolist()))


def move_by_field(image: ScoreImage, field: LocalField, shape: Sequence[int]) -> ScoreImage:
    """Move a frame by its local shifts onto the pixels of the anchor, which has this `shape`."""
    places = field.locate(tuple(slice(0, size) for size in shape))
    for place, first in zip(places, image.begin, strict=True):
        place -= first

    def interpolate(values: NDArray[Any], order: Any, mode: Any) -> NDArray[np.float32]:
        moved = np.empty(tuple(shape), np.float32)
        ndimage.map_coordinates(values, places, output=moved, order=order, mode=mode)
        return moved

    return _move(image, interpolate, (0,) * len(shape))


def _move(
    image: ScoreImage,
    interpolate: Callable[[NDArray[Any], Any, Any], NDArray[np.float32]],
    begin: tuple[int, ...],
) -> ScoreImage:
    """Move values and weights; `interpolate` takes values, the order of splines and the mode."""
    values = interpolate(image.values, 3, "mirror")
    weights = np.ones_like(image.values) if image.weights is None else image.weights
    inside = weights > 0
    for axis in range(inside.ndim):
        along = np.ones([2 * EDGE + 1 if each == axis else 1 for each in range(inside.ndim)], bool)
        inside = ndimage.binary_erosion(inside, along, border_value=1)
        if inside.ndim > 2:  # the outermost planes are smoothed from one side only
            inside.swapaxes(0, axis)[[0, -1]] = False
    is_whole = interpolate(inside.astype(np.float32), 1, "constant") > WHOLE
    weights = interpolate(weights, 1, "constant") * is_whole
    return ScoreImage(values * is_whole, weights, begin)
