"""Check a pair of plain arrays with their masks, and prepare it for correlation by regions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from steadystack.conditioning import (
    Conditioning,
    condition,
    find_shared_outliers,
    subtract_line_means,
)
from steadystack.model import Bools, Slices, as_plain, find_finite_pixels, name_axes
from steadystack.ncc import CachedMask, MaskedImage, make_masked_image
from steadystack.validity import as_mask

# A conditioned image is flat if its range is at most this fraction of the original's.
ROUNDING = 1e-5
# About how many pixels an image's skewness is measured on.
SAMPLE_PIXELS = 2**16


@dataclass(frozen=True)
class PlainPair:
    """Two images and their masks, checked; pixels that are not finite are found block by block."""

    reference: NDArray[Any]
    moving: NDArray[Any]
    reference_mask: Bools | None
    moving_mask: Bools | None
    max_shift: tuple[int, ...] | None

    @classmethod
    def make(
        cls,
        reference: ArrayLike,
        moving: ArrayLike,
        reference_mask: ArrayLike | None,
        moving_mask: ArrayLike | None,
        max_shift: int | Sequence[int] | None,
        min_overlap: float | None,
    ) -> PlainPair:
        reference_pixels, reference_valid = _check_image("reference", reference, reference_mask)
        moving_pixels, moving_valid = _check_image("moving", moving, moving_mask)
        if reference_pixels.ndim != moving_pixels.ndim:
            raise ValueError(
                f"reference has {reference_pixels.ndim} dimensions, moving {moving_pixels.ndim}: "
                "they must agree"
            )
        if min_overlap is not None and not 0 <= min_overlap <= 1:
            raise ValueError(f"min_overlap {min_overlap} is not a fraction: 0 to 1")
        largest = tuple(
            max(sizes) - 1
            for sizes in zip(reference_pixels.shape, moving_pixels.shape, strict=True)
        )
        return cls(
            reference_pixels,
            moving_pixels,
            reference_valid,
            moving_valid,
            check_max_shift(max_shift, largest),
        )

    def order(self) -> tuple[PlainPair, bool]:
        """Put the images into a fixed order; tell whether they were exchanged.

        Parts belong to the reference, so exchanging the images would leave out other parts. The
        order does not depend on brightness and contrast.
        """
        valid = self.find_valid()
        if _make_key(self.reference, valid[0]) >= _make_key(self.moving, valid[1]):
            return self, False
        exchanged = replace(
            self,
            reference=self.moving,
            moving=self.reference,
            reference_mask=self.moving_mask,
            moving_mask=self.reference_mask,
        )
        return exchanged, True

    def crop(self) -> PlainPair:
        """Cut off what lies outside both masks, if the images have the same shape."""
        masks = self.reference_mask, self.moving_mask
        if self.reference.shape != self.moving.shape or masks[0] is None or masks[1] is None:
            return self
        sides = zip(*(CachedMask(mask).bounds for mask in masks if mask is not None), strict=True)
        region = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in sides)
        if any(side.start == side.stop for side in region):
            return self
        return replace(
            self,
            reference=self.reference[region],
            moving=self.moving[region],
            reference_mask=masks[0][region],
            moving_mask=masks[1][region],
        )

    def make_images(
        self, region: Slices, moving_region: Slices, dtype: DTypeLike = np.float32
    ) -> tuple[MaskedImage, MaskedImage]:
        """Make the masked images of a region of the reference and one of the moving image."""
        masks = [
            CachedMask(_find_valid_pixels(image[box], None if mask is None else mask[box]))
            for image, mask, box in (
                (self.reference, self.reference_mask, region),
                (self.moving, self.moving_mask, moving_region),
            )
        ]
        if np.array_equal(masks[0].pixels, masks[1].pixels):  # so that results are shared
            masks[1] = masks[0]
        return (
            make_masked_image(self.reference[region], masks[0], dtype),
            make_masked_image(self.moving[moving_region], masks[1], dtype),
        )

    def condition(self, conditioning: Conditioning) -> PlainPair:
        """Condition both images; if only rounding is left of one, it becomes flat."""
        conditioned = []
        for image, valid in zip((self.reference, self.moving), self.find_valid(), strict=True):
            changed, usable = condition(image, valid, conditioning)
            left, before = (values[where] for values, where in ((changed, usable), (image, valid)))
            if left.size and np.ptp(left) <= ROUNDING * np.ptp(before):
                changed = np.zeros_like(changed)
            conditioned.append((changed, usable))
        return self._replace_images(conditioned)

    def find_valid(self) -> tuple[Bools, Bools]:
        """Find the pixels of both images that are finite and not masked."""
        return (
            _find_valid_pixels(self.reference, self.reference_mask),
            _find_valid_pixels(self.moving, self.moving_mask),
        )

    def _replace_images(self, images: Sequence[tuple[NDArray[Any], Bools]]) -> PlainPair:
        (reference, reference_mask), (moving, moving_mask) = images
        return replace(
            self,
            reference=reference,
            moving=moving,
            reference_mask=reference_mask,
            moving_mask=moving_mask,
        )

    def remove_fixed_pattern(self) -> Iterator[tuple[str, PlainPair]]:
        """Remove a possible fixed pattern from both images: lines across each axis, single pixels.

        Yields the name of each way and the pair that it results in.
        """
        images = list(zip((self.reference, self.moving), self.find_valid(), strict=True))
        if self.reference.shape == self.moving.shape:
            fixed = find_shared_outliers(images)
            if fixed.any():
                yield (
                    "without fixed pixels",
                    self._replace_images([(image, valid & ~fixed) for image, valid in images]),
                )
        for axis, name in enumerate(name_axes(self.reference.ndim)):
            if self.reference.ndim > 1:
                lines = [(subtract_line_means(*image, axis), image[1]) for image in images]
                yield f"without fixed lines across {name}", self._replace_images(lines)


def _make_key(image: NDArray[Any], valid: Bools) -> tuple[tuple[int, ...], int, float]:
    """Make a key to sort images by: shape, valid pixels, and skewness of a sample of these."""
    step = math.ceil((image.size / SAMPLE_PIXELS) ** (1 / image.ndim))
    every = (slice(None, None, step),) * image.ndim
    values = image[every][valid[every]].astype(np.float64)
    skewness = 0.0
    with np.errstate(all="ignore"):  # numbers may be huge, or all the same
        if values.size:
            values = values / np.abs(values).max()
            values -= values.mean()
            skewness = float(np.abs((values * values * values).mean()) / values.std() ** 3)
    count = int(np.count_nonzero(valid))
    return image.shape, count, skewness if math.isfinite(skewness) else 0.0


def _find_valid_pixels(image: NDArray[Any], mask: Bools | None) -> Bools:
    """Find the pixels that are finite and not masked."""
    valid = find_finite_pixels(image)
    return valid if mask is None else valid & mask


def check_max_shift(
    max_shift: int | Sequence[int] | None, largest: Sequence[int]
) -> tuple[int, ...] | None:
    """Check `max_shift`, pixels, and return one whole number per axis, 0 to `largest`.

    Raises ValueError if it is not one whole number or one per axis, or out of range.
    """
    if max_shift is None:
        return None
    bounds = np.atleast_1d(np.asarray(max_shift))
    if bounds.size == 1:
        bounds = np.repeat(bounds, len(largest))
    if bounds.shape != (len(largest),) or np.any(bounds != np.rint(bounds)):
        raise ValueError(
            f"max_shift {max_shift} is neither a whole number of pixels nor one per axis "
            f"({len(largest)} axes)"
        )
    if not bounds.any():
        raise ValueError(
            "max_shift 0 leaves nothing to search: give at least 1 pixel along one axis"
        )
    for bound, limit, name in zip(bounds, largest, name_axes(len(largest)), strict=True):
        if not 0 <= bound <= limit:
            raise ValueError(
                f"max_shift {int(bound)} along {name} is out of range: images of {limit + 1} "
                f"pixels overlap at shifts of 0 to {limit}"
            )
    return tuple(int(bound) for bound in bounds)


def _check_image(
    name: str, image: ArrayLike, mask: ArrayLike | None
) -> tuple[NDArray[Any], Bools | None]:
    """Check an image and its mask, and convert them to arrays; `name` is for error messages."""
    array = np.asarray(as_plain(image))
    if np.iscomplexobj(array) or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {array.dtype}: real numbers are needed")
    if not 1 <= array.ndim <= 3 or array.size == 0:
        raise ValueError(f"{name} has the shape {array.shape}: 1 to 3 axes with pixels are needed")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if mask is None:
        return array, None
    mask_values = as_mask(mask)
    if mask_values.shape != array.shape:
        raise ValueError(
            f"{name}_mask has the shape {mask_values.shape} and {name} {array.shape}: "
            "they must agree"
        )
    return array, mask_values
