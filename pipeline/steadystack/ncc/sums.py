"""Compute the terms of a pair of images, each in the cheapest exact way.

C needs both images. The other terms are sums of one image under the mask of the other, which often
need no transforms of their own for every pair:

* under a mask that the images of a series **share**, they depend on one image alone and are
  computed once; those of the moving image are those of the reference mirrored, S_g(u) = S_f(-u), if
  the window holds both lags;
* a **few** pixels that a mask lacks compared with the shared one are subtracted one by one;
* under a mask that is a **box**, such as the whole frame, they are differences of prefix sums; and,
  on request, under a box that lacks a box within.

In a series the choice depends on the layout and the two masks alone, so that the numbers of a pair
do not depend on the pairs measured with it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import fft

from steadystack.model import Bools
from steadystack.ncc.box_sums import compute_box_sums, count_box_overlap
from steadystack.ncc.lags import Window
from steadystack.ncc.masked import CachedMask, Complexes, Kind, MaskedImage, Role
from steadystack.ncc.terms import FramePart, Lags, Moments, Terms
from steadystack.ncc.tiles import Layout

# Kinds of transforms, of the reference and of the moving image, whose product gives a term.
Factors: TypeAlias = tuple[Kind, Kind]

# Missing pixels are subtracted one by one if pixels times lags is below this many times the size of
# the transforms saved; a pixel costs as much as PIXEL_LAGS lags at least.
FEW_PIXELS_COST = 1
PIXEL_LAGS = 4096


def compute_terms(
    reference: MaskedImage,
    moving: MaskedImage,
    layout: Layout,
    *,
    in_series: bool = False,
    keep: Collection[Kind] = (),
    frame_parts: tuple[FramePart | None, FramePart | None] = (None, None),
    lags: Window | None = None,
) -> Terms:
    """Compute the terms of two images over the lags of `layout.window`, or over `lags` in it.

    Parameters
    ----------
    in_series
        Whether the images have other pairs: what is computed from one image alone is cached for
        those, and what is computed from a mask for all images with the same `CachedMask`.
    keep
        The kinds of transforms that are cached with the images; no number depends on it.
    frame_parts
        Where in their frames the two images lie; None: each is a whole frame.
    """
    m, k, window = reference.mask, moving.mask, lags or layout.window
    by_transform: dict[str, Factors] = {"cross": ("value", "value")}
    terms: dict[str, Lags] = {}
    share_mask = in_series and layout.one_shape and m.base is k.base
    if m.boxes and k.boxes:
        terms["count"] = _count_overlap(m, k, window)
    elif share_mask:
        base = _compute_base_count(reference, layout, keep)[layout.window.locate(window)]
        terms["count"] = _subtract_lacking(base, m, k, window)
    else:
        by_transform["count"] = ("mask", "mask")

    if share_mask:
        sums = _compute_base_sums(reference, "reference", layout, keep)[
            :, *layout.window.locate(window)
        ]
        if len(k.lacking_pixels):
            sums = sums - _sum_around(k.lacking_pixels, reference.values, window)
        terms["sum_f"], terms["square_f"] = sums
    elif k.boxes:
        terms["sum_f"], terms["square_f"] = compute_box_sums(reference.values, k.boxes, window)
    else:
        by_transform |= {"sum_f": ("value", "mask"), "square_f": ("square", "mask")}

    if share_mask:
        sums = _compute_base_sums(moving, "moving", layout, keep)[:, *layout.window.locate(window)]
        if len(m.lacking_pixels):
            sums = sums - _flip_lags(_sum_around(m.lacking_pixels, moving.values, -window))
        terms["sum_g"], terms["square_g"] = sums
    elif m.boxes:
        terms["sum_g"], terms["square_g"] = _flip_lags(
            compute_box_sums(moving.values, m.boxes, -window)
        )
    else:
        by_transform |= {"sum_g": ("mask", "value"), "square_g": ("mask", "square")}

    spectral, power, overlap = _correlate(reference, moving, layout, by_transform, keep, window)
    terms |= spectral
    if not (m.boxes and k.boxes):  # overlaps of boxes are counted
        terms["count"] = np.rint(np.maximum(terms["count"], 0))
    return Terms(
        **terms,
        reference=Moments.compute(reference, frame_parts[0]),
        moving=Moments.compute(moving, frame_parts[1]),
        power=power,
        overlap=overlap,
    )


def _count_overlap(reference: CachedMask, moving: CachedMask, window: Window) -> Lags:
    """Count the overlap of masks made of boxes; that of a mask with itself is cached."""
    if reference is not moving:
        return count_box_overlap(reference.boxes, moving.boxes, window)
    known = reference.cache.get("overlap")
    if known is None or known[0] != window:
        known = window, count_box_overlap(reference.boxes, reference.boxes, window)
        reference.cache["overlap"] = known
    return np.asarray(known[1])


def _subtract_lacking(
    count: Lags, reference: CachedMask, moving: CachedMask, window: Window
) -> Lags:
    """Correct the overlap of a mask with itself for the pixels that two derived masks lack."""
    if len(moving.lacking_pixels):
        count = count - _sum_around(moving.lacking_pixels, reference.pixels, window)[0]
    if len(reference.lacking_pixels):
        around = _sum_around(reference.lacking_pixels, reference.base.pixels, -window)
        count = count - _flip_lags(around)[0]
    return count


def derive_mask(pixels: Bools, base: CachedMask, layout: Layout) -> CachedMask:
    """Make a mask from `pixels` that reuses as much as it can of the mask `base`.

    If the pixels are equal, it is `base` itself; if a few are missing, `base` becomes its parent;
    otherwise it is independent. Few means that subtracting them one by one is faster than
    transforms.
    """
    lacking = base.count - int(np.count_nonzero(pixels))
    if lacking < 0 or (pixels & ~base.pixels).any():
        return CachedMask(pixels)
    if not lacking:
        return base
    lags = max(math.prod(layout.window.shape), PIXEL_LAGS)
    spared = (len(layout.tiles) + 1) * math.prod(layout.fft_shape)
    are_few = lacking * lags < FEW_PIXELS_COST * spared
    return CachedMask(pixels, base if are_few and layout.one_shape else None)


def _sum_around(pixels: NDArray[np.intp], values: NDArray[Any], window: Window) -> Lags:
    """Sum values and their squares at every lag from each of `pixels` (n, axes): (2, *lags)."""
    sums = np.zeros((2, *window.shape))
    for pixel in pixels:
        source, target = [], []
        for position, lo, hi, size in zip(
            pixel, window.first, window.last, values.shape, strict=True
        ):
            low = max(position + lo, 0)
            high = max(min(position + hi + 1, size), low)  # empty if the lags lead out of the image
            source.append(slice(low, high))
            target.append(slice(low - position - lo, high - position - lo))
        shifted = values[tuple(source)]
        sums[0][tuple(target)] += shifted
        sums[1][tuple(target)] += shifted * shifted
    return sums


def _flip_lags(sums: Lags) -> Lags:
    """Flip sums (2, *lags) to the opposite lags."""
    return np.flip(sums, tuple(range(1, sums.ndim)))


def _compute_base_sums(
    image: MaskedImage, role: Role, layout: Layout, keep: Collection[Kind]
) -> Lags:
    """Sum an image and its square under the base of its mask, with a cache: (2, *lags).

    Sums of a moving image are those of a reference at the opposite lags, if the layout has them.
    """
    if role == "moving" and layout.symmetric:
        return _flip_lags(_compute_base_sums(image, "reference", layout, keep))
    if ("own", role) not in image.cache:
        base = image.mask.base
        if base.boxes and role == "reference":
            sums = compute_box_sums(image.values, base.boxes, layout.window)
        elif base.boxes:
            sums = _flip_lags(compute_box_sums(image.values, base.boxes, -layout.window))
        else:
            kinds: tuple[Kind, Kind] = ("value", "square")
            factors: dict[str, Factors] = {
                kind: (kind, "mask") if role == "reference" else ("mask", kind) for kind in kinds
            }
            under_base = replace(image, mask=base)
            terms, _, _ = _correlate(under_base, under_base, layout, factors, keep)
            sums = np.stack([terms[kind] for kind in kinds])
        image.cache["own", role] = sums
    return np.asarray(image.cache["own", role])


def _compute_base_count(image: MaskedImage, layout: Layout, keep: Collection[Kind]) -> Lags:
    """Count the overlap of the base of an image's mask with itself, cached with the base: lags."""
    base = image.mask.base
    if "count" not in base.cache:
        if base.boxes:
            count = count_box_overlap(base.boxes, base.boxes, layout.window)
        else:
            under_base = replace(image, mask=base)
            count = _correlate(under_base, under_base, layout, {"count": ("mask", "mask")}, keep)[
                0
            ]["count"]
        base.cache["count"] = count
    return np.asarray(base.cache["count"])


