"""Tasks on workers: measure the pairs of a batch, or compute the terms of one block of frames."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from steadystack.measure.batch_results import BatchResult, BlockResult, join_results
from steadystack.measure.centres import find_pair_centres, make_search
from steadystack.measure.method import (
    Method,
    ReadSummary,
    prepare_block,
    read_camera_images,
    read_common_mask,
    reuse_mask,
)
from steadystack.measure.part_steps import PartEvaluator, find_last_rows
from steadystack.model import (
    FRAME_RESULTS,
    FrameSource,
    Ints,
    PairStatus,
    PairTable,
    Registration,
    Surface,
)
from steadystack.ncc import CachedMask, MaskedImage, Terms
from steadystack.parts import PartScores, ScoreImage
from steadystack.register import Search, compute_block_terms, make_surface, register_surfaces

# Pairs that may have a shift beyond the lags that were searched.
MAY_LIE_FARTHER = (PairStatus.LOW_NCC, PairStatus.AT_SEARCH_LIMIT, PairStatus.LOW_OVERLAP)
# These are searched for at every lag in groups of at most this many pixels in both frames, but at
# least one pair; about 80 bytes per pixel are held.
TOGETHER_PIXELS = 2**19


@dataclass(eq=False)
class HeldFrames:
    """Prepared frames, kept for the next batches in this process; results change by rounding only.

    All batches must have the same source and the same method, except for centres and cells of the
    search. Transforms of frames are kept for the last two searches.
    """

    _frames: dict[int, tuple[MaskedImage, ReadSummary, ScoreImage | None]] = field(
        default_factory=dict
    )
    _recent: list[tuple[Search, CachedMask, dict[int, MaskedImage]]] = field(default_factory=list)

    def keep_only(self, frames: Collection[int]) -> None:
        """Drop all frames except these."""
        for frame in self._frames.keys() - set(frames):
            del self._frames[frame]
            for _, _, images in self._recent:
                images.pop(frame, None)

    def begin(self, search: Search, common: CachedMask) -> CachedMask:
        """Begin a batch with a search; returns the common mask, the one already held if any."""
        known = [one for one in self._recent if one[0] == search]
        others = [one for one in self._recent if one[0] != search]
        self._recent = [*others[-1:], *(known or [(search, common, {})])]
        return self._recent[-1][1]

    def get(self, frame: int) -> tuple[MaskedImage, ReadSummary, ScoreImage | None] | None:
        """Get a frame for the batch that was begun; None: not held."""
        if frame not in self._frames:
            return None
        search, common, images = self._recent[-1]
        image, summary, smoothed = self._frames[frame]
        if frame not in images:
            masks = [common, *(other.mask for other in images.values())]
            mask = reuse_mask(image.mask.pixels, masks, search.layouts[0])
            images[frame] = replace(image, mask=mask, cache={})
        return images[frame], summary, smoothed

    def add(
        self, frame: int, image: MaskedImage, summary: ReadSummary, smoothed: ScoreImage | None
    ) -> None:
        """Keep a frame of the batch that was begun, if it can be measured."""
        if summary.pair_status is PairStatus.OK:
            alone = replace(image, mask=CachedMask(image.mask.pixels), cache={})
            self._frames[frame] = alone, summary, smoothed
            self._recent[-1][2][frame] = image


def measure_batch(
    pairs: Ints,
    source: FrameSource,
    method: Method,
    centres: Ints | None = None,
    held: HeldFrames | None = None,
) -> BatchResult:
    """Register pairs (n, 2) of frames that are one block; each frame is read and prepared once.

    `centres` (n, axes) are those of their searches, all in one cell, whole pixels; None: from the
    method's initial shifts. `held` has frames that need not be read; those that are read are added
    to it. If the source has several channels, their results are joined, and no frames are held.
    """
    if source.channels:
        alone = [measure_batch(pairs, channel, method, centres) for channel in source.channels]
        return join_results(alone)
    if centres is None:
        centres = find_pair_centres(method, pairs)
    method = replace(method, search=make_search(method, centres))
    summaries: dict[int, ReadSummary] = {}
    evaluator = PartEvaluator(method.search, pairs) if method.evaluates_parts else None
    terms = _iterate_terms(pairs, centres, 0, source, method, summaries, evaluator, held)
    result = _register_batch(pairs, centres, terms, summaries, method.search, evaluator)
    if method.widen and centres is None:
        _search_everywhere(result, source, method)
    return result


def _search_everywhere(result: BatchResult, source: FrameSource, method: Method) -> None:
    """Search at every lag for the pairs of a batch that have no shift, a few at a time."""
    table = result.table
    rows = np.flatnonzero(np.isin(table.status, [status.code for status in MAY_LIE_FARTHER]))
    if not rows.size:
        return
    wide = replace(method, search=method.search.widen(), widen=False, keep=())
    pairs = np.stack([table.reference, table.moving], axis=1)
    together = max(TOGETHER_PIXELS // (2 * math.prod(method.search.shape)), 1)
    for first in range(0, len(rows), together):
        some = rows[first : first + together]
        found = measure_batch(pairs[some], source, wide)
        # if unreadable now, the frames were readable before: the first result is kept
        read = np.flatnonzero(found.table.status != PairStatus.UNREADABLE.code)
        table.take_results(some[read], found.table, read)
        result.covariance[some[read]] = found.covariance[read]


def measure_task(
    task: tuple[Ints, Ints | None],
    source: FrameSource,
    method: Method,
    held: HeldFrames | None = None,
) -> BatchResult:
    """Register the pairs of one task, (pairs, centres), on a worker."""
    pairs, centres = task
    return measure_batch(pairs, source, method, centres, held)


def measure_block(
    task: tuple[Ints, Ints | None, int], source: FrameSource, method: Method
) -> BlockResult:
    """Compute the terms of pairs in one block of their frames; each block is read once."""
    pairs, centres, block = task
    method = replace(method, search=make_search(method, centres))
    summaries: dict[int, ReadSummary] = {}
    terms = list(_iterate_terms(pairs, centres, block, source, method, summaries))
    return BlockResult(pairs, centres, terms, summaries)


def finish_batch(result: BlockResult, source: FrameSource, method: Method) -> BatchResult:
    """Register the pairs of a batch from the terms of all their blocks."""
    search = make_search(method, result.centres)
    return _register_batch(result.pairs, result.centres, result.terms, result.summaries, search)


def _iterate_terms(
    pairs: Ints,
    centres: Ints | None,
    block: int,
    source: FrameSource,
    method: Method,
    summaries: dict[int, ReadSummary],
    evaluator: PartEvaluator | None = None,
    lasting: HeldFrames | None = None,
) -> Iterator[Terms | None]:
    """Yield the terms of every pair in a block, None if one of its frames cannot be used.

    None also if the frames do not overlap anywhere in the search. The summary of every frame that
    is read is added to `summaries` before the terms of its first pair are yielded. A frame is held
    from its first pair to its last, and kept in `lasting`; it is also passed to `evaluator`.
    """
    camera_images = read_camera_images(method, source.frame_shape, block)
    common = read_common_mask(source, block, method)
    search = method.search
    if lasting is not None:
        common = lasting.begin(search, common)
    last_rows = find_last_rows(pairs)
    held: dict[int, MaskedImage] = {}
    for row, (reference, moving) in enumerate(pairs.tolist()):
        for frame in (reference, moving):
            if frame in summaries:
                continue
            image, smoothed, known = None, None, lasting.get(frame) if lasting else None
            if known is not None:
                image, summaries[frame], smoothed = known
            else:
                masks = list(dict.fromkeys([common, *(image.mask for image in held.values())]))
                image, summaries[frame] = prepare_block(
                    source, frame, block, method, camera_images, masks
                )
            if image is not None:
                held[frame] = image
                if evaluator is not None:
                    smoothed = evaluator.hold(frame, image, smoothed)
                if lasting is not None and known is None:
                    lasting.add(frame, image, summaries[frame], smoothed)
        alone = len(search.blocks) == 1 and not all(
            summaries[frame].pair_status is PairStatus.OK for frame in (reference, moving)
        )
        centre = None if centres is None else centres[row].tolist()
        apart = centre is not None and not search.touches(centre)
        if alone or apart or reference not in held or moving not in held:
            yield None
        else:
            stays = held[reference].crop(search.blocks[block].core)
            yield compute_block_terms(stays, held[moving], search, block, method.keep, centre)
        for frame in {reference, moving}:
            if last_rows[frame] == row:
                held.pop(frame, None)


def _register_batch(
    pairs: Ints,
    centres: Ints | None,
    terms: Iterable[Terms | None],
    summaries: dict[int, ReadSummary],
    search: Search,
    evaluator: PartEvaluator | None = None,
) -> BatchResult:
    """Register pairs by their terms; `summaries` may be filled while these are iterated.

    The parts of pairs are evaluated by `evaluator`.
    """
    ndim = len(search.shape)
    table = PairTable.unmeasured(pairs, 0, ndim)
    covariance = np.full((len(pairs), ndim, ndim), np.nan)
    centre_of = [None] * len(pairs) if centres is None else centres.tolist()
    surfaces = (
        _make_surface([summaries[frame] for frame in pair], terms_of_pair, search, centre)
        for pair, terms_of_pair, centre in zip(pairs.tolist(), terms, centre_of, strict=True)
    )
    scores: list[PartScores | None] = [None] * len(pairs)
    for row, registration in enumerate(register_surfaces(surfaces, search)):
        _set_row(table, row, registration)
        covariance[row] = registration.covariance
        if evaluator is not None:
            if registration.status is PairStatus.OK:
                scores[row] = evaluator.compute_scores(
                    row, registration.shift, registration.ncc < 0
                )
            evaluator.release(row)
    if evaluator is not None:
        table.part_step[:] = evaluator.compute_steps(scores)
    frames = np.array(sorted(summaries), np.int64)
    read = [summaries[frame] for frame in frames.tolist()]
    columns = {
        column.field: np.array([summary.value_of(column) for summary in read], column.dtype)
        for column in FRAME_RESULTS
    }
    reasons = {frame: summary.reason for frame, summary in summaries.items() if summary.reason}
    return BatchResult(table, frames, columns, reasons, covariance)


def _make_surface(
    both: list[ReadSummary], terms: Terms | None, search: Search, centre: list[int] | None
) -> Surface | Registration:
    """Make the surface of a pair; or its registration, if a frame cannot be used."""
    statuses = {summary.pair_status for summary in both}
    for status in (PairStatus.UNREADABLE, PairStatus.EMPTY, PairStatus.FLAT):
        if status in statuses:
            return Registration.unknown(len(search.shape), status)
    if terms is None:  # frames that overlap nowhere in the search
        return Registration.unknown(len(search.shape), PairStatus.LOW_OVERLAP)
    return make_surface(terms, search, centre=centre)


def _set_row(table: PairTable, row: int, registration: Registration) -> None:
    table.shift[row] = registration.shift
    table.shift_std[row] = np.sqrt(np.diag(registration.covariance))
    table.ncc[row] = registration.ncc
    table.second_peak_ratio[row] = registration.second_peak_ratio
    table.overlap[row] = registration.overlap
    table.fixed_pattern_share[row] = registration.fixed_pattern_share
    table.channel_weight[row] = 1 if registration.status is PairStatus.OK else np.nan
    table.status[row] = registration.status.code
