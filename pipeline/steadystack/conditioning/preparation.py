"""Prepare frames for correlation, step by step.

All respect masks: invalid pixels never affect valid ones. All are off unless turned on; their order
is flat field, logarithm or square root, fixed pattern, low-pass, high-pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.conditioning.local_planes import (
    compute_filter_radius,
    find_even_surroundings,
    fit_planes,
)
from steadystack.model import MEDIAN_DEVIATION, TOO_LARGE, Bools, Floats, find_finite_pixels

# Side of the box whose median a pixel is compared with, and by how many deviations of all such
# differences an outlier stands out.
OUTLIER_BOX, OUTLIER_DEVIATIONS = 3, 6.0
# Values per call of the median, which needs many times their memory.
MEDIAN_STRIP = 2**19
# Fewest pixels that show whether they contain a scene, and smallest correlation of neighbouring
# pixels in a scene.
LEAST_PIXELS, SCENE_LIKENESS = 64, 0.4


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """The steps applied to every frame before it is correlated.

    Attributes
    ----------
    logarithm : correlate the logarithm (for contrast that multiplies); pixels that are not
        positive are not valid
    square_root : correlate the square root (for counts, whose noise grows with them); negative
        pixels are not valid
    low_pass : sigma in pixels of the Gaussian local mean that is taken; None: off
    high_pass : sigma in pixels of the Gaussian local plane that is subtracted; None: off. Volumes
        are filtered plane by plane
    """

    logarithm: bool = False
    square_root: bool = False
    low_pass: float | None = None
    high_pass: float | None = None

    def __str__(self) -> str:
        """The steps as settings of `preprocess`, such as ``low_pass: 1, high_pass: 10``."""
        switches = [name for name in ("logarithm", "square_root") if getattr(self, name)]
        widths = [(n, getattr(self, n)) for n in ("low_pass", "high_pass")]
        return ", ".join(
            [f"{name}: true" for name in switches]
            + [f"{name}: {sigma:g}" for name, sigma in widths if sigma is not None]
        )


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
    static : the fixed pattern, which is subtracted (from the logarithm or root, if one is taken)

    Returns
    -------
    image, valid : arrays of the same shape; the image is finite where valid
    """
    if flat_field is not None:
        image, valid = divide_by_flat_field(image, valid, flat_field)
    if conditioning.logarithm:
        valid = valid & (image > 0)
        image = np.log(image, where=valid, out=np.zeros(image.shape), dtype=np.float64)
    if conditioning.square_root:
        valid = valid & (image >= 0)
        image = np.sqrt(image, where=valid, out=np.zeros(image.shape), dtype=np.float64)
    if static is not None:
        valid = valid & np.isfinite(static)
        image = np.where(valid, image - np.where(valid, static, 0), 0)
    if conditioning.low_pass is not None:
        image = apply_low_pass(image, valid, conditioning.low_pass)
    if conditioning.high_pass is not None:
        image = apply_high_pass(image, valid, conditioning.high_pass)
    return image, narrow(valid, conditioning)


def narrow(valid: Bools, conditioning: Conditioning) -> Bools:
    """Exclude the rims in which filters differ from elsewhere (see `find_even_surroundings`)."""
    left = valid
    for sigma in (conditioning.low_pass, conditioning.high_pass):
        if sigma is not None:
            left = left & find_even_surroundings(valid, sigma)
    return left


def compute_reach(conditioning: Conditioning) -> int:
    """Compute how far, in pixels, a pixel affects conditioned pixels."""
    return sum(
        compute_filter_radius(sigma)
        for sigma in (conditioning.low_pass, conditioning.high_pass)
        if sigma is not None
    )


def divide_by_flat_field(
    image: NDArray[Any], valid: Bools, flat_field: Floats
) -> tuple[NDArray[np.float64], Bools]:
    """Divide an image by the flat field; pixels where it is not positive are not valid."""
    valid = valid & np.isfinite(flat_field) & (flat_field > 0)
    flattened = np.zeros(image.shape, np.float64)
    np.divide(image, flat_field, out=flattened, where=valid)
    return flattened, valid


