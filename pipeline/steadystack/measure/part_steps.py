"""Evaluate the parts of the frame in measured pairs: the steps by which they move a pair's shift.

They are evaluated at the shift of the whole frame. Frames that are one block are still held then,
smoothed; blocks of larger frames are read again, and their scores are added up.
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

SMOOTHED_MASK = "smoothed"  # key in the cache of a mask


@dataclass(frozen=True)
class MeasuredPairs:
    """Measured pairs whose parts are to be evaluated in a block of their frames.

    Attributes
    ----------
    pairs, centres : as measured, (n, 2) and (n, axes) or None
    shifts : (n, axes), pixels; NaN where not known
    inverted : (n,), whether the images of a pair are negatives of each other
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

    measured: MeasuredPairs
    scores: list[PartScores | None]

    def plus(self, other: BlockScores) -> BlockScores:
        """Add those of another block; a pair without scores in one of the blocks has none."""
        both = zip(self.scores, other.scores, strict=True)
        return BlockScores(
            self.measured,
            [one.add(two) if one is not None and two is not None else None for one, two in both],
        )


@dataclass
class PartEvaluator:
    """Evaluates the parts of pairs in one block of their frames, which are held smoothed.

    A frame is held until the last of its pairs has been evaluated.
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
        """Hold a frame, or the block of it, smoothed if it is not yet; returns it smoothed."""
        begin = [side.start for side in self.search.blocks[self.block].moving]
        smoothed = smoothed or make_score_image(image.values, _smooth_mask(image.mask), begin)
        self._held[frame] = smoothed
        return smoothed

    def compute_scores(self, row: int, shift: Floats, inverted: bool) -> PartScores | None:
        """Compute the scores of a pair's parts; None if one of its frames is not held."""
        reference, moving = (self._held.get(frame) for frame in self.pairs[row].tolist())
        if reference is None or moving is None:
            return None
        reference = _crop(reference, self.search.blocks[self.block].core)
        return compute_scores(reference, moving, shift, self._grid, -1 if inverted else 1)

    def release(self, row: int) -> None:
        """Drop the frames whose last pair is in this row."""
        for frame in set(self.pairs[row].tolist()):
            if self._last[frame] == row:
                self._held.pop(frame, None)

    def compute_steps(self, scores: Sequence[PartScores | None]) -> NDArray[np.float32]:
        """Compute by how much each part moves the shift of each pair (pairs, places, axes), pixels.

        NaN for pairs without scores, and for places without a part.
        """
        steps = np.full((len(scores), self._grid.places, len(self._moves)), np.nan, np.float32)
        rows = [row for row, known in enumerate(scores) if known is not None]
        if rows:
            known = compute_steps_of_pairs([s for s in scores if s is not None], self._moves)
            steps[rows, : known.shape[1]] = known
        return steps


def find_part_centres(method: Method) -> NDArray[np.float64]:
    """Find the centre of every part of the frame (places, axes), pixels; NaN: no such part."""
    grid = PartGrid.make(method.search.shape)
    centres = np.full((grid.places, len(grid.edges)), np.nan)
    begin = [side.start for side in method.whole_region]
    centres[: len(grid.centres)] = grid.centres + begin
    return centres


def find_last_rows(pairs: Ints) -> dict[int, int]:
    """Find the row of every frame's last pair, of pairs (n, 2)."""
    return {int(frame): row for row, pair in enumerate(pairs) for frame in pair}


def compute_block_scores(
    measured: MeasuredPairs, source: FrameSource, method: Method
) -> BlockScores:
    """Compute the scores of pairs in one block of their frames, on a worker; each is read once."""
    method = replace(method, search=make_search(method, measured.centres))
    camera_images = read_camera_images(method, source.frame_shape, measured.block)
    common = read_common_mask(source, measured.block, method)
    evaluator = PartEvaluator(method.search, measured.pairs, measured.block)
    seen, scores = set[int](), list[PartScores | None]()
    for row, pair in enumerate(measured.pairs.tolist()):
        known = bool(np.isfinite(measured.shifts[row]).all())
        for frame in set(pair) - seen if known else ():
            image, _ = prepare_block(source, frame, measured.block, method, camera_images, [common])
            if image is not None:
                evaluator.hold(frame, image)
            seen.add(frame)
        inverted = bool(measured.inverted[row])
        scores.append(
            evaluator.compute_scores(row, measured.shifts[row], inverted) if known else None
        )
        evaluator.release(row)
    return BlockScores(measured, scores)


def finish_scores(result: BlockScores, source: FrameSource, method: Method) -> NDArray[np.float32]:
    """Compute the steps (pairs, places, axes) of pairs from the scores of all their blocks."""
    evaluator = PartEvaluator(make_search(method, result.measured.centres), result.measured.pairs)
    return evaluator.compute_steps(result.scores)


def _smooth_mask(mask: CachedMask) -> SmoothedMask:
    """Get the smoothed mask from the mask's cache, or make it."""
    if SMOOTHED_MASK not in mask.cache:
        mask.cache[SMOOTHED_MASK] = SmoothedMask.make(mask.pixels)
    smoothed: SmoothedMask = mask.cache[SMOOTHED_MASK]
    return smoothed


def _crop(image: ScoreImage, region: Slices | None) -> ScoreImage:
    """Crop an image to a region; None: the image itself."""
    if region is None:
        return image
    begin = tuple(at + side.start for at, side in zip(image.begin, region, strict=True))
    weights = None if image.weights is None else image.weights[region]
    return ScoreImage(image.values[region], weights, begin)
