"""A series with its mask: shapes, files and saturation together."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.config import make_config
from steadystack.model import InputError
from steadystack.outputs import write_image
from steadystack.planning import open_series, set_up
from steadystack.validity import Polygon
from support.masked import SHAPE, settings
from support.scenes import rough


def valid_in(config, frame=0):
    return open_series(config)[0].source.read(frame).valid


def test_shapes_in_pixels_and_in_micrometers(tmp_path):
    inside = {"ellipse": {"centre": [20, 26], "radii": [15, 20]}}
    lengths = {"ellipse": {"centre": ["10 um", "6500 nm"], "radii": ["7.5 um", 20]}}
    stop = {"polygon": [[0, 0], [0, 12], ["5 um", 0]], "valid": "outside"}
    y, x = np.indices(SHAPE)
    expected = ((y - 20) / 15) ** 2 + ((x - 26) / 20) ** 2 <= 1
    expected &= ~Polygon(((0, 0), (0, 12), (10, 0))).find_covered((slice(0, 40), slice(0, 52)))
    for ellipse_ in (inside, lengths):
        config = settings(tmp_path, {"rois": [ellipse_, stop]})
        np.testing.assert_array_equal(valid_in(config), expected)
        region = set_up(config, open_series(config)[0]).method.region
        assert region == (slice(5, 36), slice(6, 47))  # only that part is read


def test_shapes_join_the_other_causes(tmp_path):
    moving = np.random.default_rng(1).random((3, *SHAPE)) < 0.8
    write_image(tmp_path / "m.zarr", ~moving)
    frames = rough(0, (3, *SHAPE), 2).astype("f4")
    frames[1, 20, 20] = np.nan
    stop = {"ellipse": {"centre": [20, 26], "radii": [5, 5]}, "valid": "outside"}
    config = settings(
        tmp_path, {"path": "m.zarr", "invert": True, "rois": [stop], "border": 2}, frames
    )
    y, x = np.indices(SHAPE)
    expected = moving[1] & ((y - 20) ** 2 + (x - 26) ** 2 > 25) & np.isfinite(frames[1])
    for sides in ((slice(0, 2),), (slice(-2, None),), (..., slice(0, 2)), (..., slice(-2, None))):
        expected[sides] = False
    np.testing.assert_array_equal(valid_in(config, 1), expected)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({"rois": [{"valid": "inside"}]}, "mask.rois.0: give exactly one of ellipse and polygon"),
        ({"rois": [{"polygon": [[0, 0], [1, 1]]}]}, r"mask.rois.0.polygon: .*at least 3"),
        ({"rois": [{"ellipse": {"centre": [1, 2], "radii": [1, 2, 3]}}]}, "differ in their number"),
        ({"rois": [{"elipse": {}}]}, "unknown key"),
        ({"rois": [{"ellipse": {"centre": [1, 1], "radii": [0, 5]}}]}, "must be more than 0"),
        ({"rois": [{"ellipse": {"centre": ["3 parsec", 1], "radii": [2, 5]}}]},
         "mask.rois.0.ellipse.centre '3 parsec' is neither pixels nor a length"),
        ({"rois": [{"ellipse": {"centre": [1, 1, 1], "radii": [2, 5, 5]}}]},
         "has 3 axes, but frames have 2: y, x"),
        ({"rois": [{"ellipse": {"centre": [900, 900], "radii": [2, 5]}}]},
         "mask.rois.0 contains no pixel of frames"),
        ({"invert": True}, "invert applies to mask.path, which is not set"),
        ({"labels": [1]}, "labels applies to mask.path"),
        ({"saturation": "many"}, "mask.saturation: 'many' is not allowed"),
        ({"saturation": "auto"}, "auto needs whole numbers, but the stack holds float32"),
    ],
)  # fmt: skip
def test_wrong_masks_are_reported(tmp_path, mask, words):
    with pytest.raises(InputError, match=words):
        open_series(settings(tmp_path, mask))


def test_a_length_needs_a_pixel_size(tmp_path):
    shapes = [{"ellipse": {"centre": ["5 um", 9], "radii": [4, 4]}}]
    with pytest.raises(InputError, match=r"needs a pixel size .*set input.pixel_size"):
        open_series(settings(tmp_path, {"rois": shapes}, pixel_size=None))
    told = {"input": {"path": str(tmp_path / "a.zarr"), "pixel_size": 0.5}}
    given = make_config({**told, "mask": {"rois": shapes}})
    assert valid_in(given)[10, 9]


# Saturation


@pytest.mark.parametrize(
    ("dtype", "top", "given", "expected"),
    [
        ("u2", 4095, "auto", 4095),  # a camera of 12 bits
        ("u2", 65535, "auto", 65535),
        ("u2", 4000, "auto", 65535),  # nothing is saturated
        ("u1", 255, "auto", 255),
        ("i2", 32767, "auto", 32767),
        ("f4", 1000, 900.5, 900.5),
        ("u2", 4095, 3000, 3000),
    ],
)
def test_saturation(tmp_path, dtype, top, given, expected):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, int(top * 0.8), (3, *SHAPE)).astype(dtype)
    frames[:, 10:14, 20:25] = top
    config = settings(tmp_path, {"saturation": given}, frames)
    series, _ = open_series(config)
    assert series.validity.saturation == expected
    np.testing.assert_array_equal(valid_in(config), frames[0] < expected)


def test_a_single_pixel_is_not_yet_saturation(tmp_path):
    frames = np.random.default_rng(0).integers(0, 900, (3, *SHAPE)).astype("u2")
    frames[1, 3, 3] = 1023
    assert (
        open_series(settings(tmp_path, {"saturation": "auto"}, frames))[0].validity.saturation
        == 65535
    )
