"""The terms of a pair of images, each by the cheapest exact way.

C belongs to the pair. The other terms are sums of one image under the mask of the other, and there
are cheaper ways to them than transforms for every pair:

* under its **own** mask, which most frames of a series share, they are the image's alone and
  worked out once; as moving image they are those as reference, mirrored: S_g(u) = S_f(-u);
* under a mask that differs from its own in **few** pixels, those are added or taken away one by
  one;
* under a mask that is a **box**, such as none at all, they are differences of prefix sums.

In a series the way depends on the layout and on the two masks alone, so that the numbers of a pair
do not depend on the pairs that it is measured with.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pipeline.model import Floats
from pipeline.ncc.boxes import box_overlap, box_sums
from pipeline.ncc.images import Complexes, Kind, Masked, MaskedImage, Role
from pipeline.ncc.lags import Window
from pipeline.ncc.terms import Lags, Moments, Place, Terms
from pipeline.ncc.tiles import Layout

# Transforms of the reference and of the moving image whose product a term is.
Factors: TypeAlias = tuple[Kind, Kind]

# Pixels that are added one by one pay if pixels times lags is below this many times the size of
# the transforms that they save; fewer lags than the second number make no pixel cheaper.
FEW_PIXELS_COST = 2
FEWEST_LAGS = 4096


def pair_terms(
    reference: MaskedImage,
    moving: MaskedImage,
    layout: Layout,
    *,
    in_series: bool = False,
    keep: Collection[Kind] = (),
    places: tuple[Place | None, Place | None] = (None, None),
) -> Terms:
    """The terms of two images over the lags of `layout.window`.

    Parameters
    ----------
    in_series
        Whether the images have other pairs: what is worked out for one of them alone serves those
        too; what is worked out for a mask serves all images that have the same `Masked`.
    keep
        The transforms that are kept with the images for that; no number depends on it.
    places
        Where in their frames the two images lie; None: each is a whole frame.
    """
    m, k, window = reference.mask, moving.mask, layout.window
    wanted: dict[str, Factors] = {"cross": ("value", "value")}
    found: dict[str, Lags] = {}
    few = _difference(m, k, layout) if in_series and layout.symmetric else None
    if m.is_box and k.is_box:
        found["count"] = box_overlap(m.bounds, k.bounds, window)
    elif few is not None:
        found["count"] = _own_count(reference, layout, keep) + few.count(m)
    else:
        wanted["count"] = ("mask", "mask")

    if few is not None:
        own = _own_sums(reference, layout, keep)
        found["sum_f"], found["square_f"] = own + few.sums(reference, "reference")
    elif k.is_box:
        found["sum_f"], found["square_f"] = box_sums(reference.values, k.bounds, window)
    else:
        wanted |= {"sum_f": ("value", "mask"), "square_f": ("square", "mask")}

    if few is not None:
        own = _flipped(_own_sums(moving, layout, keep))
        found["sum_g"], found["square_g"] = own + few.sums(moving, "moving")
    elif m.is_box:
        found["sum_g"], found["square_g"] = _flipped(box_sums(moving.values, m.bounds, -window))
    else:
        wanted |= {"sum_g": ("mask", "value"), "square_g": ("mask", "square")}

    spectral, power, overlap = _correlate(reference, moving, layout, wanted, keep)
    found |= spectral
    found["count"] = np.rint(np.maximum(found["count"], 0))
    return Terms(
        **found,
        reference=Moments.of(reference, places[0]),
        moving=Moments.of(moving, places[1]),
        power=power,
        overlap=overlap,
    )


@dataclass(frozen=True)
class _Difference:
    """The few pixels in which the masks of a pair differ: +1 valid in the moving one's only."""

    pixels: NDArray[np.intp]  # (pixels, axes)
    sign: NDArray[np.int8]
    window: Window

    def count(self, mask: Masked) -> Lags | float:
        """What these pixels add to the overlap that the reference's mask has with itself."""
        if not len(self.sign):
            return 0.0
        return np.asarray(self._around(mask.pixels.astype(np.float32), self.window)[0])

    def sums(self, image: MaskedImage, role: Role) -> Lags | float:
        """What they add to the sums of an image and of its square under its own mask."""
        if not len(self.sign):
            return 0.0
        if role == "reference":
            return self._around(image.values, self.window)
        return -_flipped(self._around(image.values, -self.window))

    def _around(self, values: Floats, window: Window) -> Lags:
        """Signed sums of the values, and of their squares, at every lag from these pixels."""
        sums = np.zeros((2, *window.shape))
        for pixel, sign in zip(self.pixels, self.sign, strict=True):
            source, target = [], []
            for place, lo, hi, size in zip(
                pixel, window.first, window.last, values.shape, strict=True
            ):
                low, high = max(place + lo, 0), min(place + hi + 1, size)
                source.append(slice(low, high))
                target.append(slice(low - place - lo, high - place - lo))
            seen = values[tuple(source)]
            sums[0][tuple(target)] += sign * seen
            sums[1][tuple(target)] += sign * (seen * seen)
        return sums


