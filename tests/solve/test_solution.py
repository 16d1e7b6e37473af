"""Frame shifts from pair shifts: hand-worked graphs, exactness, weights and deviations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from steadystack.model import FrameStatus, InputError, PairStatus, PairTable
from steadystack.pairs import select_pairs
from steadystack.solve import solve_shifts
from support.members import slow_but


def table(frames, rows, std=0.1):
    """Rows are (reference, moving, shift along y); along x it is twice that. None: not ok."""
    pairs = np.array([row[:2] for row in rows]).reshape(-1, 2)
    empty = PairTable.unmeasured(pairs, frames, 2)
    shift = np.array([[np.nan] * 2 if y is None else [y, 2 * y] for *_, y in rows]).reshape(-1, 2)
    known = np.isfinite(shift).all(axis=1)
    return replace(
        empty,
        shift=shift,
        shift_std=np.where(known[:, None], std, np.nan) * np.ones((1, 2)),
        status=np.where(known, PairStatus.OK.code, PairStatus.LOW_NCC.code).astype(np.int8),
        frame_read_status=np.full(frames, FrameStatus.OK.code, np.int8),
    )


nan = np.nan
GRAPHS = {
    # name: frames, pairs, anchor, shifts along y, components
    "one pair": (2, [(0, 1, 3.0)], 0, [0, 3], [0, 0]),
    "chain": (4, [(0, 1, 1.0), (1, 2, 2.0), (2, 3, -4.0)], 0, [0, 1, 3, -1], [0] * 4),
    "chain, anchored at the end": (3, [(0, 1, 1.0), (1, 2, 2.0)], 2, [-3, -2, 0], [0] * 3),
    "triangle": (3, [(0, 1, 1.0), (1, 2, 1.0), (0, 2, 2.3)], 0, [0, 1.1, 2.2], [0] * 3),
    "star": (4, [(2, 0, -1.0), (2, 1, 5.0), (2, 3, 2.0)], 0, [0, 6, 1, 3], [0] * 4),
    "two islands": (5, [(0, 1, 1.0), (3, 4, 7.0)], 0, [0, 1, nan, 0, 7], [0, 0, -1, 1, 1]),
    "the anchor's island first": (4, [(0, 1, 1.0), (2, 3, 7.0)], 3, [0, 1, -7, 0], [1, 1, 0, 0]),
    "a spanned gap": (3, [(0, 1, None), (1, 2, None), (0, 2, 5.0)], 0, [0, nan, 5], [0, -1, 0]),
    "no usable pair": (3, [(0, 1, None), (1, 2, None)], 0, [nan] * 3, [-1] * 3),
    "no pair": (2, [], 0, [nan] * 2, [-1] * 2),
    "one frame": (1, [], 0, [nan], [-1]),
    "a wrong pair": (4, [(0, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0), (0, 2, 2.0), (1, 3, 2.0),
                         (0, 3, 9.0)], 0, [0, 1, 2, 3], [0] * 4),
    "a contradiction of two": (2, [(0, 1, 1.0), (0, 1, 9.0)], 0, [0, 5], [0, 0]),
    "a contradictory triangle": (3, [(0, 1, 1.0), (1, 2, 1.0), (0, 2, 11.0)], 0, [0, 4, 8],
                                 [0] * 3),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_hand_worked_graphs(name):
    frames, rows, anchor, shift, component = GRAPHS[name]
    found = solve_shifts(table(frames, rows), anchor=anchor)
    np.testing.assert_allclose(found.shift[:, 0], shift, atol=1e-9)
    np.testing.assert_allclose(found.shift[:, 1], 2 * np.array(shift), atol=1e-9)
    np.testing.assert_array_equal(found.component, component)


@pytest.mark.parametrize("blank", [(4, 5), (2, 5)])
def test_a_frame_on_one_pair_has_no_shift_where_another_as_near_shows_none(blank):
    firm = [(one, other, float(other - one)) for other in range(5) for one in range(other)]
    found = solve_shifts(table(6, [*firm, (3, 5, 30.0), (*blank, None)]))
    is_kept = blank == (2, 5)  # farther apart: what is seen there may be something else
    np.testing.assert_allclose(found.shift[:, 0], [*range(5), 33 if is_kept else nan])
    assert found.status[5] == (FrameStatus.OK if is_kept else FrameStatus.INCONSISTENT).code
    assert found.rejected.tolist() == [False] * len(firm) + [not is_kept, False]


def test_counts_weights_and_residuals():
    found = solve_shifts(table(3, [(0, 1, 1.0), (1, 2, 1.0), (0, 2, 2.3), (0, 1, None)]))
    assert found.pair_count.tolist() == [2, 2, 2]
    np.testing.assert_allclose(found.residual[:3, 0], [-0.1, -0.1, 0.1], atol=1e-9)
    assert np.isnan(found.residual[3]).all()
    assert np.isnan(found.weight[3])
    assert (found.weight[:3] > 0).all()


def test_exact_pairs_give_exact_shifts():
    rng = np.random.default_rng(2)
    pairs = select_pairs(60, "window", width=4)
    truth = np.cumsum(rng.normal(0, 3, (60, 3)), axis=0)
    empty = PairTable.unmeasured(pairs, 60, 3)
    exact = replace(
        empty,
        shift=truth[pairs[:, 1]] - truth[pairs[:, 0]],
        shift_std=rng.uniform(0.001, 1, (len(pairs), 3)),
        status=np.full(len(pairs), PairStatus.OK.code, np.int8),
    )
    for anchor in (0, 31):
        found = solve_shifts(exact, anchor=anchor)
        np.testing.assert_allclose(found.shift, truth - truth[anchor], atol=1e-9)
        np.testing.assert_allclose(found.residual, 0, atol=1e-9)


def test_better_pairs_weigh_more():
    rows = table(2, [(0, 1, 1.0), (0, 1, 1.2)])
    rows.shift_std[0] = 0.5
    rows.shift_std[1] = 1.0
    found = solve_shifts(rows)  # they agree within their deviations
    np.testing.assert_allclose(found.shift[1, 0], (1 / 0.25 * 1 + 1 / 1 * 1.2) / 5)


def test_contradictory_pairs_are_weighted_alike():
    rows = table(2, [(0, 1, 1.0), (0, 1, 2.0)])
    rows.shift_std[0] = 0.001
    rows.shift_std[1] = 0.01
    assert solve_shifts(rows).shift[1, 0] == pytest.approx(1.5, abs=0.01)


def test_a_pair_without_a_deviation_is_used():
    rows = table(3, [(0, 1, 1.0), (1, 2, 1.0)])
    rows.shift_std[1] = np.nan
    assert solve_shifts(rows).shift[:, 0].tolist() == pytest.approx([0, 1, 2])


@pytest.mark.parametrize("stated", slow_but([0.05], [0.05, 0.2, 0.002]))
def test_deviations_are_those_of_repeated_series(stated):
    """Pairs with errors of 0.2 px, whatever they state: the frames' deviations tell the truth."""
    pairs = select_pairs(30, "window", width=4)
    ratios = []
    for seed in range(40):
        errors = np.random.default_rng(seed).normal(0, 0.2, (len(pairs), 2))
        measured = replace(
            PairTable.unmeasured(pairs, 30, 2),
            shift=errors,
            shift_std=np.full(errors.shape, stated),
            status=np.full(len(pairs), PairStatus.OK.code, np.int8),
        )
        found = solve_shifts(measured)
        ratios.append(found.shift[1:] / found.shift_std[1:])
        assert (found.shift_std[0] == 0).all()
    assert 0.85 < np.std(ratios) < 1.15