def _correlate(
    reference: MaskedImage,
    moving: MaskedImage,
    layout: Layout,
    factors: Mapping[str, Factors],
    keep: Collection[Kind],
    lags: Window | None = None,
) -> tuple[dict[str, Lags], float, float]:
    """Compute terms by transforms: add products of spectra over the tiles, transform back once.

    Parameters
    ----------
    factors : kinds of spectra to multiply, for every term by its name

    Returns
    -------
    terms : arrays over the lags, by name
    power : sum of squares that unrelated images with these spectra are expected to show in "cross"
    overlap : number of products of pixels that `power` is made of
    """
    sums: dict[str, Complexes] = {}
    power = overlap = 0.0
    shares_mask = reference.mask is moving.mask and layout.one_spectrum
    for tile in range(len(layout.tiles)):
        valid = reference.count_valid("reference", tile, layout) * moving.count_valid(
            "moving", tile, layout
        )
        if not valid:
            continue
        left = {
            kind: reference.compute_spectrum(kind, "reference", tile, layout, kind in keep)
            for kind in dict.fromkeys(kinds[0] for kinds in factors.values())
        }
        right = {
            kind: moving.compute_spectrum(kind, "moving", tile, layout, kind in keep)
            for kind in dict.fromkeys(kinds[1] for kinds in factors.values())
            if not (kind == "mask" and kind in left and shares_mask)
        }
        if "mask" in left and shares_mask:
            right["mask"] = np.conj(left["mask"])
        for name, (first, second) in factors.items():
            product = left[first] * right[second]
            if name == "cross":
                power += _compute_power(product, layout)
                overlap += valid
            if name in sums:
                sums[name] += product
            else:
                sums[name] = product
    window = lags or layout.window
    zeros = np.zeros(window.shape)
    terms = {
        name: _transform_back(sums[name], layout, window) if name in sums else zeros
        for name in factors
    }
    return terms, power, overlap


