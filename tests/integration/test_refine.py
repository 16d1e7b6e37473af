"""Refinement: every frame against the mean of its neighbours, without itself."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import steadystack
from steadystack import stages
from steadystack.config import make_config
from steadystack.dataset import read_frames, read_pairs
from steadystack.measure import refinement as polish
from steadystack.model import FrameStatus, as_stack
from steadystack.outputs import write_image, write_stack
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames
from support.members import slow_but
from support.scenes import Scene, ellipse, rough
from support.settings import config_of

pytestmark = pytest.mark.usefixtures("no_look_at_what_stands_still")

SIZE = (72, 80)
MASK = ellipse(SIZE, 0.95)
# Nothing for a pilot to find.
AS_IT_IS = {
    "defects": None,
    "parts": None,
    "preprocess": {"low_pass": None, "high_pass": None},
}


def series(seed: int, count: int, noise: float):
    """Frames with artefacts outside of the mask, true shifts, and the known scene's bound, px²."""
    rng, world = np.random.default_rng(seed), Scene(seed)
    truth = np.cumsum(rng.normal(0, 0.7, (count, 2)), axis=0)
    truth -= truth[0]
    still = np.where(MASK, 0, 30 * rough(seed + 50, SIZE, 1.5))
    views = np.stack([np.where(MASK, world.view(SIZE, shift), still) for shift in truth])
    step = 1e-3 * np.eye(2)
    slopes = np.stack([world.view(SIZE, by) - world.view(SIZE, -by) for by in step])[:, MASK] / 2e-3
    bound = np.diag(
        noise**2 * np.linalg.inv(slopes @ slopes.T)
    )  # at the first frame: as good as any
    return (views + rng.normal(0, noise, views.shape)).astype("f4"), truth, bound


def solved(frames, rounds, width=3, mask=MASK, interpolate=None, **options):
    return steadystack.estimate_shifts(
        frames,
        mask=mask,
        max_shift=12,
        pairs={"strategy": "window", "width": width},
        solve={"refine": rounds, "interpolate": interpolate},
        **AS_IT_IS | options,
    )


def rms_without_common(found, truth, good=slice(None)):
    error = (found["frame_shift"].to_numpy() - truth)[good]
    return float(np.sqrt(np.mean((error - error.mean(axis=0)) ** 2)))


@pytest.mark.parametrize("seeds", slow_but([1], [1, 3]))
def test_noise_stronger_than_the_scene_is_taken_to_the_bound(seeds):
    squares = []
    for seed in range(seeds):
        frames, truth, bound = series(seed, 40, noise=2.0)
        rms = [rms_without_common(solved(frames, rounds), truth) for rounds in (0, 1, 2)]
        squares.append([value**2 for value in rms] + [bound.mean()])
    before, once, twice, limit = np.sqrt(np.mean(squares, axis=0))
    assert once < 0.85 * before
    assert once < 1.3 * limit
    assert twice < 1.3 * limit


def test_clean_frames_stay_where_they_are():
    frames, truth, _ = series(3, 30, noise=0.02)
    before, after = solved(frames, 0), solved(frames, 2)
    assert np.abs(after["frame_shift"] - before["frame_shift"]).max() < 0.01
    assert rms_without_common(after, truth) <= rms_without_common(before, truth) + 1e-4
    assert (after["frame_shift"][0] == 0).all()
    assert (after["frame_shift_std"][0] == 0).all()


def test_nothing_pulls_the_answer_to_what_was_known_before():
    """From shifts that are off by a random third of a pixel the same answers follow."""
    frames, truth, _ = series(4, 30, noise=0.02)
    config = make_config({"input": {"path": "memory"}, "register": {"max_shift": 12}})
    source = ArrayFrames.checked(as_stack(frames), MASK)
    found = solved(frames, 0)
    pairs = replace(read_pairs(found), shift_std=np.ones((len(found["pair"]), 2)))  # all is better
    off = np.random.default_rng(0).uniform(-0.35, 0.35, truth.shape)
    wrong = replace(read_frames(found), shift=found["frame_shift"].to_numpy() + off)
    method = set_up(config, make_series(source)).method
    error = polish.refine_shifts(source, pairs, wrong, method, 3).shift - truth
    assert np.abs(error - error.mean(axis=0)).max() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_stated_deviations_are_those_of_the_errors(noise):
    squares = []
    for seed in range(10, 16):
        frames, truth, _ = series(seed, 30, noise)
        found = solved(frames, 1)
        error, std = found["frame_shift"].to_numpy() - truth, found["frame_shift_std"].to_numpy()
        squares.append((error[1:] / std[1:]) ** 2)
    assert 0.7 < np.sqrt(np.mean(squares)) < 1.35


def test_bad_frames_are_in_no_mean():
    """Blank, saturated, of another scene: the others are what they are without them."""
    frames, truth, _ = series(5, 24, noise=0.5)
    bad = {4: 0.0, 9: 1e4, 15: 5 * rough(99, SIZE, 1)}
    for frame, value in bad.items():
        frames[frame] = value
    good = np.setdiff1d(np.arange(24), list(bad))
    options = {"max_shift": 12, "pairs": {"strategy": "all"}, "solve": {"refine": 2}, "mask": MASK}
    options |= AS_IT_IS
    found = steadystack.estimate_shifts(frames, **options)
    status = found["frame_status"].to_numpy()
    assert (status[list(bad)] != FrameStatus.OK.code).all()
    assert np.isnan(found["frame_shift"].to_numpy()[list(bad)]).all()
    without = steadystack.estimate_shifts(frames[good], **options)
    for name in ("frame_shift", "frame_shift_std"):
        np.testing.assert_array_equal(found[name].to_numpy()[good], without[name])
    assert rms_without_common(found, truth, good) < 0.1


