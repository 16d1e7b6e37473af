"""What stands still in the camera: taken away, and told of."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import steadystack
from bench_verdict import views as blobs
from steadystack import quality, stages
from steadystack.model import FixedPatternEffect, Trust
from steadystack.ncc import tiles
from steadystack.outputs import write_image, write_stack
from support.members import slow_but
from support.runs import leave_out_checks
from support.scenes import ellipse
from support.settings import config_of
from support.still import SIZE, make_pattern, noise, views, way

SEPARATIONS = {"strategy": "separations", "separations": [1, 2, 4, 8]}


@pytest.fixture(scope="module")
def truth():
    return way(48)


@pytest.fixture(scope="module")
def scene(truth):
    frames = views(truth)
    return frames + noise(frames, 0.15)


@pytest.fixture
def short(scene):
    """As many frames as show a pull."""
    return scene[:32]


# Nothing for a pilot to find.
AS_IT_IS = {"low_pass": None, "high_pass": None}
ALONE = {"defects": None, "parts": None, "preprocess": AS_IT_IS}


def shifts_of(frames, preprocess=None, **how):
    usual = ALONE | {
        "max_shift": 10,
        "pairs": SEPARATIONS,
        "preprocess": AS_IT_IS | (preprocess or {}),
    }
    return steadystack.estimate_shifts(frames.astype("f4"), **usual | how)


@pytest.fixture
def no_far_pairs(monkeypatch):
    """Nor a look at the sharpness."""
    leave_out_checks(monkeypatch, ("probe_pairs", "sharpness"))


def rms(found, truth):
    error = found["frame_shift"].to_numpy() - truth
    return float(np.sqrt(np.mean((error - error.mean(axis=0)) ** 2)))


# The cure


def test_a_static_image_that_wins_is_found_and_taken_away(truth, scene, no_far_pairs, monkeypatch):
    spoiled = scene + 1.2 * make_pattern()
    raw = shifts_of(spoiled)
    cured = shifts_of(spoiled, preprocess={"fixed_pattern": "estimate"})
    leave_out_checks(monkeypatch)
    clean = shifts_of(scene)
    assert rms(clean, truth) < 0.02
    assert rms(raw, truth) > 3
    assert rms(cured, truth) < 2.5 * rms(clean, truth)
    assert quality.verdict(raw).trust is Trust.UNRELIABLE
    assert "pulls shifts towards zero" in raw.attrs["verdict_reasons"]
    assert "preprocess.fixed_pattern: estimate" in raw.attrs["verdict_reasons"]
    assert effect(raw).moving_share > 0.5  # of the frame
    assert quality.verdict(cured).trust is Trust.GOOD


@pytest.mark.slow
def test_a_vignette_with_an_offset(truth, scene):
    """What multiplies and what adds: the additive part is the larger one, and is taken away."""
    place = [np.linspace(-1, 1, side) for side in SIZE]
    vignette = 1 - 0.25 * (place[0][:, None] ** 2 + place[1] ** 2)
    spoiled = 3 + (10 + scene) * vignette
    raw, cured = shifts_of(spoiled), shifts_of(spoiled, preprocess={"fixed_pattern": "estimate"})
    assert rms(raw, truth) > 0.05
    assert rms(cured, truth) < 0.015


@pytest.mark.slow
def test_a_pattern_that_multiplies_adds_to_the_logarithm(truth, scene):
    spoiled = (10 + scene) * np.exp(0.15 * make_pattern())
    how = {"logarithm": True, "fixed_pattern": "estimate"}
    assert rms(shifts_of(spoiled), truth) > 1
    assert rms(shifts_of(spoiled, preprocess=how), truth) < 0.04


def test_a_flat_field_and_a_static_image_go_together(truth, short, tmp_path, unchecked):
    gain = 1 + 0.2 * make_pattern(seed=9)
    write_image(tmp_path / "flat.zarr", gain)
    spoiled = (10 + short + make_pattern()) * gain
    how = {"flat_field": str(tmp_path / "flat.zarr"), "fixed_pattern": "estimate"}
    assert rms(shifts_of(spoiled, preprocess=how), truth[:32]) < 0.04


def test_the_static_image_knows_the_mask(truth, scene, unchecked):
    """A quarter of the pixels is lost, elsewhere in each frame, and dirt is masked."""
    spoiled = scene + make_pattern()
    lost = np.random.default_rng(4).random(scene.shape) < 0.25
    mask = ellipse(SIZE, 1.0)
    mask[20:30, 30:50] = False
    spoiled[:, 20:30, 30:50] += 30
    how = {"mask": mask, "preprocess": {"fixed_pattern": "estimate"}}
    assert rms(shifts_of(np.where(lost, np.nan, spoiled), **how), truth) < 0.06


@pytest.fixture
def folder(tmp_path, scene):
    write_stack(tmp_path / "stack.zarr", (scene + make_pattern()).astype("f4"))
    return tmp_path


def settings(folder, **sections):
    usual = {
        "mask": {"defects": None, "parts": None},
        "register": {"max_shift": 10},
        "preprocess": {"fixed_pattern": "estimate"},
        "pairs": SEPARATIONS,
    }
    return config_of(folder, **usual | sections)


@pytest.mark.slow
def test_from_files_as_from_arrays_and_as_given(folder, scene, truth):
    workers = {"kind": "local", "workers": 1}
    ran = steadystack.run(settings(folder, cluster=workers))
    found = shifts_of(scene + make_pattern(), preprocess={"fixed_pattern": "estimate"})
    np.testing.assert_array_equal(ran["frame_shift"], found["frame_shift"])
    kept = folder / "shifts.zarr.fixed_pattern.zarr"
    assert kept.is_dir()
    given = settings(
        folder, preprocess={"fixed_pattern": kept.name}, output={"shifts": "given.zarr"}
    )
    np.testing.assert_array_equal(steadystack.run(given)["frame_shift"], found["frame_shift"])
    write_image(kept, make_pattern().astype("f4"))
    with pytest.raises(steadystack.InputError, match="measured with other settings"):
        steadystack.run(given)
    assert rms(steadystack.run(given, overwrite=True), truth) < 0.03


@pytest.mark.slow
def test_a_long_way_is_estimated_from_a_shorter_time(monkeypatch):
    """Frames spread over all of it have no scene in common."""
    truth = way(140, (1.5, -1.2))
    frames = views(truth) + 1.5 * make_pattern()
    monkeypatch.setattr("steadystack.measure.camera_images.MOST_FRAMES", 20)
    monkeypatch.setattr("steadystack.measure.camera_images.USUAL_FRAMES", 20)
    found = shifts_of(frames + noise(frames, 0.1), preprocess={"fixed_pattern": "estimate"})
    assert rms(found, truth) < 0.05


def test_what_cannot_be_estimated_is_reported(folder, monkeypatch):
    blank = np.random.default_rng(0).normal(size=(20, 40, 40))
    with pytest.raises(steadystack.InputError, match="too few of 20 frames"):
        shifts_of(blank, preprocess={"fixed_pattern": "estimate"})
    write_image(folder / "other.zarr", np.zeros((3, 3)))
    with pytest.raises(
        steadystack.InputError, match=r"preprocess.fixed_pattern \(an image, or 'estimate'\)"
    ):
        stages.plan(settings(folder, preprocess={"fixed_pattern": "other.zarr"}))
    with pytest.raises(steadystack.InputError, match="overlap: neither may lie inside the other"):
        stages.plan(
            settings(folder, output={"shifts": "a.zarr"}, preprocess={"fixed_pattern": "a.zarr"})
        )
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 1500)
    with pytest.raises(steadystack.InputError, match="fit into one block"):
        stages.plan(settings(folder))


@pytest.mark.slow
def test_a_given_static_image_is_for_frames_of_blocks_too(folder, truth, monkeypatch):
    write_image(folder / "static.zarr", make_pattern())
    config = settings(folder, preprocess={"fixed_pattern": "static.zarr"})
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 1500)
    assert stages.plan(config).blocks > 2
    assert rms(steadystack.run(config), truth) < 0.03


# What is told


def told(found):
    return "pulls shifts towards zero" in found.attrs["verdict_reasons"]


def effect(found):
    return FixedPatternEffect(**json.loads(found.attrs["fixed_pattern_effect"]))


def test_a_pull_is_reported_with_its_size(truth, short, no_far_pairs):
    found = shifts_of(short + 0.45 * make_pattern())
    assert quality.verdict(found).trust is Trust.CHECK
    assert told(found)
    seen = effect(found)
    assert seen.certain
    assert seen.pairs == 32
    true = np.abs(truth[8:32] - truth[:24]).mean()
    assert 0.2 * true < seen.with_it < seen.without_it
    assert seen.error < 0.25 * (seen.without_it - seen.with_it)


def fading(frames):
    return np.linspace(1, 0.35, len(frames))[:, None, None] * (4 + frames)


def changing(frames):
    turn = np.linspace(0, np.pi / 2, len(frames))[:, None, None]
    return np.cos(turn) * frames + np.sin(turn) * frames[:, ::-1, ::-1][::-1]


CLEAN = {
    "a drift": (way(40), lambda frames: frames),
    "no drift": (np.zeros((40, 2)), lambda frames: frames),
    "hardly a drift": (way(40, (0.01, 0.005), 0.002), lambda frames: frames),
    "jitter": (way(40, (0, 0), 0.05), lambda frames: frames),
    "a slow drift": (way(40, (0.06, -0.04), 0.01), lambda frames: frames),
    "bleaching": (way(40, (0.06, -0.04), 0.01), fading),
    "bleaching without a drift": (np.zeros((40, 2)), fading),
    "a scene that changes": (np.zeros((40, 2)), changing),
    "much noise": (way(40), lambda frames: frames + noise(frames, 1.5, 9)),
}


@pytest.mark.parametrize("name", slow_but(["hardly a drift"], CLEAN))
@pytest.mark.parametrize("seed", slow_but([0], [0, 1]))
def test_no_false_alarm(name, seed, no_far_pairs):
    truth, change = CLEAN[name]
    frames = views(truth, seed)
    found = shifts_of(change(frames) + noise(frames, 0.1, seed))
    assert not told(found), found.attrs["fixed_pattern_effect"]


def test_little_or_blank_series_are_not_looked_at(scene):
    assert shifts_of(scene[:12]).attrs["fixed_pattern_effect"] == "null"
    blank = shifts_of(np.zeros((20, 32, 32)))
    assert blank.attrs["fixed_pattern_effect"] == "null"


def test_it_is_looked_for_once_and_kept(folder, short, monkeypatch, no_far_pairs):
    write_stack(folder / "stack.zarr", (short + make_pattern()).astype("f4"))
    config = settings(folder, preprocess=AS_IT_IS)
    measured = stages.measure(config)
    assert effect(measured).certain
    monkeypatch.setattr("steadystack.checks.run_checks.check_fixed_pattern", None)
    for stage in (stages.solve, stages.run):
        found = stage(config)
        assert found.attrs["fixed_pattern_effect"] == measured.attrs["fixed_pattern_effect"]
        assert quality.verdict(found).trust is not Trust.GOOD
    with xr.open_zarr(folder / "shifts.zarr") as kept:
        assert "pulls shifts towards zero" in kept.attrs["verdict_reasons"]


def test_of_large_frames_the_middle_is_looked_at(short, monkeypatch, no_far_pairs):
    monkeypatch.setattr("steadystack.checks.sampling.CHECK_PIXELS", 48 * 52)
    assert told(shifts_of(short + make_pattern()))
    assert not told(shifts_of(short))


# Contrast


def test_gains_and_offsets_of_frames_change_nothing(scene):
    rng = np.random.default_rng(6)
    scene = scene[:24]
    gain = np.exp(np.linspace(0, -1.5, 24) + rng.normal(0, 0.1, 24))[:, None, None]
    changed = gain * (20 + scene) + rng.uniform(0, 50, (24, 1, 1))
    one, other = shifts_of(scene), shifts_of(changed)
    np.testing.assert_allclose(other["frame_shift"], one["frame_shift"], atol=2e-3)
    assert other.attrs["verdict"] == one.attrs["verdict"] == "good"


@pytest.mark.parametrize("part", slow_but([0.3], [0.15, 0.3]))
def test_an_object_that_goes_its_own_way_does_not_win(truth, part, unchecked):
    """It covers that part of the frame, has the scene's contrast, and moves against it."""
    frames = views(truth)
    own = views(-2 * truth, seed=7)
    side = [int(np.sqrt(part) * size) for size in SIZE]
    for frame, (y, x) in enumerate(
        np.rint(20 + np.linspace(0, 15, 48)[:, None] * [1, 1]).astype(int)
    ):
        inside = (slice(y, y + side[0]), slice(x, x + side[1]))
        frames[frame][inside] = own[frame][inside]
    found = shifts_of(frames + noise(frames, 0.1))
    assert rms(found, truth) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_an_object_before_a_scene_that_stands_still_does_not_make_it_unreliable(seed):
    """A disc over 8 % of the frame that moves by 0.7 px a frame."""
    still, own = views(np.zeros((48, 2)), seed), views(-way(48), seed + 50)
    y, x = np.indices(SIZE)
    rows = SIZE[0] / 2 + np.linspace(-10, 10, 48)
    for frame, row in enumerate(rows):
        inside = np.hypot(y - row, x - SIZE[1] / 3) < np.sqrt(0.08 * y.size / np.pi)
        still[frame][inside] = own[frame][inside]
    frames = still + noise(still, 0.1, seed)
    found = steadystack.estimate_shifts(frames.astype("f4"), max_shift=10, pairs=SEPARATIONS)
    assert rms(found, np.zeros((48, 2))) < 0.1
    assert quality.verdict(found).trust is not Trust.UNRELIABLE
    seen = json.loads(found.attrs["fixed_pattern_effect"])
    assert seen is None or seen["moving_share"] <= 0.5


