"""Check whether the parts of a frame move together, by measuring some pairs part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from steadystack.checks.sampling import (
    LEAST_SIDE,
    PARTS,
    crop_to_middle,
    cut_into_parts,
    name_part,
    sample_pairs,
)
from steadystack.common_frame import ChannelTurning, pair_with_channel
from steadystack.defects import find_overlap
from steadystack.measure import Method, prepare_block, read_camera_images
from steadystack.model import (
    FrameSource,
    FrameTable,
    Ints,
    LocalMotion,
    PairStatus,
    PairTable,
    Registration,
    Slices,
)
from steadystack.motion import find_simplest_model, predict_shifts
from steadystack.ncc import CachedMask, MaskedImage
from steadystack.planning import Setup
from steadystack.register import PlainPair, register_each_as_it_is
from steadystack.solve import weigh_parts

CHECK_PAIRS = 12  # measured again, or half of them if no part moves by itself in these
# A part is searched for within this share of its side around the shift of the whole.
REACH = 0.4
FEWEST_PAIRS, FEWEST_PARTS = 4, 4
# A part moves by itself if it is off by this much, px, and by this many stated errors.
OFF_PX, OFF_STD = 0.5, 3.0
# A part stands still if it moves by less than this share of its distance from the common motion.
RESTS = 0.25
# Frames turn or stretch if a linear function of the position explains this share of the motion.
LINEAR = 0.8


@dataclass(frozen=True)
class _PartShifts:
    """Shifts of the parts of pairs.

    Attributes
    ----------
    shifts : without the known motion relative to the whole (pairs, parts, axes), pixels
    std : their standard deviations (pairs, parts, axes), pixels
    whole : the shifts that the parts should have (pairs, axes), pixels
    """

    shifts: NDArray[np.float64]
    std: NDArray[np.float64]
    whole: NDArray[np.float64]

    @property
    def off(self) -> NDArray[np.float64]:
        return self.shifts - self.whole[:, None]

    def join(self, other: _PartShifts) -> _PartShifts:
        """Join the pairs of both."""
        columns = "shifts", "std", "whole"
        return _PartShifts(
            *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in columns)
        )

    def select(self, known: NDArray[np.bool_]) -> _PartShifts:
        """Select the pairs with at least one known part; `known` is (pairs, parts)."""
        rows = np.flatnonzero(known.any(axis=1))
        return _PartShifts(self.shifts[rows], self.std[rows], self.whole[rows])


def check_moving_parts(
    source: FrameSource,
    method: Method,
    table: PairTable,
    solved: FrameTable,
    pixel_size: Sequence[float] | None = None,
    *,
    fewest: int = FEWEST_PAIRS,
) -> LocalMotion | None:
    """Measure how parts of the frame move relative to the shift of the whole, in some pairs.

    The shift of the whole is that without the parts left out of the solution; if the solution has a
    linear or local motion, the shift at the place of each part is used. `pixel_size` is as in
    `motion.make_generators`. In large frames the middle is measured. Every other pair is measured
    first, and the rest only if a part moves by itself in one of these. None if it is not known:
    fewer usable pairs than `fewest`, frames too small to be cut, parts without a peak of their own.
    """
    pairs = np.stack([table.reference, table.moving], axis=1)
    weighed = weigh_parts(table.shift, table.part_step, pairs, solved.part_weight)
    usable_rows = np.flatnonzero(table.ok)
    method = crop_to_middle(method)
    pixels = method.search.shape
    too_small = min(pixels) < PARTS * LEAST_SIDE
    if len(usable_rows) < fewest or too_small or len(method.search.blocks) > 1:
        return None

    def measure(pairs: Ints, whole: NDArray[np.float64]) -> _PartShifts:
        shifts, std = _measure_parts(source, method, pairs, whole)
        if np.isfinite(solved.linear).any() or np.isfinite(solved.local_shift).any():
            shifts -= _predict_motion(source, method, pairs, whole, solved)
        return _PartShifts(shifts, std, whole)

    rows = sample_pairs(table, usable_rows, CHECK_PAIRS)
    rows, more = (rows[::2], rows[1::2]) if len(rows) >= 2 * FEWEST_PAIRS else (rows, rows[:0])
    parts = measure(pairs[rows], weighed[rows])
    if len(more) and not _is_calm(parts.off):
        parts = parts.join(measure(pairs[more], weighed[more]))
    return _judge(parts, pixels, pixel_size, fewest)


def check_channels(setup: Setup, pairs: PairTable, solved: FrameTable) -> ChannelTurning | None:
    """Measure how channels rotate or stretch relative to the first, beyond their offsets.

    Parts of pairs of frames, one in either channel, are compared with the offset and the frames'
    motion. None if there are no offsets, if frames are windows that follow an object, or if there
    is too little evidence.
    """
    method, channels = setup.method, setup.series.source.channels
    if not setup.config.solve.channel_offsets or method.places is not None:
        return None
    sizes: list[float | None] = [None] * len(channels)
    for number in range(1, len(channels)):
        if solved.channel_offset_status[number] == PairStatus.OK.code:
            motion = check_moving_parts(*pair_with_channel(channels, number, method, pairs, solved))
            if motion is not None:
                sizes[number] = motion.size if motion.moving and motion.linear else 0.0
    return None if sizes.count(None) == len(sizes) else ChannelTurning(tuple(sizes))


def _judge(
    parts: _PartShifts,
    shape: Sequence[int],
    pixel_size: Sequence[float] | None,
    fewest: int,
) -> LocalMotion | None:
    """Judge how parts of a frame of this shape move; None if too few of them are known."""
    known = np.asarray(np.isfinite(parts.off).all(axis=2))
    judged = known.sum(axis=0) >= max(len(known) / 2, fewest)
    if judged.sum() < FEWEST_PARTS:
        return None
    parts = parts.select(known[:, judged])
    shifts, off = parts.shifts, parts.off
    still, common = _find_still_parts(shifts[:, judged], parts.std[:, judged])
    pull_of_still = parts.whole - common
    if still.any():  # the common motion is the scene's; still parts may pull the whole away from it
        off = shifts - common[:, None]
    size, noise = (_compute_typical_size(each[:, judged]) for each in (off, parts.std))
    moving = (size > OFF_PX) & (size > OFF_STD * noise) & ~still
    fastest = int(np.argmax(np.where(moving, size, -1)))
    linearity = _measure_linearity(off, judged)
    judged_parts, ndim = np.flatnonzero(judged).tolist(), len(shape)
    still_parts = np.flatnonzero(judged)[still].tolist()
    suits = ""
    if linearity > LINEAR:
        places = _locate_parts(ndim) * np.array(shape) / PARTS
        off = np.where(judged[:, None], off, np.nan)
        suits = find_simplest_model(off, places, shape, pixel_size, LINEAR)
    return LocalMotion(
        pairs=len(shifts),
        parts=int(judged.sum()),
        moving=int(moving.sum()),
        size=float(size[fastest]),
        where=name_part(judged_parts[fastest], ndim),
        linear=linearity > LINEAR,
        still=int(still.sum()),
        still_where=", ".join(dict.fromkeys(name_part(part, ndim) for part in still_parts)),
        still_pull=float(_compute_typical_size(pull_of_still[:, None])[0]) if still.any() else 0.0,
        scene=float(_compute_typical_size(common[:, None])[0]),
        suits=suits,
    )


def _is_calm(off: NDArray[np.float64]) -> bool:
    """Whether no part of any pair (pairs, parts, axes), as far as known, is off by `OFF_PX`."""
    known = np.isfinite(off).all(axis=2)
    return bool(known.any() and (np.linalg.norm(off[known], axis=1) < OFF_PX).all())


def _compute_typical_size(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute median lengths (parts,) over the pairs of vectors (pairs, parts, axes)."""
    return np.asarray(np.nanmedian(np.linalg.norm(vectors, axis=2), axis=0))


