"""Parts of the frame that go their own way are left out by the majority, and only those."""

from __future__ import annotations

import numpy as np
import pytest

from bench_verdict import moving_object
from steadystack import estimate_shifts
from steadystack.parts import compute_jackknife_std
from steadystack.solve import weigh_parts
from steadystack.solve.majority import find_majority

FRAMES, FREE = 30, np.arange(30) > 0


def walks(seed, parts=9, size=0.05, ndim=2):
    """What parts say of the frames' shifts: the truth, 0, and walks of their own."""
    rng = np.random.default_rng(seed)
    tracks = np.cumsum(rng.normal(0, size, (FRAMES, parts, ndim)), axis=0)
    return tracks - tracks[0]


def joined(tracks):
    """The shift of the whole, and by how much each part moves it."""
    shift = tracks.mean(axis=1)
    return shift, (tracks - shift[:, None]) / tracks.shape[1]


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("parts", [9, 8, 5])
def test_parts_that_go_with_the_others_all_count(parts):
    """Of 200 series with nothing but walks of their parts hardly one loses any."""
    found = [find_majority(*joined(walks(seed, parts)), FREE) for seed in range(200)]
    assert sum(one is not None for one in found) <= 4


@pytest.mark.parametrize(("parts", "strange"), [(9, 1), (9, 2), (9, 3), (8, 2)])
def test_parts_that_go_their_own_way_do_not_count(parts, strange):
    left, before, errors = [], [], []
    for seed in range(40):
        tracks = walks(seed, parts, ndim=3 if parts == 8 else 2)
        tracks[:, :strange] += np.linspace(0, 6, FRAMES)[:, None, None]
        shift, step = joined(tracks)
        found = find_majority(shift, step, FREE)
        others = tracks[:, strange:].mean(axis=1)
        left.append(np.median(found.part_weight, axis=0))
        before.append(rms(shift))
        errors.append(rms(found.shift - others))
        np.testing.assert_allclose(found.part_step.sum(axis=1), 0, atol=1e-4)
        assert (found.shift[0] == 0).all()
        stated = np.hypot(compute_jackknife_std(found.part_step), found.step_error)
        assert rms(found.shift[1:] / stated[1:]) < 2
    assert (np.array(left)[:, :strange] == 0).mean() > 0.95
    assert (np.array(left)[:, strange:] > 0.3).mean() > 0.9
    assert np.median(errors) < 0.1 * np.median(before)


def test_there_is_no_majority_of_few_parts_or_of_what_is_not_known():
    shift, step = joined(walks(0, 4))
    assert find_majority(shift, step, FREE) is None
    shift, step = joined(
        walks(0) + np.arange(9)[:, None] * np.linspace(0, 3, FRAMES)[:, None, None]
    )
    assert find_majority(shift, np.full_like(step, np.nan), FREE) is None
    assert find_majority(shift, step, FREE) is None  # all go ways of their own


def test_a_part_that_does_not_count_in_a_frame_does_not_in_its_pairs():
    rng = np.random.default_rng(1)
    tracks = rng.normal(0, 1, (6, 9, 2))
    shift, step = joined(tracks)
    pairs = np.array([(0, 1), (1, 2), (0, 2)] * 2)
    weight = np.ones((3, 9))
    np.testing.assert_allclose(weigh_parts(shift, step, pairs, weight), shift)
    weight[2, 4] = 0
    others = np.delete(tracks, 4, axis=1).mean(axis=1)
    expected = np.where((pairs == 2).any(axis=1)[:, None], others, shift)
    np.testing.assert_allclose(weigh_parts(shift, step, pairs, weight), expected)
    unknown = np.full((3, 9), np.nan)
    np.testing.assert_array_equal(weigh_parts(shift, step, pairs, unknown), shift)
    step[:] = np.nan
    np.testing.assert_array_equal(weigh_parts(shift, step, pairs, weight), shift)


@pytest.mark.slow  # integration/test_majority_runs.py has one of them always
@pytest.mark.parametrize(("area", "gain"), [(0.05, 4), (0.12, 2.5), (0.16, 2), (0.25, 1.4)])
def test_an_object_pulls_less(area, gain):
    """It moves by a pixel a frame in front of the scene, over so much of the frame.

    The pilot is not to leave its parts out before pairs are measured.
    """
    errors = []
    for seed in (1, 2):
        case = moving_object(np.random.default_rng(seed), area)
        for leave_out in (False, True):
            solve = {"leave_out_parts": leave_out}
            found = estimate_shifts(case.frames[:24], max_shift=24, parts=None, solve=solve)
            error = found["frame_shift"].to_numpy() - (case.truth - case.truth[0])[:24]
            stated = found["frame_shift_std"].to_numpy()
            assert rms(error[1:] / stated[1:]) < 2
            errors.append(rms(error))
            assert np.isfinite(found["frame_part_weight"]).any() == leave_out
        assert "parts_left_out" in found.attrs["verdict_reasons"]
    assert sum(errors[::2]) > gain * sum(errors[1::2])
