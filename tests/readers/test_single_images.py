"""Single images of any size, from the formats that stacks are read from."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr

from steadystack.model import InputError
from steadystack.outputs import write_stack
from steadystack.readers import read_any_image

IMAGE = np.arange(12, dtype="u2").reshape(3, 4)


@pytest.mark.parametrize("name", ["image.npy", "image.tif", "image.zarr", "stack.zarr"])
def test_an_image_is_read_as_it_was_written(tmp_path, name):
    path = tmp_path / name
    if name == "image.npy":
        np.save(path, IMAGE)
    elif name == "image.tif":
        tifffile.imwrite(path, IMAGE)
    elif name == "image.zarr":
        zarr.save_array(str(path), IMAGE)
    else:
        write_stack(path, IMAGE[None], pixel_size=(0.5, 0.25))
    found = read_any_image(str(path), ("y", "x"))
    np.testing.assert_array_equal(found.values, IMAGE)
    assert found.values.dtype == np.float64
    if name == "stack.zarr":
        assert found.pixel_size == (0.5, 0.25)
        assert found.unit == "micrometer"
    else:
        assert np.isnan(found.pixel_size).all()


@pytest.mark.parametrize(
    ("shape", "dtype", "axes", "words"),
    [
        ((2, 3, 4), "u1", ("y", "x"), "one image with the axes y, x is needed"),
        ((3, 4), "u1", ("z", "y", "x"), "one image with the axes z, y, x is needed"),
        ((3, 4), "c8", ("y", "x"), "real numbers are needed"),
    ],
)
def test_what_is_no_image_of_these_axes_is_refused(tmp_path, shape, dtype, axes, words):
    np.save(tmp_path / "image.npy", np.zeros(shape, dtype))
    with pytest.raises(InputError, match=words):
        read_any_image(str(tmp_path / "image.npy"), axes)


def test_one_of_several_channels_is_asked_for(tmp_path):
    values = np.stack([IMAGE, IMAGE + 100])
    tifffile.imwrite(
        tmp_path / "two.ome.tif", values, metadata={"axes": "CYX"}, photometric="minisblack"
    )
    with pytest.raises(InputError, match="channel"):
        read_any_image(str(tmp_path / "two.ome.tif"), ("y", "x"))
    found = read_any_image(str(tmp_path / "two.ome.tif"), ("y", "x"), 1)
    np.testing.assert_array_equal(found.values, IMAGE + 100)


def test_a_plane_is_no_volume(tmp_path):
    write_stack(tmp_path / "plane.zarr", IMAGE[None])
    with pytest.raises(InputError, match="has the axes y, x, but a frame has z, y, x"):
        read_any_image(str(tmp_path / "plane.zarr"), ("z", "y", "x"))
