"""Files, folders and logs in a bucket."""

from __future__ import annotations

import pytest

from steadystack.durable import objects, place
from support.objects import PATH, listed


def test_files_and_folders(store):
    with place("s3://bucket/deep/one.csv").replaced() as partial:
        partial.write_text("one")
    for name in ("old", "new"):
        with place(PATH).replaced() as partial:
            partial.mkdir()
            (partial / ".zgroup").write_text("{}")
            (partial / name).write_text(name)
    assert listed(store) == ["deep/one.csv", "deep/s.zarr/.zgroup", "deep/s.zarr/new"]
    assert place(PATH).siblings() == ["s3://bucket/deep/one.csv", "s3://bucket/deep/s.zarr"]
    with place(PATH).fetched() as here:
        assert sorted(file.name for file in here.iterdir()) == [".zgroup", "new"]
    with pytest.raises(FileNotFoundError), place("s3://bucket/none").fetched():
        pass
    assert place(PATH).exists()
    objects.delete(f"{PATH}/.zgroup")
    assert not place(PATH).exists()  # as one that was being deleted
    place(PATH).discard()
    assert (place("s3://bucket/deep/one.csv").exists(), place("s3://bucket/deep").exists()) == (
        True,
        True,
    )
    assert listed(store) == ["deep/one.csv"]
    with pytest.raises(IsADirectoryError), place("s3://bucket/deep/one.csv").replaced() as partial:
        partial.parent.write_text("half")
    assert objects.get("s3://bucket/deep/one.csv").data == b"one"
    place(PATH).settle()


def test_a_log(store):
    import logging

    for text in ("one", "two"):
        handler = place("s3://bucket/run.log").log_handler()
        handler.handle(logging.makeLogRecord({"msg": text}))
        handler.flush()
        handler.close()
    assert objects.get("s3://bucket/run.log").data == b"one\ntwo\n"
