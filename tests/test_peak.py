"""Which lag is chosen, how far between the pixels, and what is not believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from helpers import Scene, ellipse, rough
from steadystack import peak
from steadystack.model import PairStatus, Surface
from steadystack.peak import registration
from steadystack.peak.patch import grid_of, times
from steadystack.register import register_translation


def surface(ncc, count=10000.0, first=None, deviation=1.0):
    ncc = np.asarray(ncc, np.float32)
    first = first or tuple(-(size // 2) for size in ncc.shape)
    return Surface(ncc, np.full(ncc.shape, count, np.float32), first, (10000, 10000), deviation)


def bump(centre, shape=(41, 41), height=0.9, width=2.5):
    grid = np.indices(shape).T - (np.array(shape) // 2 + np.array(centre))
    return height * np.exp(-(grid**2).sum(-1).T / (2 * width**2))


def noisy_surface(width, height, count, rng):
    """Surfaces with the noise that two images of a scene make: spectrum (2 S N + N²) / count."""
    size = 64
    k = np.fft.fftfreq(size) * 2 * np.pi
    square = k[:, None] ** 2 + k**2
    signal = height * 2 * np.pi * width**2 * np.exp(-square * width**2 / 2)
    noise = 1 - height
    spectrum = np.sqrt((2 * signal * noise + noise**2) / count)

    def make():
        white = np.fft.fft2(rng.normal(size=(size, size)))
        rough_part = np.fft.ifft2(white * spectrum).real[:41, :41]
        return surface(bump((0.2, 0.1), height=height, width=width) + rough_part, count)

    return make


def test_significance_weighs_the_ncc_with_the_overlap():
    found = surface([[0.5, 0.5, np.nan]])
    found.overlap_count[0, 1] = 103
    z = peak.significance(found)
    assert z[0, 1] == pytest.approx(np.arctanh(0.5) * 10)
    assert z[0, 0] > 9 * z[0, 1]
    assert z[0, 2] == -np.inf


def test_a_high_ncc_at_a_small_overlap_does_not_win():
    found = surface(bump((3, -2), height=0.6))
    found.ncc[2, 2] = 0.98
    found.overlap_count[2, 2] = 40
    assert peak.register(found, subpixel=False).shift.tolist() == [3, -2]


def test_the_lag_is_the_local_maximum_of_the_ncc():
    found = surface(bump((6, 0), width=9))
    # so steep a fall of the overlap moves the most significant lag, but not the NCC's maximum
    found.overlap_count[:] = np.linspace(20000, 100, 41)[:, None]
    assert np.unravel_index(peak.significance(found).argmax(), (41, 41)) != (26, 20)
    assert peak.find_peak(found).index == (26, 20)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.45), (-0.5, 0.5), (0.125, 0.25)])
@pytest.mark.parametrize("width", [1.2, 2.5, 6.0])
def test_the_summit_of_a_smooth_surface(offset, width):
    found = peak.register(surface(bump(offset, width=width)))
    assert found.status == PairStatus.OK
    # the widest is as wide as the patch that is looked at; its stated deviation is 0.2 px
    np.testing.assert_allclose(found.shift, offset, atol=0.03 if width > 5 else 3e-3)


def test_the_covariance_is_that_of_the_curvature():
    """Knapp & Carter's bound, worked out for a Gaussian autocorrelation in white noise."""
    width, height, count = 3.0, 0.8, 5000.0
    found = noisy_surface(width, height, count, np.random.default_rng(0))
    k = np.fft.fftfreq(256) * 2 * np.pi
    square = k[:, None] ** 2 + k**2
    signal = height * 2 * np.pi * width**2 * np.exp(-square * width**2 / 2)
    noise = 1 - height
    information = (k**2 * signal**2 / (2 * signal * noise + noise**2)).mean() * count
    stated = [peak.register(found(), subpixel=True) for _ in range(20)]
    assert {one.status for one in stated} == {PairStatus.OK}
    covariance = np.mean([one.covariance for one in stated], axis=0)
    np.testing.assert_allclose(
        covariance, np.eye(2) / information, rtol=0.25, atol=0.2 / information
    )
    errors = np.array([one.shift - (0.2, 0.1) for one in stated])
    assert np.sqrt((errors**2).mean() * information) < 1.4


