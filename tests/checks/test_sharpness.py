"""The mean of the frames, as they are and moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench_verdict import noisy, views, wander
from steadystack.checks import check_sharpness
from steadystack.config import make_config
from steadystack.model import PairStatus, PairTable, as_stack
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.solve import solve_shifts


def sharpness_of(frames, shifts, mask=None, **preprocess):
    """The check with these shifts (frames, axes)."""
    settings = {"input": {"path": "memory"}, "register": {"max_shift": 24}}
    config = make_config(settings | {"preprocess": preprocess})
    setup = set_up(config, make_series(ArrayFrames.checked(as_stack(frames), mask)))
    table = PairTable.unmeasured(setup.pairs, len(frames), 2)
    table.status[:] = PairStatus.OK.code
    table.shift[:] = shifts[table.moving] - shifts[table.reference]
    table.shift_std[:] = 0.01
    return check_sharpness(setup, replace(solve_shifts(table), shift=shifts))


def test_right_shifts_sharpen_the_mean_and_wrong_ones_blur_it():
    rng = np.random.default_rng(1)
    truth = wander(rng, 0.3)
    frames = noisy(rng, views(rng, truth), 1.0)
    right, wrong = sharpness_of(frames, truth), sharpness_of(frames, 3 * truth)
    assert right.frames == wrong.frames == 32
    assert right.moved > 1.2 * right.still
    assert wrong.still - wrong.moved > max(0.1 * wrong.still, 10 * wrong.error)


def test_frames_that_hardly_move_are_as_sharp_either_way():
    rng = np.random.default_rng(2)
    truth = rng.normal(0, 0.05, (40, 2))
    found = sharpness_of(noisy(rng, views(rng, truth)), truth)
    assert found.moved == pytest.approx(found.still, rel=0.005)


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_contrast_but_for_its_error(seed):
    rng = np.random.default_rng(seed)
    found = sharpness_of(rng.normal(size=(40, 96, 96)), rng.normal(0, 2, (40, 2)))
    assert abs(found.still) < 4 * found.error
    assert abs(found.moved) < 4 * found.error


def test_fine_detail_that_pairs_do_not_see_is_not_compared():
    """It stands still, and smoothed for measuring it is no detail of the scene that moves."""
    rng = np.random.default_rng(7)
    truth = wander(rng, 0.3)
    frames = views(rng, truth, (5.0, 12.0)) + rng.normal(size=(128, 128))
    as_they_are, smoothed = sharpness_of(frames, truth), sharpness_of(frames, truth, low_pass=4.0)
    assert as_they_are.still - as_they_are.moved > 10 * as_they_are.error
    assert smoothed.moved > smoothed.still


def test_what_is_masked_has_no_part_in_it():
    rng = np.random.default_rng(3)
    truth, mask = wander(rng, 0.3), np.ones((128, 128), bool)
    frames = noisy(rng, views(rng, truth))
    mask[40:80, 30:90] = False
    dirty = np.where(mask, frames, 50 * rng.random((128, 128)))
    clean, masked = sharpness_of(frames, truth, mask), sharpness_of(dirty, truth, mask)
    assert (masked.still, masked.moved) == pytest.approx((clean.still, clean.moved), rel=1e-9)


def test_too_few_frames_tell_nothing():
    rng = np.random.default_rng(4)
    assert sharpness_of(rng.normal(size=(6, 64, 64)), np.zeros((6, 2))) is None
    far = np.arange(20)[:, None] * np.array([40.0, 0.0])
    assert sharpness_of(rng.normal(size=(20, 64, 64)), far) is None
