"""What is told of the channels of pairs."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.model import PairStatus, PairTable, Reason, Trust
from steadystack.quality import judge_series
from steadystack.solve import solve_shifts

NAMES = ("DAPI", "GFP", "2")


def chain(weights):
    """A chain of pairs of one pixel each whose channels count so (pairs, channels), solved."""
    weights = np.array(weights, np.float32)
    count = len(weights)
    pairs = np.stack([np.arange(count), np.arange(1, count + 1)], axis=1)
    table = PairTable.unmeasured(pairs, count + 1, 1, weights.shape[1])
    table.channel_weight[:] = weights
    ok = np.nansum(weights, axis=1) > 0
    table.status[:] = np.where(ok, PairStatus.OK.code, PairStatus.AMBIGUOUS.code)
    table.shift[ok], table.shift_std[ok] = 1.0, 0.1
    table.frame_read_status[:] = 1
    return table, solve_shifts(table)


def tell(weights, names=NAMES):
    said = judge_series(*chain(weights), channels=names)
    return [finding for finding in said.findings if finding.code == Reason.CHANNELS]


def test_channels_that_agree_are_not_reported():
    assert not tell([[0.5, 0.3, 0.2]] * 20)
    assert not tell([[1.0]] * 20, names=())
    assert not tell([[0.5, 0.3, 0.2]] * 20 + [[0.5, 0.5, 0]])


def test_a_channel_that_is_outvoted_is_named():
    [found] = tell([[0.6, 0.4, 0]] * 4 + [[0.5, 0.3, 0.2]] * 16)
    assert found.trust is Trust.CHECK
    assert found.words.startswith("channel 2 contradicts the majority of the others in 4 of 20")
    assert found.key == "input.channel"


def test_a_channel_that_says_nothing_is_named():
    [found] = tell([[0.6, np.nan, 0.4]] * 15 + [[0.5, 0.3, 0.2]] * 5)
    assert found.trust is Trust.CHECK
    assert found.words.startswith("channel GFP has no shift in 15 of 20 pairs: leave it out")


@pytest.mark.parametrize(("count", "trust"), [(4, Trust.CHECK), (15, Trust.UNRELIABLE)])
def test_channels_that_contradict_each_other_without_a_majority_are_reported(count, trust):
    weights = [[0, 0, np.nan]] * count + [[0.5, 0.3, 0.2]] * (20 - count)
    found = tell(weights)[0]
    assert found.trust is trust
    assert f"contradict each other in {count} of 20 pairs" in found.words
    said = judge_series(*chain(weights), channels=NAMES)
    assert not [one for one in said.findings if one.code == "pairs_ambiguous"]
