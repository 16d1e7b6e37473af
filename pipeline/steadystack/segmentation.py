"""Make a mask from an image by a threshold, and clean it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats

BINS = 256


def find_otsu_threshold(values: Floats) -> float:
    """Find the value that splits `values` into two classes with maximal variance between them.

    Classes are those of a histogram of 256 bins; values above the threshold belong to the upper
    one. NaN if all values are equal. (Otsu 1979, A Threshold Selection Method from Gray-Level
    Histograms, IEEE Trans. Syst. Man Cybern. 9(1), 62-66, equation 18.)
    """
    low, high = (float(end) for end in (values.min(), values.max()))
    if not low < high:
        return np.nan
    counts, edges = np.histogram(values, BINS, (low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    means = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (means[1] - means[0]) ** 2
    best = np.flatnonzero(between == between.max())  # several: an empty stretch between the classes
    return float(edges[1:-1][best].mean())


def clean_mask(
    mask: Bools, *, largest: bool = False, fill_holes: bool = False, erode: int = 0
) -> NDArray[np.bool_]:
    """Keep the largest connected region, fill its holes, remove a rim of `erode` pixels.

    In that order, each if asked for. Pixels that share a side are connected; the rim is the
    Euclidean distance to the nearest invalid pixel. Outside the image counts as valid: a region cut
    off by the image's edge keeps its pixels there.
    """
    cleaned = np.array(mask, bool)
    if largest and cleaned.any():
        labels, _ = ndimage.label(cleaned)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        cleaned = labels == int(sizes.argmax())
    if fill_holes:
        cleaned = ndimage.binary_fill_holes(cleaned)
    if erode and not cleaned.all():
        cleaned = ndimage.distance_transform_edt(cleaned) > erode
    return np.asarray(cleaned, bool)


def combine_shapes(drawn: Sequence[Bools]) -> NDArray[np.bool_]:
    """Combine outlines of one shape by the even-odd rule: an outline inside another is a hole."""
    return np.asarray(np.logical_xor.reduce(drawn), bool)


def compute_mean_and_deviation(
    frames: Iterable[tuple[NDArray[Any], Bools]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], int] | None:
    """Compute mean and standard deviation of every pixel over frames, where it is valid.

    NaN where it never is. Also returns the number of frames; None if there were none. (Welford
    1962, Note on a Method for Calculating Corrected Sums of Squares, Technometrics 4(3), 419-420.)
    """
    number, mean, squares, count = 0, np.zeros(()), np.zeros(()), np.zeros((), np.int64)
    for number, (image, valid) in enumerate(frames, 1):
        if number == 1:
            mean, squares = np.zeros(image.shape), np.zeros(image.shape)
            count = np.zeros(image.shape, np.int64)
        count += valid
        change = np.where(valid, image - mean, 0.0)
        mean += change / np.maximum(count, 1)
        squares += np.where(valid, change * (image - mean), 0.0)
    if not number:
        return None
    known = count > 0
    deviation = np.sqrt(squares / np.maximum(count, 1))
    return np.where(known, mean, np.nan), np.where(known, deviation, np.nan), number
