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
    find_spread,
    find_warped_common_box,
    find_warped_part,
    find_warped_whole_box,
    find_whole_box,
    move,
    warp,
    warp_part,
)
from support.scenes import Scene, rough
from support.turning import lay, turn, turn_volume

LINEAR, SHIFT = turn(7.0, 1.03, 0.02), np.array([2.3, -4.6])
SHAPE = (60, 72)
MIDDLE = (np.array(SHAPE) - 1) / 2
# The same of a volume, and what is invalid of each.
DEEP, DEEP_SHIFT, DEEP_SHAPE = (
    turn_volume([3, 5, -4], 1.03) @ [[1, 0, 0.02], [0, 1, 0], [0, 0, 1]],
    np.array([1.2, 2.3, -4.6]),
    (14, 20, 24),
)
INVALID = {2: np.s_[20:31, 25:40], 3: np.s_[4:9, 6:13, 8:15]}
MOTIONS = {"frame": (LINEAR, SHIFT, SHAPE), "volume": (DEEP, DEEP_SHIFT, DEEP_SHAPE)}
of_both = pytest.mark.parametrize("motion", list(MOTIONS))


def whole(shape):
    return tuple(slice(0, size) for size in shape)


def find_nearest(shape=SHAPE, linear=LINEAR, shift=SHIFT):
    """The pixel of the frame that the middle of each pixel comes from, one by one."""
    middle = (np.array(shape) - 1) / 2
    nearest = np.full((*shape, len(shape)), -1)
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


@of_both
@pytest.mark.parametrize("invalid", ["blank", "keep"])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_an_invalid_area_is_moved_as_it_is_and_does_not_bleed(interpolation, invalid, motion):
    linear, shift, shape = MOTIONS[motion]
    image, valid = 100 + rough(2, shape), np.ones(shape, bool)
    valid[INVALID[len(shape)]] = valid[(-4,) * len(shape)] = False
    outcomes = []
    for wrong in (0, 1e6):
        moved, known = np.full(shape, -1.0), np.zeros(shape, bool)
        warp_part(
            np.where(valid, image, wrong), valid, whole(shape), shape, linear, shift,
            (0,) * len(shape), interpolation, moved, known, invalid=invalid,
        )  # fmt: skip
        outcomes.append(moved)
        nearest = find_nearest(shape, linear, shift)
        inside = (nearest >= 0).all(axis=-1)
        seen = inside & valid[tuple(np.moveaxis(nearest, -1, 0))]
        assert 0.4 < seen.mean() < inside.mean() < 1
        np.testing.assert_array_equal(known, seen)
        assert (moved[~inside] == -1).all()
        left = moved[inside & ~seen]
        assert (left == (wrong if invalid == "keep" else -1)).all()
    np.testing.assert_array_equal(outcomes[0][known], outcomes[1][known])
    assert 80 < outcomes[0][known].min() < outcomes[0][known].max() < 120


@of_both
def test_labels_stay_labels(motion):
    linear, shift, shape = MOTIONS[motion]
    labels = np.random.default_rng(3).integers(0, 5, shape).astype("u1") * 50
    moved, known = np.zeros(shape, "u1"), np.zeros(shape, bool)
    first = (0,) * len(shape)
    warp_part(labels, None, whole(shape), shape, linear, shift, first, "nearest", moved, known)
    nearest = find_nearest(shape, linear, shift)
    np.testing.assert_array_equal(moved[known], labels[tuple(nearest[known].T)])


PIECES = {
    2: [((0, 0), (20, 30)), ((31, 40), (29, 32)), ((-9, 60), (15, 30))],
    3: [((0, 0, 0), (5, 9, 10)), ((6, 4, 11), (8, 9, 13)), ((-3, 10, 13), (9, 14, 15))],
}


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("motion", [*MOTIONS.values(), (np.eye(2), SHIFT, SHAPE)], ids=str)
def test_pieces_are_those_of_the_whole(interpolation, motion):
    linear, shift, shape = motion
    image = rough(5, shape)
    valid = rough(6, shape) > -2 * image.std()
    moved, known = np.zeros(shape), np.zeros(shape, bool)
    start = (0,) * len(shape)
    warp_part(image, valid, whole(shape), shape, linear, shift, start, interpolation, moved, known)
    for first, sides in PIECES[len(shape)]:
        box = Box(first, sides)
        part = find_warped_part(box, linear, shift, shape, REACH[interpolation] + 1)
        piece, piece_known = np.zeros(sides), np.zeros(sides, bool)
        warp_part(
            image[part], valid[part], part, shape, linear, shift, first, interpolation, piece,
            piece_known,
        )  # fmt: skip
        here = tuple(
            slice(max(b, 0), min(e, s)) for b, e, s in zip(first, box.stop, shape, strict=True)
        )
        there = tuple(slice(h.start - b, h.stop - b) for h, b in zip(here, first, strict=True))
        np.testing.assert_array_equal(piece_known[there], known[here])
        error = 1e-5 if interpolation == "cubic" else 0  # splines are of the part that is read
        np.testing.assert_allclose(piece[there], moved[here], rtol=0, atol=error)
    away = Box((500, *(0 for _ in shape[1:])), (9,) * len(shape))
    assert find_warped_part(away, linear, shift, shape, 1) is None


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


