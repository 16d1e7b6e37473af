"""The shifts dataset on disk."""

from __future__ import annotations

import json
from pathlib import Path

import h5netcdf
import numpy as np
import pytest
import xarray as xr
import zarr

from steadystack.csv_files import read_positions
from steadystack.dataset import (
    add_digests,
    check_holds_no_more,
    check_replaceable,
    load_shifts,
    make_dataset,
    read_pairs,
    save_shifts,
    stored,
)
from steadystack.durable import get_place
from steadystack.model import InputError, PairTable
from steadystack.outputs import write_stack
from support.stores import FRAMES


@pytest.fixture
def dataset():
    pairs = PairTable.unmeasured(np.array([[0, 1], [1, 2]]), 3, 2)
    return make_dataset(
        pairs,
        axes=("y", "x"),
        pixel_size=(0.5, 0.5),
        unit="micrometer",
        time=((0.0, 2.0, 4.0), "second"),
        attributes={"configuration": json.dumps({"a": 1})},
    )


@pytest.mark.parametrize("name", ["s.zarr", "s.nc"])
def test_the_dataset_on_disk_is_the_one_in_memory(tmp_path, dataset, name):
    path = str(tmp_path / name)
    save_shifts(dataset, path)
    save_shifts(dataset.assign(frame_shift=dataset["frame_shift"].fillna(3)), path)
    found = load_shifts(path)
    xr.testing.assert_equal(found, dataset.assign(frame_shift=dataset["frame_shift"].fillna(3)))
    digests = {"digests": found.attrs["digests"]}  # of another frame_shift
    assert found.attrs == dataset.attrs | digests
    assert found["pair_status"].attrs["flag_meanings"].startswith("unmeasured ok")
    assert (read_pairs(found).status == 0).all()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_large_dataset_is_written_as_a_small_one(tmp_path, dataset, monkeypatch):
    read = {}
    for held in (2**27, 0):
        monkeypatch.setattr(stored, "HELD_BYTES", held)
        save_shifts(dataset, str(tmp_path / f"{held}.zarr"))
        folder = tmp_path / f"{held}.zarr"
        read[held] = {
            file.relative_to(folder): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }
    assert read[0] == read[2**27]


def test_any_xarray_opens_it(tmp_path, dataset):
    save_shifts(dataset, str(tmp_path / "s.zarr"))
    with xr.open_zarr(tmp_path / "s.zarr") as found:  # warnings are errors here
        assert found["frame_shift"].dims == ("frame", "axis")
        assert found["axis"].to_numpy().tolist() == ["y", "x"]
        assert found["pixel_size"].attrs["units"] == "micrometer"


def test_only_shifts_datasets_are_overwritten(tmp_path, dataset):
    for name in ("s.zarr", "s.nc", "none.zarr"):
        if name != "none.zarr":
            save_shifts(dataset, str(tmp_path / name))
        check_replaceable(str(tmp_path / name))
    write_stack(tmp_path / "a.zarr", FRAMES[:, 0])
    (tmp_path / "notes.nc").write_text("mine")
    for name in ("a.zarr", "notes.nc"):
        with pytest.raises(
            InputError, match=r"not a shifts dataset: it will .*; move it, or choose another path"
        ):
            check_replaceable(str(tmp_path / name))


def test_what_lies_in_a_dataset_beside_its_columns_is_named(tmp_path, dataset):
    path = str(tmp_path / "s.zarr")
    check_holds_no_more(path)  # nothing is there
    save_shifts(dataset, path)
    check_holds_no_more(path)
    get_place(path).get_child(".DS_Store").put(Path(__file__))
    check_holds_no_more(path)
    get_place(path).get_child("tracks/c").put(Path(__file__))
    with pytest.raises(InputError, match=r"s\.zarr/tracks was not written .* set another out"):
        check_holds_no_more(path)
    with pytest.raises(InputError, match=r"s\.zarr/tracks was not written"):
        save_shifts(dataset, path)
    check_holds_no_more(path, also=dataset.assign(tracks=1))


@pytest.mark.parametrize("what", ["variable", "group"])
def test_what_lies_in_a_netcdf_beside_its_columns_is_named(tmp_path, dataset, what):
    path = str(tmp_path / "s.nc")
    save_shifts(dataset, path)
    save_shifts(dataset, path)
    with h5netcdf.File(path, "a") as file:
        file.create_variable("tracks", ("frame",), "f8") if what == "variable" else (
            file.create_group("tracks")
        )
    for replace_it in (check_holds_no_more, lambda path: save_shifts(dataset, path)):
        with pytest.raises(InputError, match=r"s\.nc/tracks was not written .* set another out"):
            replace_it(path)
    with pytest.raises(InputError, match=r"not written .* or choose another path"):
        save_shifts(dataset, path, at_once=True)  # as an export, which has no output.shifts
    with h5netcdf.File(path) as file:
        assert "tracks" in (file.variables if what == "variable" else file.groups)


