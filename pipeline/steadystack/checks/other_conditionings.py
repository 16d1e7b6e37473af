"""Where most pairs are refused: would they have a shift under another conditioning?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from steadystack.checks.probe_pairs import Probe, compute_own_errors
from steadystack.cluster import Engine
from steadystack.conditioning import Conditioning
from steadystack.measure import spread_evenly
from steadystack.model import OtherConditioning, PairTable, RunError
from steadystack.planning import Setup
from steadystack.register import CAN_BE_HELPED

# Scenes of large detail drown in noise of single pixels, and in light that changes slowly.
TRIED = (
    Conditioning(low_pass=1),
    Conditioning(low_pass=1, high_pass=10),
    Conditioning(low_pass=2),
    Conditioning(high_pass=10),
)
# They are tried on so many pairs, where more than this share is refused; one is told of that finds
# this share of them.
PAIRS, REFUSED, FOUND = 8, 0.5, 0.75


def check_other_conditionings(
    setup: Setup, table: PairTable, client: Engine = None
) -> OtherConditioning | None:
    """Find the conditioning under which most of some refused pairs have a shift.

    Of those that find equally many it is that of the least error, which parts of the frame and
    noise state. None where few pairs are refused, a filter is set, or none helps.
    """
    refused = np.isin(table.status, [status.code for status in CAN_BE_HELPED])
    used = setup.method.conditioning
    if used.low_pass is not None or used.high_pass is not None:
        return None
    if refused.sum() <= REFUSED * (refused | table.ok).sum():
        return None
    apart = np.abs(table.moving - table.reference)
    rows = spread_evenly(np.flatnonzero(refused & (apart == apart[refused].min())), PAIRS)
    pairs = np.stack([table.reference, table.moving], axis=1)[rows]
    best, best_rank = None, (0, 0.0)
    for tried in TRIED:
        conditioning = replace(used, low_pass=tried.low_pass, high_pass=tried.high_pass)
        probe = Probe(setup, replace(setup.method, conditioning=conditioning), client)
        try:
            found = probe.measure(pairs)
        except RunError:
            return None
        if not found.ok.any():
            continue
        error = compute_own_errors(found)[found.ok]
        rank = (int(found.ok.sum()), -float(np.median(error)))
        if best is None or rank > best_rank:
            best, best_rank = tried, rank
    if best is None or best_rank[0] < FOUND * len(pairs):
        return None
    return OtherConditioning(len(pairs), best_rank[0], str(best))


def try_pairs(setup: Setup) -> tuple[PairTable, OtherConditioning | None] | None:
    """Measure a few pairs of a run before it begins, and what would help if most are refused.

    They are the closest ones, spread over the series. None where a run estimates camera images
    first, or where frames are measured in blocks, so that it would take long.
    """
    method = setup.method
    if method.flat_field is not None or method.fixed_pattern is not None:
        return None
    if len(method.search.blocks) > 1:
        return None
    apart = np.abs(setup.pairs[:, 1] - setup.pairs[:, 0])
    pairs = setup.pairs[spread_evenly(np.flatnonzero(apart == apart.min()), PAIRS)]
    table = Probe(setup, method, None).measure(pairs)
    return table, check_other_conditionings(setup, table)
