"""Whether the parts of a frame move together: some pairs measured again, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from steadystack.measure import Method, read_block, read_camera_images
from steadystack.model import FrameSource, LocalMotion, PairStatus, PairTable, Slices
from steadystack.ncc import CachedMask, MaskedImage
from steadystack.quality.fixed_pattern_check import crop_to_middle, sample_pairs
from steadystack.register import register_translation

# So many pairs are looked at, each in so many parts per axis of at least so many pixels.
CHECK_PAIRS, PARTS, LEAST_SIDE = 12, 3, 24
# A part is searched for within this share of its side around where the whole pair has it.
REACH = 0.4
FEWEST_PAIRS, FEWEST_PARTS = 4, 4
# A part moves by itself if it is off by this much, px, and by so many stated deviations.
OFF_PX, OFF_STD = 0.5, 3.0
# It stands still if it moves by no more than this part of what it is off what most parts say.
RESTS = 0.25
# Frames turn or stretch if what is linear in the position explains so much of the parts' motion.
LINEAR = 0.8

NAMES = ("top", "middle", "bottom"), ("left", "middle", "right")


def check_moving_parts(source: FrameSource, method: Method, table: PairTable) -> LocalMotion | None:
    """How parts of the frame move against the shift of the whole, seen on some measured pairs.

    Of large frames the middle is looked at. None where there is too little to tell: few usable
    pairs, frames too small to be cut, parts without a peak of their own.
    """
    rows = np.flatnonzero(table.ok)
    method = crop_to_middle(method)
    too_small = min(method.search.shape) < PARTS * LEAST_SIDE
    if len(rows) < FEWEST_PAIRS or too_small or len(method.search.blocks) > 1:
        return None
    chosen = sample_pairs(table, rows, CHECK_PAIRS)
    shifts, std = _measured(source, method, table, chosen)
    off = shifts - table.shift[chosen][:, None]
    judged = np.isfinite(off).all(axis=2).sum(axis=0) >= max(len(chosen) / 2, FEWEST_PAIRS)
    if judged.sum() < FEWEST_PARTS:
        return None
    there = np.asarray(np.isfinite(shifts[:, judged]).all(axis=2)).any(axis=1)
    shifts, std, off, chosen = shifts[there], std[there], off[there], chosen[there]
    still, common = _still(shifts[:, judged], std[:, judged])
    pulled = table.shift[chosen] - common
    if still.any():  # what most parts say is the scene's, and the whole may be pulled away from it
        off = shifts - common[:, None]
    size, noise = _typical(off[:, judged]), _typical(std[:, judged])
    moving = (size > OFF_PX) & (size > OFF_STD * noise) & ~still
    most = int(np.argmax(np.where(moving, size, -1)))
    places, ndim = np.flatnonzero(judged), len(method.search.shape)
    return LocalMotion(
        pairs=len(chosen),
        parts=int(judged.sum()),
        moving=int(moving.sum()),
        size=float(size[most]),
        where=_name(int(places[most]), ndim),
        linear=_linear(off, judged) > LINEAR,
        still=int(still.sum()),
        still_where=", ".join(dict.fromkeys(_name(int(one), ndim) for one in places[still])),
        still_pull=float(_typical(pulled[:, None])[0]) if still.any() else 0.0,
        scene=float(_typical(common[:, None])[0]),
    )


def _typical(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median over pairs of the sizes of vectors (pairs, parts, axes)."""
    return np.asarray(np.nanmedian(np.linalg.norm(vectors, axis=2), axis=0))


