"""One pair of plain arrays: `masked_ncc` and `register_translation`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, DTypeLike, NDArray

from steadystack.model import Bools, PairStatus, Registration, Slices, as_plain, name_axes
from steadystack.ncc import (
    CachedMask,
    MaskedImage,
    Terms,
    compute_surface,
    cut_into_blocks,
    make_masked_image,
    make_window,
)
from steadystack.parts import (
    PartGrid,
    PartScores,
    ScoreImage,
    SmoothedMask,
    compute_jackknife_std,
    compute_scores,
    make_score_image,
)
from steadystack.register.search import Search, compute_block_terms, register_terms
from steadystack.validity import as_mask, find_finite_pixels


def register_translation(
    reference: ArrayLike,
    moving: ArrayLike,
    *,
    reference_mask: ArrayLike | None = None,
    moving_mask: ArrayLike | None = None,
    max_shift: int | Sequence[int] | None = None,
    min_overlap: float | None = None,
    subpixel: bool = True,
    allow_inverted: bool = False,
) -> Registration:
    """The shift that aligns `moving` with `reference`, from the pixels that are valid in both.

    Parameters
    ----------
    reference, moving : real arrays with 1 to 3 dimensions
        They may differ in shape; the shift is then measured between the first pixels of the two
        arrays, not between their centres. NaN and infinite pixels are never valid, nor are those
        that an array of `numpy.ma` has masked (there, True = masked).
    reference_mask, moving_mask : bool arrays of the shape of their image, True = valid
        None: every finite pixel is valid. One mask says nothing of the other image.
    max_shift : int, one int per axis, or None
        Largest shift searched for, pixels. None: every lag at which the images overlap.
    min_overlap : float in 0..1, or None
        Lags at which fewer than this fraction of the smaller number of valid pixels overlap are
        left out. None: no limit; the significance of the peak makes one unnecessary.
    subpixel : bool
        Whether to measure fractions of a pixel.
    allow_inverted : bool
        Whether one image may be the negative of the other. If it is and this is False, there is no
        shift, and the status is inverted.

    Returns
    -------
    Registration
        ``shift`` is what ``scipy.ndimage.shift(moving, shift)`` needs. It is NaN unless ``status``
        is ok. ``covariance`` holds the noise, and what the parts of the images disagree about.

    Raises
    ------
    ValueError
        For shapes that do not fit, complex images, and values out of range.

    See Also
    --------
    masked_ncc : the surface from which the shift is found.

    References
    ----------
    D. Padfield, Masked object registration in the Fourier domain, IEEE Trans. Image Process. 21(5),
    2706-2718 (2012), doi:10.1109/TIP.2011.2181402.

    Examples
    --------
    >>> import numpy as np
    >>> scene = np.random.default_rng(0).normal(size=(80, 80))
    >>> registration = register_translation(scene[8:72, 8:72], scene[5:69, 12:76], subpixel=False)
    >>> registration.shift.tolist(), str(registration.status)
    ([-3.0, 4.0], 'ok')
    """
    pair = _Pair.make(reference, moving, reference_mask, moving_mask, max_shift, min_overlap)
    cropped = pair.crop()
    search = Search.make(
        pair.reference.shape,
        pair.moving.shape,
        pair.max_shift,
        min_overlap,
        subpixel,
        allow_inverted=allow_inverted,
        region=cropped.reference.shape if cropped is not pair else None,
    )
    images = _BlockImages(cropped, search)
    registration = register_terms(_compute_terms(images), search)
    if not subpixel:
        return registration
    return _widen_by_parts(registration, images)


def masked_ncc(
    reference: ArrayLike,
    moving: ArrayLike,
    *,
    reference_mask: ArrayLike | None = None,
    moving_mask: ArrayLike | None = None,
    max_shift: int | Sequence[int] | None = None,
    min_overlap: float | None = None,
    dtype: DTypeLike = np.float32,
) -> xr.Dataset:
    """The masked normalized cross-correlation of two images over integer shifts.

    Parameters
    ----------
    reference, moving, reference_mask, moving_mask, max_shift, min_overlap
        As in `register_translation`.
    dtype : float32 or float64
        Of the transforms and the result. Single precision is good to about 1e-6 where a tenth of
        the pixels overlap, and less where only a few pixels do.

    Returns
    -------
    Dataset
        ``ncc`` (-1..1; NaN where nothing or too little overlaps, or where what overlaps is flat)
        and ``overlap_count`` (pixels) over the dims lag_y, lag_x (lag_z, ...), whose coordinates
        are the shifts in pixels.
    """
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype {np.dtype(dtype)} is neither float32 nor float64")
    pair = _Pair.make(reference, moving, reference_mask, moving_mask, max_shift, min_overlap)
    window = make_window(pair.reference.shape, pair.moving.shape, pair.max_shift)
    blocks = cut_into_blocks(pair.reference.shape, pair.moving.shape, window)
    surface = compute_surface(
        _compute_terms(_BlockImages(pair, Search(window, tuple(blocks)), dtype)),
        window,
        min_overlap,
        dtype,
    )
    dims = tuple(f"lag_{name}" for name in name_axes(pair.reference.ndim))
    return xr.Dataset(
        {
            "ncc": (dims, surface.ncc, {"long_name": "masked normalized cross-correlation"}),
            "overlap_count": (dims, surface.overlap_count, {"units": "pixel"}),
        },
        {
            dim: (dim, lags, {"units": "pixel", "long_name": "shift to apply to the moving image"})
            for dim, lags in zip(dims, surface.lags, strict=True)
        },
    )


@dataclass(frozen=True)
class _Pair:
    """Two images and their masks, checked. Pixels that are not finite are found block by block."""

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
    ) -> _Pair:
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

    def crop(self) -> _Pair:
        """Cut off what lies outside of both masks, if the images have the same shape."""
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


@dataclass
class _BlockImages:
    """The images of a pair made ready, block by block; those of a single block are made once."""

    pair: _Pair
    search: Search
    dtype: DTypeLike = np.float32
    _kept: tuple[MaskedImage, MaskedImage] | None = None

    def make(self, number: int) -> tuple[MaskedImage, MaskedImage]:
        """Make the reference's and the moving image's region of a block."""
        if self._kept is not None:
            return self._kept
        pair, block = self.pair, self.search.blocks[number]
        made = (
            _make_masked_image(pair.reference, pair.reference_mask, block.reference, self.dtype),
            _make_masked_image(pair.moving, pair.moving_mask, block.moving, self.dtype),
        )
        if len(self.search.blocks) == 1:
            self._kept = made
        return made


def _compute_terms(images: _BlockImages) -> Terms:
    """Compute the terms of two images, block by block."""
    search = images.search
    return reduce(
        Terms.add,
        (
            compute_block_terms(*images.make(number), search, number)
            for number in range(len(search.blocks))
        ),
    )


def _widen_by_parts(registration: Registration, images: _BlockImages) -> Registration:
    """Widen the covariance of a shift to what the parts of the images disagree about.

    Along each axis the standard deviation is the larger of the stated one and that of the
    infinitesimal jackknife over the parts; correlations stay.
    """
    if registration.status is not PairStatus.OK:
        return registration
    search, scores = images.search, list[PartScores]()
    grid = PartGrid.make(images.pair.reference.shape)
    sign = -1 if registration.ncc < 0 else 1
    for number, block in enumerate(search.blocks):
        reference, moving = images.make(number)
        one = _make_score_image(reference, block.reference)
        other = _make_score_image(moving, block.moving)
        scores.append(compute_scores(one, other, registration.shift, grid, sign))
    moves = [size > 1 for size in search.window.shape]
    steps = reduce(PartScores.add, scores).compute_steps(moves)
    spread = compute_jackknife_std(steps)
    stated = np.sqrt(np.diag(registration.covariance))
    widening = np.fmax(np.divide(spread, stated, out=np.ones_like(stated), where=stated > 0), 1)
    return replace(registration, covariance=registration.covariance * np.outer(widening, widening))


def _make_score_image(image: MaskedImage, region: Slices) -> ScoreImage:
    smoothed = SmoothedMask.make(image.mask.pixels)
    return make_score_image(image.values, smoothed, [side.start for side in region])


def _make_masked_image(
    image: NDArray[Any], mask: Bools | None, region: Slices, dtype: DTypeLike
) -> MaskedImage:
    """Make the masked image of a region, whose pixels that are not finite are masked, too."""
    pixels = image[region]
    valid = find_finite_pixels(pixels)
    return make_masked_image(
        pixels, CachedMask(valid if mask is None else valid & mask[region]), dtype
    )


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
