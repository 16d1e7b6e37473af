"""Where frames show no scene, of series whose field of view is known."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.defects import find_unseen, list_runs, standardize
from support.local import bent_series
from support.members import slow_but
from support.round_field import round_series
from support.scenes import Scene


def find(frames):
    valid = np.ones(frames[0].shape, bool)
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, 16).astype(int))]
    return find_unseen([standardize(f, valid) for f in chosen], [valid] * len(chosen))


@pytest.mark.parametrize("seeds", slow_but([range(20)], [range(20), range(100, 300)]))
def test_what_is_found_holds_all_that_is_unseen_and_little_else(seeds):
    kept, lost = [], []
    for seed in seeds:
        frames, _, seen = round_series(seed)
        found = find(frames)
        kept.append(1 - found[~seen].mean())
        lost.append(found[seen].mean())
    assert np.mean(np.array(kept) < 0.06) >= 0.8
    assert np.quantile(lost, 0.9) < 0.3


def test_where_all_changes_alike_nothing_is_found():
    noise = np.random.default_rng(0).normal(size=(16, 100, 110)).astype(np.float32)
    assert not find(noise).any()
    assert not find(np.zeros((16, 100, 110), np.float32)).any()


@pytest.mark.parametrize("seeds", slow_but([range(20)], [range(20), range(100, 300)]))
def test_of_a_scene_that_fills_the_frame_nothing_is_found(seeds):
    found = [find(round_series(seed, outside=False)[0]).any() for seed in seeds]
    assert np.mean(found) <= 0.03


@pytest.mark.parametrize("seeds", slow_but([range(3)], [range(3), range(100, 130)]))
def test_nor_is_anything_where_parts_of_it_move_less(seeds):
    found = [find(bent_series(seed, size=3.0).frames).any() for seed in seeds]
    assert np.mean(found) <= 0.03


@pytest.mark.parametrize("seed", slow_but([0], range(40)))
def test_a_scene_at_rest_behind_what_moves_is_seen(seed):
    rng = np.random.default_rng(seed)
    y, x = np.indices((120, 130))
    ground, ahead = Scene(seed, 2, 3.0), Scene(seed + 999, 2, 2.0)
    frames = []
    for t in range(20):
        at = np.array([40 + t, 60 - t / 2])
        inside = np.hypot(y - at[0], x - at[1]) < 20
        image = np.where(inside, 2 * ahead.view((120, 130), -at), ground.view((120, 130), (0, 0)))
        frames.append(image + rng.normal(0, 0.2, image.shape))
    assert not find(np.array(frames, np.float32)).any()


@pytest.mark.parametrize("shape", [(16, 16), (8, 400), (400, 8), (128, 128)])
@pytest.mark.parametrize("level", [0, 100])
def test_where_most_of_the_frame_never_changes_nothing_is_found(shape, level):
    rng, frames = np.random.default_rng(2), []
    texture = Scene(1, 2, 2.0).view((6, 6), (0, 0))
    for _ in range(8):
        frame = np.full(shape, level, np.float32)
        y, x = (int(rng.integers(side // 4, max(side // 4 + 1, side // 2 - 6))) for side in shape)
        frame[y : y + 6, x : x + 6] = (1000 + 200 * texture)[: shape[0] - y, : shape[1] - x]
        frames.append(frame)
    assert not find(np.array(frames)).any()
    assert not find(np.full((8, *shape), level, np.float32)).any()


def test_invalid_pixels_join_what_lies_behind_them_to_the_border():
    frames, _, seen = round_series(2)
    valid = np.ones_like(seen)
    valid[:12], valid[-12:], valid[:, :12], valid[:, -12:] = False, False, False, False
    found = find_unseen([standardize(f, valid) for f in frames], [valid] * len(frames))
    assert not (found & ~valid).any()
    assert found[valid & ~seen].mean() > 0.9


def test_planes_of_volumes_tell_together():
    frames, _, seen = round_series(3)
    valid = np.ones((2, *seen.shape), bool)
    flat = np.zeros_like(frames[0])
    volumes = [
        standardize(np.stack([frame, flat + n % 2]), valid) for n, frame in enumerate(frames)
    ]
    found = find_unseen(volumes, [valid] * len(volumes))
    assert found.shape == seen.shape
    assert found[~seen].mean() > 0.9


def test_runs_cover_just_what_is_chosen():
    chosen = np.random.default_rng(1).random((17, 23)) < 0.6
    chosen[4:8, 3:9] = True
    again = np.zeros(chosen.shape, int)
    for (y, below), (x, behind) in list_runs(chosen):
        again[y:below, x:behind] += 1
    np.testing.assert_array_equal(again, chosen)
    assert list_runs(np.ones((5, 6), bool)) == [((0, 5), (0, 6))]
    assert list_runs(np.zeros((5, 6), bool)) == []
