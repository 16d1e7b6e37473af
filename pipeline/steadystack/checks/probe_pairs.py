"""Probe pairs: do frames far apart, parts of the frame and fine detail say what the shifts say?

The pairs of a run are close in time, and all see the same things in the same way: a scene that
changes holds each of them back a little, and a label that outweighs the scene is in all of them.
A few pairs are measured that the run has not: so far apart that the run has none, without one part
of the frame after another, in fine detail alone, and in coarse detail alone, which shows what fine
detail that stands still in the camera hides. Those of volumes are measured with planes of equal
brightness, which shows what light hides that falls off along z.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from steadystack.checks.probing import EqualPlanes, Probe, compute_own_errors, list_boxes
from steadystack.checks.sampling import (
    LEAST_SIDE,
    PARTS,
    cut_into_parts,
    find_known,
    name_part,
    select_probe_pairs,
)
from steadystack.cluster import Engine
from steadystack.measure import Method
from steadystack.model import (
    Bools,
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

# So many pairs of a separation must have a shift; pairs for each other question.
FEWEST_OF_SEPARATION = 3
FEW_PAIRS, FEWEST_PAIRS = 6, 4
# Fine detail: a Gaussian of so many pixels is taken, a local plane of so many is taken away.
LOW_PASS, HIGH_PASS = 1.0, 10.0
# Coarse detail: a Gaussian of so many pixels, or so many times the one in use, is taken. Its shifts
# tell something if they are longer by this share of what they differ.
COARSE, COARSER, LONGER = 4.0, 2.0, 0.5
# Whether light stands still is only looked at if equally bright planes differ by so many errors.
EXCESS_OF_LIGHT = 1.0
# Parts are left out if pairs without them differ from the shifts so by less than this share of what
# they differ from those of the whole.
NEARER = 0.7
LEAST_ERROR = 0.01  # px; errors that are stated smaller are taken to be this


def check_probe_pairs(
    setup: Setup, table: PairTable, solved: FrameTable, client: Engine = None
) -> ProbeCheck | None:
    """Measure some pairs anew, and compare them with the shifts that follow from the table.

    A run that has all separations, as that of a short series, has no others: of its own pairs,
    those furthest apart are asked for coarse detail alone, and with equally bright planes. None
    where there is too little to tell, or nothing can be measured.
    """
    known = find_known(solved)
    pairs = select_probe_pairs(table, known)
    probe = Probe(setup, _search_around(solved, setup.method), client, solved.part_weight)
    try:
        if len(pairs) < FEWEST_PAIRS:
            rows = _select_farthest(table, known)
            if not len(rows):
                return None
            own = probe.weigh(table.select_pairs(spread_evenly(rows, FEW_PAIRS)))
            check = _compare_coarse(ProbeCheck(pairs=0), probe, own, solved)
            return _compare_planes(check, probe, own, solved)
        whole = probe.measure(pairs)
        check = _compare_separations(whole, solved)
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
    """Measure some pairs without the parts that the majority leaves out: do they agree with it?

    `solved` and `whole` are the solutions without these parts and with them. None where nothing is
    left out.
    """
    parts = tuple(solved.parts_left_out)
    if not parts:
        return None
    known = find_known(solved)
    pairs = select_probe_pairs(table, known)
    if len(pairs) < FEWEST_PAIRS:
        rows = _select_farthest(table, known)
        pairs = np.stack([table.reference, table.moving], axis=1)[rows]
    pairs = pairs[spread_evenly(np.arange(len(pairs)), 2 * FEW_PAIRS)]
    if len(pairs) < FEWEST_PAIRS:
        return MajorityCheck(parts, 0)
    probe = Probe(setup, _search_around(solved, setup.method), client)
    try:
        boxes = list_boxes(probe.region, parts)
        rest = probe.measure(pairs, source=probe.mask(boxes), ask=False)
    except RunError:
        return MajorityCheck(parts, 0)
    rest = rest.select_pairs(np.flatnonzero(rest.ok))
    if len(rest.ok) < FEWEST_PAIRS:
        return MajorityCheck(parts, len(rest.ok))
    (off_all, excess), (off_majority, _) = (_compare_all(rest, one) for one in (whole, solved))
    confirmed = off_majority < NEARER * off_all
    return MajorityCheck(parts, len(rest.ok), off_all, off_majority, confirmed, excess)


def _select_farthest(table: PairTable, known: Bools) -> NDArray[np.intp]:
    """Choose the rows of the pairs of a run, of known frames, that are furthest apart."""
    usable = np.flatnonzero(table.ok & known[table.reference] & known[table.moving])
    apart = np.abs(table.moving - table.reference)[usable]
    return usable[np.argsort(-apart, kind="stable")[: 2 * FEW_PAIRS]]


def _compare_all(measured: PairTable, solved: FrameTable) -> tuple[float, float]:
    """By how much pairs differ from a solution, px, and from what is stated: the medians."""
    off, error = (np.linalg.norm(each, axis=1) for each in _find_differences(measured, solved))
    return float(np.median(off)), float(np.median(off / error))


def _find_differences(
    measured: PairTable, solved: FrameTable
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How pairs differ from a solution, and what is stated of that, pixels (pairs, axes)."""
    pairs = np.stack([measured.reference, measured.moving], axis=1)
    off = measured.shift - (solved.shift[pairs[:, 1]] - solved.shift[pairs[:, 0]])
    stated = compute_pair_errors(solved, pairs)
    return off, np.sqrt(stated**2 + compute_own_errors(measured) ** 2 + LEAST_ERROR**2)