def test_every_shift_has_a_covariance():
    """Also where noise leaves the spline without a summit near the highest whole lag."""
    world, mask = Scene(2, detail=5.0), ellipse((72, 72))
    rng, found = np.random.default_rng(3), []
    for _ in range(25):
        images = [world.view((72, 72), o) + rng.normal(0, 1.2, (72, 72)) for o in ((0, 0), (1, 2))]
        found.append(
            register_translation(*images, reference_mask=mask, moving_mask=mask, max_shift=8)
        )
    ok = [one for one in found if one.status == PairStatus.OK]
    assert len(ok) > 10
    for one in ok:
        assert np.isfinite(one.covariance).all()
        assert (np.linalg.eigvalsh(one.covariance) > 0).all()


def test_three_dimensions():
    found = peak.register(surface(bump((1.3, -0.4, 0.7), (15, 17, 19), width=2)))
    np.testing.assert_allclose(found.shift, (1.3, -0.4, 0.7), atol=3e-3)
    assert found.covariance.shape == (3, 3)


def test_an_axis_with_one_lag_is_not_searched_and_has_no_edge():
    found = peak.register(surface(bump((0, 1.25), (1, 41), width=2)))
    assert found.status == PairStatus.OK
    np.testing.assert_allclose(found.shift, (0, 1.25), atol=3e-3)
    assert found.covariance[0, 0] == 0


@pytest.mark.parametrize("lag", [(20, 0), (0, -20), (20, 20)])
def test_a_maximum_on_the_edge_is_no_shift(lag):
    found = peak.register(surface(bump(lag)))
    assert found.status == PairStatus.AT_BOUND
    assert np.isnan(found.shift).all()
    assert np.isfinite(found.ncc)


def test_two_equal_maxima_are_ambiguous():
    found = peak.register(surface(np.maximum(bump((0, 8)), bump((0, -8)))))
    assert found.status == PairStatus.AMBIGUOUS
    assert found.runner_up == pytest.approx(1)


def test_a_lower_second_maximum_is_the_runner_up():
    found = peak.register(surface(np.maximum(bump((5, 8)), bump((0, -8), height=0.5))))
    assert found.status == PairStatus.OK
    assert found.runner_up == pytest.approx(np.arctanh(0.5) / np.arctanh(0.9), rel=1e-3)


def test_nothing_known_and_nothing_positive():
    assert peak.register(surface(np.full((5, 5), np.nan))).status == PairStatus.LOW_OVERLAP
    assert peak.register(surface(np.full((5, 5), -0.3))).status == PairStatus.LOW_NCC


@pytest.mark.parametrize("smooth", [0, 1, 3])
@pytest.mark.parametrize("max_shift", [8, 24, None])
def test_unrelated_images_have_no_shift(smooth, max_shift):
    mask = ellipse((64, 64))
    for seed in range(12):
        found = register_translation(
            rough(3000 + seed, (64, 64), smooth),
            rough(4000 + seed, (64, 64), smooth),
            reference_mask=mask,
            moving_mask=mask,
            max_shift=max_shift,
        )
        assert found.status != PairStatus.OK
        assert np.isnan(found.shift).all()


def stars(rng):
    field = np.zeros((96, 96))
    field[tuple(rng.integers(0, 96, (2, 60)))] = np.exp(rng.normal(size=60))
    return ndimage.gaussian_filter(field, 1.2)


@pytest.mark.parametrize("kind", ["stars", "lognormal"])
def test_few_unrelated_images_of_bright_details_pass(kind):
    """Chance lays bright details on each other: most are seen through, and all true pairs pass."""
    rng, believed = np.random.default_rng(8), 0
    make = {"stars": stars, "lognormal": lambda rng: np.exp(rng.normal(size=(96, 96)))}[kind]
    for _ in range(40):
        unrelated = register_translation(make(rng), make(rng), max_shift=24)
        believed += unrelated.status == PairStatus.OK
        field = make(rng)
        pair = field[8:80, 8:80], field[3:75, 14:86]
        true = register_translation(*pair, max_shift=24, subpixel=False)
        assert true.status == PairStatus.OK
        assert true.shift.tolist() == [-5, 6]
    assert believed <= 8  # of 40: 5 stars, 0 lognormal; without looking at the tail 28 and 4


