"""MRC, raw numbers and readers of the user, also on workers; what is damaged or not to be had."""

from __future__ import annotations

import os
import sys

import dask.array as da
import mrcfile
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import steadystack
from steadystack.cli import main
from steadystack.config import make_config
from steadystack.model import InputError
from steadystack.readers import StackFrames, locate_stack
from support.drifting_files import TRUTH, make_frames, shifts_of

READER = '''
import numpy as np, xarray as xr, dask.array as da

def plain(path):
    """A header of 16 bytes, then frames of 48 x 64 big-endian numbers."""
    return np.memmap(path, ">u2", "r", offset=16).reshape(-1, 48, 64)

def named(path):
    return xr.DataArray(da.from_array(plain(path), chunks=(1, 48, 64)), dims=("time", "row", "col"))

def wrong(path):
    return {"frames": 3}

def failing(path):
    raise KeyError("no such scan")
'''


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
    ("stamp", "flags", "dtype"), [(1146047817, 0, "u1"), (1146047817, 1, "i1"), (0, 0, "i1")]
)
def test_bytes_of_imod_have_the_sign_that_it_says(tmp_path, stamp, flags, dtype):
    path = tmp_path / "bytes.st"
    with mrcfile.new(path) as file:
        file.set_data(np.array([[[0, 100], [-56, -1]]], np.int8).repeat(2, axis=0))
    content = bytearray(path.read_bytes())
    content[152:160] = np.array([stamp, flags], "<i4").tobytes()
    path.write_bytes(content)
    stack = steadystack.open_stack(path)
    assert stack.dtype == dtype
    expected = np.array([[0, 100], [200, 255]], "u1").view(dtype)
    np.testing.assert_array_equal(stack[0], expected)


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
def test_a_file_that_is_not_there_is_reported(tmp_path, name):
    with pytest.raises(InputError, match=r"none\.(mrc|h5)"):
        locate_stack(str(tmp_path / name))


@pytest.mark.parametrize(
    ("module", "name", "extra"), [("h5py", "scan.h5", "hdf5"), ("mrcfile", "movie.mrc", "mrc")]
)
def test_a_library_that_is_not_installed_is_named(tmp_path, monkeypatch, module, name, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"steadystack\[{extra}\]"):
        locate_stack(str(tmp_path / name))


@pytest.mark.parametrize(
    ("layout", "dtype", "head"),
    [
        ("u2 48 x 64", "<u2", 0),
        (">float32, 48x64, offset 16", ">f4", 16),
        ("int32 48x64", "<i4", 0),
    ],
)
def test_raw_numbers_are_measured(tmp_path, frames, workers, layout, dtype, head):
    (tmp_path / "scan.tif").write_bytes(bytes(head) + frames.astype(dtype).tobytes())
    cluster = workers if head else None
    shifts = shifts_of(tmp_path, cluster, path="scan.tif", raw=layout)
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.05)
    spec = locate_stack(str(tmp_path / "scan.tif"), raw=layout)
    assert (spec.axes, spec.shape) == (tuple("tyx"), frames.shape)
    assert spec.kind == f"raw {np.dtype(dtype).name}"


def test_raw_numbers_with_channels_and_a_draft(tmp_path, frames):
    both = np.stack([frames, frames[::-1]], 1)
    path = str(tmp_path / "scan.dat")
    both.tofile(path)
    stack = steadystack.open_stack(path, raw="uint16 2 x 48 x 64", axes="tcyx", channel=1)
    np.testing.assert_array_equal(stack, frames[::-1])
    frames.tofile(path)
    drafted = CliRunner().invoke(main, ["init", path, "--raw", "uint16 48x64"])
    assert drafted.exit_code == 0, drafted.output
    assert yaml.safe_load(drafted.stdout)["input"]["raw"] == "uint16 48x64"


def test_raw_numbers_that_grow_stay_what_they_were(tmp_path, frames):
    """A frame that is half written when a worker opens the file does not stop it."""
    path = tmp_path / "scan.dat"
    frames.tofile(path)
    spec = locate_stack(str(path), raw="uint16 48x64")
    path.write_bytes(path.read_bytes() + bytes(100))
    assert spec.array.open(str(path)).shape == frames.shape
    with pytest.raises(InputError, match="and 100 bytes more"):
        locate_stack(str(path), raw="uint16 48x64")
    assert locate_stack(str(path), raw="uint16 48x64 count 4").shape == (4, 48, 64)


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        ("uint16 48 x 65", r"30720 bytes: 4 frames of 6240 bytes, and 5760 bytes more.*'count 4'"),
        ("uint16 48 x 64 offset 4", r"after an offset of 4: 4 frames of 6144 bytes, and 6140"),
        ("uint16 48 x 64 count 6", r"5 frames of 6144 bytes, fewer than 6"),
        ("uint16 480 x 640", r"0 frames of 614400 bytes"),
        ("uint16 48 x 64 offset 99999", r"0 frames of 6144 bytes, and 0 bytes more"),
        ("uint24 48 x 64", "is not a type, shape and offset: write it such as 'uint16 512 x 640'"),
        ("float8 48 x 64", "there are no floats of 8 bits"),
        ("uint8 0 x 64", "a size is 0"),
        ("uint8 4 x 4 gap 1 gap 2", "a word occurs twice"),
    ],
)
def test_a_layout_that_does_not_fit_is_reported(tmp_path, frames, layout, told):
    frames.tofile(tmp_path / "scan.dat")
    with pytest.raises(InputError, match=told):
        locate_stack(str(tmp_path / "scan.dat"), raw=layout)