def _search_around(solved: FrameTable, method: Method) -> Method:
    """The method with its searches, where they are bounded, around the shifts of a solution."""
    if method.search.max_shift is None:
        return method
    known = find_known(solved)[:, None]
    return replace(method, initial_shifts=np.where(known, solved.shift, 0.0))


def compute_pair_errors(solved: FrameTable, pairs: Ints) -> NDArray[np.float64]:
    """Compute what is stated of the difference of two frames' shifts (pairs, axes), px."""
    first, second = pairs.T
    of_noise = np.hypot(solved.stated_std[first], solved.stated_std[second])
    steps = solved.part_step.astype(np.float64)
    of_parts = compute_jackknife_std(steps[second] - steps[first])
    left_out = np.zeros(solved.shift.shape) + solved.step_error
    change = np.abs(left_out[second] - left_out[first])
    return np.asarray(np.hypot(np.fmax(of_noise, of_parts), change), np.float64)


def _compare_separations(measured: PairTable, solved: FrameTable) -> ProbeCheck:
    """Find the separation whose pairs differ most from the solution, for what is stated of it."""
    off, error = _find_differences(measured, solved)
    apart = measured.moving - measured.reference
    check = ProbeCheck(pairs=len(apart))
    for separation in np.unique(apart).tolist():
        rows = measured.ok & (apart == separation)
        if rows.sum() >= FEWEST_OF_SEPARATION:
            excess = float(np.sqrt(np.mean((off[rows] / error[rows]) ** 2)))
            if excess > check.excess:
                size = float(np.sqrt(np.mean((off[rows] ** 2).sum(axis=1))))
                check = replace(check, separation=int(separation), off=size, excess=excess)
    return check


