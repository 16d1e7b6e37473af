"""Objects on a store in memory."""

from __future__ import annotations

import obstore
import pytest

from steadystack.durable import get_place, objects
from steadystack.model import InputError, UnreachableError
from support.objects import PATH, listed


def test_objects(store):
    objects.put("s3://bucket/a/b", b"1")
    assert objects.get("s3://bucket/a/b").data == b"1"
    assert objects.get("s3://bucket/a") is None
    assert (objects.is_object("s3://bucket/a/b"), objects.is_object("s3://bucket/a")) == (
        True,
        False,
    )
    assert (objects.is_any_below("s3://bucket/a"), objects.is_any_below("s3://bucket/b")) == (
        True,
        False,
    )
    assert objects.list_names("s3://bucket/") == (set(), {"a"})
    assert list(objects.list_below("s3://bucket/a")) == ["b"]
    objects.append("s3://bucket/a/b", b"2")
    objects.append("s3://bucket/a/c", b"3")
    assert dict(objects.get_all("s3://bucket/a", ["b", "none", "c"])) == {"b": b"12", "c": b"3"}
    objects.delete("s3://bucket/a", ["b", "none"])
    objects.delete("s3://bucket/none")
    assert listed(store) == ["a/c"]
    objects.delete_below("s3://bucket/a")
    assert not listed(store)
    with pytest.raises(InputError, match="s3://bucket"):
        objects.put("s3://bucket", b"")


@pytest.mark.usefixtures("store")
def test_who_is_first_writes():
    first = objects.put_if("s3://bucket/a", b"1", None)
    assert first is not None
    assert objects.put_if("s3://bucket/a", b"2", None) is None
    assert objects.put_if("s3://bucket/a", b"1", None) == first  # its answer was lost
    second = objects.put_if("s3://bucket/a", b"2", first)
    assert objects.put_if("s3://bucket/a", b"3", first) is None
    objects.delete("s3://bucket/a")
    assert objects.put_if("s3://bucket/a", b"3", second) is None


@pytest.mark.usefixtures("store")
def test_what_may_pass_is_tried_again(monkeypatch):
    left = [ConnectionError(), TimeoutError(), obstore.exceptions.GenericError("half up")]

    def act():
        if left:
            raise left.pop()
        return 5

    assert objects.retry_while_away(PATH, act) == 5
    for lasting in (
        obstore.exceptions.GenericError("non-2xx status code: 404 Not Found"),
        obstore.exceptions.PermissionDeniedError("no"),
    ):
        left[:] = [ConnectionError(), lasting]
        with pytest.raises(UnreachableError):
            objects.retry_while_away(PATH, act)
        assert len(left) == 1
    left[:] = [KeyError()]
    with pytest.raises(KeyError):
        objects.retry_while_away(PATH, act)
    left[:] = [ConnectionError()]
    with pytest.raises(ConnectionError):
        get_place("here.zarr").retry_while_away(act)
