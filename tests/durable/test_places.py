"""What a path is."""

from __future__ import annotations

from pathlib import Path

import pytest

from steadystack.durable import get_place, make_absolute, paths_overlap
from steadystack.model import InputError


@pytest.mark.usefixtures("store")
def test_nothing_is_written_to_a_web_server():
    web = get_place("https://server/a")
    for change in (web.discard, web.settle, web.check_writable, web.open_records, web.open_build):
        with pytest.raises(
            InputError, match="https://server/a: a web server can neither be written to"
        ):
            change()
    with pytest.raises(InputError, match="https://server/a cannot be written"):
        web.check_name()


@pytest.mark.usefixtures("store")
def test_paths():
    assert paths_overlap("s3://b/a.zarr", "s3://b/a.zarr/")
    assert paths_overlap("s3://b/x/../a.zarr/c", "s3://b/a.zarr")
    assert not paths_overlap("s3://b/a.zarr", "s3://c/a.zarr")
    assert not paths_overlap("s3://b/a.zarr", "s3://b/a.zarr2")
    assert not paths_overlap("s3:/b/a.zarr", "s3://b/a.zarr")
    assert paths_overlap("/b/a.zarr", "/b/a.zarr/c")
    assert get_place("s3://b/x/a.zarr/").get_sibling("c").path == "s3://b/x/c"


def test_a_name_may_begin_with_the_sign_of_a_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert make_absolute("~/a.zarr", tmp_path) == "/home/me/a.zarr"
    for name in ("~nobody-of-that-name.zarr", "~"):
        (tmp_path / name).mkdir()
        assert make_absolute(name, tmp_path) == str(tmp_path / name)


def test_what_stands_for_no_user_is_taken_literally(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nobody.npy").touch()
    for folder in (tmp_path, Path(), Path("below/..")):
        for name in ("~nobody-of-that-name/a.zarr", "~nobody.npy"):
            assert make_absolute(name, folder) == str(tmp_path / name)


def test_what_cannot_be_a_path_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match=r"loop.* cannot be a path: its links form a loop"):
        make_absolute("loop", tmp_path)
    with pytest.raises(InputError, match=r"'a\\x00b' cannot be a path: .*embedded null"):
        make_absolute("a\0b", tmp_path)
