"""Check how a fixed pattern affects the shifts, by measuring pairs with it and without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from steadystack.checks.mask_check import NO_MOTION_PX
from steadystack.checks.sampling import (
    MOVES_PX,
    crop_to_middle,
    cut_into_parts,
    find_jumps,
    sample_pairs,
)
from steadystack.measure import (
    FEWEST_FRAMES,
    BatchSize,
    Method,
    PatternEstimate,
    Sample,
    estimate_pattern,
    has_shift,
)
from steadystack.model import (
    FixedPatternEffect,
    Floats,
    FrameSource,
    FrameTable,
    PairTable,
)
from steadystack.pairs import spread_evenly
from steadystack.survey import (
    has_little_detail,
    is_explained,
    is_left_behind,
    measure_changes,
    measure_slopes,
    measure_unexplained,
)

# The check uses at most this many frames (of large ones the middle), rounds and pairs.
CHECK_FRAMES, CHECK_ROUNDS = 40, 2
FEWEST_CHECKED = 8
LEAST_GAIN = 0.1  # of the median gain: below this, or above its inverse, frames are not alike
# In a series that rests between jumps, the pairs that move most decide, one of them left out, if
# they are pulled by more than this, px, and by this many standard errors, as they are few. (Of 24
# random series that were right, two seemed to be pulled by 6 and 7 %, at four errors; three with
# spots that stand still were pulled at eleven or more.)
PULLED_PX, PULLED_ERRORS = 0.15, 7.0
# If something stands still, most pairs across jumps lose at least this share of their NCC. (Of 19
# random series without spots none lost more than 0.5 %; those pulled by spots by more than three
# times their stated error all lost 0.9 % or more.)
LEAST_LOSS = 0.006
# Pairs that move are not pulled if the pull, plus twice its error, is less than this share of their
# shifts: the fixed pattern then has other detail than the scene (a label, vignetting).
NOT_PULLED = 0.02
# A pull of all pairs by more standard errors than this is not replaced by a smaller share.
KNOWN_ERRORS = 4.0
# If shifts differ by less than this, px, slopes show a fixed pattern better than pairs do.
SMALL = 2.0
# Pairs that move by less than this many times their noise are at rest; by less px they hardly move.
AT_REST, HARDLY_PX = 3.0, 0.15
# The scene moves in a part of the frame that changes by this share of the part that changes most.
CHANGES = 0.15


def check_fixed_pattern(
    source: FrameSource,
    method: Method,
    size: BatchSize,
    table: PairTable,
    solved: FrameTable,
    left_out: int = 0,
) -> FixedPatternEffect | None:
    """Measure how far a fixed pattern pulls the measured pairs of a table towards zero.

    Some pairs are measured again with the fixed pattern and without it, in large frames in their
    middle. Shifts smaller than the details of the scene do not separate the two; there, and for
    what remains of a fixed pattern that is already subtracted, the slopes of the frames are used.
    `left_out` is the number of parts of the frame that were left out before, as they do not move
    with the others. With few frames only the share that shifts do not explain is found. None if
    there is too little evidence: few frames that are near each other, or few usable pairs.
    """
    # components cannot be compared: that of the anchor is used
    shifts = solved.anchored_shift
    frames = np.flatnonzero(has_shift(shifts))
    if len(frames) < 2 * FEWEST_FRAMES:
        few = Sample(source, crop_to_middle(method), size, frames, np.ones(len(frames)))
        return _examine_few(few, table, shifts)
    if np.count_nonzero(table.ok) < FEWEST_CHECKED:
        return None
    apart = np.abs(shifts[frames] - shifts[frames[len(frames) // 2]])
    near = (apart <= np.array(source.frame_shape) / 4).all(axis=1)
    frames = spread_evenly(frames[near], CHECK_FRAMES)
    if len(frames) < 2 * FEWEST_FRAMES:
        return None
    sample = Sample(source, crop_to_middle(method), size, frames, np.ones(len(frames)))
    sample, slopes = _equalise_gains(sample, shifts[frames]), None
    if not np.isfinite(solved.part_weight).any():  # a pull on parts left out has no effect
        slopes = measure_slopes(sample, shifts[frames], solved.shift_std[frames])
    is_small = bool(np.ptp(shifts[frames], axis=0).max() < SMALL)
    is_told = slopes is not None and slopes.certain and is_small  # then pairs add hardly anything
    if is_told or method.fixed_pattern is not None:
        return slopes
    effect = _remeasure(sample, method, table, solved, shifts, left_out)
    return _add_changes_at_rest(_choose_larger(effect, slopes), sample, table, shifts)


def _examine_few(
    sample: Sample, table: PairTable, shifts: NDArray[np.float64]
) -> FixedPatternEffect | None:
    """Find what the shifts (frames, axes) leave unexplained in a few frames; None: nothing.

    With so few frames, the remainder of a fixed pattern that is subtracted is not looked for.
    """
    rows = np.flatnonzero(table.ok)
    rows = rows[has_shift(shifts[table.reference[rows]]) & has_shift(shifts[table.moving[rows]])]
    if not len(rows) or sample.method.fixed_pattern is not None:
        return None
    apart = np.abs(table.moving - table.reference)[rows]
    rows = sample_pairs(table, rows[apart >= np.median(apart)])  # there the scene moves most
    pairs = np.stack([table.reference[rows], table.moving[rows]], axis=1)
    effect = _describe(table.shift[rows], table.shift_std[rows])
    of_sample = np.searchsorted(sample.frames, pairs)
    unexplained = measure_unexplained(sample, shifts[sample.frames], of_sample)
    return replace(effect, unexplained=unexplained) if unexplained else None


def _remeasure(
    sample: Sample,
    method: Method,
    table: PairTable,
    solved: FrameTable,
    shifts: NDArray[np.float64],
    left_out: int,
) -> FixedPatternEffect | None:
    """Measure pairs of a sample with its fixed pattern and without it.

    Nothing is measured again if the fixed pattern has hardly any detail. `shifts` are those of
    all frames (frames, axes), pixels.
    """
    frames, usable_rows = sample.frames, np.flatnonzero(table.ok)
    rows = sample_pairs(table, usable_rows)
    jumps, loss = find_jumps(table, usable_rows, shifts)
    if np.isfinite(solved.part_weight).any():  # the NCC includes the parts left out
        loss = None
    count, rows = len(rows), np.concatenate([rows, np.setdiff1d(jumps, rows)])
    pairs = np.stack([table.reference[rows], table.moving[rows]], axis=1)
    if has_little_detail(sample, shifts[frames]):
        lengths = np.linalg.norm(shifts[pairs[:count, 1]] - shifts[pairs[:count, 0]], axis=1)
        lengths = lengths[np.isfinite(lengths)]
        if len(lengths) < FEWEST_CHECKED:
            return None
        mean = float(lengths.mean())
        return FixedPatternEffect(len(lengths), mean, mean, error=0.0, certain=False)
    estimate = estimate_pattern(sample, shifts[frames], CHECK_ROUNDS)
    if estimate is None:
        return None
    without_pattern = sample.measured(pairs, sample.of_half(estimate, passes=1).pattern)
    shifts_with, std = table.shift[rows], table.shift_std[rows]
    if np.isfinite(solved.part_weight).any():  # a pull on parts left out has no effect
        shifts_with = shifts[pairs[:, 1]] - shifts[pairs[:, 0]]
    elif sample.method.whole_region != method.whole_region:
        with_pattern = sample.measured(pairs, None)
        shifts_with = np.where(with_pattern.ok[:, None], with_pattern.shift, np.nan)
        std = with_pattern.shift_std
    known = has_shift(shifts_with)
    both_ok = without_pattern.ok & known
    alike, of = int(both_ok[:count].sum()), int(known[:count].sum())
    if alike < FEWEST_CHECKED:
        if of < FEWEST_CHECKED:
            return None
        effect = _describe(shifts_with[:count][known[:count]], std[:count])
        return replace(effect, lost=1 - alike / of)
    effect = _compare(shifts_with[both_ok], without_pattern.shift[both_ok], alike, loss)
    is_certain = is_explained(sample, estimate, pairs[:count])
    return replace(
        effect,
        certain=is_certain or is_left_behind(sample, shifts[frames]),
        moving_share=_find_moving_share(estimate, left_out),
        loss=effect.loss if is_certain else 0.0,
        noise=_find_noise(std[both_ok]),
    )


def _describe(shifts: Floats, std: Floats) -> FixedPatternEffect:
    """Describe pairs, by their shifts (pairs, axes), that were not measured without the pattern."""
    length = float(np.linalg.norm(shifts, axis=1).mean())
    noise = _find_noise(std)
    return FixedPatternEffect(0, length, length, error=0.0, certain=False, noise=noise)


def _find_noise(std: Floats) -> float:
    """Compute the rms length of the errors (pairs, axes) of shifts, px; NaN are left out."""
    variance = np.square(std).sum(axis=1)
    variance = variance[np.isfinite(variance)]
    return float(np.sqrt(variance.mean())) if len(variance) else 0.0


def is_at_rest(effect: FixedPatternEffect) -> bool:
    """Whether pairs move by no more than noise explains."""
    return effect.with_it < max(NO_MOTION_PX, AT_REST * effect.noise)


def _add_changes_at_rest(
    effect: FixedPatternEffect | None,
    sample: Sample,
    table: PairTable,
    shifts: NDArray[np.float64],
) -> FixedPatternEffect | None:
    """If pairs hardly move, add how much the frames change.

    Pairs without a shift once the pattern is removed then do not count as lost. `shifts` are those
    of all frames (frames, axes), pixels.
    """
    if effect is None:
        rows = sample_pairs(table, np.flatnonzero(table.ok))
        effect = _describe(table.shift[rows], table.shift_std[rows])
    if is_at_rest(effect) or effect.with_it < HARDLY_PX:  # without the scene no pair has a shift
        return replace(effect, changes=measure_changes(sample, shifts[sample.frames]), lost=0.0)
    return effect if effect.pairs or effect.lost else None


def _choose_larger(
    effect: FixedPatternEffect | None, slopes: FixedPatternEffect | None
) -> FixedPatternEffect | None:
    """Choose the effect found with pairs, or that with slopes if it is certain and larger."""
    if slopes is None or not slopes.certain or effect is None:
        return effect or slopes
    pull = slopes.without_it - slopes.with_it
    is_certain = effect.certain and effect.without_it > 0
    left = effect.with_it / effect.without_it if is_certain else 1.0
    says_more = slopes.with_it < left * slopes.without_it
    if pull > KNOWN_ERRORS * slopes.error and says_more:
        return replace(slopes, loss=effect.loss)
    return effect


def _compare(
    shifts_with: Floats, shifts_without: Floats, count: int, loss: float | None
) -> FixedPatternEffect:
    """Compare the shifts of pairs (pairs, axes), along the mean of both ways.

    The first `count` pairs have equal weights; or all pairs are weighted by how far they move, if
    that is far more significant: in a series that rests between jumps, the others cannot be pulled.
    In such a series the `loss` of NCC across jumps has to show it, too. The loss is kept unless
    pairs that move are known not to be pulled.
    """
    direction = _normalise(shifts_with[:count] + shifts_without[:count])
    sizes = (
        (shifts_with[:count] * direction).sum(axis=1),
        (shifts_without[:count] * direction).sum(axis=1),
    )
    alike = FixedPatternEffect(
        pairs=len(direction),
        with_it=float(sizes[0].mean()),
        without_it=float(sizes[1].mean()),
        error=float((sizes[1] - sizes[0]).std(ddof=1) / np.sqrt(len(direction))),
        certain=False,
    )
    moved = _compare_by_motion(shifts_with, shifts_without)
    pull = moved.without_it - moved.with_it
    alike_pull = alike.without_it - alike.with_it
    tells_more = pull * alike.error > alike_pull * moved.error
    is_larger_share = pull * alike.without_it > alike_pull * moved.without_it
    hides = alike_pull > KNOWN_ERRORS * alike.error and not is_larger_share  # what `alike` finds
    is_found = pull > max(PULLED_PX, PULLED_ERRORS * moved.error)
    is_found = is_found and (loss is None or loss > LEAST_LOSS)
    told = moved if is_found and tells_more and not hides else alike
    most_pull = abs(pull) + 2 * moved.error
    is_known = moved.with_it > MOVES_PX and most_pull < NOT_PULLED * moved.with_it
    return replace(told, loss=0.0 if loss is None or is_known else loss)


def _compare_by_motion(shifts_with: Floats, shifts_without: Floats) -> FixedPatternEffect:
    """Compare the shifts of pairs (pairs, axes), weighted by how far they move with the pattern.

    Shifts without it are fitted as longer by a common share; the scatter of the pairs gives its
    error. The most influential pair is left out, so that no single pair decides.
    """
    change = shifts_without - shifts_with
    rest = np.arange(len(change)) != np.argmax((change * shifts_with).sum(axis=1))
    shifts_with, change = shifts_with[rest], change[rest]
    squares = max(float((shifts_with**2).sum()), 1e-18)
    size = squares / max(float(np.linalg.norm(shifts_with, axis=1).sum()), 1e-9)
    share = float((change * shifts_with).sum()) / squares
    variance = float(((change - share * shifts_with) ** 2).sum()) / (change.size - 1)
    return FixedPatternEffect(
        pairs=len(change),
        with_it=size,
        without_it=(1 + share) * size,
        error=size * float(np.sqrt(variance / squares)),
        certain=False,
    )


def _equalise_gains(sample: Sample, shifts: NDArray[np.float64]) -> Sample:
    """Give the sample gains that equalise frames of changing contrast, such as from bleaching.

    Otherwise the changing contrast of a fading scene would look like a fixed pattern. `shifts` are
    (frames, axes), pixels.
    """
    estimate = sample.separated(shifts)
    if estimate is None:
        return sample
    is_solved, gains = has_shift(estimate.shifts), np.ones(len(shifts))
    rows = np.flatnonzero(is_solved)
    views = estimate.separated.view_each(shifts[rows])
    images = sample.images(is_solved)
    for row, (image, valid), predicted in zip(rows, images, views, strict=True):
        view = predicted[valid]
        view = view - view.mean()
        gains[row] = float((image[valid] * view).sum() / max(float((view**2).sum()), 1e-30))
    typical = float(np.median(gains))
    low, high = LEAST_GAIN * typical, typical / LEAST_GAIN
    if not 0 < low < gains.min() <= gains.max() < high:
        return sample
    return replace(sample, gains=gains / typical)


def _find_moving_share(estimate: PatternEstimate, left_out: int) -> float:
    """Find the share of the parts of the frame in which the scene moves, without its pattern.

    From the difference of the scene between the two frames whose shifts are furthest apart.
    `left_out` further parts count as not moving.
    """
    shifts, separated = estimate.shifts[has_shift(estimate.shifts)], estimate.separated
    apart = np.linalg.norm(shifts - shifts[:, None], axis=2)
    first, second = np.unravel_index(int(apart.argmax()), apart.shape)
    change = separated.view(shifts[second]) - separated.view(shifts[first])
    change = np.where(separated.known, change, np.nan)
    change -= np.nanmedian(change)
    parts = [change[box] for box in cut_into_parts(tuple(slice(0, side) for side in change.shape))]
    noise = 2 * separated.residual / estimate.count
    changes = np.array([np.nanmean(part**2) - noise for part in parts if np.isfinite(part).any()])
    moving = np.count_nonzero(changes > CHANGES * changes.max())
    return moving / (len(changes) + left_out)


def _normalise(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale vectors (pairs, axes) to length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
