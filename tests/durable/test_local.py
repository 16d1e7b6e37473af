"""What is put in place on this machine, wherever it stops."""

from __future__ import annotations

import os

import pytest

from steadystack.durable import files, get_place
from support.killed import Killed, Steps


def write_folder(path, text):
    with get_place(path).replacing() as partial:
        partial.mkdir()
        for name in ("a", "b"):
            (partial / name).write_text(text)


def content(path):
    return sorted(file.read_text() for file in path.iterdir())


@pytest.mark.parametrize("exchange", [True, False])
def test_wherever_a_folder_s_replacement_stops_one_of_them_is_whole(
    tmp_path, monkeypatch, exchange
):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    path, steps = tmp_path / "s.zarr", Steps()

    for module, name in ((os, "replace"), (os, "fsync"), (files.shutil, "rmtree")):
        monkeypatch.setattr(module, name, steps.counted(getattr(module, name)))
    monkeypatch.setattr(files, "_exchange", steps.counted(files._exchange))
    write_folder(path, "old")
    before = steps.count
    steps.begin(None)
    write_folder(path, "new")
    total = steps.count
    assert before
    assert total > 6
    results = []
    for stop in range(1, total + 1):
        get_place(path).settle()
        write_folder(path, "old")
        steps.begin(stop)
        with pytest.raises(Killed):
            write_folder(path, "new")
        steps.begin(None)
        if exchange:
            results.append(content(path))  # whole at any time
            assert results[-1] in (["old"] * 2, ["new"] * 2)
        get_place(path).settle()
        results.append(content(path))
        assert results[-1] in (["old"] * 2, ["new"] * 2)
        assert list(tmp_path.iterdir()) == [path]
    assert results[0] == ["old"] * 2
    assert results[-1] == ["new"] * 2


def test_a_file_is_replaced_and_things_are_discarded(tmp_path):
    for text in ("old", "new"):
        with get_place(tmp_path / "deep" / "s.nc").replacing() as partial:
            partial.write_text(text)
    assert (tmp_path / "deep" / "s.nc").read_text() == "new"
    get_place(tmp_path / "deep" / "s.nc").discard()
    get_place(tmp_path / "deep" / "s.nc").discard()
    get_place(tmp_path / "deep").discard()
    assert not list(tmp_path.iterdir())


def test_what_fails_leaves_what_was_there(tmp_path):
    write_folder(tmp_path / "s.zarr", "old")
    with pytest.raises(FileExistsError), get_place(tmp_path / "s.zarr").replacing():
        (tmp_path / "s.zarr").mkdir()
    assert content(tmp_path / "s.zarr") == ["old"] * 2
