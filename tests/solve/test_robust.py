"""Wrong pairs, bad frames, jumps, gaps; true deviations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystack.model import NO_COMPONENT, FrameStatus, PairStatus, PairTable, Trust
from steadystack.pairs import select_pairs
from steadystack.quality import judge_series
from steadystack.solve import solve_shifts
from steadystack.solve import system as systems
from support.graphs import graphs, random_graph
from support.members import slow_but

MAX_SHIFT = 24.0


def simulated(pairs, frames, *, std=0.1, wrong=0.0, seed=0, jump=0.0, bad=(), ndim=2):
    """Truth (frames, axes) and a table of noisy pairs; which of them were replaced."""
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(0, 0.5, (frames, ndim)), axis=0)
    truth[frames // 2 :] += jump
    truth -= truth[0]
    std = np.broadcast_to(std, (len(pairs), ndim))
    shift = truth[pairs[:, 1]] - truth[pairs[:, 0]] + rng.normal(0, 1, std.shape) * std
    replaced = (rng.random(len(pairs)) < wrong) | np.isin(pairs, bad).any(axis=1)
    shift[replaced] = rng.uniform(-MAX_SHIFT, MAX_SHIFT, (replaced.sum(), ndim))
    table = PairTable.unmeasured(pairs, frames, ndim)
    table = replace(
        table,
        shift=shift,
        shift_std=std.copy(),
        status=np.full(len(pairs), PairStatus.OK.code, np.int8),
        frame_read_status=np.full(frames, FrameStatus.OK.code, np.int8),
    )
    return truth, table, replaced


def spread(found, truth):
    """Root mean square error of the first component, about its mean."""
    error = (found.shift - truth)[found.component == 0]
    return np.sqrt(((error - error.mean(axis=0)) ** 2).mean())


SERIES = {
    "window of 5": (200, {"strategy": "window", "width": 5}, 0.2),
    "separations": (200, {"strategy": "separations", "separations": [1, 2, 4, 8]}, 0.2),
    "multiscale": (300, {"strategy": "multiscale", "width": 5}, 0.2),
    "dense": (60, {"strategy": "all"}, 0.3),
}


@pytest.mark.parametrize("name", slow_but(["window of 5", "dense"], SERIES))
def test_wrong_pairs_hardly_matter(name):
    frames, options, part = SERIES[name]
    pairs = select_pairs(frames, **options)
    errors, kept, lost = [], 0, 0
    for seed in range(6):
        truth, good, _ = simulated(pairs, frames, seed=seed)
        _, table, replaced = simulated(pairs, frames, seed=seed, wrong=part)
        solved = solve_shifts(table)
        errors.append((spread(solve_shifts(good), truth), spread(solved, truth)))
        kept += (replaced & ~solved.rejected).sum()
        lost += (solved.component != 0).sum()
    clean, dirty = np.sqrt((np.array(errors) ** 2).mean(axis=0))
    assert dirty < 1.3 * clean
    assert kept <= 5
    assert lost <= 0.01 * 6 * frames


def test_without_robust_nothing_is_rejected():
    pairs = select_pairs(50, "window", width=4)
    truth, table, _ = simulated(pairs, 50, wrong=0.1)
    found = solve_shifts(table, robust=False)
    assert not found.rejected.any()
    assert spread(found, truth) > 5 * spread(solve_shifts(table), truth)


def test_a_rejected_pair_keeps_its_residual_and_has_no_weight():
    pairs = select_pairs(40, "window", width=4)
    truth, table, replaced = simulated(pairs, 40, wrong=0.1, seed=3)
    found = solve_shifts(table)
    np.testing.assert_array_equal(found.rejected, replaced)
    assert (found.weight[replaced] == 0).all()
    assert (found.weight[~replaced] > 0).all()
    expected = table.shift - (truth[pairs[:, 1]] - truth[pairs[:, 0]])
    np.testing.assert_allclose(found.residual, expected, atol=0.5)
    used = np.bincount(pairs[~replaced].ravel(), minlength=40)
    np.testing.assert_array_equal(found.pair_count, used)
    verdict = judge_series(table, found)
    assert verdict.trust is Trust.CHECK
    assert f"{replaced.sum()} of {len(pairs)} pairs contradict" in str(verdict)


@pytest.mark.parametrize("jump", [30.0, -3.0])
def test_a_jump_is_a_jump(jump):
    pairs = select_pairs(60, "window", width=3)
    truth, table, _ = simulated(pairs, 60, jump=jump)
    found = solve_shifts(table)
    assert not found.rejected.any()
    np.testing.assert_allclose(found.shift, truth, atol=1)


@pytest.mark.parametrize("bad", [[20], [20, 21], [5, 30, 31, 59], [0]])
def test_a_bad_frame_moves_no_good_one(bad):
    pairs = select_pairs(60, "window", width=5)
    _, table, _ = simulated(pairs, 60, bad=bad)
    found = solve_shifts(table)
    expected = np.where(np.isin(np.arange(60), bad), FrameStatus.INCONSISTENT, FrameStatus.OK)
    assert [FrameStatus.from_code(code) for code in found.status] == expected.tolist()
    assert np.isnan(found.shift[bad]).all()
    assert (found.component[bad] == NO_COMPONENT).all()
    good = np.setdiff1d(np.arange(60), bad)
    without = np.where(np.isin(pairs, bad).any(axis=1), PairStatus.LOW_NCC.code, table.status)
    alone = solve_shifts(replace(table, status=without.astype(np.int8)))
    np.testing.assert_allclose(found.shift[good], alone.shift[good], atol=1e-9)
    assert f"{len(bad)} inconsistent" in str(judge_series(table, found)) or len(bad) == 1


def test_what_nothing_contradicts_is_kept():
    chain = select_pairs(20, "consecutive")
    _, table, replaced = simulated(chain, 20, wrong=0.3)
    assert replaced.any()
    assert not solve_shifts(table).rejected.any()
    # a bridge between two windows, as wrong as it may be
    left, right = select_pairs(15, "window", width=3), 15 + select_pairs(15, "window", width=3)
    _, table, _ = simulated(np.concatenate([left, [[14, 15]], right]), 30)
    table.shift[len(left)] += 20
    assert not solve_shifts(table).rejected.any()


def test_a_link_that_outvotes_others_is_no_link():
    """Two parts, three pairs between them of which no two agree."""
    left, right = select_pairs(15, "window", width=3), 15 + select_pairs(15, "window", width=3)
    between = np.array([[14, 15], [13, 15], [14, 16]])
    _, table, _ = simulated(np.concatenate([left, between, right]), 30)
    table.shift[len(left) : len(left) + 3] += np.array([[0, 20], [15, -15], [-20, 0]])
    found = solve_shifts(table)
    assert found.component.tolist() == [0] * 15 + [1] * 15
    assert found.rejected.nonzero()[0].tolist() == [*range(len(left), len(left) + 3)]


def test_a_gap_is_spanned():
    pairs = select_pairs(40, "window", width=5)
    truth, table, _ = simulated(pairs, 40, wrong=0.05, seed=1)
    dark = np.isin(pairs, [18, 19, 20]).any(axis=1)
    table.status[dark] = PairStatus.EMPTY.code
    table.shift[dark] = table.shift_std[dark] = np.nan
    table.frame_read_status[18:21] = FrameStatus.EMPTY.code
    found = solve_shifts(table)
    assert found.component.max() == 0
    np.testing.assert_allclose(found.shift[21:], truth[21:], atol=1)
    assert (found.status[18:21] == FrameStatus.EMPTY.code).all()


def test_small_residuals_are_a_bias_and_not_a_contradiction():
    pairs = select_pairs(40, "window", width=4)
    _, table, _ = simulated(pairs, 40, std=0.002)
    table.shift[::9] *= 0.95  # pulled towards 0
    assert not solve_shifts(table).rejected.any()


# Deviations


@pytest.mark.parametrize("wrong", slow_but([0.1], [0.0, 0.1]))
@pytest.mark.parametrize(
    "kind", slow_but(["mixed", "stated too small"], ["alike", "mixed", "stated too small"])
)
def test_deviations_are_true(kind, wrong):
    pairs = select_pairs(60, "window", width=5)
    ratios = []
    for seed in range(30):
        std = 0.1
        if kind == "mixed":
            std = np.random.default_rng(900 + seed).choice([0.02, 0.1, 0.5], (len(pairs), 2))
        truth, table, _ = simulated(pairs, 60, std=std, wrong=wrong, seed=seed)
        if kind == "stated too small":
            table = replace(table, shift_std=table.shift_std / 10)
        found = solve_shifts(table)
        known = (found.component == 0) & (found.shift_std > 0).all(axis=1)
        if found.component[0] == 0:
            ratios.append(((found.shift - truth)[known] / found.shift_std[known]).ravel())
    assert 0.8 < np.std(np.concatenate(ratios)) < 1.25


def test_a_graph_that_cannot_be_factorized_is_solved_all_the_same(monkeypatch):
    pairs = select_pairs(60, "window", width=5)
    _, table, _ = simulated(pairs, 60, wrong=0.1)
    expected = solve_shifts(table)
    for limit in ("BAND_ENTRIES", "ALWAYS_FACTORIZED", "SPARSE_ENTRIES"):
        monkeypatch.setattr(systems, limit, -1)
    found = solve_shifts(table)
    np.testing.assert_allclose(found.shift, expected.shift, atol=1e-3)
    np.testing.assert_allclose(found.shift_std, expected.shift_std, rtol=0.3)


@given(graphs)
@settings(deadline=None, max_examples=60)
def test_exact_pairs_give_exact_shifts_on_any_graph(graph):
    count, more, seed = graph
    rng = np.random.default_rng(seed)
    pairs = random_graph(rng, count, more)
    truth, table, _ = simulated(pairs, count, std=0.0, seed=seed)
    table = replace(table, shift_std=rng.uniform(0.01, 1, table.shift_std.shape))
    found = solve_shifts(table)
    np.testing.assert_allclose(found.shift, truth, atol=1e-8)
    assert not found.rejected.any()


@pytest.mark.parametrize("count", slow_but([20], [20, 60]))
def test_order_roles_and_drift_do_not_matter(count):
    check = given(graphs, st.floats(-9, 9))(check_order_roles_and_drift)
    settings(deadline=None, max_examples=count)(check)()


def check_order_roles_and_drift(graph, slope):
    count, more, seed = graph
    rng = np.random.default_rng(seed)
    pairs = random_graph(rng, count, more)
    _, table, _ = simulated(pairs, count, wrong=0.1, seed=seed)
    found = solve_shifts(table)

    order = rng.permutation(len(pairs))
    columns = ("reference", "moving", "shift", "shift_std", "status")
    other = solve_shifts(replace(table, **{name: getattr(table, name)[order] for name in columns}))
    np.testing.assert_allclose(other.shift, found.shift, atol=1e-6)
    np.testing.assert_array_equal(other.rejected, found.rejected[order])

    swap = rng.random(len(pairs)) < 0.5
    other = solve_shifts(
        replace(
            table,
            reference=np.where(swap, table.moving, table.reference),
            moving=np.where(swap, table.reference, table.moving),
            shift=np.where(swap[:, None], -table.shift, table.shift),
        )
    )
    np.testing.assert_allclose(other.shift, found.shift, atol=1e-6)

    away = table.moving - table.reference
    other = solve_shifts(replace(table, shift=table.shift + slope * away[:, None]))
    anchors = np.array(found.anchors)[np.maximum(found.component, 0)]
    ramp = slope * (np.arange(count) - anchors)[:, None]
    np.testing.assert_allclose(other.shift, found.shift + ramp, atol=1e-6)


# Frames between


def with_gap(gap, frames=40, **options):
    pairs = select_pairs(frames, "window", width=6)
    truth, table, _ = simulated(pairs, frames, **options)
    lost = np.isin(pairs, gap).any(axis=1)
    table.status[lost] = PairStatus.LOW_NCC.code
    table.shift[lost] = table.shift_std[lost] = np.nan
    return truth, table


@pytest.mark.parametrize("method", ["linear", "spline"])
def test_frames_between_are_interpolated_on_request(method):
    truth, table = with_gap([0, 10, 20, 21, 39], std=0.01)
    plain = solve_shifts(table, anchor=5)
    found = solve_shifts(table, anchor=5, interpolate=method)
    inside, own = [10, 20, 21], np.isfinite(plain.shift).all(axis=1)
    assert (found.status[inside] == FrameStatus.INTERPOLATED.code).all()
    assert (found.status[[0, 39]] == FrameStatus.DISCONNECTED.code).all()
    assert np.isnan(found.shift[[0, 39]]).all()
    np.testing.assert_array_equal(found.shift[own], plain.shift[own])
    np.testing.assert_array_equal(found.residual, plain.residual)
    assert (found.component[inside] == 0).all()
    assert (found.shift_std[inside] > 3 * found.shift_std[[9, 19, 22]].max()).all()
    if method == "linear":
        np.testing.assert_allclose(found.shift[10], (found.shift[9] + found.shift[11]) / 2)
    error = (found.shift - (truth - truth[5]))[inside]
    assert (np.abs(error) < 4 * found.shift_std[inside]).all()
    assert "3 interpolated" in str(judge_series(table, found, 5))


@pytest.mark.parametrize("width", [1, 4])
def test_deviations_of_frames_between_are_true(width):
    ratios = []
    for seed in range(60):
        gap = np.arange(20, 20 + width)
        truth, table = with_gap(gap, seed=seed, std=0.05)
        found = solve_shifts(table, interpolate="linear")
        ratios.append((found.shift - truth)[gap] / found.shift_std[gap])
    assert 0.75 < np.std(ratios) < 1.25


def test_nothing_is_interpolated_between_parts():
    pairs = np.array([[0, 1], [3, 4]])
    _, table, _ = simulated(pairs, 5)
    found = solve_shifts(table, interpolate="linear")
    assert found.status[2] == FrameStatus.DISCONNECTED.code
    assert np.isnan(found.shift[2]).all()