def _flipped(sums: Lags) -> Lags:
    """The same for the opposite lags."""
    return np.flip(sums, tuple(range(1, sums.ndim)))


def _difference(m: Masked, k: Masked, layout: Layout) -> _Difference | None:
    """The pixels in which two masks differ, if they are few enough to be added one by one."""
    if m is k:  # else `changed` finds out
        return _Difference(
            np.empty((0, m.pixels.ndim), np.intp), np.empty(0, np.int8), layout.window
        )
    changed = m.pixels != k.pixels
    lags = max(math.prod(layout.window.shape), FEWEST_LAGS)
    spared = (len(layout.tiles) + 1) * math.prod(layout.fft_shape)
    if np.count_nonzero(changed) * lags > FEW_PIXELS_COST * spared:
        return None
    pixels = np.argwhere(changed)
    sign = np.where(k.pixels[changed], 1, -1).astype(np.int8)
    return _Difference(pixels, sign, layout.window)


def _own_sums(image: MaskedImage, layout: Layout, keep: Collection[Kind]) -> Lags:
    """The sums of an image and of its square, as reference, under its own mask; kept."""
    if "own" not in image.known:
        if image.mask.is_box:
            sums = box_sums(image.values, image.mask.bounds, layout.window)
        else:
            wanted: dict[str, Factors] = {"sum": ("value", "mask"), "square": ("square", "mask")}
            found, _, _ = _correlate(image, image, layout, wanted, keep)
            sums = np.stack([found["sum"], found["square"]])
        image.known["own"] = sums
    return np.asarray(image.known["own"])


def _own_count(image: MaskedImage, layout: Layout, keep: Collection[Kind]) -> Lags:
    """The overlap of a mask with itself; kept with the mask."""
    known = image.mask.known
    if "count" not in known:
        found, _, _ = _correlate(image, image, layout, {"count": ("mask", "mask")}, keep)
        known["count"] = found["count"]
    return np.asarray(known["count"])


def _correlate(
    reference: MaskedImage,
    moving: MaskedImage,
    layout: Layout,
    wanted: Mapping[str, Factors],
    keep: Collection[Kind],
) -> tuple[dict[str, Lags], float, float]:
    """Terms by transforms: products of spectra added over the tiles, then one inverse for each.

    Also the sum of squares that unrelated images with these spectra are expected to show in
    "cross", and the number of products of pixels that this is made of.
    """
    sums: dict[str, Complexes] = {}
    power = overlap = 0.0
    for tile in range(len(layout.tiles)):
        valid = reference.valid_in("reference", tile, layout) * moving.valid_in(
            "moving", tile, layout
        )
        if not valid:
            continue
        left = {
            kind: reference.spectrum(kind, "reference", tile, layout, kind in keep)
            for kind in dict.fromkeys(factors[0] for factors in wanted.values())
        }
        right = {
            kind: moving.spectrum(kind, "moving", tile, layout, kind in keep)
            for kind in dict.fromkeys(factors[1] for factors in wanted.values())
        }
        for name, (one, other) in wanted.items():
            product = left[one] * right[other]
            if name == "cross":
                power += _power(product, layout)
                overlap += valid
            if name in sums:
                sums[name] += product
            else:
                sums[name] = product
    nothing = np.zeros(layout.window.shape)
    terms = {n: _inverse(sums[n], layout) if n in sums else nothing for n in wanted}
    return terms, power, overlap


def _power(product: Complexes, layout: Layout) -> float:
    """The sum of squares of the correlation that has this spectrum, over all of its lags.

    Spectra of unrelated images have unrelated phases; then this is also the variance that is
    expected of the sum of such correlations (Bartlett 1946), whatever the true phases are.
    """
    lines = product.reshape(-1, product.shape[-1])
    numbers = lines.view(lines.real.dtype)
    twice = np.einsum("ij,ij->i", numbers, numbers).sum(dtype=np.float64)
    # a real transform keeps one of each conjugate pair; the first and an even last have no partner
    single = [0, -1] if layout.fft_shape[-1] % 2 == 0 else [0]
    once = (np.abs(lines[:, single]) ** 2).sum(dtype=np.float64)
    return float(2 * twice - once) / math.prod(layout.fft_shape)


def _inverse(product: NDArray[Any], layout: Layout) -> Lags:
    """Inverse real transform for the wanted lags only: after each axis the rest is dropped."""

    def wanted(lines: NDArray[Any], axis: int) -> NDArray[Any]:
        first = layout.first_index[axis]
        lags = np.arange(first, first + layout.window.shape[axis]) % layout.fft_shape[axis]
        return np.take(lines, lags, axis=axis)

    last = len(layout.fft_shape) - 1
    for axis in range(last):
        product = wanted(fft.ifft(product, axis=axis, workers=1), axis)
    lines = fft.irfft(product, layout.fft_shape[last], axis=last, workers=1)
    return wanted(lines, last).astype(np.float64)
