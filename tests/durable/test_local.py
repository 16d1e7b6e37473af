"""What is put in place on this machine, wherever it stops."""

from __future__ import annotations

import os

import pytest

from steadystack.durable import files, get_place
from steadystack.model import InputError
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
    assert total > 5
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


NEIGHBOURS = ("s.zarr.partial", "s.zarr.before", "s.zarr.discarded", "s.zarr.journal", ".s.zarr.x")


@pytest.mark.parametrize("exchange", [True, False])
def test_what_strangers_lay_beside_a_path_stays(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    place = get_place(tmp_path / "s.zarr")
    for name in NEIGHBOURS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "theirs").write_text(name)
    for text in ("old", "new"):
        write_folder(tmp_path / "s.zarr", text)
        place.settle()
    place.discard()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NEIGHBOURS)
    assert all((tmp_path / name / "theirs").read_text() == name for name in NEIGHBOURS)


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_stranger_in_the_place_of_our_folder_is_reported_and_stays(tmp_path, kind):
    path, workshop = tmp_path / "s.zarr", tmp_path / ".s.zarr.steadystack"
    write_folder(path, "old")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "new").write_text("theirs")
    if kind == "folder":
        theirs.rename(workshop)
    elif kind == "file":
        workshop.write_text("theirs")
    else:
        workshop.symlink_to(theirs)
    for act in (get_place(path).settle, get_place(path).discard, lambda: write_folder(path, "n")):
        with pytest.raises(InputError, match="not made by steadystack: move it"):
            act()
    assert content(path) == ["old"] * 2
    kept = workshop if kind == "file" else workshop / "new"
    assert kept.read_text() == "theirs"


def test_a_process_that_died_before_it_marked_its_folder_is_no_stranger(tmp_path):
    (tmp_path / ".s.zarr.steadystack").mkdir()
    write_folder(tmp_path / "s.zarr", "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "s.zarr"]


def test_a_folder_made_in_steps_is_begun_again_where_it_was_cut_off_at_its_first_record(
    tmp_path, monkeypatch
):
    path = tmp_path / "s.zarr"
    build = get_place(path).open_build()

    def lay_out():
        with build.beginning():
            (tmp_path / f".{path.name}.steadystack" / "new").mkdir(exist_ok=True)

    steps = Steps()
    with monkeypatch.context() as killing:
        killing.setattr(os, "replace", steps.counted(os.replace))
        steps.begin(1)
        with pytest.raises(Killed):
            lay_out()
    assert not build.is_begun()
    lay_out()
    assert build.is_begun()


def test_what_exists_is_literal_and_only_what_follows_is_a_pattern(tmp_path):
    for name in (
        "exp[1]/f0.tif",
        "exp[1]/g0.tif",
        "exp1/f0.tif",
        "exp1/f1.tif",
        "a[1].tif",
        "a1.tif",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = {
        "exp[1]/*.tif": ["exp[1]/f0.tif", "exp[1]/g0.tif"],
        "exp[1]/f[0-9].tif": ["exp[1]/f0.tif"],
        "exp[1-2]/*.tif": ["exp1/f0.tif", "exp1/f1.tif"],
    }
    for pattern, matching in names.items():
        place = get_place(tmp_path / pattern)
        assert place.has_wildcards
        paths = [str(tmp_path / name) for name in matching]
        assert place.list_matching() == place.list_files() == paths
        assert all(get_place(path).matches(place.path) for path in paths)
    deep = get_place(tmp_path / "exp?/**/f1.tif")
    assert deep.list_matching() == [str(tmp_path / "exp1/f1.tif")]
    for literal in ("exp[1]", "a[1].tif", "exp[1]/none.tif", "exp[1]/f0.tif/x"):
        assert not get_place(tmp_path / literal).has_wildcards
        assert not get_place(tmp_path / literal).is_pattern
    assert not get_place(tmp_path / "exp1/f0.tif").matches(str(tmp_path / "exp[1]/*.tif"))


def test_files_of_a_format_that_is_read_one_by_one_are_reported(tmp_path):
    """Not that they do not exist, nor that a folder of them is no store."""
    (tmp_path / "radar").mkdir()
    for number in (2, 10):
        (tmp_path / "radar" / f"r{number}.h5").touch()
    for path, named in (
        ("radar", r"radar is not a Zarr store.*: it holds r2\.h5, r10\.h5; .*input\.reader"),
        ("radar/*.h5", r"/\*\.h5 matches \S*r10\.h5 and others: one file per frame .*'\*\.tif'"),
        ("radar/*.nc", r"radar/\*\.nc does not exist$"),
    ):
        with pytest.raises(InputError, match=named):
            get_place(tmp_path / path).open_zarr()


def test_a_name_that_leaves_no_room_for_those_beside_it_is_refused(tmp_path):
    get_place(tmp_path / f"{'n' * 175}.zarr").check_name()
    with pytest.raises(
        InputError, match=r"has 255 bytes: the name of an output may have at most 180"
    ):
        get_place(tmp_path / f"{'n' * 250}.zarr").check_name()
