"""The shifts dataset on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from steadystack.dataset import (
    check_replaceable,
    load_shifts,
    read_pairs,
    save_shifts,
    shifts_dataset,
)
from steadystack.model import InputError, PairTable
from steadystack.outputs import write_stack
from support.stores import FRAMES


@pytest.fixture
def dataset():
    pairs = PairTable.unmeasured(np.array([[0, 1], [1, 2]]), 3, 2)
    return shifts_dataset(
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
    save_shifts(dataset.assign(shift=dataset["shift"].fillna(3)), path)
    found = load_shifts(path)
    xr.testing.assert_equal(found, dataset.assign(shift=dataset["shift"].fillna(3)))
    assert found.attrs == dataset.attrs
    assert found["pair_status"].attrs["flag_meanings"].startswith("unmeasured ok")
    assert (read_pairs(found).status == 0).all()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_any_xarray_opens_it(tmp_path, dataset):
    save_shifts(dataset, str(tmp_path / "s.zarr"))
    with xr.open_zarr(tmp_path / "s.zarr") as found:  # warnings are errors here
        assert found["shift"].dims == ("frame", "axis")
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
        with pytest.raises(InputError, match=r"(a|no) shifts dataset"):
            check_replaceable(str(tmp_path / name))


def test_a_path_that_holds_no_shifts(tmp_path):
    with pytest.raises(InputError, match="run `steadystack measure` first"):
        load_shifts(str(tmp_path / "none.zarr"))
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match="is no shifts dataset"):
        load_shifts(str(tmp_path / "empty.zarr"))
