"""Digests: a dataset that is not as it was written is refused by the name of what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import xarray as xr

from steadystack.dataset import (
    add_digests,
    check_replaceable,
    digest_solution,
    is_edited,
    load_shifts,
    make_dataset,
    save_shifts,
)
from steadystack.model import FrameTable, InputError, PairTable
from support.members import slow_but


def make_solved(time=None):
    """A solved dataset of random numbers, some of them unknown."""
    rng = np.random.default_rng(7)
    first = np.arange(30)
    pairs = PairTable.unmeasured(np.stack([first, first + 1], axis=1), 31, 2)
    shift = rng.normal(0, 3, (30, 2))
    shift[4] = np.nan
    pairs = replace(pairs, shift=shift, shift_std=abs(shift) / 9, ncc=rng.uniform(0, 1, 30))
    frames = replace(FrameTable.unsolved(pairs), shift=rng.normal(0, 3, (31, 2)))
    return make_dataset(
        pairs,
        frames,
        axes=("y", "x"),
        pixel_size=(0.5, 0.5),
        unit="micrometer",
        time=time,
        part_centres=rng.uniform(0, 9, (9, 2)),
        attributes={"verdict": "good", "run": "a", "configuration": json.dumps({"a": 1})},
    )


TIMES = {
    "none": None,
    "numbers": (tuple(np.arange(31) * 1.5), "second"),
    "dates": (tuple(np.arange(31) * 1.5), "seconds since 2020-02-02"),
    "a unit that is none": (tuple(np.arange(31) * 1.5), "frames since lunch"),
}


@pytest.mark.parametrize("name", ["s.zarr", "s.nc"])
@pytest.mark.parametrize("time", ["none", "numbers", "dates"])
def test_what_was_written_is_read_and_written_again(tmp_path, name, time):
    path = str(tmp_path / name)
    save_shifts(make_solved(TIMES[time]), path)
    once = load_shifts(path)
    save_shifts(once, path)
    xr.testing.assert_identical(load_shifts(path), once)


def test_a_unit_of_time_that_is_none_has_a_digest_too():
    assert "time" in json.loads(make_solved(TIMES["a unit that is none"]).attrs["digests"])


EDITS = {
    "a value": (lambda d: d.assign(pair_shift=d["pair_shift"] + 1e-9), "column pair_shift of"),
    "a status": (lambda d: d.assign(pair_status=d["pair_status"] + 1), "column pair_status of"),
    "an attribute": (lambda d: d.assign_attrs(verdict="check"), "the record of attributes of"),
    "a unit": (lambda d: with_unit(d, "nm"), "the record of attributes of"),
    "an axis": (lambda d: d.assign_coords(axis=["x", "y"]), "column axis"),
    "a lost column": (lambda d: d.drop_vars("pair_ncc"), "pair_ncc"),
    "a lost key column": (lambda d: d.drop_vars("pair_status"), "pair_status"),
    "fewer pairs": (lambda d: d.isel(pair=slice(3)), "pair_shift"),
    "lost digests": (lambda d: without_digests(d), "has lost its digests"),
    "broken digests": (lambda d: d.assign_attrs(digests="{"), "column frame_shift"),
    "digests that are none": (lambda d: d.assign_attrs(digests="[]"), "column frame_shift"),
}


def with_unit(dataset, unit):
    dataset = dataset.copy(deep=True)
    dataset["pixel_size"].attrs["units"] = unit
    return dataset


def without_digests(dataset):
    dataset = dataset.copy()
    del dataset.attrs["digests"]
    return dataset


@pytest.mark.parametrize(
    ("suffix", "edit"),
    slow_but(
        [*product(["zarr"], EDITS), ("nc", "a value"), ("nc", "lost digests")],
        product(["zarr", "nc"], EDITS),
    ),
)
def test_an_edited_dataset_is_refused_by_name(tmp_path, suffix, edit):
    change, words = EDITS[edit]
    path = str(tmp_path / f"s.{suffix}")
    with xr.set_options(keep_attrs=True):  # as today's xarray does by itself
        edited = change(make_solved())
    if suffix == "nc":
        edited.to_netcdf(path, engine="h5netcdf")
    else:
        edited.to_zarr(path, zarr_format=2)
    for any_format in (False, True):
        with pytest.raises(InputError, match=words) as caught:
            load_shifts(path, any_format=any_format)
        assert path in str(caught.value)
        assert "damaged or edited; measure again with `steadystack run --overwrite`" in str(
            caught.value
        )
    if edit != "a lost key column":
        check_replaceable(path)  # the way out that the error names


def read_refusal(path, expected):
    """The words with which a dataset is refused; "" if it is what was expected."""
    try:
        xr.testing.assert_identical(load_shifts(str(path)), expected)
    except InputError as error:
        return str(error)
    return ""


def test_a_lost_chunk_is_refused_unless_nothing_was_in_it(tmp_path):
    whole = tmp_path / "whole.zarr"
    dataset = make_solved()
    save_shifts(dataset, str(whole))
    expected, refused = load_shifts(str(whole)), 0
    files = [path for path in sorted(whole.rglob("*")) if path.is_file()]
    for file in files:
        away = file.rename(tmp_path / "away")
        words = read_refusal(whole, expected)
        assert not words or str(whole) in words
        refused += bool(words)
        away.rename(file)
    of_motion = (
        "frame_linear",
        "frame_rotation",
        "frame_scale",
        "frame_local",
        "channel_offset",
    )  # nothing without a model, or without being asked for
    told = [name for name in dataset.variables if not name.startswith(of_motion)]
    assert refused >= len(told) // 2  # the others hold what is there without a file


def test_a_broken_chunk_is_named(tmp_path):
    save_shifts(make_solved(), str(tmp_path / "s.zarr"))
    chunk = tmp_path / "s.zarr" / "pair_shift" / "0.0"
    chunk.write_bytes(chunk.read_bytes()[:9])
    with pytest.raises(InputError, match=r"column pair_shift of .*s\.zarr cannot be read"):
        load_shifts(str(tmp_path / "s.zarr"))


def test_a_damaged_netcdf_file_may_be_replaced(tmp_path):
    path = tmp_path / "s.nc"
    make_solved().assign_attrs(verdict="check").to_netcdf(path, engine="h5netcdf")
    check_replaceable(str(path))
    save_shifts(make_solved(), str(path))
    load_shifts(str(path))


def test_edited_shifts_are_distinguished_from_those_that_were_written():
    dataset = make_solved()
    edited = dataset.assign(frame_shift=dataset["frame_shift"] + 1)
    assert not is_edited(dataset)
    assert is_edited(edited)
    assert not is_edited(add_digests(edited))
    assert is_edited(dataset.assign_attrs(edited="2026-01-01"))


def test_a_solution_has_one_digest_wherever_it_lies_and_another_if_it_is_another(tmp_path):
    dataset = make_solved()
    digest = digest_solution(dataset)
    for path in (tmp_path / "s.zarr", tmp_path / "s.nc"):
        save_shifts(dataset, str(path))
        assert digest_solution(load_shifts(str(path))) == digest
    elsewhere = json.dumps({"output": {"shifts": "elsewhere.zarr"}})
    assert digest_solution(dataset.assign_attrs(configuration=elsewhere)) == digest
    anchored = json.dumps({"solve": {"anchor": 5}})
    for other in (
        dataset.assign(frame_shift=dataset["frame_shift"] + 1),
        dataset.assign_attrs(verdict="check"),
        dataset.assign_attrs(configuration=anchored),
    ):
        assert digest_solution(other) != digest


def test_a_dataset_that_is_only_stored_otherwise_is_not_edited(tmp_path):
    dataset = make_solved()
    assert not is_edited(dataset.chunk(frame=5))
    assert not is_edited(dataset.transpose())
    assert not is_edited(dataset.assign(frame_shift=dataset["frame_shift"].astype(">f8")))
    assert not is_edited(dataset.isel(frame=slice(3, 9)))  # a part: it cannot be told
    assert not is_edited(without_digests(dataset))
    save_shifts(dataset, str(tmp_path / "s.zarr"))
    with xr.open_zarr(tmp_path / "s.zarr", chunks={}) as lazy:
        assert not is_edited(lazy)
        assert is_edited(lazy.assign(frame_shift=lazy["frame_shift"] * 2))
