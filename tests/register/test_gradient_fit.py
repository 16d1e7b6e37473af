"""The fit to slopes: as exact as noise allows where a scene is as long as the frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import interpolate

from steadystack.model import PairStatus, Registration
from steadystack.register import PlainPair, register_translation
from steadystack.register.gradient_fit import _compute_basis, fit_gradients
from support.members import slow_but
from support.scenes import Scene

NOISE, SHIFT = 0.3, np.array([0.6, 2.3, -3.1])
SIZE = (12, 48, 48)


def make_volumes(seed, stretch, noise=NOISE):
    """Two volumes whose detail is so many times as long along z, and the bound of their shift."""
    scene, rng = Scene(seed, ndim=3, detail=2.5), np.random.default_rng([seed, stretch])
    scene.wave[:, 0] /= stretch
    one, other = (scene.view(SIZE, at) for at in (np.zeros(3), SHIFT))
    steps = 0.01 * np.eye(3)
    slopes = np.stack([(scene.view(SIZE, s) - scene.view(SIZE, -s)).ravel() / 0.02 for s in steps])
    bound = np.sqrt(np.diag(2 * noise**2 * np.linalg.inv(slopes @ slopes.T)))
    grain = noise * rng.normal(size=(2, *SIZE))
    return one + grain[0], other + grain[1], bound


def make_registration(shift, std=0.1):
    """A pair that was found at a shift."""
    return Registration(
        shift=np.asarray(shift, float),
        covariance=std**2 * np.eye(len(shift)),
        ncc=0.9,
        second_peak_ratio=0.1,
        overlap=1.0,
        status=PairStatus.OK,
    )


def fit(one, other, shift, masks=(None, None), **changes):
    pair = PlainPair.make(one, other, *masks, None, None)
    return fit_gradients(replace(make_registration(shift), **changes), pair)


@pytest.mark.parametrize(("stretch", "count"), slow_but([(4, 8)], [(4, 8), (2, 40), (6, 40)]))
def test_long_volumes_reach_the_bound_of_noise(stretch, count):
    """Along z, too, where the surface of 12 planes has twice that error. Of 40, one may be lost."""
    ratios, stated, lost = [], [], 0
    for seed in range(count):
        one, other, bound = make_volumes(seed, stretch)
        found = register_translation(one, other, max_shift=(5, 12, 12))
        lost += found.status != PairStatus.OK
        if found.status != PairStatus.OK:
            continue
        ratios.append((found.shift - SHIFT) / bound)
        stated.append((found.shift - SHIFT) / np.sqrt(np.diag(found.covariance)))
    assert lost <= count // 40
    assert np.sqrt(np.mean(np.square(ratios))) < 1.5
    assert 0.5 < np.sqrt(np.mean(np.square(stated))) < 1.5


def test_without_noise_the_shift_is_exact_whatever_contrast_and_brightness():
    one, other, _ = make_volumes(1, 4, noise=1e-4)
    for contrast, brightness, sign in ((1, 0, 1), (300, 5e4, 1), (-2, 7, -1)):
        stated, spread = fit(one, contrast * other + brightness, SHIFT + 0.2, ncc=sign * 0.9)
        np.testing.assert_allclose(stated.shift, SHIFT, atol=2e-3)
        assert (spread.of_bands >= spread.of_parts).all()


def test_what_a_mask_hides_has_no_say():
    rng, scene = np.random.default_rng(3), Scene(3, detail=2.0)
    one, other = (scene.view((96, 96), at) for at in ((0, 0), (0.4, -2.7)))
    masks = np.ones((2, 96, 96), bool)
    masks[0, 20:50, 30:60] = masks[1, 60:80, :40] = False
    one, other = (view + 0.1 * rng.normal(size=view.shape) for view in (one, other))
    before = fit(one, other, (0.5, -2.5), masks)[0]
    one[~masks[0]], other[~masks[1]] = np.nan, 1e5
    after = fit(one, other, (0.5, -2.5), masks)[0]
    np.testing.assert_array_equal(before.shift, after.shift)
    assert np.abs(after.shift - (0.4, -2.7)).max() < 5 * np.sqrt(after.covariance.diagonal().max())


def test_nothing_is_found_far_off_in_one_plane_or_between_holes():
    one, other, _ = make_volumes(2, 4)
    assert fit(one, other, np.add(SHIFT, (0, 0, 20))) is None
    assert fit(one[:1], other[:1], (0.5, 2.3, -3.1)) is None
    holes = np.random.default_rng(0).random((2, *SIZE)) > 0.3
    assert fit(one, other, SHIFT, holes) is None


def test_an_axis_that_was_not_searched_stays_as_it_is():
    scene, rng = Scene(5, detail=2.0), np.random.default_rng(5)
    one, other = (
        scene.view((64, 64), at)[None] + 0.1 * rng.normal(size=(1, 64, 64))
        for at in ((0, 0), (0.4, -2.7))
    )
    stated, spread = fit(one, other, (0, 0.5, -2.6), covariance=np.diag((0, 0.01, 0.01)))
    assert stated.shift[0] == 0
    np.testing.assert_allclose(stated.shift[1:], (0.4, -2.7), atol=0.05)
    assert stated.covariance[0].tolist() == [0, 0, 0]
    assert [of_axes[0] for of_axes in spread] == [0, 0]


def test_splines_are_those_of_scipy():
    knots = np.arange(-3.0, 4.0)
    basis = interpolate.BSpline.basis_element(knots, extrapolate=False)
    for offset in (0.0, 0.3, -0.5):
        expected = np.nan_to_num(basis(offset - knots))
        np.testing.assert_allclose(_compute_basis(5, offset - knots), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("planes", "stretch"), slow_but([(3, 1), (4, 4)], [(3, 1), (4, 4), (8, 4)])
)
def test_errors_hold_in_few_planes(planes, stretch):
    """The surface alone is off by up to three planes there, and states hundredths of one."""
    ratios = []
    for seed in range(8):
        scene, rng = Scene(seed, ndim=3, detail=2.5), np.random.default_rng(seed)
        scene.wave[:, 0] /= stretch
        move = rng.uniform(-1, 1, 3) * [planes / 10, 4, 4]
        one, other = (
            scene.view((planes, 48, 48), at) + 0.3 * rng.normal(size=(planes, 48, 48))
            for at in (np.zeros(3), move)
        )
        found = register_translation(one, other, max_shift=(min(planes - 1, 4), 12, 12))
        if found.status == PairStatus.OK:
            ratios.append((found.shift - move) / np.sqrt(np.diag(found.covariance)))
    assert len(ratios) >= 4
    assert np.abs(ratios).max() < 4.5