def test_deviations_are_those_of_their_axis():
    """Errors of 0.3 px along y and 0.03 along x, all stated as the smaller ones."""
    pairs = select_pairs(40, "window", width=4)
    errors = np.random.default_rng(1).normal(0, [0.3, 0.03], (len(pairs), 2))
    measured = replace(
        PairTable.unmeasured(pairs, 40, 2),
        shift=errors,
        shift_std=np.full(errors.shape, 0.03),
        status=np.full(len(pairs), PairStatus.OK.code, np.int8),
    )
    found = solve_shifts(measured)
    np.testing.assert_allclose(found.shift_std[1:, 0] / found.shift_std[1:, 1], 10, rtol=0.2)


# Errors that frames share


def measured_images(pairs, own, rest, seed):
    """Pairs of frames that have an error of their own, as images have; all shifts are 0."""
    rng, count = np.random.default_rng(seed), len(own)
    start, end = pairs.T
    of_frame = rng.normal(size=(count, 2)) * np.sqrt(own)[:, None]
    errors = of_frame[end] - of_frame[start] + rng.normal(0, np.sqrt(rest), (len(pairs), 2))
    return replace(
        PairTable.unmeasured(pairs, count, 2),
        shift=errors,
        shift_std=np.repeat(np.sqrt(own[start] + own[end] + rest)[:, None], 2, axis=1),
        status=np.full(len(pairs), PairStatus.OK.code, np.int8),
    )


