"""What is left of the motion between two frames, beside the truth."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from steadystack.motion.fit_tasks import move_score_image, smooth_further
from steadystack.motion.generators import exponentiate, make_generators
from steadystack.motion.pair_fit import _weigh, choose_cell_sides, fit_pair, predict_shifts
from steadystack.parts import SmoothedMask, compute_jackknife_std, make_score_image
from support.scenes import Scene, ellipse
from support.turning import lay, turn, turn_volume

SHAPE, MIDDLE = (112, 120), np.array([55.5, 59.5])
RADIUS = np.sqrt((112**2 - 1) / 12 + (120**2 - 1) / 12)


def ready(scene, linear, shift, mask=None, contrast=1.0, noise=None):
    """A frame of a scene that this motion lays on it, ready for scores."""
    image = contrast * scene.turned(SHAPE, linear, shift)
    if noise is not None:
        image = image + noise.normal(0, 0.5, SHAPE)
    mask = np.ones(SHAPE, bool) if mask is None else mask
    values = np.where(mask, image / image.std(), 0)
    return smooth_further(make_score_image(values, SmoothedMask.make(mask), (0, 0)))


def fitted(reference, moving, model="affine", sign=1):
    return fit_pair(reference, moving, MIDDLE, make_generators(model, SHAPE), (10, 10), sign)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_small_motion_is_what_has_to_be_applied_to_the_moving_frame(masked, sign):
    scene, mask = Scene(3, detail=3.0), ellipse(SHAPE) if masked else None
    linear, shift = turn(0.2, 1.002), np.array([0.15, -0.1])
    moving = ready(scene, linear, shift, mask, contrast=sign)
    fit = fitted(ready(scene, np.eye(2), np.zeros(2), mask), moving, sign=sign)
    truth = [RADIUS * np.radians(0.2), RADIUS * np.log(1.002), 0, 0, *shift]
    np.testing.assert_allclose(fit.step, truth, atol=0.02)
    np.testing.assert_allclose(fit.group_step.sum(axis=0), 0, atol=1e-3)


def test_a_small_motion_of_a_volume_is_found_about_all_axes():
    shape, middle = (20, 56, 60), np.array([9.5, 27.5, 29.5])
    scene, places = Scene(3, ndim=3, detail=2.5, waves=60), np.moveaxis(np.indices(shape), 0, -1)
    linear, shift = turn_volume((0.2, -0.15, 0.3), 1.002), np.array([0.1, 0.15, -0.1])
    looks = [scene.look(lay(places, *motion, middle)) for motion in
             ((np.eye(3), np.zeros(3)), (linear, shift))]  # fmt: skip
    masked = SmoothedMask.make(np.ones(shape, bool))
    pair = [smooth_further(make_score_image(look, masked, (0, 0, 0))) for look in looks]
    generators = make_generators("affine", shape)
    fit = fit_pair(*pair, middle, generators, choose_cell_sides(shape))
    left = exponentiate(fit.step[:9], generators)
    np.testing.assert_allclose(left - np.eye(3), linear - np.eye(3), atol=5e-4)
    np.testing.assert_allclose(fit.step[9:], shift, atol=0.02)
    np.testing.assert_allclose(fit.group_step.sum(axis=0), 0, atol=1e-3)


def test_another_contrast_is_no_other_scale():
    scene = Scene(4, detail=3.0)
    pair = ready(scene, np.eye(2), np.zeros(2)), ready(scene, np.eye(2), np.zeros(2))
    brighter = type(pair[1])(1.3 * pair[1].values + 0.2, pair[1].weights, (0, 0))
    np.testing.assert_allclose(fitted(pair[0], brighter, "similarity").step, 0, atol=1e-3)


def test_what_goes_its_own_way_counts_for_little():
    scene, other = Scene(5, detail=3.0), Scene(6, detail=3.0)
    still = np.eye(2), np.zeros(2)
    reference, moving = ready(scene, *still), ready(scene, *still)
    for image, shift in ((reference, 0.0), (moving, 1.0)):
        image.values[10:40, 10:40] = ready(other, np.eye(2), np.full(2, shift)).values[10:40, 10:40]
    assert np.abs(fitted(reference, moving, "rigid").step).max() < 0.03


@pytest.mark.slow
def test_the_jackknife_is_the_error_of_many_tries():
    rng, scene = np.random.default_rng(7), Scene(7, detail=3.0)
    steps, stated = [], []
    for _ in range(40):
        pair = [ready(scene, np.eye(2), np.zeros(2), noise=rng) for _ in range(2)]
        fit = fitted(*pair, "similarity")
        steps.append(fit.step)
        stated.append(compute_jackknife_std(fit.group_step))
    ratio = np.sqrt(np.mean(np.square(steps), axis=0) / np.mean(np.square(stated), axis=0))
    assert (ratio > 0.75).all()
    assert (ratio < 1.3).all()


def test_moved_frames_show_the_scene_and_what_is_not_seen_has_no_weight():
    scene, mask = Scene(8, detail=4.0), ellipse(SHAPE)
    linear, shift = turn(4.0, 0.98), np.array([3.3, -7.8])
    moved = move_score_image(ready(scene, linear, shift, mask), linear, shift, MIDDLE)
    still = ready(scene, np.eye(2), np.zeros(2))
    y, x = moved.begin
    assert y < 0 or x < 0
    inside = moved.weights[-y:, -x:] if y < 0 and x < 0 else None
    region = np.s_[max(-y, 0) :, max(-x, 0) :]
    values, weights = moved.values[region], moved.weights[region]
    at = max(y, 0), max(x, 0)
    sides = [min(a, b - c) for a, b, c in zip(values.shape, SHAPE, at, strict=True)]
    expected = still.values[at[0] : at[0] + sides[0], at[1] : at[1] + sides[1]]
    seen = weights[: sides[0], : sides[1]] > 0
    assert seen.sum() > 0.5 * mask.sum()
    scale = expected[seen].std() / values[: sides[0], : sides[1]][seen].std()
    off = values[: sides[0], : sides[1]] * scale - expected
    assert np.abs(off[seen] - off[seen].mean()).max() < 0.05
    assert inside is None or inside.size


def test_too_little_is_nothing():
    scene = Scene(9)
    mask = np.zeros(SHAPE, bool)
    mask[50:60, 50:60] = True
    image = ready(scene, np.eye(2), np.zeros(2), mask)
    assert fitted(image, image) is None
    apart = type(image)(image.values, image.weights, (500, 0))
    assert fitted(image, apart) is None


def test_cells_count_alike_where_those_that_show_most_are_off():
    """The weights of two of them fall faster than the others hold the fit."""
    power = np.ones(24)
    power[:2] = 40
    off = np.where(power > 1, 5.0, 1.2) * np.sqrt(power)
    weight, stiffness = _weigh(np.stack([off, 0 * off], axis=1), power)
    assert (weight == 1).all()
    assert stiffness == 1
    off[:2] = 1.2 * np.sqrt(40)
    weight, stiffness = _weigh(np.stack([off, 0 * off], axis=1), power)
    assert weight.max() < 1
    assert 1 < stiffness < 2


@pytest.mark.parametrize("linear", [turn(4), turn_volume([3, -2, 4], 1.02)])
def test_the_shift_of_a_place_is_that_of_what_both_frames_show_there(linear):
    ndim, shape = len(linear), (20, 40, 50)[-len(linear) :]
    middle = (np.array(shape) - 1) / 2
    motions = np.stack([linear, linear @ linear])
    shift = np.array([np.arange(ndim), np.arange(ndim) * -0.7])
    seen = np.random.default_rng(1).uniform(5, 15, (6, ndim))  # on the anchor
    in_reference, in_moving = (
        (seen - middle - by) @ np.linalg.inv(motion).T + middle
        for motion, by in zip(motions, shift, strict=True)
    )
    solved = SimpleNamespace(linear=motions, shift=shift, local_shift=np.array(np.nan))
    found = predict_shifts(in_reference, (0, 1), solved, shape)
    np.testing.assert_allclose(found, in_reference - in_moving, atol=1e-9)
    unknown = SimpleNamespace(**vars(solved) | {"linear": motions * np.nan})
    assert np.isnan(predict_shifts(in_reference, (0, 1), unknown, shape)).all()
