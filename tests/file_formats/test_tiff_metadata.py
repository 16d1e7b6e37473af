"""GeoTIFF tags, as its specification has them, give the pixel size, if they say in what unit."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from steadystack.readers import locate_stack
from support.drifting_files import TRUTH, make_frames, shifts_of

UTM, STATE_PLANE, METRE, SURVEY_FOOT, DEGREE, RADIAN = 32631, 2225, 9001, 9003, 9102, 9101


def geo_tags(keys, scale=None, matrix=None):
    """The tags 34735, 33550 and 34264; keys by number."""
    words = [1, 1, 0, len(keys)]
    for key, value in sorted(keys.items()):
        words += [key, 0, 1, value]
    tags = [(34735, "H", len(words), words, False)]
    tags += [(33550, "d", 3, (*scale, 0.0), False)] if scale else []
    return tags + ([(34264, "d", 16, matrix, False)] if matrix is not None else [])


def write(path, frames, tags):
    with tifffile.TiffWriter(path) as file:
        for frame in frames:
            file.write(frame, extratags=tags, photometric="minisblack", contiguous=False)


@pytest.mark.parametrize(
    ("keys", "scale", "size", "unit"),
    [
        ({1024: 1, 3072: UTM, 3076: METRE}, (10, 20), (20, 10), "meter"),
        ({1024: 1, 3072: UTM}, (0.5, 0.5), (0.5, 0.5), "meter"),
        ({1024: 1, 3072: STATE_PLANE, 3076: SURVEY_FOOT}, (3937, 3937), (1200, 1200), "meter"),
        ({1024: 1, 3076: 9002}, (10, 10), (3.048, 3.048), "meter"),
        ({1024: 2, 2054: DEGREE}, (1e-4, 2e-4), (2e-4, 1e-4), "degree"),
        ({1024: 1, 3072: STATE_PLANE}, (10, 10), (np.nan, np.nan), ""),
        ({1024: 1, 3076: 32767}, (10, 10), (np.nan, np.nan), ""),
        ({1024: 2, 2054: RADIAN}, (10, 10), (np.nan, np.nan), ""),
        ({}, (10, 10), (np.nan, np.nan), ""),
    ],
)
def test_the_scale_is_the_pixel_size(tmp_path, keys, scale, size, unit):
    write(tmp_path / "a.tif", make_frames(), geo_tags(keys, scale))
    spec = locate_stack(str(tmp_path / "a.tif"))
    np.testing.assert_allclose(spec.pixel_size, size)
    assert spec.unit == unit


def test_a_transformation_that_turns_has_a_size(tmp_path):
    """Columns of the matrix are steps of a pixel along x and y; angle 30 degrees, 5 m by 7 m."""
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    matrix = np.eye(4)
    matrix[:2, :2] = [[5 * cos, 7 * sin], [5 * sin, -7 * cos]]
    tags = geo_tags({1024: 1, 3076: METRE}, matrix=matrix.ravel())
    write(tmp_path / "a.tif", make_frames(), tags)
    spec = locate_stack(str(tmp_path / "a.tif"))
    np.testing.assert_allclose(spec.pixel_size, (7, 5))


def test_a_series_of_geotiff_files_is_measured(tmp_path):
    for index, frame in enumerate(make_frames()):
        write(tmp_path / f"{index}.tif", [frame], geo_tags({1024: 1, 3076: METRE}, (30, 30)))
    shifts = shifts_of(tmp_path, path="*.tif")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.05)
    spec = locate_stack(str(tmp_path / "*.tif"))
    assert (spec.pixel_size, spec.unit) == ((30.0, 30.0), "meter")


def test_a_scale_that_is_damaged_does_no_harm(tmp_path):
    tags = [(34735, "H", 5, (1, 1, 0, 1, 1024), False), (33550, "d", 1, 10.0, False)]
    write(tmp_path / "a.tif", make_frames(), tags)
    assert np.isnan(locate_stack(str(tmp_path / "a.tif")).pixel_size).all()