def test_a_frame_may_be_larger_than_a_type_of_numpy(tmp_path):
    with open(tmp_path / "large.raw", "wb") as file:
        file.truncate(2 * (7 + 2 * 1100 * 1000 * 1000))  # holes: it takes no room
        file.seek(7)
        file.write(np.array([3, 4], "<u2").tobytes())
        file.seek(-2, os.SEEK_END)
        file.write(np.array([9], "<u2").tobytes())
    spec = locate_stack(
        str(tmp_path / "large.raw"), raw="uint16 1100 x 1000 x 1000 gap 7", axes="tzyx"
    )
    assert spec.shape == (2, 1100, 1000, 1000)
    first, last = (
        StackFrames(spec).read(frame, region).image.ravel().tolist()
        for frame, region in [
            (0, np.s_[0:1, 0:1, 0:2]),
            (1, np.s_[1099:1100, 999:1000, 999:1000]),
        ]
    )
    assert (first, last) == ([3, 4], [9])


def test_a_layout_is_looked_at_before_the_file(tmp_path):
    with pytest.raises(InputError, match=r"input\.raw"):
        make_config({"input": {"path": "none.dat", "raw": "uint24 48 x 64"}})
    with pytest.raises(InputError, match="two ways to read one file"):
        make_config({"input": {"path": "none.dat", "raw": "u1 4x4", "reader": "a.py:b"}})
    with pytest.raises(InputError, match="does not exist"):
        locate_stack(str(tmp_path / "none.dat"), raw="u1 4 x 4")


@pytest.fixture
def raw(tmp_path, frames):
    (tmp_path / "scan.raw").write_bytes(bytes(16) + frames.astype(">u2").tobytes())
    (tmp_path / "mine.py").write_text(READER)
    return tmp_path


def test_a_reader_of_the_user_is_called_on_the_workers(raw, workers):
    shifts = shifts_of(raw, workers, path="scan.raw", reader="mine.py:named")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.05)


def test_a_reader_serves_from_python_and_for_a_draft(raw, frames, monkeypatch):
    monkeypatch.chdir(raw)
    stack = steadystack.open_stack("scan.raw", reader="mine.py:named")
    np.testing.assert_array_equal(stack, frames)
    drafted = CliRunner().invoke(main, ["init", "scan.raw", "--reader", "mine.py:plain"])
    assert drafted.exit_code == 0, drafted.output
    assert yaml.safe_load(drafted.stdout)["input"]["reader"] == f"{raw / 'mine.py'}:plain"


def test_another_reader_is_another_stack(raw):
    reader = f"{raw / 'mine.py'}:plain"
    before = locate_stack(str(raw / "scan.raw"), reader=reader).digest
    assert locate_stack(str(raw / "scan.raw"), reader=reader).digest == before
    (raw / "mine.py").write_text(READER + "\n# changed\n")
    assert locate_stack(str(raw / "scan.raw"), reader=reader).digest != before


@pytest.mark.parametrize(
    ("reader", "told"),
    [
        ("mine.py", "is neither file.py:function nor"),
        ("mine.py:missing", "has no function missing"),
        ("other.py:plain", r"other\.py cannot be read"),
        ("no_such_package:plain", "no_such_package cannot be imported"),
        ("mine.py:wrong", "returns a dict"),
        ("mine.py:failing", r"cannot read scan\.raw: KeyError: 'no such scan'"),
    ],
)
def test_a_reader_that_is_none_is_reported(raw, monkeypatch, reader, told):
    monkeypatch.chdir(raw)
    with pytest.raises(InputError, match=told):
        locate_stack("scan.raw", reader=reader)


def test_a_reader_of_a_package_and_of_lazy_arrays(monkeypatch, frames, tmp_path):
    lazy = da.from_array(frames, chunks=(2, 48, 64))
    monkeypatch.setattr(steadystack, "read_frames", lambda path: lazy, raising=False)
    spec = locate_stack(str(tmp_path / "anything"), reader="steadystack:read_frames")
    assert (spec.axes, spec.chunks) == (tuple("tyx"), (2, 48, 64))
