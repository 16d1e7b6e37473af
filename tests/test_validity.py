"""Drawn shapes: ellipses, polygons, and those of volumes."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import draw

from steadystack.model import InputError
from steadystack.validity import (
    ArrayMask,
    CutMask,
    DrawnMask,
    Ellipse,
    Polygon,
    Validity,
    as_mask,
)
from support.masked import SHAPE


@pytest.mark.parametrize("seed", range(5))
def test_ellipses_and_polygons_are_those_of_scikit_image(seed):
    rng = np.random.default_rng(seed)
    part = (slice(5, 33), slice(0, 41))
    centre, radii = rng.uniform(5, 40, 2), rng.uniform(4, 20, 2)
    expected = np.zeros(SHAPE, bool)
    expected[draw.ellipse(*centre, *radii, shape=SHAPE)] = True
    found = Ellipse(tuple(centre), tuple(radii)).find_covered(part)
    np.testing.assert_array_equal(found, expected[part])
    corners = rng.uniform(-10, 60, (6, 2))  # some outside of the frame, edges that cross
    expected = draw.polygon2mask(SHAPE, corners)
    found = Polygon(tuple(map(tuple, corners.tolist()))).find_covered(part)
    np.testing.assert_array_equal(found, expected[part])


def test_shapes_of_volumes():
    shape, part = (6, *SHAPE), (slice(1, 5), slice(2, 40), slice(0, 50))
    ball = Ellipse((3, 20, 26), (2.5, 10, 12))
    z, y, x = np.indices(shape)
    inside = ((z - 3) / 2.5) ** 2 + ((y - 20) / 10) ** 2 + ((x - 26) / 12) ** 2 <= 1
    prism = Polygon(((0, 0), (0, 30), (30, 0)))
    mask = DrawnMask(((ball, True), (prism, False)))
    expected = inside & ~np.broadcast_to(prism.find_covered((slice(0, 40), slice(0, 52))), shape)
    np.testing.assert_array_equal(mask.read(0, shape), expected)
    np.testing.assert_array_equal(mask.read(3, shape, part), expected[part])


def valid_in(image, **causes):
    """What these causes leave of an image."""
    found = Validity(**causes).find_valid(image, 0, image.shape)
    return np.ones(image.shape, bool) if found is None else found


def test_saturation_of_what_is_read():
    image = np.array([1.0, 4095, 4096, np.nan])
    valid = valid_in(image, saturation=4095)
    assert valid.tolist() == [True, False, False, False]


IMAGE = np.array([[0.0, 1.0, 2.0, 3.0], [4.0, np.nan, np.inf, 7.0], [8.0, 9.0, 10.0, 11.0]])


@pytest.mark.parametrize(
    ("options", "invalid"),
    [
        ({}, [5, 6]),
        ({"invalid_values": [0, 9]}, [0, 5, 6, 9]),
        ({"valid_range": (2, 9)}, [0, 1, 5, 6, 10, 11]),
        ({"valid_range": (None, 9)}, [5, 6, 10, 11]),
        ({"valid_range": (2, None)}, [0, 1, 5, 6]),
        ({"border": (1, 0)}, [0, 1, 2, 3, 5, 6, 8, 9, 10, 11]),
        ({"border": (0, 1)}, [0, 3, 4, 5, 6, 7, 8, 11]),
    ],
)
def test_causes_join(options, invalid):
    found = valid_in(IMAGE, **options)
    assert np.flatnonzero(~found).tolist() == invalid


def test_integers_compare_as_they_are():
    image = np.array([[0, 65535, 7]], np.uint16)
    assert valid_in(image, invalid_values=[65535, -1, 7.5]).tolist() == [[True, False, True]]


def test_a_part_is_as_the_whole_and_masks_join():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(9, 12))
    masks = rng.random((3, 9, 12)) < 0.8
    validity = Validity((ArrayMask(masks, per_frame=True),), (1, 2), valid_range=(-1.0, None))
    whole = validity.find_valid(image, 1, image.shape)
    part = (slice(0, 5), slice(4, 12))
    np.testing.assert_array_equal(
        validity.find_valid(image[part], 1, image.shape, part), whole[part]
    )
    inside = np.zeros(image.shape, bool)
    inside[1:-1, 2:-2] = True
    np.testing.assert_array_equal(whole, inside & masks[1] & (image >= -1))
    others = validity.drop_value_causes().find_valid(image, 1, image.shape)
    np.testing.assert_array_equal(others, inside & masks[1])
    planes = np.stack([image] * 2)  # of more axes than mask and border know
    np.testing.assert_array_equal(
        validity.find_valid(planes, 1, planes.shape), np.broadcast_to(whole, planes.shape)
    )
    assert Validity().find_valid(image, 0, image.shape) is None


@pytest.mark.parametrize("per_frame", [False, True])
def test_masks_of_whole_frames_are_cut(per_frame):
    rng = np.random.default_rng(0)
    whole = rng.random((9, 4, 20, 30)) < 0.5
    mask = ArrayMask(whole if per_frame else whole[0], per_frame)
    frames = range(2, 9, 3)
    cut = CutMask(mask, (4, 20, 30), frames, (1, 5, 8))
    assert cut.per_frame == per_frame
    part = (slice(0, 2), slice(3, 7), slice(2, 11))
    for index, frame in enumerate(frames):
        expected = whole[frame if per_frame else 0, 1:3, 5:15, 8:28]
        np.testing.assert_array_equal(cut.read(index, (2, 10, 20)), expected)
        np.testing.assert_array_equal(cut.read(index, (2, 10, 20), part), expected[part])
        plane = CutMask(mask, (4, 20, 30), frames, (2, 5, 8))  # of one plane, which is no axis
        expected = whole[frame if per_frame else 0, 2, 5:15, 8:28]
        np.testing.assert_array_equal(plane.read(index, (10, 20)), expected)
    drawn = DrawnMask(((Ellipse((10, 14), (6, 9)), True),))
    cut = CutMask(drawn, (20, 30), range(3), (5, 8))
    np.testing.assert_array_equal(cut.read(0, (10, 20)), drawn.read(0, (20, 30))[5:15, 8:28])
    others = [
        CutMask(drawn, (20, 30), range(3), (5, 9)),
        CutMask(drawn, (20, 30), range(4), (5, 8)),
    ]
    assert len({mask.digest for mask in (cut, drawn, *others)}) == 4


def test_a_mask_says_yes_or_no():
    """Numbers are, whole ones and booleans; what is not known is not valid; halves are refused."""
    for kind in (bool, np.uint8, np.int16, np.float32):
        np.testing.assert_array_equal(as_mask(np.array([0, 1, 1], kind)), [False, True, True])
    np.testing.assert_array_equal(as_mask([0.0, np.nan, -3, 255, 1.5]), [0, 0, 1, 1, 1])
    for between in (1e-6, 0.37, 1 - 1e-6):
        with pytest.raises(InputError, match=rf"such as {between:.3g}: .*mask > 0.5"):
            as_mask([0, between, 1])
