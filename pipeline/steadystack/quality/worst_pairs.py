"""The pairs that fit worst, read again to be looked at."""

from __future__ import annotations

from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from steadystack.measure import Method, find_pair_centres, read_block, read_camera_images
from steadystack.model import CloseUp, FrameSource, FrameTable, Image, PairStatus, PairTable
from steadystack.ncc import CachedMask, MaskedImage
from steadystack.register import masked_ncc
from steadystack.warp import move

# Pairs of these have nothing to look at.
NOTHING_TO_SEE = (
    PairStatus.UNMEASURED,
    PairStatus.FLAT,
    PairStatus.EMPTY,
    PairStatus.UNREADABLE,
)


def find_worst_pairs(table: PairTable, frames: FrameTable, count: int = 10) -> NDArray[np.intp]:
    """The rows of the pairs that fit worst, some of every kind.

    The kinds are pairs that the solve rejects and pairs that it uses, by their residual in
    deviations, and pairs of every status that says why there is no shift, by their NCC.
    """
    size = np.sqrt((frames.residual**2).sum(axis=1))
    off = size / np.maximum(np.sqrt((table.shift_std**2).sum(axis=1)), np.finfo(float).tiny)
    kinds = [
        np.flatnonzero(table.ok & frames.rejected),
        *(
            np.flatnonzero(table.status == status.code)
            for status in PairStatus
            if status is not PairStatus.OK and status not in NOTHING_TO_SEE
        ),
        np.flatnonzero(table.ok & ~frames.rejected),
    ]
    badness = np.where(table.ok, np.nan_to_num(off), np.nan_to_num(table.ncc))
    sorted_kinds = [rows[np.argsort(-badness[rows], kind="stable")] for rows in kinds]
    taken_in_turn = chain.from_iterable(zip_longest(*sorted_kinds))
    found = [row for row in taken_in_turn if row is not None]
    return np.array(found[:count], np.intp)


def make_close_ups(
    source: FrameSource, method: Method, table: PairTable, frames: FrameTable, count: int = 10
) -> tuple[CloseUp, ...]:
    """The pairs that fit worst: their images as they were correlated, and their surfaces.

    Of frames of several blocks the middle one is shown.
    """
    block = len(method.search.blocks) // 2
    camera_images = read_camera_images(method, source.frame_shape, block)
    found = []
    for row in find_worst_pairs(table, frames, count):
        both = [
            read_block(
                source, int(frame[row]), block, method, camera_images, [_everything(method, block)]
            )
            for frame in (table.reference, table.moving)
        ]
        images = [image for image, _ in both if image is not None and image.mask.count]
        if len(images) == 2:
            pair = np.array([[table.reference[row], table.moving[row]]])
            centres = find_pair_centres(method, pair)
            centre = np.zeros(len(method.search.shape), int) if centres is None else centres[0]
            found.append(_close_up(int(row), images[0], images[1], method, centre))
    return tuple(found)


def _everything(method: Method, block: int) -> CachedMask:
    return CachedMask(np.ones(method.search.blocks[block].moving_shape, bool))


def _close_up(
    row: int,
    reference: MaskedImage,
    moving: MaskedImage,
    method: Method,
    centre: NDArray[np.int64],
) -> CloseUp:
    """`centre` is what the search was centred on, whole pixels."""
    search = method.search
    bounds = [
        min(last - after, size - 1)
        for last, (_, after), size in zip(
            search.window.last, search.margin, reference.values.shape, strict=True
        )
    ]
    placed, known = move(moving.values, moving.mask.pixels, centre.astype(float), "nearest")
    surface = masked_ncc(
        reference.values,
        placed,
        reference_mask=reference.mask.pixels,
        moving_mask=known,
        max_shift=bounds,
        min_overlap=search.min_overlap,
    )["ncc"]
    ncc = surface.to_numpy()
    while ncc.ndim > 2:  # the best of all planes
        ncc = np.fmax.reduce(ncc, axis=0)
    return CloseUp(
        row,
        _seen(reference),
        _seen(moving),
        ncc,
        tuple(
            int(surface[dim][0]) + int(ahead)
            for dim, ahead in zip(surface.dims[-2:], centre[-2:], strict=True)
        ),
    )


def _seen(image: MaskedImage) -> Image:
    """The values, NaN where not valid; of a volume their mean along z."""
    values = np.where(image.mask.pixels, image.values, np.nan)
    while values.ndim > 2:
        known = np.isfinite(values).sum(axis=0)
        total = np.nansum(values, axis=0)
        values = np.where(known > 0, total / np.maximum(known, 1), np.nan)
    return values
