"""Images and masks made ready for correlation, with what was found out about them on the way.

Transforms are kept with the image or mask that they belong to, so that a frame of many pairs is
transformed once, and a mask that all frames share once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import fft

from steadystack.model import Bools, Floats, Slices
from steadystack.ncc.tiles import Layout

Complexes: TypeAlias = NDArray[np.complexfloating[Any, Any]]
Role: TypeAlias = Literal["reference", "moving"]
Kind: TypeAlias = Literal["mask", "value", "square"]

# Valid pixels that the level of an image is estimated from, at most about this many.
SAMPLE_PIXELS = 2**12
FEWEST_SAMPLED = 2**8
# Offsets and scales beyond this go through double precision; ranges below that are none.
LARGE = 1e30
SMALLEST = 1e-290


@dataclass(frozen=True)
class Scaling:
    """The numbers of an image: ``pixel = offset + scale * value``."""

    offset: float
    scale: float


@dataclass(eq=False)
class CachedMask:
    """A mask, and what has been worked out about it: its transforms, its overlap with itself.

    `near` is a mask of which it lacks a few pixels and no more, if there is one. What is `known`
    holds for one layout: a mask, like an image, has one all its life.
    """

    pixels: Bools
    near: CachedMask | None = None
    known: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def base(self) -> CachedMask:
        """The mask that it is treated like, but for the pixels that it lacks."""
        return self.near or self

    @cached_property
    def lacking(self) -> NDArray[np.intp]:
        """The pixels (n, axes) that it lacks of its base."""
        return np.argwhere(self.base.pixels & ~self.pixels)

    @cached_property
    def count(self) -> int:
        """How many pixels are valid."""
        return int(np.count_nonzero(self.pixels))

    @cached_property
    def bounds(self) -> Slices:
        """The smallest box that holds all valid pixels; empty where there are none."""
        ndim = self.pixels.ndim
        sides = []
        for axis in range(ndim):
            seen = np.flatnonzero(self.pixels.any(axis=tuple(a for a in range(ndim) if a != axis)))
            sides.append(slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 0))
        return tuple(sides)

    @cached_property
    def is_box(self) -> bool:
        """Whether the valid pixels fill a box, such as the whole image or all but a border."""
        return self.count == int(np.prod([side.stop - side.start for side in self.bounds]))


@dataclass(eq=False)
class MaskedImage:
    """An image near mean 0 and deviation 1 under its mask, exactly 0 outside of it.

    What is `known` of it holds for one layout and one place in its frame.
    """

    values: Floats
    mask: CachedMask
    level: Scaling
    dtype: np.dtype[Any]  # of the pixels that the values were made of
    known: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def moments(self) -> tuple[float, float]:
        """The sum of the values and of their squares."""
        return moments_of(self.values)

    def spectrum(self, kind: Kind, role: Role, tile: int, layout: Layout, keep: bool) -> Complexes:
        """The transform of one tile of the mask, the values or their squares.

        That of a moving image is the conjugate, as the products need it.
        """
        known = self.mask.known if kind == "mask" else self.known
        key = (kind, role, tile)
        if key in known:
            return np.asarray(known[key])
        if role == "moving" and layout.one_spectrum:
            found = np.conj(self.spectrum(kind, "reference", tile, layout, keep))
            keep = keep and kind == "mask"  # made again faster than it would be worth its memory
        else:
            found = self._transform(kind, role, tile, layout)
        if keep:
            known[key] = found
        return found

    def _transform(self, kind: Kind, role: Role, tile: int, layout: Layout) -> Complexes:
        place = layout.tiles[tile]
        where = place.reference if role == "reference" else place.moving
        part = self.mask.pixels[where] if kind == "mask" else self.values[where]
        begin = place.moving_at if role == "moving" else (0,) * part.ndim
        padded = np.zeros(layout.fft_shape, self.values.dtype)
        inside = padded[tuple(slice(b, b + n) for b, n in zip(begin, part.shape, strict=True))]
        if kind == "square":
            np.multiply(part, part, out=inside)
        else:
            inside[...] = part
        found = np.asarray(fft.rfftn(padded, workers=1))
        return np.conjugate(found, out=found) if role == "moving" else found

    def part(self, place: Slices | None) -> MaskedImage:
        """A part of the image; itself for None."""
        if place is None:
            return self
        return MaskedImage(
            self.values[place], CachedMask(self.mask.pixels[place]), self.level, self.dtype
        )

    def valid_in(self, role: Role, tile: int, layout: Layout) -> int:
        """How many pixels of a tile are valid."""
        key = ("valid", role, tile)
        if key not in self.mask.known:
            place = layout.tiles[tile]
            where = place.reference if role == "reference" else place.moving
            self.mask.known[key] = int(np.count_nonzero(self.mask.pixels[where]))
        return int(self.mask.known[key])


def find_extremes(image: NDArray[Any], mask: Bools) -> tuple[float, float]:
    """The lowest and the highest valid pixel, or any two that differ; (inf, -inf) if none."""
    for part in (sample_of(image), ...):  # some pixels can tell that it is not flat, not that it is
        values = image[part][mask[part]]
        if len(values) and not is_constant_range(*(found := _ends(values)), image.dtype):
            return found
    return _ends(values) if len(values) else (np.inf, -np.inf)


def _ends(values: NDArray[Any]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def is_constant_range(low: float, high: float, dtype: np.dtype[Any]) -> bool:
    """Whether two pixels do not differ by more than the rounding of their type."""
    kept = dtype if np.issubdtype(dtype, np.floating) else np.dtype(np.float64)
    return high - low <= 2 * float(np.finfo(kept).eps) * max(abs(low), abs(high))


def make_masked_image(
    image: NDArray[Any], mask: CachedMask, dtype: DTypeLike = np.float32
) -> MaskedImage:
    """An image brought near mean 0 and deviation 1 under its mask.

    The NCC knows neither offset nor scale, but single precision does: sums of numbers far from
    zero lose what matters. An estimate from some of the pixels is good enough for that; where it
    turns out not to be, all pixels are asked. Valid pixels must be finite.
    """
    part = sample_of(image)
    some = image[part][mask.pixels[part]]
    found = _at_level(image, mask, _level(some), np.dtype(dtype))
    if mask.count:
        mean, square = (one / mask.count for one in found.moments)
        if len(some) < FEWEST_SAMPLED or mean**2 > 0.1 * square or not 1e-2 < square < 1e2:
            found = _at_level(image, mask, _level(image[mask.pixels]), np.dtype(dtype))
    return found


def moments_of(values: Floats) -> tuple[float, float]:
    """Sum of values and of their squares; the rows in their precision, their sum in double."""
    lines = values.reshape(-1, values.shape[-1])
    total = np.einsum("ij->i", lines).sum(dtype=np.float64)
    return float(total), float(np.einsum("ij,ij->i", lines, lines).sum(dtype=np.float64))


def _at_level(
    image: NDArray[Any], mask: CachedMask, level: Scaling, dtype: np.dtype[Any]
) -> MaskedImage:
    exact = image.dtype == dtype or (image.dtype.kind in "biu" and image.dtype.itemsize <= 2)
    ordinary = max(level.scale, 1 / level.scale, abs(level.offset)) < LARGE
    # no digit is lost before the offset is off
    working = dtype if exact and ordinary else np.dtype(np.float64)
    level = Scaling(float(working.type(level.offset)), level.scale)
    with np.errstate(invalid="ignore", over="ignore"):  # outside of the mask anything may stand
        values = np.subtract(image, working.type(level.offset), dtype=working)
        values *= working.type(1 / level.scale)
        values = values.astype(dtype, copy=False)
    if mask.count < mask.pixels.size:
        if image.dtype.kind in "biu" or np.isfinite(values).all():
            values *= mask.pixels
        else:
            values = np.where(mask.pixels, values, dtype.type(0))
    return MaskedImage(values, mask, level, image.dtype)


def _level(values: NDArray[Any]) -> Scaling:
    """Mean and deviation, in double precision."""
    if not len(values):
        return Scaling(0.0, 1.0)
    numbers = values.astype(np.float64)
    low, range_ = float(numbers.min()), float(np.ptp(numbers))
    if not SMALLEST < range_ < np.inf:
        return Scaling(low, 1.0)
    parts = (numbers - low) / range_
    mean, spread = float(parts.mean()), float(parts.std())
    return Scaling(low + range_ * mean, range_ * spread)


def sample_of(image: NDArray[Any]) -> Slices:
    """About `SAMPLE_PIXELS` evenly spread; the steps are odd, to meet no regular pattern."""
    step = int((image.size / SAMPLE_PIXELS) ** (1 / image.ndim)) | 1
    return tuple(slice(None, None, min(step, size // 8 | 1)) for size in image.shape)
