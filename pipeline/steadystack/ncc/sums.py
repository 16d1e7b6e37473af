"""The terms of a pair of images, each by the cheapest exact way.

C belongs to the pair. The other terms are sums of one image under the mask of the other, and there
are cheaper ways to them than transforms for every pair:

* under a mask that the images of a series **share**, they are the image's alone, worked out once;
  as moving image they are those as reference, mirrored, S_g(u) = S_f(-u), where both lags are
  wanted;
* **few** pixels that the masks lack of the shared one are taken away one by one;
* under a mask that is a **box**, such as none at all, they are differences of prefix sums.

In a series the way depends on the layout and on the two masks alone, so that the numbers of a pair
do not depend on the pairs that it is measured with.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from steadystack.model import Bools, Floats, Slices
from steadystack.ncc.lags import Window
from steadystack.ncc.masked import CachedMask, Complexes, Kind, MaskedImage, Role
from steadystack.ncc.terms import FramePart, Lags, Moments, Terms
from steadystack.ncc.tiles import Layout

# Transforms of the reference and of the moving image whose product a term is.
Factors: TypeAlias = tuple[Kind, Kind]

# Pixels that a mask lacks are taken away one by one if pixels times lags is below this many times
# the size of the transforms that they save; fewer lags than PIXEL_LAGS make no pixel cheaper.
FEW_PIXELS_COST = 1
PIXEL_LAGS = 4096


def compute_terms(
    reference: MaskedImage,
    moving: MaskedImage,
    layout: Layout,
    *,
    in_series: bool = False,
    keep: Collection[Kind] = (),
    places: tuple[FramePart | None, FramePart | None] = (None, None),
    lags: Window | None = None,
) -> Terms:
    """The terms of two images over the lags of `layout.window`, or those of `lags` in it.

    Parameters
    ----------
    in_series
        Whether the images have other pairs: what is worked out for one of them alone serves those
        too; what is worked out for a mask serves all images that have the same `CachedMask`.
    keep
        The transforms that are kept with the images for that; no number depends on it.
    places
        Where in their frames the two images lie; None: each is a whole frame.
    """
    m, k, window = reference.mask, moving.mask, lags or layout.window
    wanted: dict[str, Factors] = {"cross": ("value", "value")}
    found: dict[str, Lags] = {}
    common = in_series and layout.one_shape and m.base is k.base
    if m.is_box and k.is_box:
        found["count"] = box_overlap(m.bounds, k.bounds, window)
    elif common:
        found["count"] = _own_count(reference, layout, keep)[layout.window.places_of(window)]
        found["count"] = found["count"] - _around(k.lacking, m.pixels, window)[0]
        found["count"] -= _flipped(_around(m.lacking, m.base.pixels, -window))[0]
    else:
        wanted["count"] = ("mask", "mask")

    if common:
        sums = _own_sums(reference, "reference", layout, keep)[:, *layout.window.places_of(window)]
        found["sum_f"], found["square_f"] = sums - _around(k.lacking, reference.values, window)
    elif k.is_box:
        found["sum_f"], found["square_f"] = box_sums(reference.values, k.bounds, window)
    else:
        wanted |= {"sum_f": ("value", "mask"), "square_f": ("square", "mask")}

    if common:
        sums = _own_sums(moving, "moving", layout, keep)[:, *layout.window.places_of(window)]
        around = _flipped(_around(m.lacking, moving.values, -window))
        found["sum_g"], found["square_g"] = sums - around
    elif m.is_box:
        found["sum_g"], found["square_g"] = _flipped(box_sums(moving.values, m.bounds, -window))
    else:
        wanted |= {"sum_g": ("mask", "value"), "square_g": ("mask", "square")}

    spectral, power, overlap = _correlate(reference, moving, layout, wanted, keep, window)
    found |= spectral
    found["count"] = np.rint(np.maximum(found["count"], 0))
    return Terms(
        **found,
        reference=Moments.of(reference, places[0]),
        moving=Moments.of(moving, places[1]),
        power=power,
        overlap=overlap,
    )


def derive_mask(pixels: Bools, base: CachedMask, layout: Layout) -> CachedMask:
    """A mask beside another one: that one, one that lacks few of its pixels, or neither.

    Few are as many as are taken away one by one in less time than the transforms take.
    """
    lacking = base.count - int(np.count_nonzero(pixels))
    if lacking < 0 or (pixels & ~base.pixels).any():
        return CachedMask(pixels)
    if not lacking:
        return base
    lags = max(math.prod(layout.window.shape), PIXEL_LAGS)
    spared = (len(layout.tiles) + 1) * math.prod(layout.fft_shape)
    few = lacking * lags < FEW_PIXELS_COST * spared
    return CachedMask(pixels, base if few and layout.one_shape else None)


def _around(pixels: NDArray[np.intp], values: NDArray[Any], window: Window) -> Lags:
    """Sums of values and of their squares at every lag of a window from some pixels: (2, *lags)."""
    sums = np.zeros((2, *window.shape))
    for pixel in pixels:
        source, target = [], []
        for place, lo, hi, size in zip(pixel, window.first, window.last, values.shape, strict=True):
            low = max(place + lo, 0)
            high = max(min(place + hi + 1, size), low)  # nothing, for lags that lead out
            source.append(slice(low, high))
            target.append(slice(low - place - lo, high - place - lo))
        seen = values[tuple(source)]
        sums[0][tuple(target)] += seen
        sums[1][tuple(target)] += seen * seen
    return sums


def _flipped(sums: Lags) -> Lags:
    """The same for the opposite lags."""
    return np.flip(sums, tuple(range(1, sums.ndim)))


def _own_sums(image: MaskedImage, role: Role, layout: Layout, keep: Collection[Kind]) -> Lags:
    """The sums of an image and of its square under the base of its mask; kept.

    As moving image they are those as reference at the opposite lags, where the layout has these.
    """
    if role == "moving" and layout.symmetric:
        return _flipped(_own_sums(image, "reference", layout, keep))
    if ("own", role) not in image.known:
        base = image.mask.base
        if base.is_box and role == "reference":
            sums = box_sums(image.values, base.bounds, layout.window)
        elif base.is_box:
            sums = _flipped(box_sums(image.values, base.bounds, -layout.window))
        else:
            kinds: tuple[Kind, Kind] = ("value", "square")
            wanted: dict[str, Factors] = {
                kind: (kind, "mask") if role == "reference" else ("mask", kind) for kind in kinds
            }
            under = replace(image, mask=base)
            found, _, _ = _correlate(under, under, layout, wanted, keep)
            sums = np.stack([found[kind] for kind in kinds])
        image.known["own", role] = sums
    return np.asarray(image.known["own", role])


def _own_count(image: MaskedImage, layout: Layout, keep: Collection[Kind]) -> Lags:
    """The overlap of the base of an image's mask with itself; kept with it."""
    base = image.mask.base
    if "count" not in base.known:
        if base.is_box:
            count = box_overlap(base.bounds, base.bounds, layout.window)
        else:
            under = replace(image, mask=base)
            count = _correlate(under, under, layout, {"count": ("mask", "mask")}, keep)[0]["count"]
        base.known["count"] = count
    return np.asarray(base.known["count"])


