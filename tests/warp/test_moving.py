"""Interpolation between the pixels: against exact scenes and scipy, with masks, in parts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack.warp import (
    INTERPOLATIONS,
    REACH,
    Box,
    find_source_part,
    move,
    move_part,
    place_on_canvas,
)
from support.scenes import Scene, rough

SHIFT = np.array([2.3, -4.6])


@pytest.mark.parametrize("shift", [(0.4, -0.7), (0.0, 0.5), (-5.25, 3.0)])
def test_cubic_is_the_spline_through_all_pixels(shift):
    image = rough(1, (70, 80))
    moved, _ = move(image, np.ones(image.shape, bool), np.array(shift), "cubic")
    expected = ndimage.shift(image, shift, order=3, mode="mirror")
    inside = (slice(20, -20),) * 2
    np.testing.assert_allclose(moved[inside], expected[inside], atol=2e-6)


@pytest.mark.parametrize(
    ("interpolation", "detail", "error"),
    [("linear", 4.0, 0.06), ("cubic", 2.0, 0.02), ("fourier", 1.5, 2e-3)],
)
def test_the_scene_is_where_it_should_be(interpolation, detail, error):
    scene = Scene(4, detail=detail)
    image = scene.view((90, 96), (0, 0))
    moved, known = move(image, np.ones(image.shape, bool), SHIFT, interpolation)
    inside = (slice(28, -28),) * 2
    expected = scene.view((90, 96), -SHIFT)
    assert np.abs(moved - expected)[inside].max() < error
    assert known[inside].all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_an_invalid_area_is_moved_as_it_is_and_does_not_bleed(interpolation, ndim):
    shape, shift = ((40, 44), SHIFT) if ndim == 2 else ((12, 20, 24), np.array([1.5, 2.3, -4.6]))
    rng = np.random.default_rng(2)
    valid = ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > -0.1
    valid.flat[rng.integers(0, valid.size, 20)] = False  # single pixels, too
    image = np.where(valid, 7.0, 1e6)
    moved, known = move(image, valid, shift, interpolation)
    by = np.floor(shift + 0.5)
    expected = ndimage.shift(valid.astype(np.uint8), by, order=0, cval=0) == 1
    np.testing.assert_array_equal(known, expected)
    np.testing.assert_allclose(moved[known], 7, rtol=1e-6)
    assert (moved[~known] == 0).all()


def test_what_is_not_valid_keeps_its_values_if_asked():
    image = np.arange(30, dtype="u2").reshape(5, 6)
    valid = image != 14
    moved, known = np.full((5, 6), 99, "u2"), np.zeros((5, 6), bool)
    part = (slice(0, 5), slice(0, 6))
    move_part(
        image, valid, part, (5, 6), np.array([1.0, 0.5]), (0, 0), "linear", moved, known,
        invalid="keep",
    )  # fmt: skip
    assert moved[3, 3] == 14
    assert not known[3, 3]
    assert (moved[0] == 99).all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_parts_are_those_of_the_whole(interpolation, masked):
    image = (1000 * rough(5, (80, 70)) + 2000).astype("u2")
    valid = rough(6, image.shape, 3) > -0.15 if masked else None
    whole, seen = np.zeros(image.shape, "u2"), np.zeros(image.shape, bool)
    part = tuple(slice(0, size) for size in image.shape)
    move_part(image, valid, part, image.shape, SHIFT, (0, 0), interpolation, whole, seen)
    box = Box((31, 40), (20, 30))
    needed = find_source_part(box, SHIFT, image.shape, REACH[interpolation])
    assert needed is not None
    if interpolation in ("nearest", "linear"):
        assert needed[0].stop - needed[0].start <= 22
    moved, known = np.zeros(box.shape, "u2"), np.zeros(box.shape, bool)
    move_part(
        image[needed], None if valid is None else valid[needed], needed, image.shape, SHIFT,
        box.first, interpolation, moved, known,
    )  # fmt: skip
    inside = tuple(slice(a, b) for a, b in zip(box.first, box.stop, strict=True))
    np.testing.assert_array_equal(known, seen[inside])
    apart = np.abs(moved.astype(int) - whole[inside].astype(int))
    # Sums in single precision depend on where blocks begin: near a half they may round either way.
    precise, _ = np.zeros(image.shape), np.zeros(image.shape, bool)
    move_part(
        image.astype(float), valid, part, image.shape, SHIFT, (0, 0), interpolation, precise, _
    )
    near_half = np.abs(precise[inside] % 1 - 0.5) < 2e-3
    # Means around what is not valid may end at the part: by less than a count.
    assert apart[~near_half].max() <= masked
    assert apart.max() <= 1


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8", "?"])
def test_data_types_stay(dtype):
    image = (rough(7, (30, 30)) * 300 + 100).clip(0, 255).astype(dtype)
    moved, known = np.zeros(image.shape, dtype), np.zeros(image.shape, bool)
    part = (slice(0, 30),) * 2
    move_part(image, None, part, (30, 30), np.array([0.5, 0.5]), (0, 0), "cubic", moved, known)
    assert known[1:, 1:].all()
    difference = moved[2:-2, 2:-2].astype(float) - image[2:-2, 2:-2]
    assert np.abs(difference).mean() < (1 if dtype == "?" else 60)


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -2.0), (1.4, 0.7)])
def test_moves_as_scipy_does(interpolation, shift):
    image = rough(1, (20, 22), 2)
    moved, valid = move(image, np.ones(image.shape, bool), np.array(shift), interpolation)
    by, order = (np.rint(shift), 0) if interpolation == "nearest" else (shift, 1)
    expected = ndimage.shift(image, by, order=order, cval=np.nan)
    inside = np.isfinite(expected)
    np.testing.assert_allclose(moved[inside], expected[inside], atol=1e-12)
    assert valid[inside].all()
    assert (moved[~valid] == 0).all()


def test_invalid_pixels_do_not_bleed():
    image, valid = np.full((12, 12), 5.0), np.ones((12, 12), bool)
    valid[5, 5], image[5, 5] = False, 1e9
    image[2, 2], valid[2, 2] = np.nan, False
    moved, known = move(image, valid, np.array([0.3, -0.6]))
    np.testing.assert_allclose(moved[known], 5)
    whole, kept = move(image, valid, np.array([2.0, 1.0]), "nearest")
    assert not kept[7, 6]
    assert not kept[4, 3]
    assert kept.sum() == 10 * 11 - 2
    np.testing.assert_allclose(whole[kept], 5)


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="not one of nearest, linear"):
        move(np.zeros((3, 3)), np.ones((3, 3), bool), np.zeros(2), "quintic")


def test_a_canvas_holds_the_scene_where_it_is():
    world, shift = Scene(1), np.array([2.3, -4.6])
    shape, first = (60, 70), (-5, -8)
    moved, known = place_on_canvas(
        world.view((50, 50), shift), np.ones((50, 50), bool), shift, first, shape
    )
    inner = known.copy()
    rows, columns = np.flatnonzero(known.any(1)), np.flatnonzero(known.any(0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == (8, 57, 4, 53)
    inner[:14], inner[51:], inner[:, :10], inner[:, 47:] = False, False, False, False
    np.testing.assert_allclose(moved[inner], world.view(shape, first)[inner], atol=0.02)
    assert (moved[~known] == 0).all()


def test_what_is_not_valid_is_not_on_the_canvas():
    image, valid = np.full((20, 20), 1.0), np.ones((20, 20), bool)
    image[8, 9], valid[8, 9] = np.nan, False
    image[3, 3], valid[3, 3] = 1e9, False
    moved, known = place_on_canvas(image, valid, np.array([0.4, 3.0]), (0, 0), (20, 20))
    np.testing.assert_allclose(moved[known], 1, atol=1e-9)
    assert not known[[8, 9, 3, 4], [12, 12, 6, 6]].any()
    assert not known[0].any()
    assert known[1:, 3:].sum() == 19 * 17 - 4