def test_true_pairs_in_noise_have_one():
    mask = ellipse((128, 128))
    rng = np.random.default_rng(5)
    for seed in range(10):
        big = rough(seed, (148, 148), 1.5)
        big /= big.std()
        views = big[10:138, 10:138], big[6:134, 15:143]
        noisy = [view + rng.normal(0, np.sqrt(2), view.shape) for view in views]  # SNR 0.5
        found = register_translation(*noisy, reference_mask=mask, moving_mask=mask, max_shift=16)
        assert found.status == PairStatus.OK
        np.testing.assert_allclose(found.shift, (-4, 5), atol=0.5)


def test_shifts_between_pixels_of_a_known_scene():
    """Rendered exactly, through a mask and with noise: the error is a few hundredths of a pixel."""
    world, mask = Scene(1, detail=2.0), ellipse((96, 96))
    rng = np.random.default_rng(1)
    errors = []
    for true in rng.uniform(-5, 5, (12, 2)):
        reference, moving = world.view((96, 96), (0, 0)), world.view((96, 96), true)
        noise = rng.normal(0, 0.1, (2, 96, 96))
        found = register_translation(
            reference + noise[0],
            moving + noise[1],
            reference_mask=mask,
            moving_mask=mask,
            max_shift=12,
        )
        errors.append(found.shift - true)
    assert np.sqrt(np.mean(np.square(errors))) < 0.02
    assert np.abs(np.mean(errors)) < 0.01


def errors_of(scene, noise, mask_of, pairs=40, size=112, blur=0.0, largest=5.0):
    """Errors over the Cramér-Rao bound (root mean squares), and over their stated deviation."""
    rng = np.random.default_rng(11)
    shape, errors, bounds, stated = (size, size), [], [], []
    for _ in range(pairs):
        true, at = rng.uniform(-largest, largest, 2), rng.uniform(0, 1000, 2)
        views = [scene.view(shape, at), scene.view(shape, at + true)]
        masks = mask_of(rng, shape)
        grain = rng.normal(size=(2, *shape))
        if blur:
            grain = np.stack([ndimage.gaussian_filter(one, blur, mode="wrap") for one in grain])
        images = [v + noise * g / grain.std() for v, g in zip(views, grain, strict=True)]
        found = register_translation(
            *images, reference_mask=masks[0], moving_mask=masks[1], max_shift=8
        )
        assert found.status == PairStatus.OK
        both = masks[0] & ndimage.shift(masks[1].astype(float), np.rint(true), order=0).astype(bool)
        step = 1e-3
        slopes = [
            ((scene.view(shape, at + d) - scene.view(shape, at - d)) / (2 * step))[both]
            for d in step * np.eye(2)
        ]
        bound = 2 * noise**2 * np.linalg.inv(np.array(slopes) @ np.array(slopes).T)
        errors.append(found.shift - true)
        bounds.append(np.diag(bound))
        stated.append(np.sqrt(np.diag(found.covariance)))
    rms = np.sqrt(np.mean(np.square(errors)))
    return rms / np.sqrt(np.mean(bounds)), np.sqrt(np.mean(np.square(np.divide(errors, stated))))


def one_ellipse(rng, shape):
    return (ellipse(shape),) * 2


def clouds(rng, shape):
    """Another quarter of each frame is not valid."""
    fields = [ndimage.gaussian_filter(rng.normal(size=shape), 8) for _ in range(2)]
    return [field < np.quantile(field, 0.75) for field in fields]


def holes(rng, shape):
    return (rng.random(shape) > 0.25,) * 2


