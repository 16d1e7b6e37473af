"""How frames that are only shifted rotate and stretch between distant frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench_verdict import noisy, views, wander
from steadystack.checks.probing import LEAST_LINEAR_PX, check_linear_pairs
from steadystack.config import make_config
from steadystack.measure import measure_pairs
from steadystack.model import PairTable, as_stack
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.solve import solve_shifts
from support.members import slow_but
from support.turning import turned_series, turned_volumes

COUNT = 16
APART = 10  # median separation of the pairs that are measured
STEP = 0.08  # degree a frame: corners move by 0.5 px in a pair of the run, 1.8 px in the series

SHAPES = {"small": ((112, 120), STEP), "large": ((290, 330), STEP / 2)}


def measured(frames, mask=None, pixel_size=None):
    source = ArrayFrames.checked(as_stack(frames), mask)
    config = make_config({"input": {"path": "memory"}, "register": {"max_shift": 12}})
    setup = set_up(config, make_series(source))
    table = PairTable.unmeasured(setup.pairs, source.frame_count, frames.ndim - 1)
    *_, (table, _) = measure_pairs(source, table, setup.method, setup.size)
    return source, setup.method, table, solve_shifts(table), pixel_size


def motion_of(frames, mask=None, pixel_size=None):
    return check_linear_pairs(*measured(frames, mask, pixel_size))


def find_rms(matrix, shape):
    """By how much a linear motion moves the pixels of a frame, root mean square."""
    places = np.indices(shape).reshape(len(shape), -1)
    places = places - places.mean(axis=1, keepdims=True)
    return np.sqrt(((matrix @ places) ** 2).sum(axis=0).mean())


@pytest.mark.parametrize("size", slow_but(["small"], SHAPES))
def test_a_slow_rotation_is_measured(size):
    """Boxes of pixels are averaged in the larger frames."""
    shape, step = SHAPES[size]
    angle = np.deg2rad(APART * step)
    true = find_rms(np.array([[0, angle], [-angle, 0]]), shape)
    found = motion_of(turned_series(count=COUNT, shape=shape, step=step).frames)
    assert found.strengths["turn"].size == pytest.approx(true, rel=0.2)
    assert found.strengths["turn"].std < true / 10
    assert list(found.reported) == ["turn"]
    assert found.suits == "rigid"


@pytest.mark.slow
def test_the_pairs_of_a_long_series_are_far_apart():
    """Of 250 frames that turn slowly, pairs 8 and 16 apart hardly differ, and are not used."""
    shape, turn = (64, 64), np.deg2rad(0.008)
    series = turned_series(count=250, shape=shape, step=0.008, noise=0.2)
    true = find_rms(100 * np.array([[0, turn], [-turn, 0]]), shape)  # pairs 32 to 187 apart
    found = motion_of(series.frames)
    assert found.strengths["turn"].size == pytest.approx(true, rel=0.4)
    assert found.suits == "rigid"


def test_only_the_middle_of_large_frames_is_measured(monkeypatch):
    monkeypatch.setattr("steadystack.checks.sampling.CHECK_PIXELS", 80 * 80)
    angle = np.deg2rad(APART * STEP)
    true = find_rms(np.array([[0, angle], [-angle, 0]]), (160, 160))
    found = motion_of(turned_series(count=COUNT, shape=(160, 160), step=STEP).frames)
    assert found.strengths["turn"].size == pytest.approx(true, rel=0.25)


def test_rotations_of_volumes_are_measured_in_pixels_of_the_stack(monkeypatch):
    """Boxes are averaged in planes only: rotations out of the plane keep their size."""
    monkeypatch.setattr("steadystack.checks.sampling.COARSE_PIXELS", 20 * 28 * 30)
    for step in ((0.5, 0, 0), (0, 0.5, 0)):
        series = turned_volumes(step=step)
        shape = series.frames.shape[1:]
        true = find_rms(series.linear[3] - series.linear[0], shape)  # the median pair is 3 apart
        found = motion_of(series.frames, pixel_size=(1.0, 1.0, 1.0)).strengths["turn"]
        assert found.size == pytest.approx(true, rel=0.25)


def test_magnification_and_shear_are_told_apart():
    grows = turned_series(count=COUNT, step=0, scale=0.0012).frames
    assert motion_of(grows).suits == "similarity"
    sheared = turned_series(count=COUNT, step=0, shear=0.0018).frames
    assert "shear" in motion_of(sheared).reported


@pytest.mark.parametrize("seed", slow_but([5], range(5, 15)))
def test_what_only_drifts_has_no_linear_motion(seed):
    rng = np.random.default_rng(seed)
    found = motion_of(noisy(rng, views(rng, wander(rng)[:COUNT])))
    assert not found.reported
    assert all(each.size < 3 * each.std for each in found.strengths.values())


def test_an_object_that_creeps_is_no_rotation():
    rng = np.random.default_rng(6)
    truth = wander(rng)[:COUNT]
    front = views(rng, truth + np.arange(COUNT)[:, None] * np.array([0.0, 0.08]))
    frames = views(rng, truth)
    frames[:, :38, :38] = front[:, :38, :38]
    assert not motion_of(noisy(rng, frames)).reported


def test_a_mask_and_a_short_series_suffice():
    series = turned_series(count=6, step=0.4)
    y, x = np.indices(series.frames.shape[1:])
    mask = np.hypot(y - 60, x - 50) < 45
    assert motion_of(series.frames, mask).suits == "rigid"


def test_small_motion_is_measured_and_not_reported():
    found = motion_of(turned_series(count=COUNT, step=0.012, noise=0.02).frames)
    turn = found.strengths["turn"]
    assert 4 * turn.std < turn.size < LEAST_LINEAR_PX
    assert not found.reported


def test_what_cannot_be_compared_is_not_known():
    frames = turned_series(count=3, step=0.4).frames
    assert motion_of(frames) is None  # three pairs
    source, method, table, solved, sizes = measured(turned_series(count=6, step=0.4).frames)
    negative = replace(table, ncc=-table.ncc)
    assert check_linear_pairs(source, method, negative, solved, sizes) is None
