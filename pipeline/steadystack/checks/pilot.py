"""Decide on filters, and on what to leave out, from a few pairs before a run; advise after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from steadystack.checks.probing import Probe, compute_own_errors, list_boxes
from steadystack.checks.sampling import LEAST_SIDE, PARTS, list_squares, name_parts
from steadystack.cluster import Engine
from steadystack.conditioning import Conditioning
from steadystack.config import AUTO, Config
from steadystack.defects import FEWEST_LOOKED_AT
from steadystack.model import (
    Bools,
    Boxes,
    FieldOfView,
    FrameSource,
    FrameTable,
    InputError,
    Ints,
    OtherConditioning,
    PairTable,
    Pilot,
    RunError,
    Slices,
    StrangeParts,
    Trial,
)
from steadystack.pairs import select_pairs, spread_evenly
from steadystack.planning import Setup, bound_search, decide, leave_out_found
from steadystack.register import CAN_BE_HELPED
from steadystack.run_log import log_line, log_stage
from steadystack.solve import leave_out_strange_parts, solve_shifts
from steadystack.survey import find_defects, find_field_of_view, find_lines, find_reach

AS_IT_IS = Conditioning()
# Noise of single pixels and slowly varying light can hide scenes with coarse detail.
TRIED = (
    Conditioning(low_pass=1.0),
    Conditioning(low_pass=1.0, high_pass=10.0),
    Conditioning(low_pass=2.0),
    Conditioning(high_pass=10.0),
)
# Pairs that are tried; the fewest pairs of the smallest separation, if only these are used; and the
# share that must have a shift, or else other conditionings are tried.
PAIRS, FEWEST, FOUND = 8, 4, 0.75
# Parts that do not move with the others are searched for in this many frames, with pairs of these
# separations among them, if this share of the pairs has a shift. Without such parts, the pairs'
# information has to be this many times as large.
FRAMES_OF_PARTS, SEPARATIONS_OF_PARTS, LEAST_KNOWN = 16, (1, 3), 0.5
MORE_KNOWN = 2.0
# A series hardly moves if its pairs move by less than HARDLY times their errors, and stands still
# below STILL times. One part causes this if pairs without it move by more than MOVES times their
# errors, and FARTHER times as far; or if no more than the share LOST still has a shift.
HARDLY, STILL, MOVES, FARTHER, LOST = 4.0, 1.5, 3.0, 2.0, 0.25
# After a run, another conditioning is suggested if more than this share of the pairs is refused.
REFUSED = 0.5


def run_pilot(setup: Setup) -> tuple[Pilot, PairTable | None]:
    """Find what to leave out, and decide on the keys of `preprocess` that are "auto".

    Filters are decided on a few of the closest pairs, spread over the series. If three quarters of
    them have a shift without filters, nothing else is tried. Otherwise the conditioning with the
    most information is chosen: from the number of pairs with a shift, and their errors from parts
    of the frame and noise. Left out are defects of the camera (pixels and lines), the area that
    shows no scene, and parts that, under the chosen conditioning, do not move with the others.

    Returns
    -------
    The outcome, and the pairs without filters; None if no pair was measured: frames that are
    measured in blocks would take long, or could not be read.
    """
    if len(setup.method.search.blocks) > 1:
        return Pilot(), None
    found = _find_camera_defects(setup)
    without = leave_out_found(setup, found)
    method = without.method
    apart = np.abs(setup.pairs[:, 1] - setup.pairs[:, 0])
    nearest = np.sort(apart)
    farthest = nearest[0]
    if (apart == farthest).sum() < FEWEST:  # with a reference frame, few pairs are closest
        farthest = nearest[min(PAIRS, len(apart)) - 1]
    pairs = setup.pairs[spread_evenly(np.flatnonzero(apart <= farthest), PAIRS)]
    try:
        table = Probe(without, method, None).measure(pairs)
        trials = [_make_trial(method.conditioning, table)]
        if trials[0].found < FOUND * len(pairs) and _are_refused(table).any():
            others = _list_others(setup.config, method.conditioning)
            trials += _try_all(without, pairs, others, None)
    except RunError:  # too many frames cannot be read; the run itself reports this
        return found, None
    chosen = _choose(trials, len(pairs))
    pilot = replace(found, pairs=len(pairs), trials=tuple(trials), chosen=chosen)
    return replace(pilot, parts=find_strange_parts(setup, pilot)), table


def try_pairs(setup: Setup) -> tuple[Pilot, PairTable | None]:
    """Find how far to search, then run the pilot; logs its progress.

    Returns the same as `run_pilot`; the outcome also contains how far to search.
    """
    with log_stage("pilot"):
        if len(setup.method.search.blocks) == 1:
            log_line("pilot: trying a few pairs, as a run does before measuring")
        reach = find_reach(setup)
        pilot, table = run_pilot(bound_search(setup, reach))
    return replace(pilot, reach=reach), table


def find_what_to_leave_out(setup: Setup) -> Pilot:
    """Find defects of the camera, the area without scene, and parts that move by themselves."""
    pilot = _find_camera_defects(setup)
    return replace(pilot, parts=find_strange_parts(setup, pilot))


def _find_camera_defects(setup: Setup) -> Pilot:
    """Find where frames show no scene, and pixels and lines of the camera elsewhere.

    The latter are searched for everywhere if shifts are no more precise without that area.
    """
    field = find_field_of_view(setup)
    pilot = _find_defects(setup, field)
    if field is None or not field.boxes:
        return replace(pilot, field_of_view=field)
    field = _judge_field(leave_out_found(setup, pilot), field)
    return replace(pilot if field.boxes else _find_defects(setup, None), field_of_view=field)


def _find_defects(setup: Setup, field: FieldOfView | None) -> Pilot:
    """Find pixels of the camera that stand out, then lines, in the field of view."""
    within = leave_out_found(setup, Pilot(field_of_view=field))
    defects = find_defects(within)
    lines = find_lines(leave_out_found(within, Pilot(defects=defects)))
    return Pilot(defects=defects, lines=lines)


def _judge_field(setup: Setup, found: FieldOfView) -> FieldOfView:
    """Keep the boxes of the area without scene only if shifts are more precise without it."""
    probe, count = Probe(setup, setup.method, None), setup.series.source.frame_count
    frames = np.asarray(spread_evenly(np.arange(count), FRAMES_OF_PARTS))
    try:
        whole, solved = _solve_pairs_of(frames, _measure_pairs_of(probe, frames))
        boxes = [tuple(slice(*side) for side in box) for box in found.boxes]
        without = _measure_pairs_of(probe, frames, probe.mask(boxes))
    except RunError:
        return replace(found, boxes=())
    rest, known = _solve_pairs_of(frames, without)
    found = replace(found, error=whole.error, error_without=rest.error)
    return found if _is_more_precise(whole, solved, rest, known) else replace(found, boxes=())


def find_strange_parts(setup: Setup, pilot: Pilot) -> StrangeParts | None:
    """Find parts of the frame that do not move with the others, if shifts are better without them.

    The majority of the parts decides, in some frames spread over the series, or in as many
    consecutive frames in its middle if those show different things. Pairs measured without such
    parts must then have far more information on the shifts than whole frames, or give different
    shifts. If nothing moves, so that there is no majority, each part is removed to see whether it
    is the cause. None: the settings do not ask for it, there are too few frames, frames are too
    small, or they are measured in blocks, which would take long.
    """
    count = setup.series.source.frame_count
    is_asked = setup.config.mask.parts is not None and len(setup.method.search.blocks) == 1
    if not is_asked or count < FEWEST_LOOKED_AT:
        return None
    try:
        setup = decide(setup, pilot)
    except InputError:  # the chosen filters need too much memory: without
        setup = decide(setup, replace(pilot, chosen=0))
    probe = Probe(setup, setup.method, None)
    plane = probe.region[-2:]
    if len(plane) < 2 or min(side.stop - side.start for side in plane) < PARTS * LEAST_SIDE:
        return None
    spread = spread_evenly(np.arange(count), FRAMES_OF_PARTS)
    middle = np.arange(min(count, FRAMES_OF_PARTS)) + max(count - FRAMES_OF_PARTS, 0) // 2
    try:
        whole = _measure_pairs_of(probe, np.asarray(spread))
        found = _find_strange_parts_in(probe, np.asarray(spread), whole)
        if found is None or not found.boxes:
            found = _find_still_part(probe, np.asarray(spread), whole) or found
        return found or _find_strange_parts_in(probe, middle, _measure_pairs_of(probe, middle))
    except RunError:
        return None


def _measure_pairs_of(probe: Probe, frames: Ints, source: FrameSource | None = None) -> PairTable:
    """Measure pairs of some frames, with the separations `SEPARATIONS_OF_PARTS` among them."""
    pairs = select_pairs(len(frames), "separations", separations=SEPARATIONS_OF_PARTS)
    return probe.measure(frames[pairs], source=source)


def _solve_pairs_of(frames: Ints, table: PairTable) -> tuple[Trial, FrameTable]:
    """Solve pairs of some frames: how many have a shift, the frames' median error, px; solution."""
    pairs = select_pairs(len(frames), "separations", separations=SEPARATIONS_OF_PARTS)
    solved = solve_shifts(table.select_frames(frames, pairs), leave_out_parts=False)
    errors = solved.shift_std[(solved.shift_std > 0).any(axis=1)]
    error = float(np.median(errors)) if errors.size else None
    return Trial(found=int(table.ok.sum()), error=error), solved