@pytest.mark.parametrize(
    ("name", "variable"),
    [("s.zarr", "time"), ("s.nc", "time"), ("s.nc", ""), ("alone", ""), ("alone", "pair_ncc")],
)
def test_attributes_that_others_add_are_read_over_and_not_replaced(
    tmp_path, dataset, name, variable
):
    path = str(tmp_path / ("s.nc" if name == "s.nc" else "s.zarr"))
    save_shifts(dataset, path)
    check_holds_no_more(path)
    if name == "s.nc":
        with h5netcdf.File(path, "a") as file:
            (file.variables[variable] if variable else file).attrs["sample"] = "x"
    else:
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        (group[variable] if variable else group).attrs["sample"] = "x"
        if name == "s.zarr":
            zarr.consolidate_metadata(path, zarr_format=2)
    found = load_shifts(path)
    xr.testing.assert_equal(found, dataset)
    told = f"the attribute 'sample' {f'of {variable} ' if variable else ''}in {path} was not writ"
    for replace_it in (check_holds_no_more, lambda path: save_shifts(dataset, path)):
        with pytest.raises(InputError, match=told) as caught:
            replace_it(path)
        assert "delete it there, or set another output.shifts" in str(caught.value)
    changed = dataset.copy()
    (changed[variable] if variable else changed).attrs["sample"] = "y"
    save_shifts(changed, path)  # the new one has it, too
    found = load_shifts(path)
    assert (found[variable] if variable else found).attrs["sample"] == "y"


def test_attributes_that_others_add_stay_theirs_where_a_dataset_is_written_again(tmp_path, dataset):
    path = str(tmp_path / "s.zarr")
    save_shifts(dataset, path)
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    group.attrs["sample"] = "x"
    save_shifts(add_digests(load_shifts(path).assign_attrs(edited="now")), path)
    assert load_shifts(path).attrs["sample"] == "x"
    with pytest.raises(InputError, match=r"sample.* was not written"):
        check_holds_no_more(path)


@pytest.mark.parametrize("name", ["s.zarr", "s.nc"])
def test_a_dataset_of_an_earlier_version_does_not_tell_whose_attributes_are(
    tmp_path, dataset, name
):
    path = str(tmp_path / name)
    digests = json.loads(dataset.attrs["digests"])
    del digests["attribute_names"]
    older = dataset.assign_attrs(digests=json.dumps(digests))
    if name == "s.nc":
        older.to_netcdf(path, engine="h5netcdf")
    else:
        older.to_zarr(path, zarr_format=2)
    xr.testing.assert_equal(load_shifts(path), dataset)
    check_holds_no_more(path)
    save_shifts(dataset, path)


def test_a_path_that_holds_no_shifts(tmp_path):
    with pytest.raises(InputError, match="run `steadystack measure` first"):
        load_shifts(str(tmp_path / "none.zarr"))
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match="is not a shifts dataset"):
        load_shifts(str(tmp_path / "empty.zarr"))


def of_format_1(dataset: xr.Dataset) -> xr.Dataset:
    """As the first format had it: without a number, and with other names."""
    before = dataset.rename(frame_shift="shift", frame_shift_std="shift_std")
    del before.attrs["format"]
    return before


@pytest.mark.parametrize("name", ["s.zarr", "s.nc"])
def test_another_format_is_refused_in_words(tmp_path, dataset, name):
    path = str(tmp_path / name)
    save_shifts(of_format_1(dataset), path)
    with pytest.raises(InputError, match=r"format 1, this one writes 13\).*initial_shifts\.path"):
        load_shifts(path)
    check_replaceable(path)  # it is ours, and --overwrite may replace it


@pytest.mark.parametrize("name", ["s.zarr", "s.nc"])
def test_shifts_of_another_format_serve_as_initial_shifts(tmp_path, dataset, name):
    path = str(tmp_path / name)
    values = np.arange(6.0).reshape(3, 2)
    known = dataset.assign(frame_shift=(("frame", "axis"), values))
    save_shifts(of_format_1(known), path)
    found = read_positions(path, ("y", "x"), 3)
    np.testing.assert_array_equal(found.values, values)
    assert found.pixel_size == (0.5, 0.5)
