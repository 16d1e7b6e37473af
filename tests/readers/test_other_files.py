"""HDF5, NeXus and MRC as their own libraries write them; readers of the user, also on workers."""

from __future__ import annotations

import sys

import dask.array as da
import h5py
import mrcfile
import numpy as np
import pytest
import xarray as xr
import yaml
from click.testing import CliRunner

import steadystack
from steadystack.cli import main
from steadystack.model import InputError
from steadystack.readers import locate_stack
from steadystack.readers.references import open_reference

TRUTH = np.array([[0, 0], [1, -2], [3, -3], [4, -5], [6, -5]])
WORKERS = {"kind": "local", "workers": 2}
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
    rng = np.random.default_rng(11)
    scene = rng.normal(1000, 100, (80, 96))
    moved = [scene[16 - y : 64 - y, 16 - x : 80 - x] for y, x in -TRUTH]
    return np.round(moved).astype(np.uint16)


def shifts_of(tmp_path, cluster, **input_):
    """The shifts that a run of settings in a file finds."""
    settings = {
        "input": input_,
        "register": {"max_shift": 8},
        "output": {"shifts": "shifts.zarr"},
        "cluster": cluster,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    steadystack.run(steadystack.load_config(tmp_path / "run.yaml"))
    return xr.open_zarr(tmp_path / "shifts.zarr")


def test_a_dataset_of_an_hdf5_file_is_measured(tmp_path, frames):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("entry/data", data=frames, chunks=(1, 16, 32), compression="gzip")
        file["entry/dark"] = frames[0]
    shifts = shifts_of(tmp_path, WORKERS, path="scan.h5")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.05)
    spec = locate_stack(str(tmp_path / "scan.h5"))
    assert (spec.axes, spec.chunks, spec.kind) == (
        tuple("tyx"),
        (1, 16, 32),
        "HDF5 dataset /entry/data",
    )


def test_an_hdf5_file_of_several_datasets_asks_which(tmp_path, frames):
    path = str(tmp_path / "scan.hdf5")
    with h5py.File(path, "w") as file:
        file["one/images"], file["two/images"] = frames, frames[::-1]
    with pytest.raises(InputError, match=r"input\.variable.*/one/images, /two/images"):
        locate_stack(path)
    for name in (f"{path}:/two/images", f"{path}:/two"):
        pixels = open_reference(name, locate_stack(name).array)
        np.testing.assert_array_equal(pixels.read((slice(0, 1), slice(0, 48), slice(0, 64))),
                                      frames[-1:])  # fmt: skip
    assert locate_stack(path, variable="two/images").array.name == "/two/images"
    with pytest.raises(InputError, match="there is no dataset 'three'"):
        locate_stack(path, variable="three")
    result = CliRunner().invoke(main, ["init", path])
    assert result.exit_code == 2
    assert "--variable" in result.output
    drafted = CliRunner().invoke(main, ["init", f"{path}:/one/images"])
    assert drafted.exit_code == 0, drafted.output
    assert yaml.safe_load(drafted.output)["input"]["path"] == f"{path}:/one/images"


def test_what_nexus_says_of_axes_is_taken(tmp_path, frames):
    path = str(tmp_path / "scan.nxs")
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        file.create_group("entry").attrs["default"] = "image"
        group = file.create_group("entry/image")
        group.attrs["NX_class"], group.attrs["signal"] = "NXdata", "counts"
        group.attrs["axes"] = ["time", "y", "x"]
        group["counts"], group["raw"] = frames, frames + 1
        group["time"] = 0.5 * np.arange(5)
        group["time"].attrs["units"] = "s"
        for axis, size in (("y", 48), ("x", 64)):
            group[axis] = 2.5 * np.arange(size)
            group[axis].attrs["units"] = "nm"
    spec = locate_stack(path)
    assert spec.array.name == "/entry/image/counts"
    assert (spec.axes, spec.pixel_size, spec.unit) == (tuple("tyx"), (2.5, 2.5), "nm")
    assert spec.time == ((0.0, 0.5, 1.0, 1.5, 2.0), "s")


def test_a_netcdf_file_is_read_as_xarray_reads_it(tmp_path, frames):
    path = str(tmp_path / "series.nc")
    values = xr.DataArray(
        frames / 10.0,
        {"time": np.arange(5.0), "y": 3.0 * np.arange(48), "x": 3.0 * np.arange(64)},
        ("time", "y", "x"),
        name="radiance",
    )
    values[2, 5, 7] = np.nan
    values["y"].attrs["units"] = values["x"].attrs["units"] = "um"
    values.encoding = {"dtype": "u2", "scale_factor": 0.1, "_FillValue": 65535}
    values.to_netcdf(path, engine="h5netcdf")
    spec = locate_stack(path)
    pixels = open_reference(path, spec.array)
    block = pixels.read(tuple(slice(0, size) for size in spec.shape))
    np.testing.assert_allclose(block, values)
    assert (spec.axes, spec.pixel_size) == (tuple("tyx"), (3.0, 3.0))


def test_chunks_that_an_hdf5_file_lacks_are_missing(tmp_path, frames):
    path = str(tmp_path / "part.h5")
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (5, 48, 64), "u2", chunks=(1, 16, 32))
        data[:3] = frames[:3]
        data[3, :20] = frames[3, :20]
    stack = steadystack.open_stack(path)
    valid = stack["valid"].values
    assert valid[:3].all()
    assert not valid[4].any()
    np.testing.assert_array_equal(valid[3, :, 0], np.arange(48) < 32)


def test_an_mrc_file_is_measured_and_its_pixel_size_known(tmp_path, frames):
    with mrcfile.new(tmp_path / "movie.mrc") as file:
        file.set_data(frames)
        file.set_image_stack()
        file.voxel_size = 1.25
    shifts = shifts_of(tmp_path, {"kind": "in-process"}, path="movie.mrc")
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


@pytest.fixture
def raw(tmp_path, frames):
    (tmp_path / "scan.raw").write_bytes(bytes(16) + frames.astype(">u2").tobytes())
    (tmp_path / "mine.py").write_text(READER)
    return tmp_path


def test_a_reader_of_the_user_is_called_on_the_workers(raw):
    shifts = shifts_of(raw, WORKERS, path="scan.raw", reader="mine.py:named")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.05)


def test_a_reader_serves_from_python_and_for_a_draft(raw, frames, monkeypatch):
    monkeypatch.chdir(raw)
    stack = steadystack.open_stack("scan.raw", reader="mine.py:named")
    np.testing.assert_array_equal(stack, frames)
    drafted = CliRunner().invoke(main, ["init", "scan.raw", "--reader", "mine.py:plain"])
    assert drafted.exit_code == 0, drafted.output
    assert yaml.safe_load(drafted.output)["input"]["reader"] == f"{raw / 'mine.py'}:plain"


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
        ("mine.py:failing", "KeyError: 'no such scan'"),
    ],
)
def test_a_reader_that_is_none_is_told(raw, monkeypatch, reader, told):
    monkeypatch.chdir(raw)
    with pytest.raises(InputError, match=told):
        locate_stack("scan.raw", reader=reader)


def test_a_reader_of_a_package_and_of_lazy_arrays(monkeypatch, frames, tmp_path):
    lazy = da.from_array(frames, chunks=(2, 48, 64))
    monkeypatch.setattr(steadystack, "read_frames", lambda path: lazy, raising=False)
    spec = locate_stack(str(tmp_path / "anything"), reader="steadystack:read_frames")
    assert (spec.axes, spec.chunks) == (tuple("tyx"), (2, 48, 64))