def _find_strange_parts_in(probe: Probe, frames: Ints, table: PairTable) -> StrangeParts | None:
    """Find such parts in some frames by their pairs; None if fewer than half have a shift."""
    whole, solved = _solve_pairs_of(frames, table)
    if whole.found < LEAST_KNOWN * len(table.status):
        return None
    parts = tuple(leave_out_strange_parts(solved).parts_left_out)
    of = math.prod(probe.grid.shape)
    if not parts:
        return StrangeParts(len(frames), of)
    boxes = list_boxes(probe.region, parts)
    rest, without = _solve_pairs_of(frames, _measure_pairs_of(probe, frames, probe.mask(boxes)))
    names = name_parts(parts, len(probe.region))
    found = StrangeParts(len(frames), of, parts, names, whole.error, rest.error)
    if not _is_more_precise(whole, solved, rest, without):
        return found
    return replace(found, boxes=_list_corners(boxes))


def _is_more_precise(whole: Trial, solved: FrameTable, rest: Trial, without: FrameTable) -> bool:
    """Whether pairs without some of the frame give more precise shifts, or different ones."""
    if rest.found < FOUND * whole.found:
        return False
    if rest.information > MORE_KNOWN * whole.information:
        return True
    change = np.linalg.norm(without.shift - solved.shift, axis=1)[solved.shift_std.any(axis=1)]
    return rest.error is not None and bool(np.nanmedian(change) > MOVES * rest.error)


