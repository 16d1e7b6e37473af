"""Frames that are turned: against exact scenes, scipy, and pixels moved one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack import InputError
from steadystack.warp import (
    REACH,
    Box,
    check_linear_interpolation,
    find_common_box,
    find_warped_common_box,
    find_warped_part,
    find_warped_whole_box,
    find_whole_box,
    move,
    warp,
    warp_part,
)
from support.scenes import Scene, rough
from support.turning import lay, turn

LINEAR, SHIFT = turn(7.0, 1.03, 0.02), np.array([2.3, -4.6])
SHAPE = (60, 72)
MIDDLE = (np.array(SHAPE) - 1) / 2


def find_nearest(shape=SHAPE, linear=LINEAR, shift=SHIFT):
    """The pixel of the frame that the middle of each pixel comes from, one by one."""
    middle = (np.array(shape) - 1) / 2
    nearest = np.full((*shape, 2), -1)
    for pixel in np.ndindex(*shape):
        place = middle + np.linalg.solve(linear, np.array(pixel) - middle - shift)
        whole = np.floor(place + 0.5).astype(int)
        if (whole >= 0).all() and (whole < shape).all():
            nearest[pixel] = whole
    return nearest


@pytest.mark.parametrize(("interpolation", "error"), [("linear", 0.15), ("cubic", 0.02)])
def test_the_scene_is_where_it_should_be(interpolation, error):
    scene = Scene(4, detail=3.0, waves=100)
    places = np.moveaxis(np.indices(SHAPE), 0, -1)
    image = scene.look(lay(places, LINEAR, SHIFT, MIDDLE))  # the frame before it is moved
    moved, known = warp(image, np.ones(SHAPE, bool), LINEAR, SHIFT, interpolation)
    inside = np.s_[14:-14, 14:-14]
    assert known[inside].all()
    assert np.abs(moved - scene.view(SHAPE, (0, 0)))[inside].max() < error


def test_cubic_is_the_spline_through_all_pixels():
    image = rough(1, SHAPE)
    moved, known = warp(image, np.ones(SHAPE, bool), LINEAR, SHIFT, "cubic")
    inverse = np.linalg.inv(LINEAR)
    offset = MIDDLE - inverse @ (MIDDLE + SHIFT)
    expected = ndimage.affine_transform(image, inverse, offset, order=3, mode="reflect")
    np.testing.assert_allclose(moved[known], expected[known], atol=1e-6)


@pytest.mark.parametrize("invalid", ["blank", "keep"])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_an_invalid_area_is_moved_as_it_is_and_does_not_bleed(interpolation, invalid):
    image, valid = 100 + rough(2, SHAPE), np.ones(SHAPE, bool)
    valid[20:31, 25:40] = valid[50, 10] = False
    outcomes = []
    for wrong in (0, 1e6):
        moved, known = np.full(SHAPE, -1.0), np.zeros(SHAPE, bool)
        warp_part(
            np.where(valid, image, wrong), valid, (slice(0, 60), slice(0, 72)), SHAPE, LINEAR,
            SHIFT, (0, 0), interpolation, moved, known, invalid=invalid,
        )  # fmt: skip
        outcomes.append(moved)
        nearest = find_nearest()
        inside = (nearest >= 0).all(axis=-1)
        seen = inside & valid[nearest[..., 0], nearest[..., 1]]
        np.testing.assert_array_equal(known, seen)
        assert (moved[~inside] == -1).all()
        left = moved[inside & ~seen]
        assert (left == (wrong if invalid == "keep" else -1)).all()
    np.testing.assert_array_equal(outcomes[0][known], outcomes[1][known])
    assert 80 < outcomes[0][known].min() < outcomes[0][known].max() < 120


def test_labels_stay_labels():
    labels = np.random.default_rng(3).integers(0, 5, SHAPE).astype("u1") * 50
    moved, known = np.zeros(SHAPE, "u1"), np.zeros(SHAPE, bool)
    region = (slice(0, 60), slice(0, 72))
    warp_part(labels, None, region, SHAPE, LINEAR, SHIFT, (0, 0), "nearest", moved, known)
    nearest = find_nearest()
    np.testing.assert_array_equal(moved[known], labels[tuple(nearest[known].T)])


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("linear", [LINEAR, np.eye(2)])
def test_pieces_are_those_of_the_whole(interpolation, linear):
    image = rough(5, SHAPE)
    valid = rough(6, SHAPE) > -2
    whole, known = np.zeros(SHAPE), np.zeros(SHAPE, bool)
    region = tuple(slice(0, size) for size in SHAPE)
    warp_part(image, valid, region, SHAPE, linear, SHIFT, (0, 0), interpolation, whole, known)
    for first, sides in (((0, 0), (20, 30)), ((31, 40), (29, 32)), ((-9, 60), (15, 30))):
        box = Box(first, sides)
        part = find_warped_part(box, linear, SHIFT, SHAPE, REACH[interpolation] + 1)
        piece, piece_known = np.zeros(sides), np.zeros(sides, bool)
        warp_part(
            image[part], valid[part], part, SHAPE, linear, SHIFT, first, interpolation, piece,
            piece_known,
        )  # fmt: skip
        here = tuple(
            slice(max(b, 0), min(e, s)) for b, e, s in zip(first, box.stop, SHAPE, strict=True)
        )
        there = tuple(slice(h.start - b, h.stop - b) for h, b in zip(here, first, strict=True))
        np.testing.assert_array_equal(piece_known[there], known[here])
        np.testing.assert_allclose(piece[there], whole[here], atol=1e-5)
    assert find_warped_part(Box((500, 0), (9, 9)), linear, SHIFT, SHAPE, 1) is None


def test_planes_are_warped_alike():
    image = np.stack([rough(7, SHAPE), rough(8, SHAPE)])
    moved, known = np.zeros(image.shape), np.zeros(image.shape, bool)
    region = (slice(0, 2), slice(0, 60), slice(0, 72))
    warp_part(
        image, None, region, image.shape, LINEAR, np.array([0.0, *SHIFT]), (0, 0, 0), "cubic",
        moved, known,
    )  # fmt: skip
    for plane in range(2):
        expected = warp(image[plane], np.ones(SHAPE, bool), LINEAR, SHIFT, "cubic")
        np.testing.assert_array_equal(moved[plane], expected[0])
        np.testing.assert_array_equal(known[plane], expected[1])


def test_a_shift_alone_is_moved_as_ever():
    image, valid = rough(9, SHAPE), rough(10, SHAPE) > -1
    for linear in (None, np.eye(2)):
        for found, expected in zip(
            warp(image, valid, linear, SHIFT, "cubic"),
            move(image, valid, SHIFT, "cubic"),
            strict=True,
        ):
            np.testing.assert_array_equal(found, expected)


def test_small_holes_are_filled():
    image, valid = rough(11, SHAPE), np.ones(SHAPE, bool)
    valid[30, 33] = False
    region = tuple(slice(0, size) for size in SHAPE)
    moved, known = np.full(SHAPE, np.nan), np.zeros(SHAPE, bool)
    warp_part(
        image, valid, region, SHAPE, LINEAR, SHIFT, (0, 0), "linear", moved, known, invalid="fill"
    )
    inside = (find_nearest() >= 0).all(axis=-1)
    assert np.isfinite(moved[inside]).all()
    assert (~known & inside).any()


def test_boxes_hold_what_frames_cover():
    linear = np.stack([np.eye(2), LINEAR, turn(-5.0, 0.97)])
    shifts = np.array([[0.0, 0.0], SHIFT, [4.2, 3.1]])
    region = tuple(slice(0, size) for size in SHAPE)
    first, sides = (-40, -40), (150, 160)
    covered = []
    for each, shift in zip(linear, shifts, strict=True):
        known = np.zeros(sides, bool)
        warp_part(
            np.zeros(SHAPE), None, region, SHAPE, each, shift, first, "nearest", np.zeros(sides),
            known,
        )  # fmt: skip
        covered.append(known)
    common, whole = (
        find(linear, shifts, SHAPE) for find in (find_warped_common_box, find_warped_whole_box)
    )
    in_all = np.logical_and.reduce(covered)
    assert in_all[
        tuple(slice(b + 40, e + 40) for b, e in zip(common.first, common.stop, strict=True))
    ].all()
    assert np.prod(common.shape) > 0.5 * in_all.sum()
    places = np.argwhere(np.logical_or.reduce(covered)) - 40
    assert tuple(places.min(axis=0)) == whole.first
    assert tuple(places.max(axis=0) + 1) == whole.stop
    still = np.tile(np.eye(2), (3, 1, 1))
    assert find_warped_common_box(still, shifts, SHAPE) == find_common_box(shifts, SHAPE)
    assert find_warped_whole_box(still, shifts, SHAPE) == find_whole_box(shifts, SHAPE)
    far = np.array([[0.0, 0.0], [99.0, 0.0], [0.0, 0.0]])
    assert find_warped_common_box(linear, far, SHAPE) is None


def test_waves_are_not_turned():
    with pytest.raises(InputError, match="'fourier' is for shifts alone"):
        check_linear_interpolation("fourier")