def test_it_is_generalized_least_squares_of_pairs_that_share_frames():
    """Against the full covariance of the pairs, with everything inverted as it stands."""
    pairs, own, rest, anchor = select_pairs(30, "window", width=5), 0.01, 0.002, 11
    design = np.zeros((len(pairs), 30))
    design[np.arange(len(pairs)), pairs[:, 1]] = 1
    design[np.arange(len(pairs)), pairs[:, 0]] = -1
    inverse = np.linalg.inv(own * design @ design.T + rest * np.eye(len(pairs)))
    free = np.delete(np.arange(30), anchor)
    covariance = np.linalg.inv(design[:, free].T @ inverse @ design[:, free])
    stds = []
    for seed in range(20):
        measured = measured_images(pairs, np.full(30, own), rest, seed)
        found = solve_shifts(measured, anchor=anchor)
        expected = covariance @ design[:, free].T @ inverse @ measured.shift
        np.testing.assert_allclose(found.shift[free], expected, atol=1e-9)
        stds.append(found.shift_std[free])
    assert (found.shift_std[anchor] == 0).all()
    stated = np.sqrt(np.mean(np.square(stds), axis=(0, 2)))
    np.testing.assert_allclose(stated, np.sqrt(np.diag(covariance)), rtol=0.05)


@pytest.mark.parametrize("wrong", slow_but([0.1], [0.0, 0.1]))
@pytest.mark.parametrize("rest", slow_but([1e-4, 5e-2], [1e-4, 5e-3, 5e-2]))
def test_deviations_know_what_pairs_of_a_frame_share(rest, wrong):
    pairs, squares = select_pairs(40, "window", width=6), []
    for seed in range(30):
        own = np.where(np.arange(40) % 7 == 3, 0.04, 0.01)
        measured = measured_images(pairs, own, rest, seed)
        rng = np.random.default_rng(seed)
        bad = rng.random(len(pairs)) < wrong
        measured.shift[bad] = rng.uniform(-24, 24, (bad.sum(), 2))
        found = solve_shifts(measured, anchor=seed)  # another one in every series
        known = (found.component == 0) & (np.arange(40) != seed)
        squares.append(((found.shift[known] / found.shift_std[known]) ** 2).mean())
    assert 0.75 < np.sqrt(np.mean(squares)) < 1.25  # the anchor's error is in all of a series


def test_without_cycles_pairs_are_taken_as_independent():
    chain = select_pairs(10, "consecutive")
    found = solve_shifts(measured_images(chain, np.full(10, 0.01), 0.0, 1))
    expected = np.sqrt(0.02 * np.arange(10))[:, None] * [1, 1]
    np.testing.assert_allclose(found.shift_std, expected, rtol=1e-6)


def test_the_held_frames_are_reported():
    assert solve_shifts(table(5, [(1, 2, 1.0), (3, 4, 7.0)]), anchor=0).anchors == (1, 3)
    assert solve_shifts(table(5, [(0, 1, 1.0), (3, 4, 7.0)]), anchor=4).anchors == (4, 0)


def test_an_anchor_that_is_no_frame_is_refused():
    with pytest.raises(InputError, match=r"solve\.anchor 3"):
        solve_shifts(table(3, [(0, 1, 1.0)]), anchor=3)