def _find_still_part(probe: Probe, frames: Ints, measured: PairTable) -> StrangeParts | None:
    """Find the part that makes frames seem to stand still, while the others move or have no shift.

    Motion that is not there cannot appear in most of a frame, whereas a label or dirt stands still
    in all frames, and outweighs a faint scene. It may extend over a square of four parts. None if
    pairs move, if they move no more without any part, or if the pairs without it contradict each
    other, as pairs of noise do. `measured` are the pairs of the frames.
    """
    whole = measured.select_pairs(spread_evenly(np.arange(len(measured.status)), PAIRS))
    pairs = np.stack([whole.reference, whole.moving], axis=1)
    error, motion = _find_error(whole), _find_motion(whole)
    if whole.ok.sum() < FOUND * len(pairs) or not error or motion > HARDLY * error:
        return None
    shape = probe.grid.shape
    for parts in [*((part,) for part in range(math.prod(shape))), *list_squares(shape)]:
        boxes = list_boxes(probe.region, parts)
        rest = probe.measure(pairs, source=probe.mask(boxes))
        found = StrangeParts(
            len(frames), math.prod(shape), parts, name_parts(parts, len(probe.region)),
            error, _find_error(rest), still=True,
        )  # fmt: skip
        is_lost = rest.ok.sum() <= LOST * whole.ok.sum()
        if is_lost and motion <= STILL * error and len(parts) == 1:
            return found
        moves = _find_motion(rest) > max(MOVES * (found.error_without or np.inf), FARTHER * motion)
        if not moves or rest.ok.sum() < FOUND * whole.ok.sum():
            continue
        known, _ = _solve_pairs_of(frames, _measure_pairs_of(probe, frames, probe.mask(boxes)))
        if known.error is not None and MOVES * known.error < _find_motion(rest):
            return replace(found, boxes=_list_corners(boxes))
    return None