def _compute_power(product: Complexes, layout: Layout) -> float:
    """Sum the squares over all lags of the correlation whose spectrum is `product` (Parseval).

    Spectra of unrelated images have unrelated phases; the sum over tiles is then also the variance
    expected of the sum of their correlations (Bartlett 1946), whatever the true phases are.
    """
    lines = product.reshape(-1, product.shape[-1])
    numbers = lines.view(lines.real.dtype)
    twice = np.einsum("ij,ij->i", numbers, numbers).sum(dtype=np.float64)
    # a real transform keeps one of each conjugate pair; the first and an even last have no partner
    single = [0, -1] if layout.fft_shape[-1] % 2 == 0 else [0]
    once = (np.abs(lines[:, single]) ** 2).sum(dtype=np.float64)
    return float(2 * twice - once) / math.prod(layout.fft_shape)


def _transform_back(product: NDArray[Any], layout: Layout, window: Window) -> Lags:
    """Transform back to the lags of `window` only: after each axis the others are dropped.

    What `product` holds is lost.
    """

    def take_lags(lines: NDArray[Any], axis: int, dtype: DTypeLike) -> NDArray[Any]:
        shape, size = list(lines.shape), layout.fft_shape[axis]
        shape[axis] = window.shape[axis]
        taken, along = np.empty(shape, dtype), (slice(None),) * axis
        first = layout.first_index[axis] + window.first[axis] - layout.window.first[axis]
        done = 0
        while done < shape[axis]:  # the lags follow cyclically
            begin = (first + done) % size
            count = min(size - begin, shape[axis] - done)
            taken[*along, done : done + count] = lines[*along, begin : begin + count]
            done += count
        return taken

    last = len(layout.fft_shape) - 1
    for axis in range(last):
        lines = fft.ifft(product, axis=axis, workers=1, overwrite_x=True)
        product = take_lags(lines, axis, lines.dtype)
    lines = fft.irfft(product, layout.fft_shape[last], axis=last, workers=1)
    return take_lags(lines, last, np.float64)
