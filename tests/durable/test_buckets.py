"""Files, folders and logs in a bucket."""

from __future__ import annotations

import pytest

from steadystack.durable import get_place, objects
from support.objects import PATH, listed


def test_files_and_folders(store):
    with get_place("s3://bucket/deep/one.csv").replacing() as partial:
        partial.write_text("one")
    for name in ("old", "new"):
        with get_place(PATH).replacing() as partial:
            partial.mkdir()
            (partial / ".zgroup").write_text("{}")
            (partial / name).write_text(name)
    assert listed(store) == ["deep/one.csv", "deep/s.zarr/.zgroup", "deep/s.zarr/new"]
    assert get_place(PATH).list_siblings() == [
        "s3://bucket/deep/one.csv",
        "s3://bucket/deep/s.zarr",
    ]
    with get_place(PATH).fetching() as here:
        assert sorted(file.name for file in here.iterdir()) == [".zgroup", "new"]
    with pytest.raises(FileNotFoundError), get_place("s3://bucket/none").fetching():
        pass
    assert get_place(PATH).exists()
    objects.delete(f"{PATH}/.zgroup")
    assert not get_place(PATH).exists()  # as one that was being deleted
    get_place(PATH).discard()
    assert (
        get_place("s3://bucket/deep/one.csv").exists(),
        get_place("s3://bucket/deep").exists(),
    ) == (
        True,
        True,
    )
    assert listed(store) == ["deep/one.csv"]
    with (
        pytest.raises(IsADirectoryError),
        get_place("s3://bucket/deep/one.csv").replacing() as partial,
    ):
        partial.parent.write_text("half")
    assert objects.get("s3://bucket/deep/one.csv").data == b"one"
    get_place(PATH).settle()


def test_a_log(store):
    import logging

    for text in ("one", "two"):
        handler = get_place("s3://bucket/run.log").make_log_handler()
        handler.handle(logging.makeLogRecord({"msg": text}))
        handler.flush()
        handler.close()
    assert objects.get("s3://bucket/run.log").data == b"one\ntwo\n"


@pytest.mark.usefixtures("store")
def test_an_object_with_brackets_in_its_name_is_no_pattern():
    for name in ("a[1].tif", "a1.tif", "a2.tif"):
        objects.put(f"s3://bucket/{name}", b"x")
    assert not get_place("s3://bucket/a[1].tif").is_pattern
    assert get_place("s3://bucket/a[12].tif").is_pattern
    assert get_place("s3://bucket/a[12].tif").list_files() == [
        "s3://bucket/a1.tif",
        "s3://bucket/a2.tif",
    ]