def _list_corners(boxes: list[Slices]) -> Boxes:
    return tuple(tuple((side.start, side.stop) for side in box) for box in boxes)


def _find_error(table: PairTable) -> float | None:
    """Find the median error of pairs, from noise or from their parts, px; None: not known."""
    errors = compute_own_errors(table)[table.ok]
    errors = errors[np.isfinite(errors)]
    return float(np.median(errors)) if errors.size else None


def _find_motion(table: PairTable) -> float:
    """Find the median length of the shifts of pairs, px; 0 if none has a shift."""
    moved = np.linalg.norm(table.shift[table.ok], axis=1)
    return float(np.median(moved)) if moved.size else 0.0


def check_other_conditionings(
    setup: Setup, table: PairTable, client: Engine = None
) -> OtherConditioning | None:
    """Find the best conditioning under which most of some refused pairs have a shift.

    None if few pairs are refused, or if no conditioning helps.
    """
    refused, used = _are_refused(table), setup.method.conditioning
    if refused.sum() <= REFUSED * (refused | table.ok).sum():
        return None
    apart = np.abs(table.moving - table.reference)
    rows = spread_evenly(np.flatnonzero(refused & (apart == apart[refused].min())), PAIRS)
    pairs = np.stack([table.reference, table.moving], axis=1)[rows]
    others = [
        replace(used, low_pass=tried.low_pass, high_pass=tried.high_pass)
        for tried in (AS_IT_IS, *TRIED)
    ]
    others = [other for other in others if other != used]
    try:
        trials = _try_all(setup, pairs, others, client)
    except RunError:
        return None
    best = _choose([Trial(), *trials], len(pairs))  # the first: no pair found
    if not best:
        return None
    return OtherConditioning(len(pairs), trials[best - 1].found, trials[best - 1].settings)


def _list_others(config: Config, used: Conditioning) -> list[Conditioning]:
    """List the conditionings to try: they differ from that in use in "auto" keys only."""
    section, others = config.preprocess, list[Conditioning]()
    for tried in TRIED:
        other = replace(
            used,
            low_pass=tried.low_pass if section.low_pass == AUTO else used.low_pass,
            high_pass=tried.high_pass if section.high_pass == AUTO else used.high_pass,
        )
        if other != used and other not in others:
            others.append(other)
    return others


def _try_all(
    setup: Setup, pairs: Ints, conditionings: Sequence[Conditioning], client: Engine
) -> list[Trial]:
    trials = []
    for conditioning in conditionings:
        probe = Probe(setup, replace(setup.method, conditioning=conditioning), client)
        trials.append(_make_trial(conditioning, probe.measure(pairs)))
    return trials


def _make_trial(conditioning: Conditioning, table: PairTable) -> Trial:
    found = int(table.ok.sum())
    return Trial(conditioning.low_pass, conditioning.high_pass, found, _find_error(table))


def _are_refused(table: PairTable) -> Bools:
    return np.isin(table.status, [status.code for status in CAN_BE_HELPED])


def _choose(trials: Sequence[Trial], pairs: int) -> int:
    """Choose the most informative of the trials with enough shifts; the first if there is none."""
    enough = [n for n, trial in enumerate(trials) if trial.found >= FOUND * pairs]
    return max(enough, key=lambda number: trials[number].information, default=0)