@pytest.mark.parametrize(
    ("detail", "noise", "mask_of", "most"),
    [
        (3.0, 1.0, one_ellipse, 1.4),  # a spline through the surface: 4.0
        (3.0, 0.3, one_ellipse, 1.3),  # 1.8
        (1.2, 0.3, one_ellipse, 1.3),
        (3.0, 1.0, clouds, 1.4),  # the NCC in place of the mean square difference: 1.7
        (3.0, 0.03, holes, 3.2),  # the best linear filter alone: 5
    ],
)
def test_errors_are_at_the_bound_and_as_large_as_they_say(detail, noise, mask_of, most):
    ratio, calibration = errors_of(Scene(4, detail=detail, waves=100), noise, mask_of)
    assert ratio < most
    assert 0.7 < calibration < 1.35  # of 80 values


@pytest.mark.parametrize("blur", [0.5, 1.0])
def test_stated_errors_know_of_coloured_noise(blur):
    _, calibration = errors_of(Scene(4, detail=2.0, waves=100), 0.7, one_ellipse, blur=blur)
    assert 0.7 < calibration < 1.4  # with white noise assumed: 1.5 and 2.4


def star_pair(seed, noise):
    """Stars of very different brightness; the second view is moved by what is returned."""
    rng = np.random.default_rng(seed)
    sky = np.zeros((136, 136))
    sky[tuple(rng.integers(0, 136, (2, 60)))] = np.exp(1.5 * rng.normal(size=60))
    sky = ndimage.gaussian_filter(sky, 1.2)
    true = rng.integers(-12, 13, 2)
    here, there = (20, 20), 20 + true
    views = [sky[y : y + 96, x : x + 96] for y, x in (here, there)]
    grain = noise * sky.std() * rng.normal(size=(2, 96, 96))
    return views[0] + grain[0], views[1] + grain[1], true


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_the_summit_stays_on_the_chosen_peak(noise):
    """Where bright details leave the overlap, contrast is lost and everything looks alike."""
    ok = 0
    for seed in range(60):
        reference, moving, true = star_pair(seed, noise)
        found = register_translation(reference, moving, max_shift=16)
        if found.status == PairStatus.OK:
            np.testing.assert_allclose(found.shift, true, atol=1.5)
            ok += 1
    assert ok > 50


@pytest.mark.parametrize("max_shift", [6, None])
def test_lines_are_located_across_them_only(max_shift):
    rng = np.random.default_rng(0)
    line = np.tile(ndimage.gaussian_filter(rng.normal(size=90), 2), (64, 1))
    noise = 0.3 * line.std() * rng.normal(size=(2, 64, 64))
    found = register_translation(
        line[:, 10:74] + noise[0], line[:, 7:71] + noise[1], max_shift=max_shift
    )
    assert found.status in (PairStatus.AMBIGUOUS, PairStatus.AT_BOUND)


def test_a_plane_is_nowhere():
    plane = np.add.outer(np.arange(48.0), np.arange(48.0))
    assert register_translation(plane, plane).status == PairStatus.AMBIGUOUS
    smooth = Scene(3, detail=12.0).view((160, 160), (0, 0))
    assert register_translation(smooth, smooth, max_shift=12).status == PairStatus.OK


def test_whole_lags_are_known_to_a_part_of_a_pixel():
    world = Scene(1, detail=2.0)
    images = world.view((64, 64), (0, 0)), world.view((64, 64), (2.45, -3.4))
    fine = register_translation(*images, max_shift=8)
    whole = register_translation(*images, max_shift=8, subpixel=False)
    assert whole.shift.tolist() == [2, -3]
    np.testing.assert_allclose(whole.covariance - fine.covariance, np.eye(2) / 12, atol=1e-6)


def test_either_contrast_looks_for_rivals_of_both_signs():
    found = surface(bump((0, 9)) - bump((0, -9), height=0.899))
    assert peak.register(found).status == PairStatus.OK
    asked = peak.register(found, contrast="either")
    assert asked.status == PairStatus.AMBIGUOUS
    assert asked.runner_up > 0.9


def test_a_peak_next_to_the_edge_is_fitted_with_lags_beyond_it():
    """Smooth and close to the bound: without lags beyond the search the fit would be far off."""
    world = Scene(9, detail=5.0)
    images = world.view((80, 80), (0, 0)), world.view((80, 80), (5.7, -4.4))
    found = register_translation(*images, max_shift=6)
    assert found.status == PairStatus.OK
    np.testing.assert_allclose(found.shift, (5.7, -4.4), atol=0.02)
    beyond = register_translation(*images, max_shift=(5, 6))
    assert beyond.status == PairStatus.AT_BOUND


