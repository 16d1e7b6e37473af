"""Which conditioning finds shifts: decided on a few pairs before a run, and told of after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from steadystack.checks.probe_pairs import Probe, compute_own_errors
from steadystack.cluster import Engine
from steadystack.conditioning import Conditioning
from steadystack.config import AUTO, Config
from steadystack.defects import count_places, find_outstanding, select_staying, standardize
from steadystack.measure import Sample, has_shift, spread_evenly
from steadystack.model import (
    Bools,
    Defects,
    Ints,
    OtherConditioning,
    PairTable,
    Pilot,
    RunError,
    Trial,
)
from steadystack.planning import Setup, leave_out_defects
from steadystack.register import CAN_BE_HELPED

PILOT = "pilot"  # the attribute of the dataset that holds its outcome

AS_IT_IS = Conditioning()
# Scenes of large detail drown in noise of single pixels, and in light that changes slowly.
TRIED = (
    Conditioning(low_pass=1.0),
    Conditioning(low_pass=1.0, high_pass=10.0),
    Conditioning(low_pass=2.0),
    Conditioning(high_pass=10.0),
)
# Defects are looked for in so many frames, fewer of large ones; they are at most so many pixels.
LOOKED_AT_PIXELS, FEWEST_LOOKED_AT, MOST_LOOKED_AT = 2**25, 12, 32
MOST_DEFECTS, MOST_SHARE = 20_000, 0.05
# Of so many pairs this share is to have a shift: else others are tried, and one that has as many.
PAIRS, FOUND = 8, 0.75
# After a run one is told of others where more than this share of the pairs is refused.
REFUSED = 0.5


def run_pilot(setup: Setup) -> tuple[Pilot, PairTable | None]:
    """Look for defects of the camera, and decide on the keys of `preprocess` that are "auto".

    The latter is done on a few of the closest pairs, spread over the series. Where three quarters
    of them have a shift as they are, nothing else is tried. Else that conditioning is taken whose
    pairs tell most: by how many have a shift, and by the errors that parts of the frame and noise
    state.

    Returns
    -------
    The outcome, and the pairs as they are; None where no pair was measured, as it would take long:
    frames that are measured in blocks.
    """
    if len(setup.method.search.blocks) > 1:
        return Pilot(), None
    defects = find_defects(setup)
    setup = leave_out_defects(setup, defects.pixels if defects else ())
    method = setup.method
    apart = np.abs(setup.pairs[:, 1] - setup.pairs[:, 0])
    pairs = setup.pairs[spread_evenly(np.flatnonzero(apart == apart.min()), PAIRS)]
    try:
        table = Probe(setup, method, None).measure(pairs)
        trials = [_make_trial(method.conditioning, table)]
        if trials[0].found < FOUND * len(pairs) and _are_refused(table).any():
            others = _list_others(setup.config, method.conditioning)
            trials += _try_all(setup, pairs, others, None)
    except RunError:  # so many frames cannot be read that the run itself will tell
        return Pilot(defects=defects), None
    return Pilot(len(pairs), tuple(trials), _choose(trials, len(pairs)), defects), table


def find_defects(setup: Setup) -> Defects | None:
    """Find pixels of the camera that stand out wherever the scene is.

    They are looked for in frames spread over the series, then in those of ever shorter times in
    its middle, until the pairs of these tell where the scene is. None: the settings do not ask for
    it, there are too few frames, or they are measured in blocks, for which it would take long.
    """
    source, found = setup.series.source, None
    if setup.config.mask.defects is None or len(setup.method.search.blocks) > 1:
        return None
    pixels = math.prod(source.frame_shape)
    most = min(max(LOOKED_AT_PIXELS // pixels, FEWEST_LOOKED_AT), MOST_LOOKED_AT)
    span = source.frame_count
    while span >= FEWEST_LOOKED_AT:
        begin = (source.frame_count - span) // 2
        frames = begin + spread_evenly(np.arange(span), most)
        found = _find_defects_in(setup, frames)
        if found is None or not found.outstanding or found.too_many or found.places:
            break
        span //= 2
    return found


def _find_defects_in(setup: Setup, frames: Ints) -> Defects | None:
    source = setup.series.source
    read = [(frame, source.read(frame)) for frame in np.asarray(frames).tolist()]
    read = [(frame, content) for frame, content in read if content.valid.any()]
    if len(read) < FEWEST_LOOKED_AT:
        return None
    images = np.stack([standardize(content.image, content.valid) for _, content in read])
    valid = np.stack([content.valid for _, content in read])
    outstanding = find_outstanding(images, valid)
    found = Defects(len(read), len(outstanding))
    if not outstanding.size:
        return found
    if len(outstanding) > min(MOST_DEFECTS, MOST_SHARE * images[0].size):
        return replace(found, too_many=True)
    without = leave_out_defects(setup, tuple(outstanding.tolist()))
    shown = np.array([frame for frame, _ in read])
    sample = Sample(without.series.source, without.method, without.size, shown, np.ones(len(shown)))
    try:
        positions = sample.shifts(None)
    except RunError:  # too many frames cannot be read
        return found
    known = has_shift(positions)
    staying = select_staying(images[known], valid[known], outstanding, positions[known])
    return replace(found, places=count_places(positions[known]), pixels=tuple(staying.tolist()))


def check_other_conditionings(
    setup: Setup, table: PairTable, client: Engine = None
) -> OtherConditioning | None:
    """Find the conditioning under which most of some refused pairs have a shift.

    None where few pairs are refused, or none helps.
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
    best = _choose([Trial(), *trials], len(pairs))  # as they are, none of them has a shift
    if not best:
        return None
    return OtherConditioning(len(pairs), trials[best - 1].found, trials[best - 1].settings)


def _list_others(config: Config, used: Conditioning) -> list[Conditioning]:
    """The conditionings that differ from that in use in keys that are "auto" alone."""
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
    errors = compute_own_errors(table)[table.ok]
    errors = errors[np.isfinite(errors)]
    error = float(np.median(errors)) if errors.size else None
    return Trial(conditioning.low_pass, conditioning.high_pass, int(table.ok.sum()), error)


def _are_refused(table: PairTable) -> Bools:
    return np.isin(table.status, [status.code for status in CAN_BE_HELPED])


def _choose(trials: Sequence[Trial], pairs: int) -> int:
    """Choose the trial whose pairs tell most, of those that find enough; 0: the first stays."""
    enough = [n for n, trial in enumerate(trials) if trial.found >= FOUND * pairs]
    return max(enough, key=lambda number: trials[number].information, default=0)
