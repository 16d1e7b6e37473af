"""Probe pairs: do distant frames, parts of the frame and fine detail agree with the shifts?

The pairs of a run are close in time and may share errors: a changing scene pulls each of them a
little towards zero, and a label that outweighs the scene is in all of them. So a few pairs are
measured differently: with larger separations than the run's, without each part of the frame, in
fine detail alone, and in coarse detail alone, which shows motion hidden by fine detail that stands
still in the camera. Pairs of volumes are also measured with planes of equal brightness, which shows
motion along z hidden by light that falls off along z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from steadystack.checks.probing import (
    LEAST_ERROR,
    EqualPlanes,
    Probe,
    compare_separations,
    compute_own_errors,
    list_boxes,
)
from steadystack.checks.sampling import (
    LEAST_SIDE,
    PARTS,
    cut_into_parts,
    find_known,
    name_part,
    select_farthest,
    select_probe_pairs,
)
from steadystack.cluster import Engine
from steadystack.measure import Method
from steadystack.model import (
    FrameSource,
    FrameTable,
    Ints,
    MajorityCheck,
    PairTable,
    ProbeCheck,
    RunError,
    Slices,
    find_finite_pixels,
)
from steadystack.pairs import spread_evenly
from steadystack.parts import compute_jackknife_std
from steadystack.planning import Setup

# Pairs for each comparison but that of separations.
FEW_PAIRS, FEWEST_PAIRS = 6, 4
# Fine detail: sigma of the low-pass and of the high-pass, px.
LOW_PASS, HIGH_PASS = 1.0, 10.0
# Coarse detail: sigma of the low-pass, px, but at least this many times the one in use. Its shifts
# count if they are longer by more than this share of the difference.
COARSE, COARSER, LONGER = 4.0, 2.0, 0.5
# The light is only examined if equally bright planes change shifts by this many stated errors.
EXCESS_OF_LIGHT = 1.0
# In averaged frames no part matters if no pair is lost, and pairs change by fewer stated errors.
CLEAR = 1.0
# Parts are left out if pairs without them differ from the shifts without these parts by less than
# this share of their difference from the shifts of the whole.
NEARER = 0.7


def check_probe_pairs(
    setup: Setup, table: PairTable, solved: FrameTable, client: Engine = None
) -> ProbeCheck | None:
    """Measure some pairs in other ways, and compare them with the solved shifts.

    A run with all separations, as of a short series, leaves no others to probe: its own pairs of
    largest separation are measured in coarse detail, and with equally bright planes. None if there
    are no such pairs, or if nothing can be measured.
    """
    known = find_known(solved)
    pairs = select_probe_pairs(table, known)
    probe = Probe(setup, _search_around(solved, setup.method), client, solved.part_weight)
    try:
        if len(pairs) < FEWEST_PAIRS:
            rows = select_farthest(table, known, 2 * FEW_PAIRS)
            if not len(rows):
                return None
            own = probe.weigh(table.select_pairs(spread_evenly(rows, FEW_PAIRS)))
            check = _compare_coarse(ProbeCheck(pairs=0), probe, own, solved)
            return _compare_planes(check, probe, own, solved)
        whole = probe.measure(pairs)
        apart = whole.moving - whole.reference
        check = compare_separations(apart, whole.ok, *_find_differences(whole, solved))
        rows = spread_evenly(np.flatnonzero(whole.ok), FEW_PAIRS)
        if len(rows) < FEWEST_PAIRS:
            return check
        whole = whole.select_pairs(rows)
        check = _compare_coarse(check, probe, whole, solved)
        check = _compare_planes(check, probe, whole, solved)
        return _compare_ways(check, probe, pairs[rows], whole, solved)
    except RunError:
        return None


def check_majority(
    setup: Setup, table: PairTable, solved: FrameTable, whole: FrameTable, client: Engine = None
) -> MajorityCheck | None:
    """Measure some pairs without the parts that the majority leaves out, to confirm its shifts.

    `solved` and `whole` are the solutions without these parts and with them. None if no parts are
    left out.
    """
    parts = tuple(solved.parts_left_out)
    if not parts:
        return None
    known = find_known(solved)
    pairs = select_probe_pairs(table, known)
    if len(pairs) < FEWEST_PAIRS:
        rows = select_farthest(table, known, 2 * FEW_PAIRS)
        pairs = np.stack([table.reference, table.moving], axis=1)[rows]
    pairs = pairs[spread_evenly(np.arange(len(pairs)), 2 * FEW_PAIRS)]
    if len(pairs) < FEWEST_PAIRS:
        return MajorityCheck(parts, 0)
    probe = Probe(setup, _search_around(solved, setup.method), client)
    try:
        boxes = list_boxes(probe.region, parts)
        rest = probe.measure(pairs, source=probe.mask(boxes), evaluate_parts=False)
    except RunError:
        return MajorityCheck(parts, 0)
    rest = rest.select_pairs(np.flatnonzero(rest.ok))
    if len(rest.ok) < FEWEST_PAIRS:
        return MajorityCheck(parts, len(rest.ok))
    (off_all, excess), (off_majority, _) = (_compare_all(rest, one) for one in (whole, solved))
    confirmed = off_majority < NEARER * off_all
    return MajorityCheck(parts, len(rest.ok), off_all, off_majority, confirmed, excess)


def _compare_all(measured: PairTable, solved: FrameTable) -> tuple[float, float]:
    """Compute the median differences of pairs from a solution, in px and in stated errors."""
    off, error = (np.linalg.norm(each, axis=1) for each in _find_differences(measured, solved))
    return float(np.median(off)), float(np.median(off / error))


def _find_differences(
    measured: PairTable, solved: FrameTable
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute differences of pairs from a solution, and their stated errors, px (pairs, axes)."""
    pairs = np.stack([measured.reference, measured.moving], axis=1)
    off = measured.shift - (solved.shift[pairs[:, 1]] - solved.shift[pairs[:, 0]])
    stated = compute_pair_errors(solved, pairs)
    return off, np.sqrt(stated**2 + compute_own_errors(measured) ** 2 + LEAST_ERROR**2)


