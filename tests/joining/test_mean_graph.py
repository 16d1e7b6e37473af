"""Means of series measured against each other: offsets, their errors, what is not found."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.joining import join_solved
from steadystack.joining.mean_graph import measure_means
from steadystack.model import FrameStatus
from support.members import slow_but
from support.scenes import Scene
from support.sessions import COUNT, SIZE, session, solved, three_sessions


def find_errors(seed):
    """Errors of all frames relative to the mean of the first series, and of the means, px."""
    sessions = three_sessions(seed)
    runs = [solved(name, frames) for name, (frames, _) in zip("abc", sessions, strict=True)]
    joined = join_solved(runs).dataset
    error = joined["frame_shift"].to_numpy() - np.concatenate([truth for _, truth in sessions])
    error -= error[runs[0].members[0]].mean(axis=0)
    of_means = [
        error[COUNT * number :][:COUNT][run.members[0]].mean(axis=0)
        for number, run in enumerate(runs)
    ]
    return error, np.array(of_means), joined


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


@pytest.mark.parametrize("seeds", slow_but([4], [4, 40]))
def test_errors_against_the_truth_are_as_stated(seeds):
    frames, offsets, between = [], [], []
    for seed in range(seeds):
        error, of_means, joined = find_errors(seed)
        assert np.isfinite(error).all()
        frames.append(error / joined["frame_shift_std"].to_numpy())
        offsets.append(of_means[1:] / joined["mean_offset_std"].to_numpy()[1:])
        covariance = joined["mean_offset_covariance"].to_numpy()
        variance = covariance[1, 1] + covariance[2, 2] - 2 * covariance[1, 2]
        between.append((of_means[1] - of_means[2]) / np.sqrt(variance))
    for ratios in (frames, offsets, between):
        assert 0.7 < rms(ratios) < 1.4


def test_the_covariance_is_that_of_three_alike_pairs():
    """By hand: three pairs of variance v between three means, one of them held."""
    graph = measure_means([solved("a", frames) for frames, _ in three_sessions(3)])
    assert graph.anchor == 0
    covariance = graph.covariance[..., 0]
    assert not covariance[0].any()
    assert not covariance[:, 0].any()
    np.testing.assert_allclose(covariance, covariance.T)
    correlation = covariance[1, 2] / np.sqrt(covariance[1, 1] * covariance[2, 2])
    weight = graph.solved["pair_weight"].to_numpy()  # of (0, 1), (0, 2), (1, 2)
    by_hand = weight[2] / np.sqrt((weight[0] + weight[2]) * (weight[1] + weight[2]))
    assert correlation == pytest.approx(by_hand, abs=0.02)


@pytest.mark.parametrize("kind", slow_but(["shading"], ["another scene", "noise", "shading"]))
def test_a_series_of_something_else_has_no_place(kind):
    rng = np.random.default_rng(5)
    (first, _), (second, _), _ = three_sessions(1)
    other, _ = session(Scene(77, waves=120), rng)
    if kind == "noise":
        other = 1000 + rng.normal(0, 100, first.shape)
    if kind == "shading":
        place = np.indices(SIZE) / np.reshape(SIZE, (2, 1, 1)) - 0.5
        shading = 1 / (1 + 6 * (place**2).sum(axis=0))
        first, second, other = (frames * shading for frames in (first, second, other))
    runs = [solved(name, some) for name, some in zip("abc", (first, second, other), strict=True)]
    graph = measure_means(runs)
    assert np.isfinite(graph.offset[:2]).all()
    assert np.isnan(graph.offset[2:]).all()
    assert (graph.status[2:] != FrameStatus.OK.code).all()
    assert not graph.make_outcome(2, "").fits[0].is_known
    assert graph.make_outcome(1, "").fits[0].is_known


def test_where_the_first_is_of_something_else_the_second_keeps_its_shifts():
    (first, _), (second, _), _ = three_sessions(1)
    other, _ = session(Scene(77, waves=120), np.random.default_rng(5))
    graph = measure_means([solved("other", other), solved("b", first), solved("c", second)])
    assert graph.anchor == 1
    np.testing.assert_array_equal(graph.offset[1], 0)
    assert np.isnan(graph.offset[0]).all()
    assert np.isfinite(graph.offset[2]).all()


def test_parts_of_a_series_without_a_pair_between_them_are_joined_by_another():
    scene, rng = Scene(4, waves=120), np.random.default_rng(4)
    early, truth = session(scene, rng)
    late, truth_late = session(scene, rng, (16, -15))  # further than pairs are searched
    whole, truth_whole = session(scene, rng, (8, -7))
    broken = solved("broken", np.concatenate([early, late]))
    assert len(broken.members) == 2
    joined = join_solved([broken, solved("whole", whole)]).dataset
    assert joined["mean_component"].to_numpy().tolist() == [0, 1, 0]
    assert (joined["component"] == 0).all()
    truth = np.concatenate([truth, truth_late, truth_whole])
    error = joined["frame_shift"].to_numpy() - (truth - truth[0])
    assert np.abs(error).max() < 0.15


def test_nothing_is_joined_where_nothing_is_found():
    rng = np.random.default_rng(6)
    runs = [
        solved(name, session(Scene(seed, waves=120), rng)[0]) for name, seed in (("a", 8), ("b", 9))
    ]
    joined = join_solved(runs)
    assert joined.each == {}
    assert np.isnan(joined.dataset["frame_shift"]).all()
    assert (joined.dataset["frame_status"] == FrameStatus.DISCONNECTED.code).all()
    assert (joined.dataset["component"] == -1).all()
    assert joined.dataset.attrs["verdict"] == "unreliable"
    assert joined.dataset.attrs["verdict_reasons"].count("series_not_joined") == 2