def apply_high_pass(image: NDArray[Any], valid: Bools, sigma: float) -> NDArray[np.float64]:
    """Subtract the result of `apply_low_pass` from an image; 0 where not valid.

    This removes a slope over the frame completely, up to the edges of the frame and the mask.
    Subtracting the local mean would leave a band there, which stands still or moves with the mask.
    """
    values = _take_mean_away(image, valid)
    values -= fit_planes(values, valid, sigma)
    return values


def apply_low_pass(image: NDArray[Any], valid: Bools, sigma: float) -> NDArray[np.float64]:
    """Fit a plane to the valid pixels around each pixel, and evaluate it there; 0 if not valid.

    Pixels are weighted by a Gaussian of this `sigma` (pixels); a wide one is approximated by three
    boxes, at a cost that does not grow with sigma. Away from all edges the plane's value is the
    local mean. Invalid pixels have no weight (normalized convolution, Knutsson & Westin 1993).
    """
    return fit_planes(_take_mean_away(image, valid), valid, sigma)


def _take_mean_away(image: NDArray[Any], valid: Bools) -> NDArray[np.float64]:
    if valid.size and valid.all():
        return np.asarray(image - image.ravel().mean(dtype=np.float64), np.float64)
    centre = image[valid].mean(dtype=np.float64) if valid.any() else 0
    return np.where(valid, image - np.float64(centre), 0).astype(np.float64, copy=False)


def compute_masked_median(
    images: Sequence[NDArray[Any]], valid: Sequence[Bools]
) -> NDArray[np.float64]:
    """Compute the median over images, pixel by pixel, of valid pixels; NaN where none is valid.

    Over a time-lapse this shows the fixed pattern of the camera (vignetting, dust, detector), and
    can serve as flat field if the scene moves by more than the size of its details.
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
    """Whether a mask looks inverted: usable pixels show nothing, and masked pixels a scene.

    In a scene neighbouring pixels are correlated. Pixels show nothing if most have one value (a
    beam stop, saturation), or if they vary far less and independently.
    """
    finite = find_finite_pixels(image, TOO_LARGE)
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
    """Compute the correlation of neighbours along the last axis where both are `chosen`."""
    both_chosen = chosen[..., 1:] & chosen[..., :-1]
    left, right = values[..., 1:][both_chosen], values[..., :-1][both_chosen]
    if left.size < LEAST_PIXELS or not left.std() or not right.std():
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def subtract_line_means(image: NDArray[Any], valid: Bools, axis: int) -> NDArray[np.float64]:
    """Subtract from each line across an axis the mean of its valid pixels; 0 where not valid."""
    others = tuple(other for other in range(image.ndim) if other != axis)
    values = _take_mean_away(image, valid)
    total, count = (array.sum(axis=others, keepdims=True) for array in (values, valid))
    return np.where(valid, values - total / np.maximum(count, 1), 0)


def find_shared_outliers(images: Sequence[tuple[NDArray[Any], Bools]]) -> Bools:
    """Find pixels that stand out from their neighbours in all images, such as hot and dead ones.

    `images` are arrays of one shape, each with its valid pixels.
    """
    signed = (
        np.logical_and.reduce(
            [_stands_out(sign * image.astype(np.float64), valid) for image, valid in images]
        )
        for sign in (1, -1)
    )
    return np.asarray(np.logical_or(*signed))


def _stands_out(image: NDArray[np.float64], valid: Bools) -> Bools:
    filled = np.where(valid, image, np.median(image[valid]) if valid.any() else 0)
    above = filled - ndimage.median_filter(filled, OUTLIER_BOX)
    deviation = MEDIAN_DEVIATION * float(np.median(np.abs(above[valid]))) if valid.any() else 0
    return np.asarray(valid & (above > OUTLIER_DEVIATIONS * deviation) & (above > 0))