def _still(
    shifts: NDArray[np.float64], std: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which parts stand still in the frame while most move, and how these move in every pair."""
    common = np.nanmedian(shifts, axis=1)
    rest, apart = _typical(shifts), _typical(shifts - common[:, None])
    noise = OFF_STD * _typical(std)
    # A part that holds some of the scene, too, is not quite at rest.
    still = (rest < np.maximum(RESTS * apart, noise)) & (apart > OFF_PX) & (apart > noise)
    return still, common


def _measured(
    source: FrameSource, method: Method, table: PairTable, rows: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The shift of every part in every pair, and its deviation; NaN if not known.

    Both (pairs, parts, axes), pixels. Parts are looked for around the shift of the whole, and where
    there is nothing at their own place.
    """
    ndim = len(method.search.shape)
    shifts = np.full((len(rows), PARTS**ndim, ndim), np.nan)
    std = np.full_like(shifts, np.nan)
    camera_images = read_camera_images(method, source.frame_shape, 0)
    everything = CachedMask(np.ones(method.search.blocks[0].moving_shape, bool))
    for place, row in enumerate(rows):
        images = [
            read_block(source, int(frames[row]), 0, method, camera_images, [everything])[0]
            for frames in (table.reference, table.moving)
        ]
        if images[0] is None or images[1] is None:
            continue
        whole = np.rint(table.shift[row]).astype(int)
        for part, box in enumerate(_parts(method.search.shape, whole)):
            for centre in (whole, np.zeros_like(whole)):
                found = _registered(images[0], images[1], box, centre, method.search.allow_inverted)
                if found is not None:
                    shifts[place, part], std[place, part] = found[0] + centre, found[1]
                    break
    return shifts, std


def _parts(shape: Sequence[int], whole: NDArray[np.int64]) -> Iterator[Slices]:
    """The parts of what the frames of a pair have in common, in pixels of the reference."""
    sides = []
    for size, shift in zip(shape, whole.tolist(), strict=True):
        first, last = max(shift, 0), size + min(shift, 0)
        edges = np.linspace(first, max(last, first), PARTS + 1).astype(int)
        sides.append([slice(low, high) for low, high in pairwise(edges)])
    yield from product(*sides)


def _registered(
    reference: MaskedImage,
    moving: MaskedImage,
    box: Slices,
    whole: NDArray[np.int64],
    allow_inverted: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The shift of one part against that of whole pixels, and its deviation."""
    if min(side.stop - side.start for side in box) < LEAST_SIDE // 2:
        return None
    there = tuple(
        slice(side.start - shift, side.stop - shift)
        for side, shift in zip(box, whole.tolist(), strict=True)
    )
    found = register_translation(
        reference.values[box],
        moving.values[there],
        reference_mask=reference.mask.pixels[box],
        moving_mask=moving.mask.pixels[there],
        max_shift=[int(REACH * (side.stop - side.start)) for side in box],
        allow_inverted=allow_inverted,
    )
    if found.status is not PairStatus.OK:
        return None
    return np.asarray(found.shift), np.sqrt(np.diag(found.covariance))


def _linear(off: NDArray[np.float64], judged: NDArray[np.bool_]) -> float:
    """How much of the parts' motion is linear in their place, as a turn or a stretch is; 0..1."""
    ndim = off.shape[2]
    places = np.array(list(product(range(PARTS), repeat=ndim)), float) - (PARTS - 1) / 2
    explained = []
    for pair in off:
        known = np.isfinite(pair).all(axis=1) & judged
        if known.sum() > ndim + 2:
            terms = np.column_stack([places[known], np.ones(known.sum())])
            left = pair[known] - terms @ np.linalg.lstsq(terms, pair[known], rcond=None)[0]
            explained.append(1 - (left**2).sum() / max((pair[known] ** 2).sum(), 1e-12))
    return float(np.median(explained)) if explained else 0.0


def _name(part: int, ndim: int) -> str:
    """Where a part lies in the plane of the last two axes."""
    place = np.unravel_index(part, (PARTS,) * ndim)
    names = [NAMES[axis][at] for axis, at in enumerate(place[-2:])] if ndim > 1 else []
    return " ".join(dict.fromkeys(names)) or f"part {part + 1}"
