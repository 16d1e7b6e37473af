"""What boxes say of a pair, beside what it was made of."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.motion.fit_tasks import move_by_field, smooth_further
from steadystack.motion.local_pairs import BoxGrid, measure_boxes
from steadystack.parts import SmoothedMask, make_score_image
from steadystack.warp import LocalField, make_nodes
from support.scenes import Scene, ellipse

SHAPE = (120, 132)


def make_image(scene, shift, bend, rng, noise, mask):
    """A frame that lies at `shift`, moved back by that; its rows are bent by `bend` pixels."""
    y, x = np.indices(SHAPE).astype(float)
    wave = bend * np.sin(2 * np.pi * y / SHAPE[0])
    frame = scene.look(np.stack([y + shift[0], x + shift[1] + wave], axis=-1))
    frame = frame + rng.normal(0, noise, SHAPE)
    frame = np.where(mask, (frame - frame[mask].mean()) / frame[mask].std(), 0)
    ready = make_score_image(frame, SmoothedMask.make(mask), (0, 0))
    still = np.broadcast_to(np.asarray(shift, float), (2, 2, 2))
    return move_by_field(smooth_further(ready), LocalField(make_nodes(SHAPE, (2, 2)), still), SHAPE)


def test_boxes_tell_what_is_left_of_each():
    rng, scene, boxes = (
        np.random.default_rng(1),
        Scene(1, detail=3.0, waves=150),
        BoxGrid(SHAPE, (6, 4)),
    )
    mask = np.ones(SHAPE, bool)
    still = make_image(scene, (0, 0), 0.0, rng, 0.02, mask)
    bent = make_image(scene, (0.3, -0.4), 0.25, rng, 0.02, mask)
    step, variance, place = measure_boxes(still, bent, boxes)
    np.testing.assert_allclose(place, boxes.centres, atol=4)
    wave = 0.25 * np.sin(2 * np.pi * place[:, 0] / SHAPE[0])
    np.testing.assert_allclose(step[:, 1], wave, atol=0.06)
    np.testing.assert_allclose(step[:, 0], 0, atol=0.04)
    back, _, _ = measure_boxes(bent, still, boxes)
    np.testing.assert_allclose(back, -step, atol=0.03)
    negative = type(bent)(-bent.values, bent.weights, bent.begin)
    np.testing.assert_allclose(measure_boxes(still, negative, boxes, -1)[0], step, atol=1e-3)
    assert (variance > 0).all()


@pytest.mark.parametrize("noise", [0.1, 0.7])
def test_boxes_of_volumes_tell_steps_and_errors_along_three_axes(noise):
    shape, off = (24, 60, 64), []
    boxes, nodes = BoxGrid(shape, (1, 3, 3)), make_nodes(shape, (2, 2, 2))
    for seed in range(4):
        rng, scene = np.random.default_rng(seed), Scene(seed, ndim=3, detail=2.0, waves=60)
        pair = []
        for at in (np.zeros(3), np.array([0.1, -0.15, 0.1])):
            frame = scene.view(shape, at) + rng.normal(0, noise, shape)
            frame = (frame - frame.mean()) / frame.std()
            ready = smooth_further(
                make_score_image(frame, SmoothedMask.make(np.ones(shape, bool)), (0, 0, 0))
            )
            still = LocalField(nodes, np.zeros((2, 2, 2, 3)))
            pair.append(move_by_field(ready, still, shape))
        step, variance, place = measure_boxes(*pair, boxes)
        np.testing.assert_allclose(place, boxes.centres, atol=4)
        np.testing.assert_allclose(step.mean(axis=0), [0.1, -0.15, 0.1], atol=0.04)
        off.append((step - [0.1, -0.15, 0.1]) / np.sqrt(variance))
    assert 0.4 < np.sqrt(np.mean(np.square(off))) < 1.6


@pytest.mark.parametrize("noise", [0.1, 0.7])
def test_variances_are_as_large_as_errors(noise):
    off, boxes, mask = [], BoxGrid(SHAPE, (4, 5)), ellipse(SHAPE, 0.95)
    for seed in range(8):
        rng, scene = np.random.default_rng(seed), Scene(seed, detail=2.0, waves=100)
        pair = [make_image(scene, at, 0.0, rng, noise, mask) for at in ((0, 0), (0.4, -0.3))]
        step, variance, _ = measure_boxes(*pair, boxes)
        assert np.isnan(step[0]).all() == np.isnan(variance[0]).all()
        off.append(step / np.sqrt(variance))
    assert 0.75 < np.sqrt(np.nanmean(np.square(off))) < 1.3


def test_where_nothing_is_seen_nothing_is_reported():
    mask = np.zeros(SHAPE, bool)
    mask[:60] = True
    rng, scene = np.random.default_rng(3), Scene(3, detail=2.0, waves=100)
    pair = [make_image(scene, (0, 0), 0.0, rng, 0.2, mask) for _ in range(2)]
    step, variance, place = measure_boxes(*pair, BoxGrid(SHAPE, (4, 4)))
    seen = np.isfinite(step).all(axis=1).reshape(4, 4)
    np.testing.assert_array_equal(seen, [[True] * 4] * 2 + [[False] * 4] * 2)
    assert np.isnan(variance.reshape(4, 4, 2)[2:]).all()
    assert np.isnan(place.reshape(4, 4, 2)[2:]).all()
    flat = type(pair[0])(np.zeros_like(pair[0].values), pair[0].weights, (0, 0))
    assert measure_boxes(pair[0], flat, BoxGrid(SHAPE, (4, 4))) is None