def _compare_ways(
    check: ProbeCheck,
    probe: Probe,
    pairs: Ints,
    whole: PairTable,
    solved: FrameTable,
) -> ProbeCheck:
    """Compare pairs with what they say without each part of the frame, and in fine detail alone.

    Tells the part without which their shifts change most, and without which most are lost.
    """
    stated = compute_pair_errors(solved, pairs)
    parts, boxes = _list_parts(probe.region)
    ways = [(probe.mask([box]), probe.method) for box in boxes]
    conditioning = probe.method.conditioning
    asks_detail = conditioning.low_pass is None and conditioning.high_pass is None
    if asks_detail:
        conditioning = replace(conditioning, low_pass=LOW_PASS, high_pass=HIGH_PASS)
        method = replace(probe.method, conditioning=conditioning)
        ways.insert(0, (probe.setup.series.source, method))
    found = probe.measure_each(pairs, ways)
    if asks_detail:
        detail = found.pop(0)
        pull, excess = _compare(whole, detail, stated, detail.shift_std)
        check = replace(check, detail_pull=pull, detail_excess=excess)
    lost = [float((~rest.ok).mean()) for rest in found]
    if any(lost):
        second, most = sorted(lost)[-2:]
        check = replace(check, lost=most, lost_next=second, lost_part=parts[lost.index(most)])
    for name, rest in zip(parts, found, strict=True):
        pull, excess = _compare(whole, rest, stated, rest.shift_std)
        if excess > check.part_excess:
            check = replace(check, part=name, part_pull=pull, part_excess=excess)
    return check


def _compare_coarse(
    check: ProbeCheck, probe: Probe, whole: PairTable, solved: FrameTable
) -> ProbeCheck:
    """Compare pairs with what they say in coarse detail alone, if that moves them further.

    Fine detail that stands still in the camera is not in it. Light that stands still is, and makes
    shifts shorter: that tells nothing of those of the whole.
    """
    used = probe.method.conditioning
    sigma = max(COARSE, COARSER * (used.low_pass or 0.0))
    if used.high_pass is not None and used.high_pass < COARSER * sigma:
        return check  # next to nothing is left
    pairs = np.stack([whole.reference, whole.moving], axis=1)
    conditioning = replace(used, low_pass=sigma)
    coarse = probe.measure(pairs, method=replace(probe.method, conditioning=conditioning))
    errors = compute_own_errors(coarse)
    fewest = min(len(pairs), FEWEST_PAIRS)  # of a series of two frames, one
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
    """Compare pairs of volumes with what they say of z if all planes are equally bright.

    Light that falls off along z, or grows, stands still, and holds shifts along z back. Layers of
    the scene are taken away with it, and some of what they tell: hence what the brightness of the
    planes does is looked at, too.
    """
    method, shape = probe.method, probe.method.search.shape
    changed = (method.flat_field, method.fixed_pattern, method.places)
    used = method.conditioning
    if len(shape) < 3 or shape[0] < 2 or len(method.search.blocks) > 1:
        return check
    if used.logarithm or used.square_root or any(each is not None for each in changed):
        return check  # these are for frames as they are
    if used.high_pass is not None:
        return check  # which takes away how bright planes are
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
    """Find whether the brightness of planes stands still rather than moves by shifts `along` z, px.

    Returns what is left of it where it moves, over that where it stands still: above 1 if it is
    that of the light, below if it is that of the scene, whose layers move. Of several channels, the
    least. 0 where it cannot be told.
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
    """Measure the mean of every plane of a volume, over that of all; NaN where nothing is valid."""
    pixels = source.read(frame, region)
    seen = pixels.valid & find_finite_pixels(pixels.image)
    counts = seen.sum(axis=(1, 2))
    sums = np.where(seen, pixels.image, 0).sum(axis=(1, 2), dtype=np.float64)
    means = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    size = np.abs(means[counts > 0]).mean() if counts.any() else 0.0
    return means / size if size else np.full(len(counts), np.nan)


def _list_parts(region: Slices) -> tuple[list[str], list[Slices]]:
    """The parts of a region's plane, by name, and their boxes; none of small ones."""
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
    """By how much pairs change, px, and how often what is stated of them; 0 if not known.

    `errors` are those of the others (pairs, axes), px.
    """
    rows = whole.ok & other.ok
    if rows.sum() < fewest:
        return 0.0, 0.0
    change = ((other.shift - whole.shift)[rows] ** 2).sum(axis=1)
    error = (stated**2 + LEAST_ERROR**2 + errors**2)[rows].sum(axis=1)
    return float(np.sqrt(np.median(change))), float(np.sqrt(np.median(change / error)))