def test_a_frame_that_does_not_fit_the_mean_keeps_what_the_pairs_said(monkeypatch):
    frames, _, _ = series(6, 20, noise=0.2)
    before = solved(frames, 0)
    registered = polish.GroupMean.registered
    monkeypatch.setattr(
        polish.GroupMean,
        "registered",
        lambda self, row: None if row == 7 else registered(self, row),
    )
    after = solved(frames, 1)
    apart = (after["frame_shift"] - before["frame_shift"]).to_numpy()
    assert np.abs(apart).max() < 0.02  # the anchor's own answer is taken from all of them
    of_pairs = before["pair_shift_std"].to_numpy()[
        (before["pair_reference"] == 7) | (before["pair_moving"] == 7)
    ]
    stated = after["frame_stated_std"].to_numpy()[7]  # no better than a pair: they share its error
    assert ((of_pairs.min(axis=0) <= stated) & (stated <= of_pairs.max(axis=0))).all()
    np.testing.assert_allclose(after["frame_stated_std"][8], stated, rtol=0.2)


def test_brightness_may_change():
    frames, truth, _ = series(7, 30, noise=1.0)
    fading = 500 + 100 * frames * np.geomspace(1, 0.3, 30)[:, None, None].astype("f4")
    fading += np.linspace(0, 300, 30)[:, None, None].astype("f4")
    steady = rms_without_common(solved(frames, 1), truth)
    assert rms_without_common(solved(fading, 1), truth) < 1.05 * steady


@pytest.mark.parametrize("workers", slow_but([1], [1, 2]))
def test_the_numbers_are_the_same_wherever_it_runs(tmp_path, monkeypatch, client, workers):
    monkeypatch.setattr(polish, "MEMBERS", 5)  # the groups are made here, whoever works on them
    monkeypatch.setattr(polish, "REACH", 4)
    frames = 10 + series(8, 12, noise=0.5)[0]
    write_stack(tmp_path / "stack.zarr", frames)
    write_image(tmp_path / "mask.zarr", MASK)
    own = {"high_pass": 20.0, "low_pass": None, "flat_field": "median"}

    def config(name, rounds, **cluster):
        return config_of(
            tmp_path,
            mask={"path": "mask.zarr", "defects": None, "parts": None},
            preprocess=own,
            register={"max_shift": 12},
            pairs={"width": 3},
            solve={"refine": rounds, "interpolate": "linear"},
            output={"shifts": f"{name}.zarr"},
            cluster=cluster,
        )

    here = steadystack.run(config("here", 2, kind="in-process"))
    there = steadystack.run(config("there", 2, kind="local", workers=workers))
    array = solved(frames, 2, interpolate="linear", preprocess=own, client=client)
    plain = stages.solve(config("there", 0, kind="in-process"))
    again = stages.solve(config("there", 2, kind="in-process"))
    for name in ("frame_shift", "frame_shift_std", "pair_residual"):
        expected = here[name].to_numpy().tobytes()
        assert there[name].to_numpy().tobytes() == expected
        assert array[name].to_numpy().tobytes() == expected
        assert again[name].to_numpy().tobytes() == expected
        assert plain[name].to_numpy().tobytes() != expected
    assert json.loads(here.attrs["configuration"])["solve"]["refine"] == 2


def test_frames_between_are_filled_in_after_it():
    frames, truth, _ = series(9, 20, noise=0.3)
    frames[6] = 0
    options = {"mask": MASK, "max_shift": 12, "pairs": {"strategy": "window", "width": 3}}
    found = steadystack.estimate_shifts(
        frames, solve={"refine": 1, "interpolate": "linear"}, **options
    )
    shift = found["frame_shift"].to_numpy()
    assert found["frame_status"][6] == FrameStatus.INTERPOLATED.code
    np.testing.assert_allclose(shift[6], (shift[5] + shift[7]) / 2)
    assert rms_without_common(found, truth, [*range(6), *range(7, 20)]) < 0.05


def test_three_dimensions():
    truth = np.cumsum(np.random.default_rng(1).normal(0, 0.5, (6, 3)), axis=0)
    truth -= truth[0]
    world = Scene(7, ndim=3)
    rng = np.random.default_rng(2)
    volumes = np.stack(
        [world.view((12, 30, 34), o) + rng.normal(0, 1, (12, 30, 34)) for o in truth]
    )
    options = {"max_shift": [3, 6, 6], "pairs": {"strategy": "all"}}
    before, after = (
        steadystack.estimate_shifts(volumes, solve={"refine": rounds}, **options)
        for rounds in (0, 1)
    )
    assert rms_without_common(after, truth) < 1.1 * rms_without_common(before, truth) < 0.1


@pytest.mark.parametrize(
    ("register", "words"),
    [
        ({"allow_inverted": True}, "needs register.allow_inverted: false"),
        ({"subpixel": False}, "register.subpixel: true"),
    ],
)
def test_what_it_is_not_for_is_reported(tmp_path, register, words):
    write_stack(tmp_path / "stack.zarr", np.zeros((4, 16, 16), "u1"))
    config = {"input": {"path": "stack.zarr"}, "register": register, "solve": {"refine": 1}}
    with pytest.raises(steadystack.InputError, match=words):
        steadystack.run(make_config(config, tmp_path))


def test_frames_of_several_blocks_are_refused(tmp_path):
    write_stack(tmp_path / "stack.zarr", np.zeros((2, 4200, 4200), "u1"))
    config = {
        "input": {"path": "stack.zarr"},
        "register": {"max_shift": 8},
        "solve": {"refine": 1},
    }
    with pytest.raises(
        steadystack.InputError, match=r"solve.refine 1 needs frames that fit into one block"
    ):
        steadystack.run(make_config(config, tmp_path))
