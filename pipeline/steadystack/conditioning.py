"""What real frames need before they are correlated.

Everything is mask-aware: what is not valid never reaches a valid pixel. All steps are off unless
asked for; they come in the order flat field, logarithm, static image, high-pass.
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
# A Gaussian ends there, in units of its sigma.
GAUSSIAN_RADII = 4.0
# Values that a median is taken of at a time: it needs many times what they take.
MEDIAN_STRIP = 2**19
# Pixels that it takes to tell what they are of, and how alike neighbours are in a scene.
LEAST_SEEN, SCENE_LIKENESS = 64, 0.4


@dataclass(frozen=True)
class Conditioning:
    """What to do to every frame before it is correlated.

    Attributes
    ----------
    logarithm : correlate the logarithm (for contrast that multiplies); what is not positive is
        not valid
    high_pass : sigma in pixels of the Gaussian local mean that is subtracted; None: off
    """

    logarithm: bool = False
    high_pass: float | None = None


def condition(
    image: NDArray[Any],
    valid: Bools,
    how: Conditioning,
    flat_field: Floats | None = None,
    static: Floats | None = None,
) -> tuple[NDArray[Any], Bools]:
    """The image to correlate and its valid pixels.

    Parameters
    ----------
    image : real array, any dtype; it is not changed
    valid : bool array of the same shape, True = valid so far
    how : Conditioning
    flat_field : what a uniform scene looks like; the image is divided by it
    static : what stands still in the camera; it is subtracted, from the logarithm if that is taken

    Returns
    -------
    image, valid : arrays of the same shape; the image is finite where valid
    """
    if flat_field is not None:
        image, valid = divide_by_flat_field(image, valid, flat_field)
    if how.logarithm:
        valid = valid & (image > 0)
        image = np.log(image, where=valid, out=np.zeros(image.shape), dtype=np.float64)
    if static is not None:
        valid = valid & np.isfinite(static)
        image = np.where(valid, image - np.where(valid, static, 0), 0)
    if how.high_pass is not None:
        image = apply_high_pass(image, valid, how.high_pass)
    return image, valid


def compute_reach(how: Conditioning) -> int:
    """How far away, in pixels, a pixel has a say in what becomes of another one."""
    if how.high_pass is None:
        return 0
    if how.high_pass < SMALLEST_BOX_SIGMA:
        return int(GAUSSIAN_RADII * how.high_pass + 0.5)
    return 3 * (_choose_box_width(how.high_pass) // 2)


def divide_by_flat_field(
    image: NDArray[Any], valid: Bools, flat_field: Floats
) -> tuple[NDArray[np.float64], Bools]:
    """The image divided by the flat field; nothing is valid where that is not positive."""
    valid = valid & np.isfinite(flat_field) & (flat_field > 0)
    flattened = np.zeros(image.shape, np.float64)
    np.divide(image, flat_field, out=flattened, where=valid)
    return flattened, valid


def apply_high_pass(image: NDArray[Any], valid: Bools, sigma: float) -> NDArray[np.float64]:
    """The image minus its local mean over valid pixels; 0 where not valid.

    The local mean is over a Gaussian of that `sigma` (pixels); a wide one is made of three boxes,
    which is close to it and costs the same for every sigma. Values and mask are averaged alike, and
    their quotient knows nothing of what is not valid (normalized convolution, Knutsson & Westin
    1993).
    """

    def local_sum(array: NDArray[np.float64]) -> NDArray[np.float64]:
        if sigma < SMALLEST_BOX_SIGMA:
            return ndimage.gaussian_filter(array, sigma, mode="constant", truncate=GAUSSIAN_RADII)
        for _ in range(3):
            array = ndimage.uniform_filter(array, _choose_box_width(sigma), mode="constant")
        return array

    centre = image[valid].mean() if valid.any() else 0
    values = np.where(valid, image - centre, 0).astype(np.float64)
    total, weight = local_sum(values), local_sum(valid.astype(np.float64))
    enough = valid & (weight > 1e-9)
    return np.where(valid, values - np.divide(total, weight, out=total, where=enough), 0)


def _choose_box_width(sigma: float) -> int:
    """The odd width of three boxes in a row that are about as wide as a Gaussian."""
    return 2 * round((math.sqrt(4 * sigma**2 + 1) - 1) / 2) + 1


def compute_masked_median(
    images: Sequence[NDArray[Any]], valid: Sequence[Bools]
) -> NDArray[np.float64]:
    """Median over images of what is valid; NaN where nothing is.

    Over a time-lapse this shows what stands still in the camera: vignetting, dust, a pattern of
    the detector. It is the stack's own flat field if the scene moves by more than its details.
    """
    median = np.full(images[0].size, np.nan)
    flat, good = [one.reshape(-1) for one in images], [one.reshape(-1) for one in valid]
    pixels = max(MEDIAN_STRIP // len(flat), 1)
    for first in range(0, len(median), pixels):
        strip = slice(first, first + pixels)
        here, usable = (np.stack([one[strip] for one in many]) for many in (flat, good))
        known = np.where(usable & np.isfinite(here), here, np.nan)
        somewhere = np.isfinite(known).any(axis=0)
        median[strip][somewhere] = np.nanmedian(known[:, somewhere], axis=0)
    return median.reshape(images[0].shape)


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
    if _correlate_neighbours(values, taken) < SCENE_LIKENESS:
        return False
    found, counts = np.unique(values[left], return_counts=True)
    if counts.max() > left.sum() / 2 and len(found) < left.sum() / 2:
        same_taken = np.unique(values[taken], return_counts=True)[1].max() / taken.sum()
        return bool(same_taken < 0.5)
    quiet = values[left].std() < values[taken].std() / 3
    return bool(quiet and _correlate_neighbours(values, left) < SCENE_LIKENESS / 2)


def _correlate_neighbours(values: NDArray[Any], chosen: Bools) -> float:
    """The correlation of neighbours along the last axis, both of them among the chosen."""
    both = chosen[..., 1:] & chosen[..., :-1]
    one, other = values[..., 1:][both], values[..., :-1][both]
    if one.size < LEAST_SEEN or not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
