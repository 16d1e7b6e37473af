"""Smooth fields of what boxes say, beside fields that were drawn."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.motion.local_prior import BoxShifts, estimate_prior, find_fields
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
