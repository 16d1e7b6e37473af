"""What masks leave of the frames and what they take away: is it the scene that is left?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
from steadystack.quality.advice import NO_MOTION_PX
from steadystack.quality.fixed_pattern_check import CHECK_PIXELS, sample_pairs
from steadystack.register import register_translation

# Of larger frames the middle is looked at, and so many pixels of that, in whole lines.
MOST_READ, MOST_SEEN = 2**22, 2**20
# What less than this share of the pixels is, is no scene.
LEAST_TAKEN = 0.05
CHECK_PAIRS, FEWEST_PAIRS, MOVES_PX = 8, 4, 0.5


def check_mask(source: FrameSource, table: PairTable) -> MaskCheck | None:
    """What is valid in the first, the middle and the last frame of a measured series.

    Where no pair moves, what is not valid is measured, too: it may be the scene. Else nothing is
    asked, as a mask over what moves by itself is as it should be. None if no frame can be read.
    """
    part = _middle(source.frame_shape, MOST_READ)
    shares, inverted = [], []
    for frame in sorted({0, source.frame_count // 2, source.frame_count - 1}):
        image, usable = _read(source, frame, part)
        if image is None:
            continue
        step = -(-image.size // MOST_SEEN)
        shares.append(float(usable.mean()))
        inverted.append(looks_inverted(image[..., ::step, :], usable[..., ::step, :]))
    if not shares:
        return None
    valid = float(np.mean(shares))
    moves = 0.0
    rows = np.flatnonzero(table.ok)
    if valid < 1 - LEAST_TAKEN and len(rows) >= FEWEST_PAIRS:
        rests = bool((np.abs(table.shift[rows]) < NO_MOTION_PX).all())
        moves = _opposite(source, table, rows) if rests else 0.0
    return MaskCheck(valid, sum(inverted) > len(inverted) / 2, moves)


def _opposite(source: FrameSource, table: PairTable, rows: NDArray[np.intp]) -> float:
    """How far what is not valid moves between the frames of a pair, median; 0: not known."""
    part = _middle(source.frame_shape, CHECK_PIXELS)
    sizes = []
    for row in sample_pairs(table, rows, CHECK_PAIRS):
        frames = int(table.reference[row]), int(table.moving[row])
        ends = [_read(source, frame, part) for frame in frames]
        images = [image for image, _ in ends if image is not None]
        if len(images) < len(ends):
            continue
        taken = [~usable for _, usable in ends]
        found = register_translation(
            *images,
            reference_mask=taken[0],
            moving_mask=taken[1],
            max_shift=[max(side // 4, 1) for side in images[0].shape],
        )
        if found.status is PairStatus.OK:
            sizes.append(float(np.linalg.norm(found.shift)))
    if len(sizes) < FEWEST_PAIRS:
        return 0.0
    size = float(np.median(sizes))
    return size if size > MOVES_PX else 0.0


def _read(
    source: FrameSource, frame: int, part: Slices
) -> tuple[NDArray[np.float64] | None, Bools]:
    """A part of a frame as it is, and which of its pixels are correlated; None: not readable."""
    read = source.read(frame, part)
    if read.status in (FrameStatus.UNREADABLE, FrameStatus.MISSING):
        return None, read.valid
    return read.image, read.valid


def _middle(shape: Sequence[int], pixels: int) -> Slices:
    """The middle part of a frame, of about so many pixels."""
    scale = min(1.0, (pixels / float(np.prod(shape))) ** (1 / len(shape)))
    sides = [max(int(size * scale), min(size, 16)) for size in shape]
    begins = [(size - side) // 2 for size, side in zip(shape, sides, strict=True)]
    return tuple(slice(b, b + s) for b, s in zip(begins, sides, strict=True))


# Pixels of a frame that is read for it, and of what is looked at: more costs more than a warning is
# worth.
DOUBT_READ, DOUBT_SEEN = 2**24, 2**21


def find_doubt_of_mask(setup: Setup) -> str | None:
    """Why the mask can hardly be meant, by the middle frame; None if nothing speaks against it.

    Reads that frame, where a mask is given and frames are not too large.
    """
    given, source = setup.config.mask, setup.series.source
    if given.path is None and not given.rois:
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
    return (
        f"frame {middle}: the mask looks inverted: what it excludes looks like a scene, what it "
        "keeps does not; set mask.invert? (`steadystack check --picture seen.png` draws both)"
    )
