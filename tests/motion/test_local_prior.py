"""Smooth fields of what boxes say, beside fields that were drawn."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.motion import local_prior
from steadystack.motion.local_prior import (
    BoxShifts,
    estimate_prior,
    find_fields,
    find_fields_in_time,
)
from support.members import slow_but

SIDE, COUNT = 200.0, 7


def draw(seed, frames=12, size=0.8, noise=0.2, stated=1.0, common=0.05):
    """Boxes of frames that follow waves, and the truth at places between them."""
    rng = np.random.default_rng(seed)
    along = (np.arange(COUNT) + 0.5) * SIDE / COUNT
    places = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)
    phase, sizes = rng.uniform(0, 6, 2), size * np.linspace(0, 1, frames)
    whole = rng.normal(0, common, (frames, 1, 2))

    def truth(at):
        wave = np.sin(2 * np.pi * at[:, ::-1] / SIDE + phase)
        return sizes[:, None, None] * wave + whole

    variance = np.broadcast_to(noise**2 * rng.uniform(0.5, 2, (1, len(places), 1)), (frames, 49, 2))
    off = truth(places) + rng.normal(0, 1, variance.shape) * np.sqrt(variance)
    told = BoxShifts(places, off, variance / stated**2, np.full((frames, 2), common))
    return told, truth


@pytest.mark.parametrize("stated", [1.0, 1.5])
def test_fields_are_nearer_than_boxes_and_errors_hold(stated):
    ratios, gains = [], []
    places = np.random.default_rng(9).uniform(20, 180, (30, 2))
    for seed in range(4):
        boxes, truth = draw(seed, stated=stated)
        prior = estimate_prior(boxes, SIDE, SIDE / COUNT)
        assert not prior.is_flat
        assert prior.size[-1] > 2 * prior.size[1]
        mean, std = find_fields(boxes, prior, places)
        off = mean - truth(places)
        ratios.append(off / std)
        gains.append(np.sqrt(np.mean(off**2)))
    assert 0.7 < np.sqrt(np.mean(np.square(ratios))) < 1.4
    assert max(gains) < 0.15  # boxes are off by 0.2


@pytest.mark.parametrize("count", slow_but([5], [5, 40]))
def test_without_a_field_there_is_none(count):
    flat = 0
    for seed in range(count):
        boxes, _ = draw(seed, size=0.0)
        prior = estimate_prior(boxes, SIDE, SIDE / COUNT)
        flat += prior.is_flat
    assert flat >= 0.95 * count
    mean, std = find_fields(boxes, prior, boxes.places)
    assert (mean == 0).all()
    np.testing.assert_allclose(std, 0.05)


def test_far_from_what_is_seen_it_is_the_shift_of_the_frame():
    boxes, truth = draw(3, noise=0.05)
    seen = boxes.places[:, 1] < 80
    off = np.where(seen[:, None], boxes.off, np.nan)
    off[5] = np.nan  # a frame of which nothing is known
    half = BoxShifts(boxes.places, off, boxes.variance, boxes.common)
    prior = estimate_prior(half, SIDE, SIDE / COUNT)
    mean, std = find_fields(half, prior, np.array([[100.0, 40.0], [100.0, 5000.0]]))
    near = truth(np.array([[100.0, 40.0]]))
    assert np.abs(mean[-1, 0] - near[-1, 0]).max() < 0.15
    assert np.abs(mean[-1, 1]).max() < 0.1
    assert (std[-1, 1] > 3 * std[-1, 0]).all()
    assert (mean[5] == 0).all()
    assert estimate_prior(half.select(np.array([5])), SIDE, SIDE / COUNT).is_flat


def draw_in_time(seed, growth, noise=0.25, frames=20, unseen=0.1):
    """Boxes of frames whose waves have these sizes, relative to the first, with the noise of it."""
    rng = np.random.default_rng(seed)
    along = (np.arange(COUNT) + 0.5) * SIDE / COUNT
    places = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)
    phase = rng.uniform(0, 6, 2)

    def truth(at):
        return growth[:, None, None] * np.sin(2 * np.pi * at[:, ::-1] / SIDE + phase)

    own = rng.normal(0, noise, (frames, len(places), 2))
    off, variance = truth(places) + own - own[0], np.full(own.shape, 2 * noise**2)
    variance[0] = 0
    some = rng.random((frames, len(places))) < unseen
    some[0] = False
    off[some], variance[some] = np.nan, np.nan
    return BoxShifts(places, off, variance, np.zeros((frames, 2))), truth


def test_frames_that_deform_gradually_help_each_other():
    places, ratios = np.random.default_rng(9).uniform(20, 180, (30, 2)), []
    for seed in range(2):
        boxes, truth = draw_in_time(seed, np.linspace(0, 1.5, 20))
        prior = estimate_prior(boxes, SIDE, SIDE / COUNT)
        alone, _ = find_fields(boxes, prior, places)
        mean, std, chain = find_fields_in_time(boxes, prior, places, 0)
        assert chain.memory >= 0.95
        assert (mean[0] == 0).all()
        assert (std[0] < 1e-9).all()
        errors = [np.sqrt(np.mean((each - truth(places))[1:] ** 2)) for each in (mean, alone)]
        assert errors[0] < 0.75 * errors[1]
        ratios.append((mean - truth(places))[1:] / std[1:])
    assert 0.7 < np.sqrt(np.mean(np.square(ratios))) < 1.4


@pytest.mark.parametrize(("noise", "unseen"), [(0.01, 0.1), (0.05, 0.1), (0.05, 0.8)])
def test_what_is_seen_clearly_is_not_smoothed_away(noise, unseen):
    places = np.random.default_rng(9).uniform(20, 180, (30, 2))
    boxes, truth = draw_in_time(6, np.linspace(0, 2.0, 10), noise, frames=10, unseen=unseen)
    prior = estimate_prior(boxes, SIDE, SIDE / COUNT)
    alone, _ = find_fields(boxes, prior, places)
    mean, _, chain = find_fields_in_time(boxes, prior, places, 0)
    assert chain.memory >= 0.8
    errors = [np.sqrt(np.mean((each - truth(places))[1:] ** 2)) for each in (mean, alone)]
    assert errors[0] < 1.05 * errors[1]


@pytest.mark.parametrize("seed", range(3))
def test_frames_that_deform_each_by_themselves_are_found_one_by_one(seed):
    growth = np.random.default_rng(seed).normal(0, 1, 20)
    boxes, _ = draw_in_time(seed, growth - growth[0])
    prior = estimate_prior(boxes, SIDE, SIDE / COUNT)
    alone = find_fields(boxes, prior, boxes.places)
    mean, std, chain = find_fields_in_time(boxes, prior, boxes.places, 0)
    assert chain is None
    np.testing.assert_array_equal(mean, alone[0])
    np.testing.assert_array_equal(std, alone[1])


def test_what_is_likeliest_is_what_dense_matrices_say():
    """The likelihood, and the answer, of a few boxes and frames from the whole covariance."""
    rng, frames, count = np.random.default_rng(4), 6, 5
    boxes = BoxShifts(
        rng.uniform(0, 50, (count, 2)),
        rng.normal(size=(frames, count, 1)),
        rng.uniform(0.1, 0.3, (frames, count, 1)),
        rng.uniform(0.1, 0.2, (frames, 1)),
    )
    apart = np.linalg.norm(boxes.places[:, None] - boxes.places, axis=2)
    among = np.exp(-apart / 20)
    values, vectors = np.linalg.eigh(among)
    patterns = np.column_stack([vectors * np.sqrt(values), np.ones(count)])
    chain = local_prior.Chain(0.7, 0.9, 1.3)
    time = 0.9 ** np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
    field = np.kron(0.7**2 * time, among)
    common = np.kron(np.diag(boxes.common[:, 0] ** 2), np.ones((count, count)))
    of_anchor = 1e6 * np.kron(np.ones((frames, frames)), np.eye(count))
    noise = np.diag(1.3 * (boxes.variance.ravel() + local_prior.TINY))
    whole, off = field + common + of_anchor + noise, boxes.off.ravel()
    found, sampled = chain.solve(boxes, patterns, 0)
    samples = np.stack(list(sampled), axis=2)
    known = field + common
    expected = (known @ np.linalg.solve(whole, off)).reshape(frames, count)
    np.testing.assert_allclose(found @ patterns.T, expected, atol=1e-5)
    covariance = known - known @ np.linalg.solve(whole, known)
    spread = np.einsum("fks,bk->fbs", samples, patterns)
    off_anchor = (spread - spread[0])[1:].std(axis=2).ravel()
    pick = np.eye(frames * count)[count:] - np.tile(np.eye(frames * count)[:count], (frames - 1, 1))
    stated = np.sqrt(np.diag(pick @ covariance @ pick.T))
    np.testing.assert_allclose(off_anchor, stated, rtol=0.25)

    def weigh(size, memory):
        time = memory ** np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
        dense = np.kron(size**2 * time, among) + common + of_anchor + noise
        return -(np.linalg.slogdet(dense)[1] + off @ np.linalg.solve(dense, off)) / 2

    rows = local_prior._make_rows(boxes, patterns, 0)
    likely = [
        local_prior.Chain(size, memory, 1.3).compute_likelihood(boxes.common[:, 0], *rows)
        for size, memory in ((0.7, 0.9), (1.2, 0.3))
    ]
    assert likely[0] - likely[1] == pytest.approx(weigh(0.7, 0.9) - weigh(1.2, 0.3), rel=1e-3)