def _search_around(solved: FrameTable, method: Method) -> Method:
    """Centre the searches of the method, if they are bounded, on the shifts of a solution."""
    if method.search.max_shift is None:
        return method
    known = find_known(solved)[:, None]
    return replace(method, initial_shifts=np.where(known, solved.shift, 0.0))


def compute_pair_errors(solved: FrameTable, pairs: Ints) -> NDArray[np.float64]:
    """Compute the stated errors of the differences of two frames' shifts (pairs, axes), px."""
    first, second = pairs.T
    of_noise = np.hypot(solved.stated_std[first], solved.stated_std[second])
    steps = solved.part_step.astype(np.float64)
    of_parts = compute_jackknife_std(steps[second] - steps[first])
    left_out = np.zeros(solved.shift.shape) + solved.step_error
    change = np.abs(left_out[second] - left_out[first])
    return np.asarray(np.hypot(np.fmax(of_noise, of_parts), change), np.float64)


def _compare_ways(
    check: ProbeCheck,
    probe: Probe,
    pairs: Ints,
    whole: PairTable,
    solved: FrameTable,
) -> ProbeCheck:
    """Compare pairs with the same pairs without each part of the frame, and in fine detail alone.

    Large frames are averaged first, and measured as they are only if a part may matter: all of the
    parts take long.
    """
    stated = compute_pair_errors(solved, pairs)
    parts, boxes = _list_parts(probe.region)
    conditioning = probe.method.conditioning
    if conditioning.low_pass is None and conditioning.high_pass is None:
        conditioning = replace(conditioning, low_pass=LOW_PASS, high_pass=HIGH_PASS)
        method = replace(probe.method, conditioning=conditioning)
        detail = probe.measure(pairs, method=method)
        pull, excess = _compare(whole, detail, stated, compute_own_errors(detail))
        check = replace(check, detail_pull=pull, detail_excess=excess)
    averaged = probe.measure_averaged(pairs, boxes) if boxes else []
    if averaged:
        seen = _compare_parts(check, *averaged, stated=stated, parts=parts)
        if not seen.lost and seen.part_excess < CLEAR:
            return seen
    found = probe.measure_each(pairs, [(probe.mask([box]), probe.method) for box in boxes])
    return _compare_parts(check, whole, *found, stated=stated, parts=parts)


