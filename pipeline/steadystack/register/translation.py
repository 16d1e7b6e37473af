"""The public functions for a pair of plain arrays: `masked_ncc` and `register_translation`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from steadystack.model import Registration, name_axes
from steadystack.ncc import compute_surface, cut_into_blocks, make_window
from steadystack.peak import round_to_pixels
from steadystack.register.conditionings import register_conditioned
from steadystack.register.leave_out import PairImages
from steadystack.register.plain_pair import PlainPair
from steadystack.register.search import Search

if TYPE_CHECKING:
    import xarray as xr


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
    """Measure the shift that aligns `moving` with `reference`, from pixels that are valid in both.

    Parameters
    ----------
    reference, moving : real arrays with 1 to 3 dimensions
        They may differ in shape; the shift is then measured between the first pixels of the two
        arrays, not between their centres. NaN and infinite pixels are never valid, nor are pixels
        masked in a `numpy.ma` array (there, True = masked).
    reference_mask, moving_mask : bool arrays of the shape of their image, True = valid
        None: every finite pixel is valid. Each mask applies to its own image only.
    max_shift : int, one int per axis, or None
        Largest shift searched for, pixels. None: every lag at which the images overlap.
    min_overlap : float in 0..1, or None
        Ignore lags at which fewer than this fraction of the smaller number of valid pixels overlap.
        None: no limit; the significance of the peak makes one unnecessary.
    subpixel : bool
        Whether to measure fractions of a pixel.
    allow_inverted : bool
        Whether one image may be the negative of the other. If it is and this is False, there is no
        shift, and the status is inverted.

    Returns
    -------
    Registration
        ``shift`` is what ``scipy.ndimage.shift(moving, shift)`` needs. It is NaN unless ``status``
        is ok. ``covariance`` includes the noise and the disagreement between parts of the images.

    Raises
    ------
    ValueError
        For shapes that do not match, complex images, and values out of range.

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
    given = PlainPair.make(reference, moving, reference_mask, moving_mask, max_shift, min_overlap)
    pair, exchanged = given.order()
    cropped = pair.crop()

    def make_search(one: PlainPair) -> Search:
        return Search.make(
            pair.reference.shape,
            pair.moving.shape,
            pair.max_shift,
            min_overlap,
            allow_inverted=allow_inverted,
            region=one.reference.shape if cropped is not pair else None,
        )

    registration = register_conditioned(cropped, make_search)
    if exchanged:
        registration = replace(registration, shift=0 - registration.shift)
    return registration if subpixel else round_to_pixels(registration)


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
    """Compute the masked normalized cross-correlation of two images over integer shifts.

    Parameters
    ----------
    reference, moving, reference_mask, moving_mask, max_shift, min_overlap
        As in `register_translation`.
    dtype : float32 or float64
        Of the transforms and the result. Single precision is accurate to about 1e-6 where a tenth
        of the pixels overlap, and less accurate where only a few pixels do.

    Returns
    -------
    Dataset
        ``ncc`` (-1..1; NaN where nothing or too little overlaps, or where the overlap is flat)
        and ``overlap_count`` (pixels) over the dims lag_y, lag_x (lag_z, ...), whose coordinates
        are the shifts in pixels.
    """
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype {np.dtype(dtype)} is neither float32 nor float64")
    pair = PlainPair.make(reference, moving, reference_mask, moving_mask, max_shift, min_overlap)
    window = make_window(pair.reference.shape, pair.moving.shape, pair.max_shift)
    blocks = cut_into_blocks(pair.reference.shape, pair.moving.shape, window)
    surface = compute_surface(
        PairImages(pair, Search(window, tuple(blocks)), dtype).compute_terms(),
        window,
        min_overlap,
        dtype,
    )
    import xarray as xr  # workers do not need it

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
