"""Images and masks prepared for correlation, each with a cache of its results.

Transforms are cached with the image or mask that they belong to, so that a frame with many pairs is
transformed once, and so is a mask that all frames share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import fft

from steadystack.model import Bools, Floats, Slices, find_box
from steadystack.ncc.tiles import Layout

Complexes: TypeAlias = NDArray[np.complexfloating[Any, Any]]
Role: TypeAlias = Literal["reference", "moving"]
Kind: TypeAlias = Literal["mask", "value", "square"]
SignedBox: TypeAlias = tuple[int, Slices]  # 1: its pixels are added, -1: taken away

# The level of an image is estimated from at most about this many valid pixels.
SAMPLE_PIXELS = 2**12
FEWEST_SAMPLED = 2**8
KURTOSIS_PIXELS = 2**14  # about so many tell the share of bright pixels
# Largest offset and scale that single precision can handle; ranges below the second number are 0.
LARGE = 1e30
SMALLEST = 1e-290


@dataclass(frozen=True)
class Scaling:
    """How pixels follow from the values correlated: ``pixel = offset + scale * value``."""

    offset: float
    scale: float


@dataclass(eq=False)
class CachedMask:
    """A mask with a cache of what was computed from it: its transforms, its overlap with itself.

    `parent` is a mask that has all of its pixels and a few more, if there is one. If it
    `may_lack_box`, a missing box within it is looked for: sums under two boxes are faster and the
    same but for rounding. The `cache` is valid for one layout: a mask, like an image, is used with
    one layout only.
    """

    pixels: Bools
    parent: CachedMask | None = None
    may_lack_box: bool = False
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def base(self) -> CachedMask:
        """The parent, whose results are reused except for the few missing pixels; else the mask."""
        return self.parent or self

    @cached_property
    def lacking_pixels(self) -> NDArray[np.intp]:
        """Indices (n, axes) of the pixels that are valid in the base but not here."""
        return np.argwhere(self.base.pixels & ~self.pixels)

    @cached_property
    def count(self) -> int:
        """How many pixels are valid."""
        return int(np.count_nonzero(self.pixels))

    @cached_property
    def bounds(self) -> Slices:
        """The smallest box that holds all valid pixels; empty where there are none."""
        return _find_bounds(self.pixels)

    @cached_property
    def is_box(self) -> bool:
        """Whether the valid pixels fill a box, such as the whole image or all but a border."""
        return self.count == _count_pixels(self.bounds)

    @cached_property
    def boxes(self) -> tuple[SignedBox, ...]:
        """The boxes that make up the mask: one, or one and the box missing within it; else none."""
        if self.is_box:
            return ((1, self.bounds),)
        if self.may_lack_box:
            lacking = ~self.pixels[self.bounds]
            inside = _find_bounds(lacking)
            if _count_pixels(inside) == _count_pixels(self.bounds) - self.count:
                box = tuple(
                    slice(outer.start + side.start, outer.start + side.stop)
                    for outer, side in zip(self.bounds, inside, strict=True)
                )
                return (1, self.bounds), (-1, box)
        return ()


@dataclass(eq=False)
class MaskedImage:
    """An image near mean 0 and deviation 1 under its mask, exactly 0 outside of it.

    The `cache` holds results for one layout and one region of its frame.
    """

    values: Floats
    mask: CachedMask
    level: Scaling
    dtype: np.dtype[Any]  # of the pixels that the values were made of
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def moments(self) -> tuple[float, float]:
        """The sum of the values and of their squares."""
        return compute_moments(self.values)

    def compute_spectrum(
        self, kind: Kind, role: Role, tile: int, layout: Layout, keep: bool
    ) -> Complexes:
        """Transform one tile of the mask, the values or their squares, or take it from the cache.

        The transform of a moving image is conjugated, as products with it need it. `keep` tells
        whether to cache it.
        """
        cache = self.mask.cache if kind == "mask" else self.cache
        key = (kind, role, tile)
        if key in cache:
            return np.asarray(cache[key])
        if role == "moving" and layout.one_spectrum:
            spectrum = np.conj(self.compute_spectrum(kind, "reference", tile, layout, keep))
            keep = keep and kind == "mask"  # cheap enough to make again
        else:
            spectrum = self._transform(kind, role, tile, layout)
        if keep:
            cache[key] = spectrum
        return spectrum

    def _transform(self, kind: Kind, role: Role, tile: int, layout: Layout) -> Complexes:
        """Transform one tile of the mask, the values or their squares, without the cache."""
        slices = layout.tiles[tile]
        region = slices.reference if role == "reference" else slices.moving
        pixels = self.mask.pixels[region] if kind == "mask" else self.values[region]
        begin = slices.moving_at if role == "moving" else (0,) * pixels.ndim
        padded = np.zeros(layout.fft_shape, self.values.dtype)
        target = padded[tuple(slice(b, b + n) for b, n in zip(begin, pixels.shape, strict=True))]
        if kind == "square":
            np.multiply(pixels, pixels, out=target)
        else:
            target[...] = pixels
        spectrum = np.asarray(fft.rfftn(padded, workers=1))
        return np.conjugate(spectrum, out=spectrum) if role == "moving" else spectrum

    def crop(self, region: Slices | None) -> MaskedImage:
        """Cut out a region, with an empty cache; None: the image itself."""
        if region is None:
            return self
        return MaskedImage(
            self.values[region], CachedMask(self.mask.pixels[region]), self.level, self.dtype
        )

    def count_valid(self, role: Role, tile: int, layout: Layout) -> int:
        """Count the valid pixels of a tile."""
        key = ("valid", role, tile)
        if key not in self.mask.cache:
            slices = layout.tiles[tile]
            region = slices.reference if role == "reference" else slices.moving
            self.mask.cache[key] = int(np.count_nonzero(self.mask.pixels[region]))
        return int(self.mask.cache[key])


def _find_bounds(pixels: Bools) -> Slices:
    """The smallest box that holds all pixels that are True; empty where there are none."""
    return find_box(pixels) if pixels.any() else (slice(0, 0),) * pixels.ndim


def _count_pixels(box: Slices) -> int:
    return math.prod(side.stop - side.start for side in box)


def find_extremes(image: NDArray[Any], mask: Bools) -> tuple[float, float]:
    """Find the lowest and the highest valid pixel; (inf, -inf) if none is valid.

    If they differ by more than rounding, they may be those of a sample of the pixels.
    """
    for region in (select_sample(image), ...):  # a sample can only prove that the image is not flat
        values = image[region][mask[region]]
        if len(values) and not is_constant_range(*(extremes := _compute_ends(values)), image.dtype):
            return extremes
    return _compute_ends(values) if len(values) else (np.inf, -np.inf)


def _compute_ends(values: NDArray[Any]) -> tuple[float, float]:
    """Compute the lowest and the highest value."""
    return float(values.min()), float(values.max())


def is_constant_range(low: float, high: float, dtype: np.dtype[Any]) -> bool:
    """Whether two pixels differ by no more than the rounding of their type."""
    precision = dtype if np.issubdtype(dtype, np.floating) else np.dtype(np.float64)
    return high - low <= 2 * float(np.finfo(precision).eps) * max(abs(low), abs(high))


def make_masked_image(
    image: NDArray[Any], mask: CachedMask, dtype: DTypeLike = np.float32
) -> MaskedImage:
    """Bring an image near mean 0 and deviation 1 under its mask.

    The NCC does not depend on offset and scale, but its rounding does: in single precision, sums of
    numbers far from zero lose their digits. Mean and deviation are estimated from a sample, or from
    all pixels if that is too coarse. Valid pixels must be finite.
    """
    region = select_sample(image)
    sample = image[region][mask.pixels[region]]
    masked = _scale_image(image, mask, _measure_level(sample), np.dtype(dtype))
    if mask.count:
        mean, square = (moment / mask.count for moment in masked.moments)
        if len(sample) < FEWEST_SAMPLED or mean**2 > 0.1 * square or not 1e-2 < square < 1e2:
            masked = _scale_image(image, mask, _measure_level(image[mask.pixels]), np.dtype(dtype))
    return masked


def compute_moments(values: Floats) -> tuple[float, float]:
    """Sum values and their squares: each row in their own precision, the rows in double."""
    lines = values.reshape(-1, values.shape[-1])
    value_sum = np.einsum("ij->i", lines).sum(dtype=np.float64)
    return float(value_sum), float(np.einsum("ij,ij->i", lines, lines).sum(dtype=np.float64))


def compute_bright_share(values: Floats, count: int) -> float:
    """Compute the share of `count` valid pixels that has most of the contrast: 1 / kurtosis.

    It is a third for normal noise, and about the number of counts per pixel where most pixels
    have none. Invalid pixels are 0, as is the mean. Large images are sampled, line by line.
    """
    lines = values.reshape(-1, values.shape[-1])
    sampled = lines[:: max(values.size // KURTOSIS_PIXELS, 1)]
    count, lines = count * len(sampled) // max(len(lines), 1), sampled
    energy = float(np.einsum("ij,ij->i", lines, lines).sum(dtype=np.float64))
    fourth = np.einsum("ij,ij,ij,ij->i", lines, lines, lines, lines).sum(dtype=np.float64)
    return min(energy * energy / (count * float(fourth)), 1.0) if count and fourth > 0 else 1.0


def _scale_image(
    image: NDArray[Any], mask: CachedMask, level: Scaling, dtype: np.dtype[Any]
) -> MaskedImage:
    """Subtract the offset of `level`, divide by its scale, and set pixels outside the mask to 0."""
    is_exact = image.dtype == dtype or (image.dtype.kind in "biu" and image.dtype.itemsize <= 2)
    is_ordinary = max(level.scale, 1 / level.scale, abs(level.offset)) < LARGE
    # subtract the offset before rounding to the final precision
    working = dtype if is_exact and is_ordinary else np.dtype(np.float64)
    level = Scaling(float(working.type(level.offset)), level.scale)
    with np.errstate(invalid="ignore", over="ignore"):  # pixels outside the mask may be anything
        values = np.subtract(image, working.type(level.offset), dtype=working)
        values *= working.type(1 / level.scale)
        values = values.astype(dtype, copy=False)
    if mask.count < mask.pixels.size:
        if image.dtype.kind in "biu" or np.isfinite(values).all():
            values *= mask.pixels
        else:
            values = np.where(mask.pixels, values, dtype.type(0))
    return MaskedImage(values, mask, level, image.dtype)


def _measure_level(values: NDArray[Any]) -> Scaling:
    """Measure mean and deviation in double precision, as the offset and scale of an image."""
    if not len(values):
        return Scaling(0.0, 1.0)
    numbers = values.astype(np.float64)
    low, range_ = float(numbers.min()), float(np.ptp(numbers))
    if not SMALLEST < range_ < np.inf:
        return Scaling(low, 1.0)
    fractions = (numbers - low) / range_
    mean, spread = float(fractions.mean()), float(fractions.std())
    return Scaling(low + range_ * mean, range_ * spread)


def select_sample(image: NDArray[Any]) -> Slices:
    """Slices that take about `SAMPLE_PIXELS` evenly spread pixels.

    Steps are odd, so as not to fall in step with a regular pattern.
    """
    step = int((image.size / SAMPLE_PIXELS) ** (1 / image.ndim)) | 1
    return tuple(slice(None, None, min(step, size // 8 | 1)) for size in image.shape)