def resting_series(seed, share):
    """Frames that rest between two jumps, their shifts, spots that stand still of that share."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.05, (40, 2))
    steps[20] += (-0.1, -2.8)
    steps[36] += (7, 0)
    truth = np.cumsum(steps, axis=0) - steps[0]
    frames = blobs(rng, truth, (4.0, 8.0))
    spots = np.zeros(frames.shape[1:])
    spots[tuple(rng.integers(0, len(spots), (2, 25)))] = 1
    spots = ndimage.gaussian_filter(spots, 4)
    frames += 0.4 * rng.normal(size=frames.shape) - share * spots / spots.std()
    return frames[:, :100, :100].astype("f4"), truth


@pytest.mark.parametrize(
    ("seed", "share"), slow_but([(1, 0.7)], [(1, 0.7), (2, 0.7), (1, 0.0), (2, 0.0)])
)
@pytest.mark.parametrize("how", slow_but([{"max_shift": 20}], [ALONE, {"max_shift": 20}, {}]))
def test_spots_that_stand_still_are_reported_in_a_series_that_rests_between_jumps(
    seed, share, how, no_far_pairs
):
    """Nine pairs of ten move by nothing, so that their mean shift says little of the few others."""
    frames, truth = resting_series(seed, share)
    found = steadystack.estimate_shifts(frames, **how)
    assert (rms(found, truth) > 0.5) == told(found) == (share > 0)


@pytest.mark.parametrize("share", slow_but([0.0], [0.7, 0.0]))
def test_pairs_across_a_jump_are_less_alike_only_where_something_stands_still(share, no_far_pairs):
    """Noise is the same between the jumps."""
    frames, _ = resting_series(1, share)
    found = steadystack.estimate_shifts(frames, **ALONE)
    loss = effect(found).loss
    assert loss > 0.015 if share else abs(loss) < 0.006