def assorted_surfaces(rng):
    """Of one, two and three axes, clear and lost in noise, whole and with unknown lags."""
    shapes = [(41,), (41, 43), (1, 41), (15, 17, 19)]
    found = []
    for row in range(60):
        shape = shapes[row % 4] if row % 3 else shapes[1]
        noise = rng.choice([0.003, 0.05, 0.3]) * rng.normal(size=shape)
        centre = [rng.uniform(-4, 4) if size > 1 else 0 for size in shape]
        height, width = rng.choice([-0.9, 0.6, 0.9]), rng.uniform(1, 4)
        one = surface(np.clip(bump(centre, shape, height, width) + noise, -1, 1), 3000.0)
        if row % 5 == 0:
            one.ncc[tuple(rng.integers(0, size, 30) for size in shape)] = np.nan
        if row % 2:
            variances = rng.uniform(0.8, 1.2, (2, *shape))
            one = replace(one, variances=tuple(variances), averaged=1.0 + 3 * (row % 4 == 1))
        found.append(one)
    return found


def bits(found):
    numbers = found.ncc, found.runner_up, found.overlap
    return found.shift.tobytes(), found.covariance.tobytes(), np.array(numbers).tobytes()


@pytest.mark.parametrize("together", [2, 3, 7, 16, 60])
def test_what_is_found_does_not_depend_on_what_it_is_found_with(monkeypatch, together):
    """To the last bit: measured rows are what a resumed run goes on from."""
    rng = np.random.default_rng(2)
    surfaces = assorted_surfaces(rng)
    alone = [peak.register(one) for one in surfaces]
    assert len({one.status for one in alone}) >= 4
    monkeypatch.setattr(registration, "TOGETHER", together)
    for _ in range(3):
        order = rng.permutation(len(surfaces))
        found = peak.register_each(surfaces[row] for row in order)
        for row, one in zip(order, found, strict=True):
            assert one.status is alone[row].status
            assert bits(one) == bits(alone[row])


def test_large_surfaces_are_not_held_together(monkeypatch):
    monkeypatch.setattr(registration, "TOGETHER_LAGS", 2 * 41 * 41)
    taken = []

    def one_by_one():
        for row in range(4):
            taken.append(row)
            yield surface(bump((row, 1)))

    found = peak.register_each(one_by_one())
    assert next(found).shift[0] == pytest.approx(0, abs=0.01)
    assert taken == [0, 1]
    assert [round(one.shift[0]) for one in found] == [1, 2, 3]


def test_matrices_of_a_patch_are_what_transforms_make_of_it():
    rng = np.random.default_rng(0)
    for ndim in (1, 2, 3):
        grid = grid_of(ndim)
        response = rng.random(len(grid.ring_count))
        filter_ = grid.compact(response[grid.rings])
        np.testing.assert_allclose(times(grid.ring_filters, response), filter_, atol=1e-12)
        slopes = times(grid.ring_slopes, response).reshape(ndim, -1)
        np.testing.assert_allclose(slopes, grid.slopes(filter_), atol=1e-12)
        spectrum = rng.normal(size=filter_.size)
        means = np.bincount(grid.rings, grid.weight * spectrum) / grid.ring_count
        np.testing.assert_allclose(times(grid.ring_mean, spectrum), means, atol=1e-12)
        lags = np.arange(grid.size)
        assert (grid.lags[:, grid.opposite] == -grid.lags[:, lags]).all()
        # a whole lag: a wave moves the patch round
        patch, at = rng.normal(size=grid.size), np.full(ndim, 2.0)
        moved = grid.backward(grid.forward(patch) * grid.wave(at)).reshape(grid.shape)
        rolled = np.roll(patch.reshape(grid.shape), [-2] * ndim, range(ndim))
        np.testing.assert_allclose(moved, rolled, atol=1e-12)