def _compare_parts(
    check: ProbeCheck,
    whole: PairTable,
    *without: PairTable,
    stated: NDArray[np.float64],
    parts: Sequence[str],
) -> ProbeCheck:
    """Find the part without which pairs change most, and the one without which most are lost.

    `stated` are the errors of the shifts (pairs, axes), px, `parts` the names of what is missing.
    """
    lost = [float((~rest.ok).mean()) for rest in without]
    if any(lost):
        second, most = sorted(lost)[-2:]
        check = replace(check, lost=most, lost_next=second, lost_part=parts[lost.index(most)])
    for name, rest in zip(parts, without, strict=True):
        pull, excess = _compare(whole, rest, stated, rest.shift_std)
        if excess > check.part_excess:
            check = replace(check, part=name, part_pull=pull, part_excess=excess)
    return check


def _compare_coarse(
    check: ProbeCheck, probe: Probe, whole: PairTable, solved: FrameTable
) -> ProbeCheck:
    """Compare pairs with the same pairs in coarse detail alone; kept if that moves further.

    Fine detail that stands still in the camera has no effect on it. Light that stands still has,
    and makes shifts shorter, so shorter shifts say nothing about those of the whole.
    """
    used = probe.method.conditioning
    sigma = max(COARSE, COARSER * (used.low_pass or 0.0))
    if used.high_pass is not None and used.high_pass < COARSER * sigma:
        return check  # hardly any detail is left
    pairs = np.stack([whole.reference, whole.moving], axis=1)
    conditioning = replace(used, low_pass=sigma)
    coarse = probe.measure(pairs, method=replace(probe.method, conditioning=conditioning))
    errors = compute_own_errors(coarse)
    fewest = min(len(pairs), FEWEST_PAIRS)  # a series of two frames has one
    pull, excess = _compare(whole, coarse, compute_pair_errors(solved, pairs), errors, fewest)
    rows = whole.ok & coarse.ok
    if not rows.any():
        return check
    moved, moves = (np.linalg.norm(one.shift[rows], axis=1) for one in (whole, coarse))
    further = float(np.median(moves - moved))
    if not excess or further <= LONGER * pull:
        return check
    check = replace(check, coarse_pull=further, coarse_excess=excess)
    return replace(check, coarse_moves=float(np.median(moves)), coarse_low_pass=sigma)


def _compare_planes(
    check: ProbeCheck, probe: Probe, whole: PairTable, solved: FrameTable
) -> ProbeCheck:
    """Compare shifts along z with those between volumes in which all planes are equally bright.

    Light that falls off, or increases, along z stands still, and pulls shifts along z towards zero.
    Making planes equally bright also removes layers of the scene, and some information with them,
    so whether the brightness of the planes stands still is examined, too.
    """
    method, shape = probe.method, probe.method.search.shape
    changed = (method.flat_field, method.fixed_pattern, method.places)
    used = method.conditioning
    if len(shape) < 3 or shape[0] < 2 or len(method.search.blocks) > 1:
        return check
    if used.logarithm or used.square_root or any(each is not None for each in changed):
        return check  # these apply to frames as recorded
    if used.high_pass is not None:
        return check  # which removes the brightness of planes
    pairs = np.stack([whole.reference, whole.moving], axis=1)
    equal = probe.measure(pairs, source=EqualPlanes(probe.setup.series.source))
    rows = whole.ok & equal.ok
    if rows.sum() < min(len(pairs), FEWEST_PAIRS):
        return check
    own, stated = compute_own_errors(equal), compute_pair_errors(solved, pairs)
    error = np.sqrt(own**2 + stated**2 + LEAST_ERROR**2)[rows, 0]
    along, before = (each.shift[rows, 0] for each in (equal, whole))
    change = np.abs(along - before)
    moves, moved = (float(np.median(np.abs(each))) for each in (along, before))
    pull, excess = float(np.median(change)), float(np.median(change / error))
    if excess < EXCESS_OF_LIGHT:
        return check
    light = _find_still_light(probe, pairs[rows], along)
    check = replace(check, plane_pull=pull, plane_excess=excess, plane_light=light)
    return replace(check, plane_moves=moves, plane_lacks=max(moves / max(moved, 1e-9) - 1, 0.0))


