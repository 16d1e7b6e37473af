"""What the parts of the frame say of measured pairs: steps by which they move a pair's shift.

They are asked at the shift that the whole has found. Frames that are one block are still at hand
then, smoothed; blocks are read once more, and what they say is added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from steadystack.measure.centres import make_search
from steadystack.measure.method import Method, prepare_block, read_camera_images, read_common_mask
from steadystack.model import Floats, FrameSource, Ints, Slices
from steadystack.ncc import CachedMask, MaskedImage
from steadystack.parts import (
    PartGrid,
    PartScores,
    ScoreImage,
    SmoothedMask,
    compute_scores,
    compute_steps_of_pairs,
    make_score_image,
)
from steadystack.register import Search

SMOOTHED_MASK = "smoothed"  # in the cache of a mask


@dataclass(frozen=True)
class MeasuredPairs:
    """Pairs whose shift is known, to be asked of a block of their frames.

    Attributes
    ----------
    pairs, centres : as they were measured, (n, 2) and (n, axes) or None
    shifts : (n, axes), pixels; NaN where not known
    inverted : (n,), whether the images of a pair are each other's negative
    block : the block's number
    """

    pairs: Ints
    centres: Ints | None
    shifts: NDArray[np.float64]
    inverted: NDArray[np.bool_]
    block: int = 0


@dataclass(frozen=True)
class BlockScores:
    """The scores of pairs in one block of their frames, or in several together."""

    asked: MeasuredPairs
    scores: list[PartScores | None]

    def plus(self, other: BlockScores) -> BlockScores:
        """The scores of two blocks together; a pair without them in one of them has none."""
        both = zip(self.scores, other.scores, strict=True)
        return BlockScores(
            self.asked,
            [one.add(two) if one is not None and two is not None else None for one, two in both],
        )


@dataclass
class PartAsker:
    """Asks the parts of pairs of frames that are at hand, one block of them.

    Frames are held, smoothed, until the last of their pairs has been asked.
    """

    search: Search
    pairs: Ints
    block: int = 0
    _held: dict[int, ScoreImage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._grid = PartGrid.make(self.search.shape)
        self._last = find_last_rows(self.pairs)
        self._moves = [size > 1 for size in self.search.window.shape]

    def hold(
        self, frame: int, image: MaskedImage, smoothed: ScoreImage | None = None
    ) -> ScoreImage:
        """Take note of a frame, or of the block of it; as it is `smoothed`, where that is known."""
        begin = [side.start for side in self.search.blocks[self.block].moving]
        smoothed = smoothed or make_score_image(image.values, _smooth_mask(image.mask), begin)
        self._held[frame] = smoothed
        return smoothed

    def compute_scores(self, row: int, shift: Floats, inverted: bool) -> PartScores | None:
        """What the parts say of a pair; None where a frame is not at hand."""
        reference, moving = (self._held.get(frame) for frame in self.pairs[row].tolist())
        if reference is None or moving is None:
            return None
        reference = _crop(reference, self.search.blocks[self.block].core)
        return compute_scores(reference, moving, shift, self._grid, -1 if inverted else 1)

    def release(self, row: int) -> None:
        """Let go of frames whose last pair this row is."""
        for frame in set(self.pairs[row].tolist()):
            if self._last[frame] == row:
                self._held.pop(frame, None)

    def compute_steps(self, scores: Sequence[PartScores | None]) -> NDArray[np.float32]:
        """By how much each part moves the shift of each pair (pairs, places, axes), pixels.

        NaN where nothing is known of a pair, or where there is no part.
        """
        steps = np.full((len(scores), self._grid.places, len(self._moves)), np.nan, np.float32)
        rows = [row for row, known in enumerate(scores) if known is not None]
        if rows:
            known = compute_steps_of_pairs([s for s in scores if s is not None], self._moves)
            steps[rows, : known.shape[1]] = known
        return steps


def find_part_centres(method: Method) -> NDArray[np.float64]:
    """Find the middle of every part of the frame (places, axes), pixels; NaN: no such part."""
    grid = PartGrid.make(method.search.shape)
    centres = np.full((grid.places, len(grid.edges)), np.nan)
    begin = [side.start for side in method.whole_region]
    centres[: len(grid.centres)] = grid.centres + begin
    return centres


def find_last_rows(pairs: Ints) -> dict[int, int]:
    """Find the row of every frame's last pair, of pairs (n, 2)."""
    return {int(frame): row for row, pair in enumerate(pairs) for frame in pair}


def ask_block(asked: MeasuredPairs, source: FrameSource, method: Method) -> BlockScores:
    """Ask the parts of pairs in one block of their frames, on a worker; each is read once."""
    method = replace(method, search=make_search(method, asked.centres))
    camera_images = read_camera_images(method, source.frame_shape, asked.block)
    common = read_common_mask(source, asked.block, method)
    asker = PartAsker(method.search, asked.pairs, asked.block)
    seen, scores = set[int](), list[PartScores | None]()
    for row, pair in enumerate(asked.pairs.tolist()):
        known = bool(np.isfinite(asked.shifts[row]).all())
        for frame in set(pair) - seen if known else ():
            image, _ = prepare_block(source, frame, asked.block, method, camera_images, [common])
            if image is not None:
                asker.hold(frame, image)
            seen.add(frame)
        inverted = bool(asked.inverted[row])
        scores.append(asker.compute_scores(row, asked.shifts[row], inverted) if known else None)
        asker.release(row)
    return BlockScores(asked, scores)


def finish_asking(result: BlockScores, source: FrameSource, method: Method) -> NDArray[np.float32]:
    """The steps (pairs, places, axes) of pairs whose blocks have all been asked."""
    asker = PartAsker(make_search(method, result.asked.centres), result.asked.pairs)
    return asker.compute_steps(result.scores)


def _smooth_mask(mask: CachedMask) -> SmoothedMask:
    """The smoothed mask, from the mask's cache."""
    if SMOOTHED_MASK not in mask.cache:
        mask.cache[SMOOTHED_MASK] = SmoothedMask.make(mask.pixels)
    smoothed: SmoothedMask = mask.cache[SMOOTHED_MASK]
    return smoothed


def _crop(image: ScoreImage, region: Slices | None) -> ScoreImage:
    """Cut a region out; None: the image itself."""
    if region is None:
        return image
    begin = tuple(at + side.start for at, side in zip(image.begin, region, strict=True))
    weights = None if image.weights is None else image.weights[region]
    return ScoreImage(image.values[region], weights, begin)
