"""Pixels of a camera that stand out wherever the scene is."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.defects import count_places, find_outstanding, select_staying, standardize
from steadystack.defects.pixel_order import average_middle
from support.defective import defective_series
from support.members import slow_but
from support.scenes import Scene


def look(frames, shifts, valid=None):
    """What stands out, and what of it stays, by the true positions of the scene."""
    valid = np.ones(frames.shape, bool) if valid is None else valid
    images = np.stack([standardize(*one) for one in zip(frames, valid, strict=True)])
    outstanding = find_outstanding(images, valid)
    return outstanding, select_staying(images, valid, outstanding, shifts)


@pytest.mark.parametrize("seeds", slow_but([range(12)], [range(12), range(12, 200)]), ids=str)
def test_defects_are_found_and_hardly_anything_else(seeds):
    found = there = wrong = 0
    for seed in seeds:
        frames, shifts, pixels = defective_series(seed)
        staying = look(frames, shifts)[1]
        found += np.isin(pixels, staying).sum()
        there += len(pixels)
        wrong += (~np.isin(staying, pixels)).sum()
    assert found > 0.97 * there
    assert wrong < len(seeds)  # of 9216 pixels each


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_reported_in_a_scene_that_hardly_moves(seed):
    frames, shifts, pixels = defective_series(seed, rate=0.05)
    outstanding, staying = look(frames, shifts)
    assert np.isin(pixels, outstanding).any()
    assert count_places(shifts) < 3
    assert staying.size == 0
    nowhere = select_staying(frames[:0], frames[:0] > 0, outstanding, shifts[:0])
    assert nowhere.size == 0


def test_details_that_move_are_no_defects():
    """Bright points, which stand out where they are, and where they stay for half of the time."""
    frames, shifts, _ = defective_series(3, count=0)
    points = np.random.default_rng(0).integers(4, 92, (60, 2))
    for frame, shift in zip(frames, shifts, strict=True):
        at = np.rint(points - shift).astype(int)
        at = at[((at >= 0) & (at < 96)).all(axis=1)]
        frame[tuple(at.T)] += 3000
    assert look(frames, shifts)[1].size == 0
    waits = np.vstack([np.zeros((25, 2)), np.arange(1, 16)[:, None] * [0.0, 1.0]])
    frames = np.stack([np.roll(frames[0], -int(x), 1) for _, x in waits])
    outstanding, staying = look(frames, waits)
    assert outstanding.size >= 50
    assert staying.size == 0


def spotty_scene(seed):
    """Frames of strong detail without a defect, that move by few pixels, and their shifts."""
    rng = np.random.default_rng(seed)
    count, noise = int(rng.integers(12, 33)), rng.choice([0.03, 0.1, 0.5])
    scene, by = Scene(seed, detail=rng.uniform(0.7, 6)), rng.uniform(0.5, 6)
    ways = [
        rng.normal(0, by, (count, 2)),
        np.cumsum(rng.normal(0, by / 2, (count, 2)), axis=0),
        np.outer(np.arange(count) * by / 3, [0.6, 0.8]),
    ]
    shifts = ways[rng.integers(3)]
    frames = np.stack([scene.view((96, 96), shift) for shift in shifts])
    if rng.random() < 0.4:
        frames = np.exp(1.5 * frames / frames.std())
    return frames / frames.std() + noise * rng.normal(size=frames.shape), shifts


@pytest.mark.parametrize("seeds", slow_but([range(20)], [range(20), range(20, 200)]), ids=str)
def test_of_strong_details_few_are_called_defects(seeds):
    counts = np.array([look(*spotty_scene(seed))[1].size for seed in seeds])
    assert counts.max() < 50  # of 9216 pixels, and of up to 184 that stand out
    chance = 3 * np.sqrt(0.16 * 0.84 / len(seeds))
    assert (counts > 0).mean() < 0.16 + chance  # as in 200 of them


def test_gains_offsets_and_masks_of_frames_change_nothing():
    frames, shifts, pixels = defective_series(5)
    rng = np.random.default_rng(0)
    expected = look(frames, shifts)[1]
    scaled = frames * rng.uniform(0.5, 2, (40, 1, 1)) + rng.uniform(-500, 500, (40, 1, 1))
    np.testing.assert_array_equal(look(scaled, shifts)[1], expected)
    valid = np.ones(frames.shape, bool)
    valid[:, :, :30] = False
    valid[rng.random(frames.shape) < 0.05] = False
    frames[~valid] = np.nan
    staying = look(frames, shifts, valid)[1]
    inside = pixels[pixels % 96 >= 33]  # beside the mask nothing is compared
    assert np.isin(inside, staying).mean() > 0.9
    assert (staying % 96 >= 32).all()


def test_frames_without_a_valid_pixel_have_none():
    nothing = np.zeros((9, 8, 8), bool)
    outstanding, staying = look(np.full(nothing.shape, np.nan), np.zeros((9, 2)), nothing)
    assert outstanding.size == staying.size == 0


def test_a_volume_is_looked_at_plane_by_plane():
    frames, shifts, pixels = defective_series(7)
    volumes = np.stack([frames, np.roll(frames, 40, axis=2)], axis=1)
    three = np.hstack([np.zeros((40, 1)), shifts])
    staying = look(volumes, three)[1]
    assert np.isin(pixels, staying).mean() > 0.9
    assert abs(len(staying) - 2 * len(pixels)) <= 2


@pytest.mark.parametrize("shape", [(1, 20, 7), (5, 2, 3), (9, 3, 40, 33), (16, 130, 201)], ids=str)
def test_the_middle_half_is_that_of_sorted_values(shape):
    frames = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    frames[frames < -1] = 0  # many alike
    kept, quarter = frames.copy(), shape[0] // 4
    expected = np.sort(frames, axis=0)[quarter : shape[0] - quarter].mean(axis=0)
    np.testing.assert_array_equal(average_middle(frames), expected)
    np.testing.assert_array_equal(frames, kept)