def _correlate(
    reference: MaskedImage,
    moving: MaskedImage,
    layout: Layout,
    wanted: Mapping[str, Factors],
    keep: Collection[Kind],
    lags: Window | None = None,
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
    window = lags or layout.window
    nothing = np.zeros(window.shape)
    terms = {n: _inverse(sums[n], layout, window) if n in sums else nothing for n in wanted}
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


def _inverse(product: NDArray[Any], layout: Layout, window: Window) -> Lags:
    """Inverse real transform for the wanted lags only: after each axis the rest is dropped."""

    def wanted(lines: NDArray[Any], axis: int) -> NDArray[Any]:
        first = layout.first_index[axis] + window.first[axis] - layout.window.first[axis]
        lags = np.arange(first, first + window.shape[axis]) % layout.fft_shape[axis]
        return np.take(lines, lags, axis=axis)

    last = len(layout.fft_shape) - 1
    for axis in range(last):
        product = wanted(fft.ifft(product, axis=axis, workers=1), axis)
    lines = fft.irfft(product, layout.fft_shape[last], axis=last, workers=1)
    return wanted(lines, last).astype(np.float64)


def box_overlap(reference: Slices, moving: Slices, window: Window) -> NDArray[np.float64]:
    """How many pixels two boxes have in common at every lag."""
    lengths = []
    for f, g, lo, hi in zip(reference, moving, window.first, window.last, strict=True):
        lags = np.arange(lo, hi + 1)
        common = np.minimum(f.stop, g.stop + lags) - np.maximum(f.start, g.start + lags)
        lengths.append(np.maximum(common, 0).astype(np.float64))
    return np.asarray(reduce(np.multiply.outer, lengths))


def box_sums(values: Floats, box: Slices, window: Window) -> NDArray[np.float64]:
    """The sums of an image and of its square under a box moved by every lag: (2, *lags)."""
    sums = []
    for array in (values, values * values):
        for axis, side in enumerate(box):
            array = _sliding_sum(array, axis, side, window.first[axis], window.last[axis])
        sums.append(array)
    return np.stack(sums)


def _sliding_sum(array: Floats, axis: int, side: slice, first: int, last: int) -> Floats:
    """Sums along an axis over ``side`` moved by every lag from `first` to `last`.

    What lies in all of these ranges is added once; only what is not goes through prefix sums.
    """
    rows = np.moveaxis(array, axis, 0)
    lags = np.arange(first, last + 1)
    starts = np.clip(side.start + lags, 0, len(rows))
    stops = np.maximum(np.clip(side.stop + lags, 0, len(rows)), starts)
    inner = slice(int(starts[-1]), max(int(stops[0]), int(starts[-1])))
    pieces = np.concatenate(
        [
            rows[starts[0] : inner.start].astype(np.float64),
            rows[inner].sum(axis=0, dtype=np.float64, keepdims=True),
            rows[inner.stop : max(stops[-1], inner.stop)].astype(np.float64),
        ]
    )
    prefix = np.concatenate([np.zeros((1, *pieces.shape[1:])), np.cumsum(pieces, axis=0)])

    def place(position: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where in the prefix sums a position along the axis is, the inner rows being one."""
        skipped = np.where(position >= inner.stop, inner.stop - inner.start - 1, 0)
        return np.asarray(position - starts[0] - skipped)

    return np.moveaxis(prefix[place(stops)] - prefix[place(starts)], 0, axis)