def _find_still_parts(
    shifts: NDArray[np.float64], std: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Find the parts that stand still while most move, and the common motion of most.

    Parameters
    ----------
    shifts, std : (pairs, parts, axes), pixels

    Returns
    -------
    still : (parts,) booleans
    common : (pairs, axes), pixels
    """
    common = np.nanmedian(shifts, axis=1)
    rest, apart = _compute_typical_size(shifts), _compute_typical_size(shifts - common[:, None])
    noise = OFF_STD * _compute_typical_size(std)
    # a part that also contains some of the scene is not quite at rest
    still = (rest < np.maximum(RESTS * apart, noise)) & (apart > OFF_PX) & (apart > noise)
    return still, common


def _measure_parts(
    source: FrameSource, method: Method, pairs: Ints, whole: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the shift of every part in every pair, and its standard deviation; NaN: not known.

    Both are (pairs, parts, axes), pixels. A part is searched for around the shift of the whole, and
    if it has no peak there, around 0.
    """
    ndim = len(method.search.shape)
    shifts = np.full((len(pairs), PARTS**ndim, ndim), np.nan)
    std = np.full_like(shifts, np.nan)
    camera_images = read_camera_images(method, source.frame_shape, 0)
    all_valid = CachedMask(np.ones(method.search.blocks[0].moving_shape, bool))
    for index, pair in enumerate(pairs.tolist()):
        reference, moving = (
            prepare_block(source, frame, 0, method, camera_images, [all_valid])[0] for frame in pair
        )
        if reference is None or moving is None:
            continue
        whole_shift = np.rint(whole[index]).astype(int)
        overlap, _ = find_overlap(method.search.shape, whole_shift)
        boxes = list(enumerate(cut_into_parts(overlap)))
        for centre in (whole_shift, np.zeros_like(whole_shift)):
            left = [(part, box) for part, box in boxes if np.isnan(shifts[index, part]).any()]
            found = _register_parts(reference, moving, left, centre, method.search.allow_inverted)
            for part, registration in found.items():
                shifts[index, part] = registration.shift + centre
                std[index, part] = np.sqrt(np.diag(registration.covariance))
    return shifts, std


def _predict_motion(
    source: FrameSource,
    method: Method,
    pairs: Ints,
    whole: NDArray[np.float64],
    solved: FrameTable,
) -> NDArray[np.float64]:
    """Predict the motion of each part relative to the whole (pairs, parts, axes), pixels.

    NaN where the motion of a frame is not known.
    """
    ndim = len(source.frame_shape)
    off = np.full((len(pairs), PARTS**ndim, ndim), np.nan)
    for index, (one, other) in enumerate(pairs.tolist()):
        overlap, _ = find_overlap(method.search.shape, np.rint(whole[index]).astype(int))
        places = np.array(
            [[(side.start + side.stop - 1) / 2 for side in box] for box in cut_into_parts(overlap)]
        ) + [side.start for side in method.whole_region]
        off[index] = predict_shifts(places, (one, other), solved, source.frame_shape) - whole[index]
    return off


def _register_parts(
    reference: MaskedImage,
    moving: MaskedImage,
    boxes: Sequence[tuple[int, Slices]],
    centre: NDArray[np.int64],
    allow_inverted: bool,
) -> dict[int, Registration]:
    """Register parts of a pair; returns those with a peak by number, relative to `centre`.

    `boxes` are numbers of parts and their slices of the reference; `centre` (axes,) is the shift,
    in whole pixels, that the searches are centred on. Small parts are left out.
    """
    pairs = {}
    for part, box in boxes:
        if min(side.stop - side.start for side in box) >= LEAST_SIDE // 2:
            moving_box = tuple(
                slice(side.start - shift, side.stop - shift)
                for side, shift in zip(box, centre.tolist(), strict=True)
            )
            pairs[part] = PlainPair.make(
                reference.values[box],
                moving.values[moving_box],
                reference.mask.pixels[box],
                moving.mask.pixels[moving_box],
                [int(REACH * (side.stop - side.start)) for side in box],
                None,
            )
    found = register_each_as_it_is(pairs.values(), allow_inverted=allow_inverted)
    return {
        part: registration
        for part, registration in zip(pairs, found, strict=True)
        if registration.status is PairStatus.OK
    }


def _measure_linearity(off: NDArray[np.float64], judged: NDArray[np.bool_]) -> float:
    """Measure the share, 0..1, of the parts' motion that is linear in their position, as a turn is.

    `off` is (pairs, parts, axes), pixels; `judged` (parts,) says which parts count. Returns the
    median over the pairs.
    """
    ndim = off.shape[2]
    positions = _locate_parts(ndim)
    explained = []
    for pair_offsets in off:
        is_known = np.isfinite(pair_offsets).all(axis=1) & judged
        if is_known.sum() > ndim + 2:
            terms = np.column_stack([positions[is_known], np.ones(is_known.sum())])
            motion = pair_offsets[is_known]
            rest = motion - terms @ np.linalg.lstsq(terms, motion, rcond=None)[0]
            explained.append(1 - (rest**2).sum() / max((motion**2).sum(), 1e-12))
    return float(np.median(explained)) if explained else 0.0


def _locate_parts(ndim: int) -> NDArray[np.float64]:
    """Positions of the parts relative to the middle of a frame (parts, axes), sides of a part."""
    return np.array(list(product(range(PARTS), repeat=ndim)), float) - (PARTS - 1) / 2
