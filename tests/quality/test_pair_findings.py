"""What is reported of the pairs of a series: their channels, and frames that take turns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import steadystack
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


def series_of(alike, *, count=32, width=5, seed=0, still=False, noise=0.01):
    """Pairs of frames as alike as `alike(first, second, shift)` says, at random shifts; solved."""
    rng = np.random.default_rng(seed)
    pairs = np.array(
        [(a, b) for a in range(count) for b in range(a + 1, min(a + width + 1, count))]
    )
    table = PairTable.unmeasured(pairs, count, 2)
    positions = np.zeros((count, 2)) if still else rng.normal(0, 3, (count, 2))
    table.shift[:], table.shift_std[:] = positions[pairs[:, 1]] - positions[pairs[:, 0]], 0.01
    values = [alike(a, b, shift) for (a, b), shift in zip(pairs, table.shift, strict=True)]
    table.ncc[:] = np.array(values) * np.exp(rng.normal(0, noise, len(pairs)))
    table.status[:], table.frame_read_status[:] = PairStatus.OK.code, 1
    return table, solve_shifts(table)


def find_turns(*args, **changes):
    table, solved = series_of(*args, **changes)
    found = judge_series(table, solved).findings
    return [finding for finding in found if finding.code == Reason.TAKING_TURNS]


def subpixel(shift, cost=0.1):
    """What a shift between whole pixels lowers the NCC by: half a pixel by `cost`."""
    return 1 - cost * np.sin(np.pi * shift) ** 2 @ [1, 1]


@pytest.mark.parametrize("kinds", [2, 3, 4])
def test_frames_of_several_kinds_that_take_turns_are_reported(kinds):
    def alike(first, second, shift):
        same = (second - first) % kinds == 0
        return (0.9 if same else 0.8) * subpixel(shift) * 0.99 ** (second - first)

    [found] = find_turns(alike)
    assert found.trust is Trust.CHECK
    assert found.words.startswith(f"frames {kinds} apart are more alike (NCC ")
    assert f"'::{kinds}'" in found.words
    assert found.key == "input.frames"


def test_kinds_with_nothing_in_common_have_no_shift_but_are_reported():
    table, solved = series_of(lambda a, b, _: 0.9 if (b - a) % 2 == 0 else 0.1)
    apart = (table.moving - table.reference) % 2 == 1
    table.status[apart], table.shift[apart] = PairStatus.LOW_NCC.code, np.nan
    found = judge_series(table, solved).findings[0]
    assert found.code == Reason.TAKING_TURNS


def test_negatives_in_turn_are_of_one_kind_where_they_are_allowed():
    assert not find_turns(lambda a, b, shift: (-1) ** (b - a) * 0.9 * subpixel(shift))


@pytest.mark.parametrize("seed", range(5))
def test_frames_of_one_kind_are_not(seed):
    """A scene that changes, frames exposed long and short in turn, and subpixel shifts."""
    share = np.random.default_rng(seed).uniform(0.7, 1, 32)
    assert not find_turns(lambda a, b, shift: 0.9 * subpixel(shift), seed=seed)
    assert not find_turns(lambda a, b, shift: 0.95 ** (b - a) * subpixel(shift), seed=seed)
    assert not find_turns(
        lambda a, b, _: (0.9 if a % 2 else 0.6) * (0.9 if b % 2 else 0.6), seed=seed
    )
    assert not find_turns(lambda a, b, _: share[a] * share[b], seed=seed)
    assert not find_turns(lambda a, b, _: 0.1, seed=seed, noise=0.5)


@pytest.mark.parametrize("period", [2, 3, 4])
def test_shaking_with_the_period_of_a_few_frames_is_no_change_of_kind(period):
    """Pairs at rest relative to each other are most alike, as all others lie between pixels."""
    place = 0.4 * np.cos(2 * np.pi * np.arange(32) / period)

    def alike(first, second, _):
        return 0.95 * subpixel(np.array([place[second] - place[first], 0]))

    table, solved = series_of(alike, noise=1e-4)
    table.shift[:] = np.stack([place[table.moving] - place[table.reference], 0 * table.ncc], axis=1)
    found = judge_series(table, solved).findings
    assert Reason.TAKING_TURNS not in [finding.code for finding in found]


def test_neighbours_alone_do_not_show_whether_frames_take_turns():
    assert not find_turns(lambda a, b, shift: 0.8 * subpixel(shift), width=1)


def test_pairs_that_are_far_from_the_first_ones_tell_nothing():
    """Frames are compared among the first ones, of which there may be a single pair, (0, 2)."""
    table, solved = series_of(lambda a, b, _: 0.9 if (b - a) % 2 == 0 else 0.8, count=100)
    table.ncc[: np.searchsorted(table.reference, 70)] = np.nan
    table.ncc[1] = 0.9
    found = judge_series(table, solved).findings
    assert Reason.TAKING_TURNS not in [finding.code for finding in found]


def test_light_from_two_sides_in_turn_looks_like_a_shift_and_is_reported():
    """The relief is the gradient of the scene; a weaker one is like a shift, and is not seen."""
    rng = np.random.default_rng(8)
    positions = np.cumsum(rng.normal(0, 0.7, (20, 2)), axis=0)
    scene = ndimage.gaussian_filter(rng.normal(size=(110, 110)), 2)
    scene /= scene.std()
    relief = np.gradient(scene, axis=1)
    frames = [
        ndimage.shift(scene + (-1) ** number * 2 * relief, -place)[15:-15, 15:-15]
        for number, place in enumerate(positions - positions.mean(axis=0))
    ]
    frames = np.stack(frames) + rng.normal(0, 0.2, (20, 80, 80))
    shifts = steadystack.estimate_shifts(frames)
    error = shifts.frame_shift.to_numpy() - (positions - positions[0])
    assert np.ptp(error[:, 1]) > 1
    assert shifts.attrs["verdict"] == "check"
    assert "frames 2 apart are more alike" in shifts.attrs["verdict_reasons"]
