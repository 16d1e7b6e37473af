"""Which conditioning finds shifts: decided on a few pairs before a run, and told of after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from steadystack.checks.probe_pairs import Probe, compute_own_errors
from steadystack.cluster import Engine
from steadystack.conditioning import Conditioning
from steadystack.config import AUTO, Config
from steadystack.measure import spread_evenly
from steadystack.model import Bools, Ints, OtherConditioning, PairTable, Pilot, RunError, Trial
from steadystack.planning import Setup
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
# Of so many pairs this share is to have a shift: else others are tried, and one that has as many.
PAIRS, FOUND = 8, 0.75
# After a run one is told of others where more than this share of the pairs is refused.
REFUSED = 0.5


def run_pilot(setup: Setup) -> tuple[Pilot, PairTable | None]:
    """Decide on the keys of `preprocess` that are "auto", on a few pairs of a run.

    They are the closest ones, spread over the series. Where three quarters of them have a shift as
    they are, nothing else is tried. Else that conditioning is taken whose pairs tell most: by how
    many have a shift, and by the errors that parts of the frame and noise state.

    Returns
    -------
    The outcome, and the pairs as they are; None where no pair was measured, as it would take long:
    frames that are measured in blocks.
    """
    method = setup.method
    if len(method.search.blocks) > 1:
        return Pilot(), None
    apart = np.abs(setup.pairs[:, 1] - setup.pairs[:, 0])
    pairs = setup.pairs[spread_evenly(np.flatnonzero(apart == apart.min()), PAIRS)]
    try:
        table = Probe(setup, method, None).measure(pairs)
        trials = [_make_trial(method.conditioning, table)]
        if trials[0].found < FOUND * len(pairs) and _are_refused(table).any():
            others = _list_others(setup.config, method.conditioning)
            trials += _try_all(setup, pairs, others, None)
    except RunError:  # so many frames cannot be read that the run itself will tell
        return Pilot(), None
    return Pilot(len(pairs), tuple(trials), _choose(trials, len(pairs))), table


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
