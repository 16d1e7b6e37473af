"""HDF5 and NeXus as their own libraries write them."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
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
from support.drifting_files import TRUTH, make_frames, shifts_of


@pytest.fixture(scope="module")
def frames():
    return make_frames()


def test_a_dataset_of_an_hdf5_file_is_measured(tmp_path, frames, workers):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("entry/data", data=frames, chunks=(1, 16, 32), compression="gzip")
        file["entry/dark"] = frames[0]
    shifts = shifts_of(tmp_path, workers, path="scan.h5")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.05)
    spec = locate_stack(str(tmp_path / "scan.h5"))
    assert (spec.axes, spec.chunks, spec.kind) == (
        tuple("tyx"),
        (1, 16, 32),
        "HDF5 dataset /entry/data",
    )


def test_a_file_of_hyperspy_is_an_hdf5_file(tmp_path, frames):
    path = tmp_path / "movie.hspy"
    with h5py.File(path, "w") as file:
        file["Experiments/movie/data"] = frames
    for name in (str(path), f"{path}:/Experiments/movie/data"):
        assert locate_stack(name).kind == "HDF5 dataset /Experiments/movie/data"


@pytest.mark.parametrize("dims", [("t", "y", "x"), ("y", "x", "time")])
def test_times_are_read_wherever_the_axis_is(tmp_path, frames, dims):
    times = np.arange(len(frames)) ** 2.0
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        order = [("t", "y", "x").index(dim[0]) for dim in dims]
        stack = file.create_dataset("data", data=frames.transpose(order))
        for number, dim in enumerate(dims):
            file[dim] = times if dim[0] == "t" else np.arange(stack.shape[number])
            file[dim].attrs["units"] = "min" if dim[0] == "t" else "nm"
            file[dim].make_scale(dim)
            stack.dims[number].attach_scale(file[dim])
    spec = locate_stack(str(tmp_path / "scan.h5"))
    assert spec.time == (tuple(times), "min")


def test_emd_files_tell_their_axes(tmp_path, frames):
    """Both kinds: that of Berkeley with dim1, dim2, ..., and that of Velox."""
    last = np.moveaxis(frames, 0, 2)
    with h5py.File(tmp_path / "berkeley.emd", "w") as file:
        file["data/movie/data"] = last
        file["data/movie"].attrs["emd_group_type"] = 1
        for number, (name, unit) in enumerate((("y", "[n_m]"), ("x", "[n_m]"), ("time", "[s]"))):
            dim = file.create_dataset(
                f"data/movie/dim{number + 1}", data=np.arange(last.shape[number]) * 0.5
            )
            dim.attrs.update({"name": name, "units": unit})
    about = {"PixelSize": {"width": "2e-10", "height": "3e-10"}}
    text = json.dumps({"BinaryResult": about | {"PixelUnitX": "m", "PixelUnitY": "m"}}).encode()
    with h5py.File(tmp_path / "velox.emd", "w") as file:
        file["Data/Image/0a1b/Data"] = last
        file["Data/Image/0a1b/Metadata"] = np.tile(
            np.frombuffer(text + b"\0" * 9, "u1")[:, None], (1, len(frames))
        )
    with h5py.File(tmp_path / "damaged.emd", "w") as file:
        file["Data/Image/0a1b/Data"] = last
        file["Data/Image/0a1b/Metadata"] = np.zeros((9, len(frames)), "u1")
    sizes = {"berkeley": ((0.5, 0.5), "nm"), "velox": ((3e-10, 2e-10), "m")}
    for name in ("berkeley", "velox", "damaged"):
        stack = steadystack.open_stack(str(tmp_path / f"{name}.emd"))
        np.testing.assert_array_equal(stack, frames)
        spec = locate_stack(str(tmp_path / f"{name}.emd"))
        assert (spec.time is not None) == (name == "berkeley")
        if name in sizes:
            np.testing.assert_allclose(spec.pixel_size, sizes[name][0])
            assert spec.unit == sizes[name][1]


@pytest.mark.parametrize("names", [("time", "y", "x"), ("<undefined>",) * 3])
def test_the_axes_of_hyperspy_tell_the_size_of_a_pixel(tmp_path, frames, names):
    path = tmp_path / "movie.hspy"
    with h5py.File(path, "w") as file:
        file["Experiments/movie/data"] = frames
        for number, (name, scale, unit) in enumerate(
            zip(names, (0.5, -0.2, 0.25), ("s", "nm", "nm"), strict=True)  # y counts backwards
        ):
            about = {"name": name, "scale": scale, "units": unit, "offset": 2.0}
            file.create_group(f"Experiments/movie/axis-{number}").attrs.update(about)
    spec = locate_stack(str(path))
    assert spec.axes == tuple("tyx")
    assert (spec.pixel_size, spec.unit) == ((0.2, 0.25), "nm")
    if names[0] == "time":
        assert spec.time == (tuple(2 + 0.5 * np.arange(len(frames))), "s")


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
    assert yaml.safe_load(drafted.stdout)["input"]["path"] == f"{path}:/one/images"


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


def test_an_hdf5_dataset_that_was_never_written_is_missing(tmp_path):
    path = str(tmp_path / "none.h5")
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (5, 8, 9), "u2")
    assert not steadystack.open_stack(path)["valid"].values.any()
    written = str(tmp_path / "written.h5")
    with h5py.File(written, "w") as file:
        file["data"] = np.zeros((5, 8, 9), "u2")
    assert "valid" not in steadystack.open_stack(written).coords


def test_a_virtual_dataset_is_read_if_all_its_files_are_there(tmp_path, frames):
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    for number, part in enumerate(np.array_split(np.arange(len(frames)), 2)):
        with h5py.File(tmp_path / f"part{number}.h5", "w") as file:
            file["data"] = frames[part]
        source = h5py.VirtualSource(f"part{number}.h5", "data", (len(part), *frames.shape[1:]))
        layout[part[0] : part[-1] + 1] = source
    path = str(tmp_path / "whole.h5")
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("data", layout)
    np.testing.assert_array_equal(steadystack.open_stack(path), frames)
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(InputError, match=r"part1\.h5 is missing"):
        steadystack.open_stack(path)


def write_frames(folder, frames, name="entry/data"):
    """A file for each frame, frame-9 before frame-10, with a dark image beside it."""
    folder.mkdir()
    for number, frame in enumerate(frames, 8):
        with h5py.File(folder / f"frame-{number}.h5", "w") as file:
            file[name], file["dark"] = frame, np.zeros_like(frame)


def test_a_file_per_frame_is_a_stack(tmp_path, frames, workers):
    write_frames(tmp_path / "scan", frames)
    shifts = shifts_of(tmp_path, workers, path="scan/frame-*.h5:/entry/data")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.05)
    spec = locate_stack(str(tmp_path / "scan"), variable="entry/data")
    assert spec.kind == "5 HDF5 files, frame-8.h5 to frame-12.h5"
    files = spec.array.list_frame_files(spec.path)
    assert files == tuple(f"frame-{number}.h5" for number in range(8, 13))
    (tmp_path / "scan" / "frame-9.h5").rename(tmp_path / "scan" / "frame-99.h5")
    with pytest.raises(RuntimeError, match="have changed since the run began"):
        spec.array.open(spec.path)


def test_files_of_several_frames_follow_each_other(tmp_path, frames):
    (tmp_path / "scan").mkdir()
    for number, some in enumerate((frames[:3], frames[3:])):
        with h5py.File(tmp_path / "scan" / f"data_{number}.h5", "w") as file:
            file["data"] = some
    with pytest.raises(InputError, match=r"without axis names: set input\.axes"):
        locate_stack(str(tmp_path / "scan"))
    spec = locate_stack(str(tmp_path / "scan"), axes="tyx")
    pixels = open_reference(spec.path, spec.array)
    whole = tuple(slice(0, size) for size in spec.shape)
    np.testing.assert_array_equal(pixels.read(whole), frames)
    with h5py.File(tmp_path / "scan" / "a.nxs", "w") as file:  # the first, which says it
        file["data"] = frames[:2]
        for dim, label in zip(file["data"].dims, ("time", "y", "x"), strict=True):
            dim.label = label
    assert locate_stack(str(tmp_path / "scan")).shape == (7, *frames.shape[1:])


def test_what_to_do_with_a_file_of_one_frame_is_reported(tmp_path, frames):
    write_frames(tmp_path / "scan", frames)
    write_frames(tmp_path / "plain", frames, "data")
    one = str(tmp_path / "scan" / "frame-8.h5")
    for path, advice in (
        (one, r"all datasets have two dimensions \(/dark, /entry/data\).*'\*\.h5:/dark'"),
        (f"{one}:/entry/data", r"pattern in quotes such as '\S*/scan/\*\.h5:/entry/data'"),
        (
            f"{tmp_path}/scan/*.h5",
            r"HDF5 files, by a pattern that names the dataset \('\*\.h5:/entry",
        ),
        (f"{tmp_path}/scan/none-*.h5:/entry/data", "no HDF5 file matches"),
        (f"{tmp_path}/scan", r"2 or more dimensions: /dark, /entry/data"),
        (f"{tmp_path}/scan/*.h5:/entry/light", "there is no dataset '/entry/light'"),
        (f"{tmp_path}/*/frame-8.h5:/entry/data", "and input.variable: /entry/data"),
    ):
        with pytest.raises(InputError, match=advice):
            locate_stack(path)
    drafted = CliRunner().invoke(main, ["init", f"{tmp_path}/scan/*.h5:/entry/data"])
    assert yaml.safe_load(drafted.output)["output"]["shifts"] == "scan-entry-data-shifts.zarr"


def test_frames_in_datasets_of_one_file_are_read_by_a_function(tmp_path, frames):
    """The one of the docs."""
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        for number, frame in enumerate(frames):
            file[f"frames/{number:04d}"] = frame
    page = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text()
    (code,) = [part for part in page.split("```")[1::2] if "def read_datasets" in part]
    (tmp_path / "mine.py").write_text(code.removeprefix("py\n"))
    shifts = shifts_of(tmp_path, path="scan.h5", reader="mine.py:read_datasets")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.05)
