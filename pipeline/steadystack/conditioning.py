"""Steps that prepare frames for correlation.

All respect masks: invalid pixels never affect valid ones. All are off unless turned on; their
order is flat field, logarithm, static image, high-pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats

# Below this sigma, pixels, odd boxes are too coarse to make a Gaussian of.
SMALLEST_BOX_SIGMA = 4.0
# Radius at which a Gaussian is cut off, in units of its sigma.
GAUSSIAN_RADII = 4.0
# Values that a median is taken of at a time: it needs many times their memory.
MEDIAN_STRIP = 2**19
# Fewest pixels that show whether there is a scene in them, and least correlation of neighbouring
# pixels in a scene.
LEAST_PIXELS, SCENE_LIKENESS = 64, 0.4


@dataclass(frozen=True)
class Conditioning:
    """The steps applied to every frame before it is correlated.

    Attributes
    ----------
    logarithm : correlate the logarithm (for contrast that multiplies); pixels that are not
        positive are not valid
    high_pass : sigma in pixels of the Gaussian local mean that is subtracted; None: off
    """

    logarithm: bool = False
    high_pass: float | None = None


def condition(
    image: NDArray[Any],
    valid: Bools,
    conditioning: Conditioning,
    flat_field: Floats | None = None,
    static: Floats | None = None,
) -> tuple[NDArray[Any], Bools]:
    """Prepare an image for correlation, and find its valid pixels.

    Parameters
    ----------
    image : real array, any dtype; it is not changed
    valid : bool array of the same shape, True = valid so far
    conditioning : Conditioning
    flat_field : image of a uniform scene, by which the image is divided
    static : image of what stands still in the camera, which is subtracted, from the logarithm if
        that is taken

    Returns
    -------
    image, valid : arrays of the same shape; the image is finite where valid
    """
    if flat_field is not None:
        image, valid = divide_by_flat_field(image, valid, flat_field)
    if conditioning.logarithm:
        valid = valid & (image > 0)
        image = np.log(image, where=valid, out=np.zeros(image.shape), dtype=np.float64)
    if static is not None:
        valid = valid & np.isfinite(static)
        image = np.where(valid, image - np.where(valid, static, 0), 0)
    if conditioning.high_pass is not None:
        image = apply_high_pass(image, valid, conditioning.high_pass)
    return image, valid


def compute_reach(conditioning: Conditioning) -> int:
    """Compute how far away, in pixels, a pixel affects a conditioned one."""
    if conditioning.high_pass is None:
        return 0
    if conditioning.high_pass < SMALLEST_BOX_SIGMA:
        return int(GAUSSIAN_RADII * conditioning.high_pass + 0.5)
    return 3 * (_choose_box_width(conditioning.high_pass) // 2)


def divide_by_flat_field(
    image: NDArray[Any], valid: Bools, flat_field: Floats
) -> tuple[NDArray[np.float64], Bools]:
    """Divide an image by the flat field; pixels where that is not positive are not valid."""
    valid = valid & np.isfinite(flat_field) & (flat_field > 0)
    flattened = np.zeros(image.shape, np.float64)
    np.divide(image, flat_field, out=flattened, where=valid)
    return flattened, valid


def apply_high_pass(image: NDArray[Any], valid: Bools, sigma: float) -> NDArray[np.float64]:
    """Subtract from an image its local mean over valid pixels; 0 where not valid.

    The local mean is over a Gaussian of that `sigma` (pixels); a wide one is approximated by three
    boxes, at a cost that does not grow with sigma. Values and mask are averaged alike, so that
    invalid pixels do not affect their quotient (normalized convolution, Knutsson & Westin 1993).
    """

    def sum_locally(array: NDArray[np.float64]) -> NDArray[np.float64]:
        if sigma < SMALLEST_BOX_SIGMA:
            return ndimage.gaussian_filter(array, sigma, mode="constant", truncate=GAUSSIAN_RADII)
        for _ in range(3):
            array = ndimage.uniform_filter(array, _choose_box_width(sigma), mode="constant")
        return array

    centre = image[valid].mean() if valid.any() else 0
    values = np.where(valid, image - centre, 0).astype(np.float64)
    total, weight = sum_locally(values), sum_locally(valid.astype(np.float64))
    is_known = valid & (weight > 1e-9)
    return np.where(valid, values - np.divide(total, weight, out=total, where=is_known), 0)


def _choose_box_width(sigma: float) -> int:
    """Choose the odd width of three boxes that, one after another, approximate a Gaussian."""
    return 2 * round((math.sqrt(4 * sigma**2 + 1) - 1) / 2) + 1


def compute_masked_median(
    images: Sequence[NDArray[Any]], valid: Sequence[Bools]
) -> NDArray[np.float64]:
    """Compute the median over images, pixel by pixel, of valid pixels; NaN where none is valid.

    Over a time-lapse this shows what stands still in the camera: vignetting, dust, a pattern of
    the detector. It can serve as flat field if the scene moves by more than the size of its
    details.
    """
    median = np.full(images[0].size, np.nan)
    flat_images = [image.reshape(-1) for image in images]
    flat_masks = [mask.reshape(-1) for mask in valid]
    strip_size = max(MEDIAN_STRIP // len(flat_images), 1)
    for first in range(0, len(median), strip_size):
        strip = slice(first, first + strip_size)
        pixels = np.stack([image[strip] for image in flat_images])
        usable = np.stack([mask[strip] for mask in flat_masks])
        values = np.where(usable & np.isfinite(pixels), pixels, np.nan)
        any_valid = np.isfinite(values).any(axis=0)
        median[strip][any_valid] = np.nanmedian(values[:, any_valid], axis=0)
    return median.reshape(images[0].shape)


def looks_inverted(image: NDArray[Any], usable: Bools) -> bool:
    """Whether a mask looks inverted: usable pixels show nothing, and masked ones a scene.

    In a scene pixels vary, and neighbouring ones vary alike. Pixels show nothing if most have one
    value (a beam stop, saturation), or if they vary far less and each on its own.
    """
    finite = np.isfinite(image)
    kept, taken = usable & finite, ~usable & finite
    if kept.sum() < LEAST_PIXELS or taken.sum() < LEAST_PIXELS:
        return False
    values = image.astype(float)
    if _correlate_neighbours(values, taken) < SCENE_LIKENESS:
        return False
    levels, counts = np.unique(values[kept], return_counts=True)
    if counts.max() > kept.sum() / 2 and len(levels) < kept.sum() / 2:
        same_taken = np.unique(values[taken], return_counts=True)[1].max() / taken.sum()
        return bool(same_taken < 0.5)
    is_quiet = values[kept].std() < values[taken].std() / 3
    return bool(is_quiet and _correlate_neighbours(values, kept) < SCENE_LIKENESS / 2)


def _correlate_neighbours(values: NDArray[Any], chosen: Bools) -> float:
    """Compute the correlation of neighbours along the last axis, of pairs of `chosen` pixels."""
    both_chosen = chosen[..., 1:] & chosen[..., :-1]
    left, right = values[..., 1:][both_chosen], values[..., :-1][both_chosen]
    if left.size < LEAST_PIXELS or not left.std() or not right.std():
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])
