"""One drift from the shifts of positions: against the truth, and plain least squares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from steadystack.joining.shared_drift import PositionPart, list_parts, solve_shared_drift
from steadystack.joining.shift_errors import ShiftErrors
from steadystack.solve import System
from support.members import slow_but
from support.sessions import solved

FRAMES = 18


def wander(rng, frames=FRAMES):
    """A drift that is 0 in the first frame (frames, 2), px."""
    return np.cumsum(rng.normal(0, 0.6, (frames, 2)), axis=0)


def part(position, shift, std=0.1):
    """A position with independent errors; its first frame that is known is at 0."""
    variance = np.where(np.isfinite(shift), std**2, np.nan)
    held = shift[np.isfinite(shift).all(axis=1)][:1].sum(axis=0)
    return PositionPart(position, shift - held, ShiftErrors.independent(variance))


def walking(position, shift, step):
    """A position measured from each frame to the next: errors add up."""
    start = np.arange(len(shift) - 1)
    graph = System(start, start + 1, len(shift), np.array([0]))
    own = np.full(shift.shape, 1e-12)
    known, weights = np.ones(len(shift), bool), np.full(len(start), step**-2.0)
    errors = ShiftErrors(known, own, np.ones(2), graph, weights)
    return PositionPart(position, shift - shift[0], errors)


def test_where_nothing_is_wrong_it_is_the_weighted_mean():
    rng, std = np.random.default_rng(1), np.array([0.05, 0.1, 0.2, 0.4])
    values = wander(rng) + std[:, None, None] * rng.normal(size=(4, FRAMES, 2))
    found = solve_shared_drift([part(n, values[n], std[n]) for n in range(4)], 4)
    expected = np.average(values - values[:, :1], axis=0, weights=std**-2)
    np.testing.assert_allclose(found.shift, expected, atol=1e-9)
    np.testing.assert_allclose(found.std[1:], np.sqrt(2 / (std**-2).sum()), rtol=1e-6)
    assert (found.anchor, found.std[0].tolist()) == (0, [0, 0])
    np.testing.assert_allclose(found.weight[:, 3], std**-2 / (std**-2).sum())
    assert found.agrees.all()
    assert not found.contradicts.any()


def test_where_frames_are_lost_it_is_plain_least_squares():
    """By hand: one unknown for every frame and every position, and errors by the whole matrix."""
    rng, std = np.random.default_rng(2), [0.1, 0.15, 0.1]
    values = wander(rng) + rng.normal(0, 0.1, (3, FRAMES, 2))
    values[0, 5:9], values[1, 12:], values[2, 8:11] = np.nan, np.nan, np.nan
    found = solve_shared_drift([part(n, values[n], std[n]) for n in range(3)], 3)
    row, frame = np.nonzero(np.isfinite(values[..., 0]))
    count = np.bincount(row)
    design = np.zeros((len(row), FRAMES + 3))
    design[np.arange(len(row)), frame] = design[np.arange(len(row)), FRAMES + row] = 1
    root = 1 / (np.array(std)[row] * np.sqrt(1 - 1 / count[row]))  # about the mean of a position
    by_hand = np.linalg.pinv(root[:, None] * design) * root
    relative = by_hand[:FRAMES] - by_hand[0]
    np.testing.assert_allclose(found.shift, relative @ values[row, frame], atol=1e-8)
    variance = (relative**2 * np.array(std)[row] ** 2).sum(axis=1)
    np.testing.assert_allclose(found.std[:, 0], np.sqrt(variance), atol=1e-6)


@pytest.mark.parametrize(
    "kind", slow_but(["mixed", "walk"], ["alike", "walk", "lost", "own way", "mixed"])
)
def test_errors_against_the_truth_are_as_stated(kind):
    ratios, errors, alone = [], [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        truth, parts = wander(rng), []
        own_way = [4] if kind in ("own way", "mixed") else []
        for number, std in enumerate(0.1 * np.exp(rng.uniform(-0.3, 0.3, 6))):
            shift = truth + rng.normal(0, std, truth.shape)
            if kind == "walk":
                shift = truth + np.cumsum(rng.normal(0, std / 3, truth.shape), axis=0)
                parts.append(walking(number, shift, std / 3))
                continue
            if number == 2 and kind in ("lost", "mixed"):
                shift[::3] = np.nan
            if number in own_way:
                shift = shift + np.linspace(0, 2, FRAMES)[:, None]
            parts.append(part(number, shift, std))
        found = solve_shared_drift(parts, 6)
        assert found.agrees.tolist() == [
            kind not in ("own way", "mixed") or n != 4 for n in range(6)
        ]
        errors.append((found.shift - truth + truth[0])[1:])
        alone.append((parts[0].shift - truth + truth[0])[1:])
        ratios.append(errors[-1] / found.std[1:])
    assert 0.85 < np.sqrt(np.mean(np.square(ratios))) < 1.15
    assert np.std(errors) < 0.6 * np.std(alone)


def test_a_position_of_its_own_way_is_reported_and_does_not_count():
    rng = np.random.default_rng(3)
    truth = wander(rng)
    values = truth + rng.normal(0, 0.1, (5, FRAMES, 2))
    jump = np.where(np.arange(FRAMES) >= FRAMES // 3, 2.0, 0)[:, None]
    values[1] += np.linspace(0, 4, FRAMES)[:, None]
    values[3, 7] += 1.5  # in one frame
    found = solve_shared_drift([part(n, one) for n, one in enumerate(values)], 5)
    assert found.agrees.tolist() == [True, False, True, True, True]
    assert not found.weight[1].any()
    own = np.repeat(np.linspace(-2, 2, FRAMES)[:, None], 2, axis=1)
    np.testing.assert_allclose(found.residual[1], own, atol=0.5)
    assert found.excess[1] > 8
    assert (np.flatnonzero(found.contradicts[3]).tolist(), found.weight[3, 7]) == ([7], 0)
    without = solve_shared_drift([part(n, values[n]) for n in (0, 2, 3, 4)], 5)
    np.testing.assert_allclose(found.shift, without.shift, atol=1e-9)
    values[1] = truth + jump  # of a third of its frames, which do not count
    found = solve_shared_drift([part(n, one) for n, one in enumerate(values)], 5)
    assert (found.agrees.all(), found.contradicts[1].sum()) == (True, FRAMES // 3)
    assert np.abs(found.shift - truth + truth[0]).max() < 0.35


def test_without_a_majority_nothing_is_known():
    rng = np.random.default_rng(4)
    one, other = wander(rng), 3 * wander(rng)
    noisy = part(2, one + rng.normal(0, 8, one.shape), 8)
    two = solve_shared_drift([part(0, one), part(1, other)], 2)
    assert not two.agrees.any()
    assert not two.known.any()
    assert (two.anchor, np.isnan(two.std).all()) == (None, True)
    assert (two.excess > 5).all()
    agree = solve_shared_drift([part(0, one), part(1, other), noisy], 3).agrees
    assert agree.tolist() == [False, False, True]  # it says nothing about the other two
    halves = [part(0, one), part(1, other), part(2, one), part(3, other)]
    assert not solve_shared_drift(halves, 4).agrees.any()
    three = solve_shared_drift([*halves, part(4, one)], 5)
    assert three.agrees.tolist() == [True, False, True, False, True]


def test_what_no_position_has_together_is_apart():
    rng = np.random.default_rng(5)
    truth = wander(rng)
    early, late = truth.copy(), truth.copy()
    early[10:], late[:11] = np.nan, np.nan
    found = solve_shared_drift([part(0, early), part(1, late)], 2)
    assert found.known.tolist() == [True] * 10 + [False] * (FRAMES - 10)
    assert np.flatnonzero(found.apart).tolist() == list(range(11, FRAMES))
    over = solve_shared_drift([part(0, early), part(1, late), part(2, truth)], 3)
    np.testing.assert_allclose(over.shift, truth - truth[0], atol=1e-9)
    # connected parts of one position are laid on each other by the others
    broken = solve_shared_drift([part(0, early), part(0, late), part(1, truth)], 2)
    np.testing.assert_allclose(broken.shift, truth - truth[0], atol=1e-9)
    assert broken.has_shift[0].sum() == FRAMES - 1
    nothing = solve_shared_drift([part(0, np.full((FRAMES, 2), np.nan))], 1)
    assert (nothing.known.any(), nothing.agrees.all()) == (False, True)


@pytest.mark.parametrize("times", slow_but([1.8], [1.0, 1.8, 2.5]))
def test_errors_that_are_stated_too_small_are_widened(times):
    ratios = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        truth = wander(rng)
        shifts = truth + rng.normal(0, 0.1 * times, (12, FRAMES, 2))
        found = solve_shared_drift([part(n, one) for n, one in enumerate(shifts)], 12)
        assert found.agrees.all()
        ratios.append((found.shift - truth + truth[0])[1:] / found.std[1:])
        assert np.median(found.excess) == pytest.approx(times, rel=0.15)
    assert 0.8 < np.sqrt(np.mean(np.square(ratios))) < 1.3


def test_one_that_is_stated_too_small_counts_less():
    rng = np.random.default_rng(6)
    values = wander(rng, 60) + rng.normal(0, 0.1, (6, 60, 2))
    values[2] += rng.normal(0, 0.2, (60, 2))
    found = solve_shared_drift([part(n, one) for n, one in enumerate(values)], 6)
    assert found.agrees.all()
    weight = np.median(found.weight, axis=1)
    assert weight[2] < 0.6 * np.delete(weight, 2).min()


def test_scatter_in_the_frame_that_is_held_is_in_all_others():
    """Not so much that a position is left out; in any other frame it is in that one alone."""
    count = 12
    values = np.tile(wander(np.random.default_rng(3)), (count, 1, 1))
    usual = solve_shared_drift([part(n, values[n]) for n in range(count)], count)
    spread = np.where(np.arange(count) % 2, 0.2, -0.2)[:, None]
    first, later = values.copy(), values.copy()
    first[:, 0], later[:, 7] = first[:, 0] + spread, later[:, 7] + spread
    of_first, of_later = (
        solve_shared_drift([part(n, one[n]) for n in range(count)], count) for one in (first, later)
    )
    assert (of_first.std[1:] > 1.2 * usual.std[1:]).all()
    assert (of_later.std[7] > 1.2 * usual.std[7]).all()
    np.testing.assert_allclose(of_later.std[9], usual.std[9], rtol=0.1)


def test_only_frames_in_which_others_have_a_shift_tell_how_far_one_is_off():
    rng = np.random.default_rng(4)
    values = wander(rng) + rng.normal(0, 0.1, (2, FRAMES, 2))
    values[1, 5:] = np.nan
    found = solve_shared_drift([part(n, values[n]) for n in range(2)], 2)
    assert found.is_alone[0].tolist() == [False] * 5 + [True] * (FRAMES - 5)
    assert 0.4 < found.excess[0] < 2
    np.testing.assert_allclose(found.excess[0], found.excess[1], rtol=0.2)


def test_of_two_of_unlike_errors_the_worse_is_far_off_or_nothing_is_known():
    truth = wander(np.random.default_rng(5))
    for away, is_known in ((4, True), (8, False)):
        other = truth + np.linspace(0, away, FRAMES)[:, None]
        found = solve_shared_drift([part(0, truth, 0.01), part(1, other, 0.2)], 2)
        assert found.excess[1] > 2
        assert np.isfinite(found.shift).any() == is_known
        assert (found.anchor is not None) == is_known


def test_where_a_codec_puts_frames_is_in_the_errors_of_its_position():
    rng = np.random.default_rng(5)
    scene = rng.normal(size=(60, 60)).cumsum(0).cumsum(1)
    frames = np.stack([scene[at : at + 48, 2 * at : 2 * at + 40] for at in range(6)])
    one = solved("video", frames)
    series = replace(one.setup.series, codec_std=0.05)
    (plain,) = list_parts([one])
    (video,) = list_parts([replace(one, setup=replace(one.setup, series=series))])
    more = video.errors.compute_variance() - plain.errors.compute_variance()
    np.testing.assert_allclose(more, 0.05**2 * (1 - 1 / 6), rtol=1e-6)  # about their mean
