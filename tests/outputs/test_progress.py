"""The record of the tasks that are done."""

from __future__ import annotations

import errno
import os

import pytest
import zarr

from steadystack.durable import get_place, objects
from steadystack.model import InputError, OutputError
from steadystack.outputs import (
    TaskRecord,
    read_begun,
    read_digest,
    writing_at_once,
)
from support.objects import listed


def store_of_zarr(path):
    """What zarr writes by: here every path is the bucket's root."""
    return get_place(path).make_zarr_store(read_only=False)


def test_a_record_of_tasks(store):
    stack = "s3://bucket/c.zarr"
    build = get_place(stack).open_build()
    told = {"steadystack": {"digest": "digest", "layout": "layout"}}
    with build.beginning():
        assert read_begun(stack) is None
        objects.put(f"{stack}/zarr.json", b"{}")
        zarr.create_group(store_of_zarr(stack), attributes=told)
        assert read_begun(stack) is None  # it is not laid out yet
    assert read_begun(stack) == ("digest", "layout")
    assert read_digest(stack) is None  # it is not whole
    for done in ({}, {0: [7, 0]}):
        with TaskRecord(stack) as record:
            assert record.done == done
            record.add(len(done), [7, len(done)])
    assert TaskRecord(stack).done == {0: [7, 0], 1: [7, 1]}
    build.settle()
    assert len(listed(store)) == 5
    objects.delete(f"{objects.get_hidden_sibling(stack, '.steadystack')}/begun")
    build.settle()
    assert listed(store) == ["c.zarr/zarr.json", "zarr.json"]
    assert read_digest(stack) == "digest"


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, OutputError), (errno.EACCES, InputError)]
)
def test_why_a_file_cannot_be_written_is_reported_in_a_line(number, kind):
    with pytest.raises(kind) as raised, writing_at_once("a.png"):
        raise OSError(number, os.strerror(number), "a.png")
    assert str(raised.value) == f"a.png cannot be written: {os.strerror(number)}"
