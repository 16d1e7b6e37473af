"""The findings on the pairs of a series, from the tables alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from steadystack.checks import NO_MOTION_PX
from steadystack.model import (
    Bools,
    Finding,
    Floats,
    FrameStatus,
    FrameTable,
    PairStatus,
    PairTable,
    Reason,
    Trust,
)
from steadystack.quality.advice import AdviceSettings

# Larger residuals are contradictions: correct pairs agree within a small part of a pixel.
LARGE_RESIDUAL_PX = 1.0
# Pairs of one separation, at least this many, are off if their mean residual is more than this many
# standard errors, this many pixels, and this share of their mean shift.
FEWEST_OF_SEPARATION, OFF_ERRORS, OFF_PX, OFF_SHARE = 30, 6.0, 0.005, 0.05
# Shares of frames or pairs above which the verdict is "check", and "unreliable".
FEW, MANY = 0.05, 0.5
# If more than this share of the pairs end at the edge of the search, the others are those that move
# least, and a fixed pattern dominates them most easily: all frames except a few must then have at
# least this many usable pairs. (Of 200 series with too small a max_shift none had a wrong pair.
# With dirt in the camera, errors were up to 0.17 px if all frames had two pairs, and up to 0.6 px
# if some had one; 0.03 to 0.08 px with a sufficient max_shift.)
EDGE, HOLDING = 0.3, 2
# Frames of 2 to MOST_KINDS kinds take turns if frames of one kind are most alike, at every
# separation with FEWEST_OF_KIND pairs, and those of two kinds lower the logarithm of the NCC by
# LEAST_LOSS, LOSS_ERRORS standard errors, and LOSS_SHARE of what shifts of half a pixel cost; these
# have to vary by LEAST_SPREAD, or the loss is more than they ever cost. (Of 42 series of two to
# four kinds 41 are reported; of 75 random ones, and 100 that shake every 2 to 4 frames, none.)
MOST_KINDS, FEWEST_OF_KIND, LEAST_LOSS, LOSS_ERRORS, LOSS_SHARE = 4, 4, 0.01, 10.0, 0.5
LEAST_SPREAD, SURELY_LOST = 0.1, 0.25
# Pairs of so many frames are enough; a lower NCC is one of chance.
ENOUGH_FRAMES, LOWEST_NCC = 64, 0.02

# What is wrong with pairs without a shift, by status.
DOUBTFUL = {
    PairStatus.AT_SEARCH_LIMIT: "end at the edge of the search",
    PairStatus.LOW_NCC: "correlate no better than unrelated images",
    PairStatus.AMBIGUOUS: "fit equally well at another shift",
    PairStatus.LOW_OVERLAP: "overlap too little",
    PairStatus.INVERTED: "are negatives of each other",
}


def has_own_shift(frames: FrameTable) -> Bools:
    """Which frames (frames,) have a shift that is not interpolated."""
    interpolated = frames.status == FrameStatus.INTERPOLATED.code
    return np.asarray(np.isfinite(frames.shift).all(axis=1) & ~interpolated, bool)


def _are_weakly_held(pairs: PairTable, frames: FrameTable) -> bool:
    """Whether more than a few frames have too few usable pairs to detect a wrong one."""
    is_readable = pairs.is_readable
    is_held = (frames.component == 0) & (frames.pair_count >= HOLDING)
    return bool((is_readable & ~is_held).sum() > FEW * is_readable.sum())


def find_doubtful_pairs(
    pairs: PairTable, frames: FrameTable, advice: AdviceSettings
) -> Iterator[Finding]:
    """Report pairs without a shift, by status, between frames with one (any, if most have none).

    Pairs with an NCC that is no higher than by chance do no harm: scenes change with time, and if
    closer pairs have a higher NCC, that explains it. If other pairs end at the edge of the search,
    the shifts of these may lie beyond it.
    """
    has_shift, is_readable = has_own_shift(frames), pairs.is_readable
    if has_shift.mean() < MANY:
        has_shift = is_readable
    advice_by_status = {
        PairStatus.AT_SEARCH_LIMIT: advice.wider_search,
        PairStatus.LOW_NCC: advice.clearer_scene,
        PairStatus.AMBIGUOUS: advice.distinct_scene,
        PairStatus.LOW_OVERLAP: advice.less_overlap,
        PairStatus.INVERTED: advice.inverted_contrast,
    }
    far_why = "the scene changes"
    for status, problem in DOUBTFUL.items():
        # frames may be lost because their pairs end at the edge: they count, too
        is_counted = is_readable if status is PairStatus.AT_SEARCH_LIMIT else has_shift
        usable = is_counted[pairs.reference] & is_counted[pairs.moving]
        if status is PairStatus.AMBIGUOUS:  # the others are reported by channel
            usable &= ~is_undecided(pairs)
        total = int(usable.sum())
        count = int((pairs.status[usable] == status.code).sum())
        if count > FEW * total:
            limit = (
                EDGE
                if status is PairStatus.AT_SEARCH_LIMIT and _are_weakly_held(pairs, frames)
                else MANY
            )
            dangerous = status is not PairStatus.LOW_NCC and count > limit * total
            trust = Trust.UNRELIABLE if dangerous else Trust.CHECK
            if status is PairStatus.AT_SEARCH_LIMIT:
                far_why = "their shifts may lie beyond the search"
            way_out = advice_by_status[status]
            if status is PairStatus.AMBIGUOUS:
                shares = pairs.fixed_pattern_share[usable & (pairs.status == status.code)]
                if (shares > 0).mean() > MANY and advice.helps is None:
                    problem += (
                        f", as {np.nanmedian(shares[shares > 0]):.0%} of what they show "
                        "stands still"
                    )
                    way_out = advice.static_removal
            words = f"{count} of {total} pairs {problem}: {way_out}"
            if status is PairStatus.LOW_NCC and (apart := _find_too_far(pairs, usable)):
                trust = Trust.GOOD
                words = (
                    f"{count} of {total} pairs {problem}, nearly all of them {apart} or more "
                    f"frames apart: {far_why}"
                )
            yield Finding(trust, Reason(f"pairs_{status}"), words)


def find_frames_taking_turns(pairs: PairTable) -> Iterator[Finding]:
    """Report frames of several kinds that take turns, such as channels, planes or lights.

    Otherwise neighbours are most alike; here frames some number apart are, and what the kinds do
    not share may look like a shift between them, on which all pairs agree.
    """
    apart = np.abs(pairs.moving - pairs.reference)
    ncc = np.where(pairs.ok, np.abs(pairs.ncc), pairs.ncc)  # negatives, if these are allowed
    alike = {}
    for each in range(1, 2 * MOST_KINDS + 1):
        known = ncc[(apart == each) & np.isfinite(ncc)]
        if len(known) >= FEWEST_OF_KIND:
            alike[each] = float(np.median(known))
    found: list[tuple[float, int]] = []
    for kinds in range(2, MOST_KINDS + 1):
        if not set(range(1, kinds + 1)) <= set(alike):
            break
        near = [each for each in alike if each <= 2 * kinds]
        same = min(alike[each] for each in near if each % kinds == 0)
        others = max(alike[each] for each in near if each % kinds)
        if others < same and (loss := _measure_loss(pairs, ncc, kinds)):
            found.append((loss, kinds))
        elif same - others > SURELY_LOST:
            found.append((same - others, kinds))
    if found:
        _, kinds = max(found)
        yield Finding(
            Trust.CHECK,
            Reason.TAKING_TURNS,
            f"frames {kinds} apart are more alike (NCC {alike[kinds]:.3f}) than neighbours "
            f"({alike[1]:.3f}): if channels, planes or lights take turns in the stack, what "
            "differs between them may look like a shift: measure each by itself (input.frames, "
            f"such as '::{kinds}')",
        )


def _measure_loss(pairs: PairTable, ncc: Floats, kinds: int) -> float:
    """Measure by how much pairs of two kinds of frames, in turn, lower the logarithm of the NCC.

    It is fitted together with the noise of every frame, a change over time, and what shifts between
    whole pixels cost. 0: not known, or too little.
    """
    apart = np.abs(pairs.moving - pairs.reference)
    rows = np.flatnonzero((apart <= 2 * kinds) & np.isfinite(ncc))
    first = min(pairs.reference[rows].min(), pairs.moving[rows].min())
    within = np.maximum(pairs.reference, pairs.moving)[rows] < first + ENOUGH_FRAMES
    rows = rows[within]
    differ = apart[rows] % kinds != 0
    if min(np.count_nonzero(differ), np.count_nonzero(~differ)) < FEWEST_OF_KIND:
        return 0.0
    between = np.sin(np.pi * pairs.shift[rows]) ** 2
    between = np.where(np.isfinite(between), between, 0.5)  # no shift: the mean of all
    of_frames = np.zeros((len(rows), ENOUGH_FRAMES))
    for ends in (pairs.reference[rows], pairs.moving[rows]):
        of_frames[np.arange(len(rows)), ends - first] += 1
    terms = np.column_stack([differ, between, apart[rows], of_frames])
    values = -np.log(np.maximum(ncc[rows], LOWEST_NCC))
    fit, _, rank, _ = np.linalg.lstsq(terms, values, rcond=None)
    rest = values - terms @ fit
    variance = (rest @ rest) / max(len(rows) - rank, 1)
    error = np.sqrt(variance * np.linalg.pinv(terms.T @ terms)[0, 0])
    axes = between.shape[1]
    cost = float(np.median((between @ np.maximum(fit[1 : 1 + axes], 0))[differ]))
    loss, varies = float(fit[0]), between[differ].std(axis=0).max() > LEAST_SPREAD
    least = max(LEAST_LOSS, LOSS_ERRORS * error, LOSS_SHARE * cost)
    return loss if varies and loss > least else 0.0


def is_undecided(pairs: PairTable) -> Bools:
    """Which pairs (pairs,) have no shift because their channels contradict each other."""
    weight = pairs.channel_weight
    has_any = np.isfinite(weight).any(axis=1)
    return np.asarray(has_any & (np.nan_to_num(weight).sum(axis=1) == 0), bool)


def find_contradicting_channels(pairs: PairTable, names: Sequence[str]) -> Iterator[Finding]:
    """Report channels that contradict the others, or that have no shift in most pairs.

    `names` are those of the channels. Only pairs in which any of them has a shift count.
    """
    if len(names) < 2 or pairs.channel_weight.shape[1] == 1:  # a preview has the first one only
        return
    told, is_open = np.isfinite(pairs.channel_weight), is_undecided(pairs)
    total = int(told.any(axis=1).sum())
    if (count := int(is_open.sum())) > FEW * total:
        yield Finding(
            Trust.UNRELIABLE if count > MANY * total else Trust.CHECK,
            Reason.CHANNELS,
            f"channels contradict each other in {count} of {total} pairs, which therefore have no "
            "shift: do all show the same thing? leave out those that do not (input.channel)",
        )
    for number, name in enumerate(names):
        outvoted = told[:, number] & (pairs.channel_weight[:, number] == 0) & ~is_open
        silent = told.any(axis=1) & ~told[:, number]
        if (count := int(outvoted.sum())) > FEW * total:
            yield Finding(
                Trust.CHECK,
                Reason.CHANNELS,
                f"channel {name} contradicts the majority of the others in {count} of {total} "
                "pairs, and is not used there: which of them show the scene to be aligned? leave "
                "out the others (input.channel)",
            )
        if (count := int(silent.sum())) > MANY * total:
            yield Finding(
                Trust.CHECK,
                Reason.CHANNELS,
                f"channel {name} has no shift in {count} of {total} pairs: leave it out "
                "(input.channel) if it shows nothing; if it shows the scene, do the others?",
            )


def _find_too_far(pairs: PairTable, usable: Bools) -> int:
    """Find the smallest separation at which more than a few pairs have an NCC as by chance.

    0 if that is the smallest separation of the `usable` pairs, or if there is none.
    """
    apart, unlike = np.abs(pairs.moving - pairs.reference), pairs.status == PairStatus.LOW_NCC.code
    separations = np.unique(apart[usable]).tolist()
    for number, separation in enumerate(separations):
        if unlike[usable & (apart == separation)].mean() > FEW:
            return int(separation) if number else 0
    return 0


def find_rejected_pairs(
    pairs: PairTable, frames: FrameTable, advice: AdviceSettings
) -> Iterator[Finding]:
    """Report if more than a few pairs between frames with a shift contradict the rest.

    The pairs of a frame without a shift are not counted here: the frame is reported as lost.
    """
    has_shift = has_own_shift(frames)
    usable = pairs.ok & has_shift[pairs.reference] & has_shift[pairs.moving]
    total, count = int(usable.sum()), int((usable & frames.rejected).sum())
    if count > FEW * total:
        yield Finding(
            Trust.UNRELIABLE if count > MANY * total else Trust.CHECK,
            Reason.REJECTED_PAIRS,
            f"{count} of {total} pairs contradict the others and are rejected: "
            f"{advice.residual_check}, {advice.narrower_search}, or {advice.more_pairs}",
        )


def find_contradictions(
    pairs: PairTable, frames: FrameTable, advice: AdviceSettings
) -> Iterator[Finding]:
    """Report pairs that cannot all be right, and a series in which no pair moves."""
    used = pairs.ok & ~frames.rejected
    if not used.any():
        return
    residual = np.abs(frames.residual[used]).max(axis=1)
    if residual.max() > LARGE_RESIDUAL_PX:
        count = int((residual > LARGE_RESIDUAL_PX).sum())
        yield Finding(
            Trust.CHECK,
            Reason.CONTRADICTIONS,
            f"{count} pairs contradict the others by up to {residual.max():.1f} px: "
            f"{advice.residual_check}",
        )
    if np.abs(pairs.shift[used]).max() < NO_MOTION_PX:
        yield Finding(
            Trust.CHECK,
            Reason.NO_MOTION,
            f"no pair moves by more than {NO_MOTION_PX} px: either nothing drifts, or something "
            f"that stands still in the camera outweighs the scene: {advice.static_removal}",
        )


def find_biased_separations(
    pairs: PairTable, frames: FrameTable, advice: AdviceSettings
) -> Iterator[Finding]:
    """Report the separation whose pairs differ most from the solution, in the same direction.

    Something that stands still or changes pulls close and distant pairs differently, by too little
    to show in a single pair. Nothing is reported if parts have different weights, or if frames have
    a linear motion, because that also makes separations differ.
    """
    if np.isfinite(frames.part_weight).any() or np.isfinite(frames.linear).any():
        return
    used = pairs.ok & ~frames.rejected & np.isfinite(frames.residual).all(axis=1)
    apart = pairs.moving - pairs.reference
    worst: tuple[float, int, float] | None = None
    for separation in np.unique(np.abs(apart[used])).tolist():
        rows = used & (np.abs(apart) == separation)
        if rows.sum() < FEWEST_OF_SEPARATION:
            continue
        direction = np.sign(apart[rows])[:, None]
        residual, shift = frames.residual[rows] * direction, pairs.shift[rows] * direction
        offset, error = residual.mean(axis=0), residual.std(axis=0) / np.sqrt(len(residual))
        size = float(np.linalg.norm(offset))
        share = size / max(float(np.linalg.norm(shift.mean(axis=0))), 1e-9)
        certain = bool((np.abs(offset) > OFF_ERRORS * error).any())
        if certain and size > OFF_PX and share > OFF_SHARE and (worst is None or share > worst[0]):
            worst = share, separation, size
    if worst is not None:
        share, separation, size = worst
        yield Finding(
            Trust.CHECK,
            Reason.DISTANCE,
            f"pairs {separation} frame(s) apart differ from the solution by {size:.3f} px on "
            f"average, {share:.0%} of their shift: something that stands still or changes pulls "
            f"them: {advice.advise_on_separation(separation)}",
        )
