"""MRC as its own library writes it; files that are damaged, or of no library that is there."""

from __future__ import annotations

import sys

import mrcfile
import numpy as np
import pytest

from steadystack.model import InputError
from steadystack.readers import locate_stack
from support.drifting_files import TRUTH, make_frames, shifts_of


@pytest.fixture(scope="module")
def frames():
    return make_frames()


def test_an_mrc_file_is_measured_and_its_pixel_size_known(tmp_path, frames):
    with mrcfile.new(tmp_path / "movie.mrc") as file:
        file.set_data(frames)
        file.set_image_stack()
        file.voxel_size = 1.25
    shifts = shifts_of(tmp_path, path="movie.mrc")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.05)
    spec = locate_stack(str(tmp_path / "movie.mrc"))
    assert (spec.axes, spec.dtype, spec.unit) == (tuple("tyx"), "uint16", "angstrom")
    assert spec.pixel_size == pytest.approx((1.25, 1.25))


def test_volumes_of_an_mrc_file_are_volumes(tmp_path):
    with mrcfile.new(tmp_path / "volumes.mrcs") as file:
        file.set_data(np.zeros((2, 3, 8, 9), np.float32))
    spec = locate_stack(str(tmp_path / "volumes.mrcs"))
    assert (spec.axes, spec.shape) == (tuple("tzyx"), (2, 3, 8, 9))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("cut.mrc", None, "the MRC file cannot be read"),
        ("text.mrc", b"not an image", "the MRC file cannot be read"),
        ("text.h5", b"not an image", "the HDF5 file cannot be read"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, frames, name, content, told):
    path = tmp_path / name
    if content is None:
        with mrcfile.new(path) as file:
            file.set_data(frames)
        content = path.read_bytes()[:-1000]
    path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        locate_stack(str(path))


@pytest.mark.parametrize("name", ["none.mrc", "none.h5", "none.h5:/data"])
def test_a_file_that_is_not_there_is_told(tmp_path, name):
    with pytest.raises(InputError, match=r"none\.(mrc|h5)"):
        locate_stack(str(tmp_path / name))


@pytest.mark.parametrize(
    ("module", "name", "extra"), [("h5py", "scan.h5", "hdf5"), ("mrcfile", "movie.mrc", "mrc")]
)
def test_a_library_that_is_not_installed_is_named(tmp_path, monkeypatch, module, name, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"steadystack\[{extra}\]"):
        locate_stack(str(tmp_path / name))