@of_both
def test_small_holes_are_filled(motion):
    linear, shift, shape = MOTIONS[motion]
    image, valid = rough(11, shape), np.ones(shape, bool)
    valid[tuple(size // 2 for size in shape)] = False
    moved, known = np.full(shape, np.nan), np.zeros(shape, bool)
    warp_part(
        image, valid, whole(shape), shape, linear, shift, (0,) * len(shape), "linear", moved, known,
        invalid="fill",
    )  # fmt: skip
    inside = (find_nearest(shape, linear, shift) >= 0).all(axis=-1)
    assert np.isfinite(moved[inside]).all()
    assert (~known & inside).any()


@of_both
def test_boxes_hold_what_frames_cover(motion):
    linear, shift, shape = MOTIONS[motion]
    ndim = len(shape)
    other = turn(-5.0, 0.97) if ndim == 2 else turn_volume([-3, 2, 4], 0.97)
    linear = np.stack([np.eye(ndim), linear, other])
    shifts = np.array([np.zeros(ndim), shift, [0.7, 4.2, 3.1][-ndim:]])
    margin = 40 if ndim == 2 else 12
    sides, first = tuple(size + 2 * margin for size in shape), (-margin,) * ndim
    covered = []
    for each, moved_by in zip(linear, shifts, strict=True):
        known = np.zeros(sides, bool)
        warp_part(
            np.zeros(shape), None, whole(shape), shape, each, moved_by, first, "nearest",
            np.zeros(sides), known,
        )  # fmt: skip
        covered.append(known)
    common, around = (
        find(linear, shifts, shape) for find in (find_warped_common_box, find_warped_whole_box)
    )
    in_all = np.logical_and.reduce(covered)
    assert in_all[
        tuple(slice(b + margin, e + margin) for b, e in zip(common.first, common.stop, strict=True))
    ].all()
    assert np.prod(common.shape) > 0.5 * in_all.sum()
    places = np.argwhere(np.logical_or.reduce(covered)) - margin
    # the tip of a corner may reach into a plane between the middles of its pixels
    tip = 0 if ndim == 2 else 1
    for beyond in (places.min(axis=0) - around.first, around.stop - places.max(axis=0) - 1):
        assert (beyond >= 0).all()
        assert (beyond <= tip).all()
    still = np.tile(np.eye(ndim), (3, 1, 1))
    assert find_warped_common_box(still, shifts, shape) == find_common_box(shifts, shape)
    assert find_warped_whole_box(still, shifts, shape) == find_whole_box(shifts, shape)
    far = np.zeros((3, ndim))
    far[1, 0] = 99
    assert find_warped_common_box(linear, far, shape) is None


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_volume_is_as_scipy_moves_it(interpolation, masked):
    shape = (20, 44, 40)
    image, valid = rough(12, shape), np.ones(shape, bool)
    middle = (np.array(shape) - 1) / 2
    if masked:
        valid[0, 0, 0] = False  # the mask is gone through, and far from where it is looked
    moved, known = warp(image, valid, DEEP, DEEP_SHIFT, interpolation)
    inverse = np.linalg.inv(DEEP)
    offset = middle - inverse @ (middle + DEEP_SHIFT)
    order = {"linear": 1, "cubic": 3}[interpolation]
    expected = ndimage.affine_transform(image, inverse, offset, order=order, mode="reflect")
    looked = known & (np.indices(shape).sum(axis=0) > 45) if masked else known
    assert looked.mean() > 0.5
    np.testing.assert_allclose(moved[looked], expected[looked], atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_points_come_to_where_the_formula_says(axis):
    shape, linear = (24, 32, 36), turn_volume(2.5 * np.eye(3)[axis])
    middle, shift = (np.array(shape) - 1) / 2, np.array([0.4, -1.3, 0.8])
    indices = np.stack(np.indices(shape), axis=-1)
    for point in ([7.0, 9.0, 27.0], [15.0, 22.0, 10.0]):
        image = np.exp(-((indices - point) ** 2).sum(axis=-1) / (2 * 2.0**2))
        moved, _ = warp(image, np.ones(shape, bool), linear, shift, "cubic")
        found = (moved[..., None] * indices).sum(axis=(0, 1, 2)) / moved.sum()
        expected = middle + linear @ (point - middle) + shift
        assert np.abs(expected - point - shift).max() > 0.2
        np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("planes", [1, 2, 3])
def test_volumes_of_few_planes_turn(planes):
    shape, linear = (planes, 40, 44), turn_volume([4, 0.3, -0.2], 1.02)
    image, middle = rough(13, shape).astype("f4"), (np.array(shape) - 1) / 2
    shift = np.array([0.1, 1.3, -0.6])
    moved, known = warp(image, np.ones(shape, bool), linear, shift, "cubic")
    around = 12
    padded = np.pad(image.astype(float), around, mode="symmetric")  # which the spline is taken of
    inverse = np.linalg.inv(linear)
    offset = around + middle - inverse @ (middle + shift)
    expected = ndimage.affine_transform(padded, inverse, offset, shape, order=3, mode="mirror")
    assert known.mean() > 0.7
    np.testing.assert_allclose(moved[known], expected[known], atol=1e-5)


def test_the_part_that_is_read_is_as_much_larger_as_frames_turn():
    linear = np.stack([np.eye(3), DEEP])
    spread = np.array(find_spread(linear, 3))
    box = Box((1985, 1850, 1800), (30, 300, 400))
    part = find_warped_part(box, DEEP, DEEP_SHIFT, (4000, 4000, 4000), 0)
    sides, most = (
        np.array([side.stop - side.start for side in part]),
        spread @ box.shape + box.shape,
    )
    assert (sides <= most + 2).all()
    assert (most < 1.1 * sides).all()
    assert np.array(find_spread(LINEAR[None], 3))[0].tolist() == [0, 0, 0]
    assert find_spread(None, 3) == ()


def test_waves_are_not_turned():
    with pytest.raises(InputError, match="'fourier' is for shifts alone"):
        check_linear_interpolation("fourier")
