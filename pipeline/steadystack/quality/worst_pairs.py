"""Find the pairs that fit worst, and read them again for close-ups."""

from __future__ import annotations

from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from steadystack.measure import Method, find_pair_centres, prepare_block, read_camera_images
from steadystack.model import CloseUp, FrameSource, FrameTable, Image, PairStatus, PairTable
from steadystack.ncc import CachedMask, MaskedImage
from steadystack.register import masked_ncc
from steadystack.warp import move

# Pairs with these statuses have nothing to show.
NOTHING_TO_SEE = (
    PairStatus.UNMEASURED,
    PairStatus.FLAT,
    PairStatus.EMPTY,
    PairStatus.UNREADABLE,
)


def find_worst_pairs(table: PairTable, frames: FrameTable, count: int = 10) -> NDArray[np.intp]:
    """Find the rows of the pairs that fit worst, some of every kind.

    The kinds are the pairs that the solve rejects and those that it uses, largest residual in
    standard deviations first, and the pairs with each status without a shift, highest NCC first.
    """
    size = np.sqrt((frames.residual**2).sum(axis=1))
    std = np.sqrt((table.shift_std**2).sum(axis=1))
    deviations = size / np.maximum(std, np.finfo(float).tiny)
    kinds = [
        np.flatnonzero(table.ok & frames.rejected),
        *(
            np.flatnonzero(table.status == status.code)
            for status in PairStatus
            if status is not PairStatus.OK and status not in NOTHING_TO_SEE
        ),
        np.flatnonzero(table.ok & ~frames.rejected),
    ]
    badness = np.where(table.ok, np.nan_to_num(deviations), np.nan_to_num(table.ncc))
    sorted_kinds = [
        kind_rows[np.argsort(-badness[kind_rows], kind="stable")] for kind_rows in kinds
    ]
    taken_in_turn = chain.from_iterable(zip_longest(*sorted_kinds))
    rows = [row for row in taken_in_turn if row is not None]
    return np.array(rows[:count], np.intp)


def make_close_ups(
    source: FrameSource, method: Method, table: PairTable, frames: FrameTable, count: int = 10
) -> tuple[CloseUp, ...]:
    """Make close-ups of the pairs that fit worst: images as correlated, and NCC surfaces.

    If frames are cut into blocks, the middle block is shown.
    """
    block = len(method.search.blocks) // 2
    camera_images = read_camera_images(method, source.frame_shape, block)
    close_ups = []
    for row in find_worst_pairs(table, frames, count):
        ends = [
            prepare_block(
                source,
                int(frame[row]),
                block,
                method,
                camera_images,
                [_make_full_mask(method, block)],
            )
            for frame in (table.reference, table.moving)
        ]
        images = [image for image, _ in ends if image is not None and image.mask.count]
        if len(images) == 2:
            pair = np.array([[table.reference[row], table.moving[row]]])
            centres = find_pair_centres(method, pair)
            centre = np.zeros(len(method.search.shape), int) if centres is None else centres[0]
            close_ups.append(_make_close_up(int(row), images[0], images[1], method, centre))
    return tuple(close_ups)


def _make_full_mask(method: Method, block: int) -> CachedMask:
    """Make a mask of a block in which all pixels are valid."""
    return CachedMask(np.ones(method.search.blocks[block].moving_shape, bool))


def _make_close_up(
    row: int,
    reference: MaskedImage,
    moving: MaskedImage,
    method: Method,
    centre: NDArray[np.int64],
) -> CloseUp:
    """Make the close-up of one pair, row `row` of the pair table.

    `centre` (axes,) is the shift that the search was centred on, whole pixels.
    """
    search = method.search
    bounds = [
        min(last - after, size - 1)
        for last, (_, after), size in zip(
            search.window.last, search.margin, reference.values.shape, strict=True
        )
    ]
    shifted, is_known = move(moving.values, moving.mask.pixels, centre.astype(float), "nearest")
    surface = masked_ncc(
        reference.values,
        shifted,
        reference_mask=reference.mask.pixels,
        moving_mask=is_known,
        max_shift=bounds,
        min_overlap=search.min_overlap,
    )["ncc"]
    ncc = surface.to_numpy()
    while ncc.ndim > 2:  # the highest NCC of all planes
        ncc = np.fmax.reduce(ncc, axis=0)
    return CloseUp(
        row,
        _flatten(reference),
        _flatten(moving),
        ncc,
        tuple(
            int(surface[dim][0]) + int(offset)
            for dim, offset in zip(surface.dims[-2:], centre[-2:], strict=True)
        ),
    )


def _flatten(image: MaskedImage) -> Image:
    """Make an image (y, x) with NaN where not valid; of a volume, the mean along z."""
    values = np.where(image.mask.pixels, image.values, np.nan)
    while values.ndim > 2:
        count = np.isfinite(values).sum(axis=0)
        total = np.nansum(values, axis=0)
        values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return values
