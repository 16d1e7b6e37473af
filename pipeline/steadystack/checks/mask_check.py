"""Check whether masks keep the scene: what they leave of the frames, and what they exclude."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from steadystack.checks.sampling import CHECK_PIXELS, sample_pairs
from steadystack.conditioning import looks_inverted
from steadystack.model import (
    Bools,
    FrameSource,
    FrameStatus,
    MaskCheck,
    PairStatus,
    PairTable,
    Slices,
)
from steadystack.planning import Setup
from steadystack.register import register_as_it_is
from steadystack.survey import find_far_value

# Shifts below this in every pair, px, are those of the camera, not of a scene.
NO_MOTION_PX = 0.05

# Most pixels read, from the middle of larger frames, and most pixels evaluated, in whole lines.
MOST_READ, MOST_SEEN = 2**22, 2**20
# Excluded pixels are only measured if they are at least this share of the frame.
LEAST_EXCLUDED = 0.05
CHECK_PAIRS, FEWEST_PAIRS, MOVES_PX = 8, 4, 0.5


def check_mask(source: FrameSource, table: PairTable) -> MaskCheck | None:
    """Check what masks leave of the first, the middle and the last frame of a measured series.

    If no pair moves, the excluded pixels are measured, too: they may be the scene. If pairs move,
    they are not, since a mask is meant to exclude what moves by itself. None if no frame can be
    read.
    """
    region = _find_middle(source.frame_shape, MOST_READ)
    shares, inverted, far = [], [], []
    for frame in sorted({0, source.frame_count // 2, source.frame_count - 1}):
        image, usable = _read_region(source, frame, region)
        if image is None:
            continue
        step = -(-image.size // MOST_SEEN)
        shares.append(float(usable.mean()))
        thin, thin_usable = image[..., ::step, :], usable[..., ::step, :]
        inverted.append(looks_inverted(thin, thin_usable))
        far.append(find_far_value(thin, thin_usable))
    if not shares:
        return None
    valid = float(np.mean(shares))
    excluded_motion = 0.0
    rows = np.flatnonzero(table.ok)
    if valid < 1 - LEAST_EXCLUDED and len(rows) >= FEWEST_PAIRS:
        is_at_rest = bool((np.abs(table.shift[rows]) < NO_MOTION_PX).all())
        excluded_motion = _measure_excluded_motion(source, table, rows) if is_at_rest else 0.0
    is_inverted = sum(inverted) > len(inverted) / 2
    return MaskCheck(valid, is_inverted, excluded_motion, *_find_common(far))


def _find_common(found: Sequence[tuple[float, float] | None]) -> tuple[float | None, float]:
    """Find the value that was found in most frames, and its mean share; (None, 0.0) if none.

    `found` has a value and its share of the pixels for each frame, or None.
    """
    values = Counter(each[0] for each in found if each is not None)
    for value, count in values.most_common(1):
        if 2 * count > len(found):
            share = np.mean([each[1] for each in found if each is not None and each[0] == value])
            return value, float(share)
    return None, 0.0


def _measure_excluded_motion(
    source: FrameSource, table: PairTable, rows: NDArray[np.intp]
) -> float:
    """Measure how far the excluded pixels move between the frames of a pair.

    Returns the median over some pairs, pixels; 0 if it is not known, or small.
    """
    region = _find_middle(source.frame_shape, CHECK_PIXELS)
    sizes = []
    for row in sample_pairs(table, rows, CHECK_PAIRS):
        frames = int(table.reference[row]), int(table.moving[row])
        ends = [_read_region(source, frame, region) for frame in frames]
        images = [image for image, _ in ends if image is not None]
        if len(images) < len(ends):
            continue
        excluded = [~usable for _, usable in ends]
        registration = register_as_it_is(
            *images,
            reference_mask=excluded[0],
            moving_mask=excluded[1],
            max_shift=[max(side // 4, 1) for side in images[0].shape],
        )
        if registration.status is PairStatus.OK:
            sizes.append(float(np.linalg.norm(registration.shift)))
    if len(sizes) < FEWEST_PAIRS:
        return 0.0
    size = float(np.median(sizes))
    return size if size > MOVES_PX else 0.0


def _read_region(
    source: FrameSource, frame: int, region: Slices
) -> tuple[NDArray[np.float64] | None, Bools]:
    """Read a region of a frame: its pixels (None if not readable), and which of them are valid."""
    content = source.read(frame, region)
    if content.status in (FrameStatus.UNREADABLE, FrameStatus.MISSING):
        return None, content.valid
    return content.image, content.valid


def _find_middle(shape: Sequence[int], pixels: int) -> Slices:
    """Make slices of the middle of a frame, of about this many pixels."""
    scale = min(1.0, (pixels / float(np.prod(shape))) ** (1 / len(shape)))
    sides = [max(int(size * scale), min(size, 16)) for size in shape]
    begins = [(size - side) // 2 for size, side in zip(shape, sides, strict=True)]
    return tuple(slice(b, b + s) for b, s in zip(begins, sides, strict=True))


# `explain_doubtful_mask`: pixels of the largest frame that it reads, and most pixels that it
# evaluates.
DOUBT_READ, DOUBT_SEEN = 2**24, 2**21


def explain_doubtful_mask(setup: Setup) -> str | None:
    """Say why the mask looks wrong, judging by the middle frame; None if it does not.

    Reads that frame if a mask is given and frames are not too large.
    """
    section, source = setup.config.mask, setup.series.source
    if section.path is None and not section.rois:
        return None
    if math.prod(source.frame_shape) > DOUBT_READ:
        return None
    middle = (source.frame_count - 1) // 2
    frame = source.read(middle)
    if frame.status not in (FrameStatus.OK, FrameStatus.INCOMPLETE):
        return None
    thin = slice(None, None, max(frame.valid.size // DOUBT_SEEN, 1))
    if not looks_inverted(frame.image[thin], frame.valid[thin]):
        return None
    number = setup.series.frame_numbers[middle]
    return (
        f"frame {number}: the mask looks inverted: what it excludes looks like a scene, and what "
        "it keeps does not; set mask.invert? (`steadystack check --picture seen.png` draws both)"
    )