def _find_still_light(probe: Probe, pairs: Ints, along: NDArray[np.float64]) -> float:
    """Find whether the brightness of planes stands still, or moves by the shifts `along` z, px.

    Returns the squared change of brightness that remains if it moves, over that if it stands still:
    above 1 if the light varies, below if the scene has layers, which move. The smallest value of
    several channels; 0 if not known.
    """
    source = probe.setup.series.source
    ratios = []
    for channel in source.channels or (source,):
        profiles = {
            frame: _measure_planes(channel, frame, probe.region)
            for frame in np.unique(pairs).tolist()
        }
        left, places = np.zeros(2), np.arange(len(next(iter(profiles.values()))), dtype=float)
        for (reference, moving), shift in zip(pairs.tolist(), along.tolist(), strict=True):
            moved = np.interp(places - shift, places, profiles[moving], left=np.nan, right=np.nan)
            rest = np.stack([moved, profiles[moving]]) - profiles[reference]
            left += (rest[:, np.isfinite(rest).all(axis=0)] ** 2).sum(axis=1)
        ratios.append(float(left[0] / left[1]) if left[1] > 0 else 0.0)
    return min(ratios)


def _measure_planes(source: FrameSource, frame: int, region: Slices) -> NDArray[np.float64]:
    """Measure the mean of every plane, relative to that of all planes; NaN if nothing is valid."""
    pixels = source.read(frame, region)
    seen = pixels.valid & find_finite_pixels(pixels.image)
    counts = seen.sum(axis=(1, 2))
    sums = np.where(seen, pixels.image, 0).sum(axis=(1, 2), dtype=np.float64)
    means = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    size = np.abs(means[counts > 0]).mean() if counts.any() else 0.0
    return means / size if size else np.full(len(counts), np.nan)


def _list_parts(region: Slices) -> tuple[list[str], list[Slices]]:
    """List the names of the parts of a region's plane, and their boxes; none if it is small."""
    plane = region[-2:]
    if min(side.stop - side.start for side in plane) < PARTS * LEAST_SIDE:
        return [], []
    boxes = [(*region[: len(region) - len(cut)], *cut) for cut in cut_into_parts(plane)]
    return [name_part(number, len(plane)) for number in range(len(boxes))], boxes


def _compare(
    whole: PairTable,
    other: PairTable,
    stated: NDArray[np.float64],
    errors: NDArray[np.float64],
    fewest: int = FEWEST_PAIRS,
) -> tuple[float, float]:
    """Compute the median changes of pairs, in px and in stated errors; 0 if not known.

    `stated` are the errors of the shifts, `errors` those of `other` (pairs, axes), px.
    """
    rows = whole.ok & other.ok
    if rows.sum() < fewest:
        return 0.0, 0.0
    change = ((other.shift - whole.shift)[rows] ** 2).sum(axis=1)
    error = (stated**2 + LEAST_ERROR**2 + errors**2)[rows].sum(axis=1)
    return float(np.sqrt(np.median(change))), float(np.sqrt(np.median(change / error)))
