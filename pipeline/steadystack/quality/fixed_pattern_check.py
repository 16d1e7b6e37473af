"""What a static image does to the shifts of a series: some pairs measured with it and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from steadystack.measure import (
    FEWEST_FRAMES,
    BatchSize,
    Method,
    PatternEstimate,
    Sample,
    estimate_pattern,
    has_shift,
    spread_evenly,
)
from steadystack.model import FixedPatternEffect, Floats, FrameSource, Ints, PairStatus, PairTable
from steadystack.ncc import cut_into_blocks
from steadystack.register import register_translation
from steadystack.solve import solve_shifts

# The check takes fewer frames, the middle part of large ones, and looks at so many pairs.
CHECK_FRAMES, CHECK_ROUNDS, CHECK_PAIRS = 40, 2, 32
CHECK_PIXELS = 2**19
FEWEST_CHECKED = 8
LEAST_GAIN = 0.1  # of the median one: beyond, frames are not like each other at all
# It is certain where no more than so many times the noise is left unexplained, or where the means
# of the two halves of a series follow less than this part of at least so much drift, px.
# Of 288 series without a static image (drifts of 0 to 10 px, noise of 0 to 3 deviations, bleaching,
# flicker, scenes that change) two were told of, both bleaching to a third at drifts of 1 and 3 px.
MOST_LEFT, STAYS_BEHIND, LEAST_DRIFT = 1.3, 0.6, 0.1


def check_fixed_pattern(
    source: FrameSource, method: Method, size: BatchSize, table: PairTable
) -> FixedPatternEffect | None:
    """How far what stands still pulls the measured pairs of a table towards zero.

    Some of them are measured again without it; of large frames only the middle is looked at.
    None where there is too little to tell: few frames or usable pairs, or a series that has a
    static image taken away already.
    """
    rows = np.flatnonzero(table.ok)
    if method.fixed_pattern is not None or len(rows) < FEWEST_CHECKED:
        return None
    solved = solve_shifts(table)  # parts do not compare: the anchor's is looked at
    shifts = np.where((solved.component == 0)[:, None], solved.shift, np.nan)
    frames = np.flatnonzero(has_shift(shifts))
    if len(frames) < 2 * FEWEST_FRAMES:
        return None
    apart = np.abs(shifts[frames] - shifts[frames[len(frames) // 2]])
    near = (apart <= np.array(source.frame_shape) / 4).all(axis=1)
    frames = spread_evenly(frames[near], CHECK_FRAMES)
    if len(frames) < 2 * FEWEST_FRAMES:
        return None
    sample = Sample(source, crop_to_middle(method), size, frames, np.ones(len(frames)))
    sample = _of_one_gain(sample, shifts[frames])
    found = estimate_pattern(sample, shifts[frames], CHECK_ROUNDS)
    if found is None:
        return None
    pattern = sample.of_half(found, passes=1).pattern
    chosen = sample_pairs(table, rows)
    pairs = np.stack([table.reference[chosen], table.moving[chosen]], axis=1)
    before, after = (sample.measured(pairs, taken) for taken in (None, pattern))
    both = before.ok & after.ok
    if both.sum() < FEWEST_CHECKED:
        return None
    one, other = before.shift[both], after.shift[both]
    along = _unit(one + other)
    sizes = (one * along).sum(axis=1), (other * along).sum(axis=1)
    return FixedPatternEffect(
        pairs=int(both.sum()),
        with_it=float(sizes[0].mean()),
        without_it=float(sizes[1].mean()),
        error=float((sizes[1] - sizes[0]).std(ddof=1) / np.sqrt(both.sum())),
        certain=_explained(sample, found, pairs) or _stays(sample, shifts[frames]),
    )


def _of_one_gain(sample: Sample, shifts: NDArray[np.float64]) -> Sample:
    """The sample with contrasts that change, as when it bleaches, brought to a common one.

    Else what is left of a fading scene in its place would be taken for a static image.
    """
    found = sample.separated(shifts)
    if found is None:
        return sample
    known, gains = has_shift(found.shifts), np.ones(len(shifts))
    for place, (image, valid) in zip(np.flatnonzero(known), sample.images(known), strict=True):
        view = found.separated.view(shifts[place])[valid]
        view = view - view.mean()
        gains[place] = float((image[valid] * view).sum() / max(float((view**2).sum()), 1e-30))
    usual = float(np.median(gains))
    low, high = LEAST_GAIN * usual, usual / LEAST_GAIN
    if not 0 < low < gains.min() <= gains.max() < high:
        return sample
    return replace(sample, gains=gains / usual)


def _explained(sample: Sample, found: PatternEstimate, pairs: Ints) -> bool:
    """Whether a static image and one scene leave little more than noise of the frames.

    The noise is what the closer ones of the pairs have not in common. A scene that changes leaves
    more, and its changes, which do not move with it, are easily taken for shifts.
    """
    close = pairs[np.argsort(np.abs(pairs[:, 1] - pairs[:, 0]), kind="stable")[: len(pairs) // 2]]
    plain = replace(sample.method, conditioning=replace(sample.method.conditioning, high_pass=None))
    pattern = found.separated.pattern
    measured = replace(sample, method=plain).measured(close, pattern)
    if not measured.ok.any():
        return False
    images = sample.images(has_shift(found.shifts))
    variances = [np.var((image - pattern)[valid & np.isfinite(pattern)]) for image, valid in images]
    noise = (1 - float(np.median(measured.ncc[measured.ok]))) * float(np.mean(variances))
    return found.separated.residual < MOST_LEFT * noise


def _stays(sample: Sample, shifts: Floats) -> bool:
    """Whether the means of the series' two halves lie on each other where the scene does not."""
    half = len(sample.frames) // 2
    parts = zip(*(np.split(given, [half]) for given in (sample.frames, sample.gains)), strict=True)
    means = [replace(sample, frames=frames, gains=gains).mean() for frames, gains in parts]
    found = register_translation(*means, max_shift=[max(side // 4, 1) for side in means[0].shape])
    drift = shifts[half:].mean(axis=0) - shifts[:half].mean(axis=0)
    length = float(np.linalg.norm(drift))
    if found.status is not PairStatus.OK or length < LEAST_DRIFT:
        return False
    return float(found.shift @ drift) < STAYS_BEHIND * length**2


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))


def sample_pairs(
    table: PairTable, rows: NDArray[np.intp], count: int = CHECK_PAIRS
) -> NDArray[np.intp]:
    """Some of these rows, spread evenly over the series: half of close pairs, half of far ones."""
    apart = np.abs(table.moving - table.reference)[rows]
    middle = np.median(apart)
    near, far = rows[apart <= middle], rows[apart > middle]
    halves = [spread_evenly(part, count // (2 if len(far) else 1)) for part in (near, far)]
    return np.concatenate(halves)


def crop_to_middle(method: Method) -> Method:
    """The method for the middle part of large frames."""
    shape = method.search.shape
    region = method.region or tuple(slice(0, size) for size in shape)
    scale = min(1.0, (CHECK_PIXELS / float(np.prod(shape))) ** (1 / len(shape)))
    if scale == 1:
        return method
    sides = [max(int(size * scale), min(size, 16)) for size in shape]
    begins = [
        side.start + (size - inner) // 2
        for side, size, inner in zip(region, shape, sides, strict=True)
    ]
    inside = tuple(slice(b, b + s) for b, s in zip(begins, sides, strict=True))
    search = replace(
        method.search, blocks=tuple(cut_into_blocks(sides, sides, method.search.window)), tile=None
    )
    return replace(method, search=search, region=inside)
