"""Pairs that keep no model's assumptions: found, and with an error that holds."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy import ndimage
from skimage import data

from steadystack.config.settings import PreprocessSection
from steadystack.model import PairStatus, Registration
from steadystack.register import register_translation
from steadystack.register.conditionings import Attempt, _choose
from steadystack.register.plain_pair import PlainPair
from support.members import slow_but
from support.scenes import Scene

HOLDS = 1.6  # root mean square of error over stated, of the few pairs that there is time for


def move(spectrum, shape, at):
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    return np.fft.irfft2(spectrum * np.exp(2j * np.pi * (ky * at[0] + kx * at[1])), shape)


def boxes(rng):
    scene = np.zeros((200, 200))
    for _ in range(4):
        (y, x), (height, width) = rng.integers(62, 118, 2), rng.integers(10, 31, 2)
        scene[y : y + height, x : x + width] = 1
    spectrum, shift = np.fft.rfft2(ndimage.gaussian_filter(scene, 3)), rng.uniform(-8, 8, 2)
    views = (move(spectrum, scene.shape, at)[50:150, 50:150] for at in ((0, 0), shift))
    return *(view + 0.03 * rng.normal(size=view.shape) for view in views), shift


def views(rng, detail, size=128):
    scene, shift = Scene(int(rng.integers(1e6)), detail=detail), rng.uniform(-6, 6, 2)
    return *(scene.view((size, size), at) for at in ((0, 0), shift)), shift


def photons(rng):
    *seen, shift = views(rng, 2.0)
    return *(rng.poisson(np.clip(1 + 0.4 * view, 0, None)) for view in seen), shift


def columns(rng):
    *seen, shift = views(rng, 2.0)
    fixed = 0.3 * rng.normal(size=(1, 128))
    return *(view + fixed + 0.3 * rng.normal(size=view.shape) for view in seen), shift


def hot_pixels(rng):
    *seen, shift = views(rng, 2.0)
    hot = np.zeros((128, 128))
    hot[tuple(rng.integers(0, 128, (2, 15)))] = rng.uniform(10, 40, 15)
    return *(view + hot + 0.3 * rng.normal(size=view.shape) for view in seen), shift


def uneven_light(rng):
    """Light that stands still, brighter than the scene."""
    *seen, shift = views(rng, 2.0)
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    light = 4 * np.exp(-3 * ((y - 0.3) ** 2 + (x - 0.1) ** 2))
    return *(view + light + 0.3 * rng.normal(size=view.shape) for view in seen), shift


def plain(rng):
    *seen, shift = views(rng, 2.0)
    return *(view + 0.3 * rng.normal(size=view.shape) for view in seen), shift


# kind: how to make it, and the largest root mean square error, px
KINDS = {
    "boxes": (boxes, 0.03),
    "photons": (photons, 0.4),
    "columns": (columns, 0.03),
    "hot_pixels": (hot_pixels, 0.03),
    "plain": (plain, 0.02),
}


@pytest.mark.parametrize("count", slow_but([6], [6, 100]))
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_with_an_error_that_holds(kind, count):
    make, largest = KINDS[kind]
    errors, ratios = [], []
    for seed in range(count):
        one, other, shift = make(np.random.default_rng([seed, 4]))
        found = register_translation(one, other, max_shift=24)
        assert found.status == PairStatus.OK
        errors.append(found.shift - shift)
        ratios.append(errors[-1] / np.sqrt(np.diag(found.covariance)))
    assert np.sqrt(np.mean(np.square(errors))) < largest
    assert 0.5 < np.sqrt(np.mean(np.square(ratios))) < HOLDS


@pytest.mark.parametrize(
    ("name", "blur"),
    slow_but(
        [("clock", 0.7), ("text", 2.5), ("page", 0.7), ("page", 2.0), ("camera", 1.5)],
        [
            (name, blur)
            for name in ("page", "clock", "text", "moon", "coins", "camera")
            for blur in (0.0, 0.7, 1.5, 2.0, 2.5)
        ],
    ),
)
def test_a_photograph_and_the_same_out_of_focus(name, blur):
    rng, photo = np.random.default_rng(0), getattr(data, name)().astype(float)
    one, other = photo[20:-20, 20:-20], ndimage.gaussian_filter(photo, blur)[17:-23, 25:-15]
    one, other = (image + rng.normal(0, 2, image.shape) for image in (one, other))
    found = register_translation(one, other, max_shift=32)
    if found.status != PairStatus.OK:  # a page alone, very much out of focus
        assert (name, blur) == ("page", 2.5)
        return
    np.testing.assert_allclose(found.shift, (-3, 5), atol=0.15)


def test_other_lines_of_a_page_are_not_the_same():
    """Nor where one is out of focus: text is alike everywhere, coarse and fine."""
    page = data.page().astype(float)
    found = []
    for seed, blur in itertools.product(range(6), (0.0, 2.0, 2.5)):
        rng = np.random.default_rng([seed, 5])
        y, x = rng.integers(0, 35, 2)
        one, other = page[y : y + 60, x : x + 300], page[y + 90 : y + 150, x + 10 : x + 310]
        views = one, ndimage.gaussian_filter(other, blur)
        views = [view + rng.normal(0, 2, view.shape) for view in views]
        found.append(register_translation(*views, max_shift=24).status)
    assert PairStatus.OK not in found


def test_what_stands_still_before_a_scene_that_moves_is_not_taken_for_it():
    """Fine detail of the camera and a coarse scene: the filter that sees the first is not right."""
    rng, wrong = np.random.default_rng(11), 0
    for _ in range(12):
        scene, camera = (
            ndimage.gaussian_filter(rng.normal(size=(96, 116)), rng.uniform(*sigma), mode="wrap")
            for sigma in ((3, 7), (0.8, 1.6))
        )
        scene, camera = scene / scene.std(), camera[:, :96] / camera.std() * rng.uniform(0.3, 0.9)
        move = int(rng.integers(5, 14))
        views = [scene[:, at : at + 96] + camera for at in (move, 0)]
        views = [view + 0.2 * rng.normal(size=view.shape) for view in views]
        found = register_translation(*views, max_shift=16)
        wrong += bool(found.status == PairStatus.OK and np.abs(found.shift[1]) < move - 2)
    assert wrong == 0


def test_what_was_done_is_named():
    """As settings: a run with them has it, too."""
    names = set()
    for seed in range(6):
        one, other, _ = uneven_light(np.random.default_rng(seed))
        names.add(register_translation(one, other, max_shift=24).conditioning)
    assert len(names - {""}) > 1
    for name in names - {""}:
        assert PreprocessSection.model_validate(yaml.safe_load(f"{{{name}}}"))
    plain_pair = plain(np.random.default_rng(2))[:2]
    assert register_translation(*plain_pair, max_shift=24).conditioning == ""
    one, other, _ = hot_pixels(np.random.default_rng(2))
    found = register_translation(one, other, max_shift=24)
    assert found.conditioning == "without fixed pixels"
    assert 0.1 < found.fixed_pattern_share < 0.9


def test_a_plane_stays_ambiguous_whatever_is_taken_away():
    """Of a plane a high-pass leaves rounding alone, and that is the same in both images."""
    plane = np.add.outer(np.arange(64.0), 3 * np.arange(64.0))
    assert register_translation(plane, plane).status == PairStatus.AMBIGUOUS


@pytest.mark.parametrize("side", slow_but([64], [64, 72]))
def test_what_is_left_under_a_filter_does_not_hide_another_period(side):
    """A wide high-pass leaves so few pixels of a small image that other periods hardly overlap."""
    y, x = np.mgrid[:side, :side]
    for seed in range(15):
        rng = np.random.default_rng(seed)
        wave, move = 2 * np.pi / rng.uniform(9, 16), rng.uniform(-12, 12, 2)
        frames = [
            np.sin(wave * (y + dy)) + np.sin(wave * (x + dx)) + 0.1 * rng.normal(size=y.shape)
            for dy, dx in ((0, 0), move)
        ]
        found = register_translation(*frames, max_shift=18)
        assert np.isnan(found.shift).all() or np.abs(found.shift - move).max() < 1


def make_attempt(shift, deviations):
    """A pair that was measured, with a shift and its deviations, px."""
    image = np.zeros((8, 8))
    registration = Registration(
        shift=np.asarray(shift, float),
        covariance=np.diag(np.square(deviations)),
        ncc=0.5,
        second_peak_ratio=0.0,
        overlap=1.0,
        status=PairStatus.OK,
    )
    return Attempt(PlainPair.make(image, image, None, None, None, None), registration, registration)


def make_lost(highest, rival=0.4):
    """A pair without a shift, whose highest peak is at a lag."""
    attempt = make_attempt((0, 0), (1, 1))
    lost = Registration.unknown(2, PairStatus.AMBIGUOUS, ncc=0.9, second_peak_ratio=rival)
    return replace(attempt, stated=lost, registration=lost, highest=np.asarray(highest, float))


@pytest.mark.parametrize(
    ("others", "deviation", "is_taken"),
    [
        ([(2, -3), (3, -3), (2, -2)], 0.05, True),
        ([(2, -3), (3, -3), (2, 4)], 0.05, False),  # one has its highest peak elsewhere
        ([(2, -3), (3, -3), (2, -2)], 0.5, False),  # along an edge, say
    ],
)
def test_one_way_alone_is_believed_where_the_peaks_of_all_are_at_its_shift(
    others, deviation, is_taken
):
    way = make_attempt((2.3, -2.8), (deviation, deviation))
    first, *rest = [make_lost(highest) for highest in others]
    assert _choose(first, [way, *rest]).is_ok == is_taken
    elsewhere = make_attempt((9.0, 1.0), (0.3, 0.3))  # less certain, but somewhere else
    assert not _choose(first, [way, *rest, elsewhere]).is_ok
    assert not _choose(first, [way, rest[0]]).is_ok  # few votes
    still = [make_lost((0, 0)) for _ in range(3)]
    assert not _choose(still[0], [make_attempt((0.1, 0.2), (0.05, 0.05)), *still[1:]]).is_ok
    assert not _choose(first, [way, make_lost(others[0], rival=0.9)]).is_ok  # a lattice
    assert not _choose(first, [way, replace(rest[0], highest=None)]).is_ok


def test_the_luckiest_of_several_deviations_is_not_what_is_stated():
    """Seven ways with the same error, whose deviations are estimated from nine parts each."""
    rng = np.random.default_rng(8)
    ratios = []
    for _ in range(1000):
        error = rng.normal(size=2)
        estimates = np.sqrt(rng.chisquare(8, (7, 2)) / 8)
        ways = [make_attempt(error, deviations) for deviations in estimates]
        chosen = _choose(make_attempt(error, (5.0, 5.0)), ways).registration
        stated = np.sqrt(np.diag(chosen.covariance))
        ratios.append(error / stated)
    assert 1 < np.sqrt(np.mean(np.square(ratios))) < 1.25  # the smallest alone: 1.47
