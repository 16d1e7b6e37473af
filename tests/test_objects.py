"""What outputs on object stores are made of, on a store in memory; with a server: test_remote."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from datetime import timedelta

import numpy as np
import obstore
import pytest
import zarr
from obstore.exceptions import NotSupportedError
from obstore.store import LocalStore, MemoryStore

from helpers import assert_same_numbers, rough
from steadystack import stages
from steadystack.config import make_config
from steadystack.dataset import Journal, journal_path, load_shifts, replay
from steadystack.durable import appender as appender_module
from steadystack.durable import locks as leases
from steadystack.durable import objects, overlap, place, remote
from steadystack.durable.appender import Appender
from steadystack.model import InputError, OutputError, UnreachableError
from steadystack.outputs import TaskRecord, begun_at, digest_at, write_stack
from test_checkpoint import BATCHES, assert_equal_tables, measured, unmeasured, with_batches

PATH = "s3://bucket/deep/s.zarr"


@pytest.fixture(autouse=True)
def store(monkeypatch):
    """Every bucket is this one."""
    found = MemoryStore()
    monkeypatch.setattr(remote, "object_store", lambda url: found)
    monkeypatch.setattr(objects, "PAUSE_S", 0.0)
    monkeypatch.setattr(remote, "PATIENCE", timedelta(seconds=2))
    return found


def store_of_zarr(path):
    """What zarr writes by: here every path is the bucket's root."""
    return place(path).zarr_store(read_only=False)


def listed(store):
    return sorted(one["path"] for some in obstore.list(store) for one in some)


def test_objects(store):
    objects.put("s3://bucket/a/b", b"1")
    assert objects.get("s3://bucket/a/b").data == b"1"
    assert objects.get("s3://bucket/a") is None
    assert (objects.is_object("s3://bucket/a/b"), objects.is_object("s3://bucket/a")) == (
        True,
        False,
    )
    assert (objects.any_below("s3://bucket/a"), objects.any_below("s3://bucket/b")) == (True, False)
    assert objects.names_in("s3://bucket/") == (set(), {"a"})
    assert list(objects.below("s3://bucket/a")) == ["b"]
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


def test_nothing_is_written_to_a_web_server():
    web = place("https://server/a")
    for change in (web.discard, web.settle, web.check_writable, web.records, web.build):
        with pytest.raises(InputError, match="https://server/a: nothing is written to"):
            change()
    with pytest.raises(InputError, match="https://server/a cannot be written"):
        web.check_name()


def test_who_is_first_writes():
    first = objects.put_if("s3://bucket/a", b"1", None)
    assert first is not None
    assert objects.put_if("s3://bucket/a", b"2", None) is None
    assert objects.put_if("s3://bucket/a", b"1", None) == first  # its answer was lost
    second = objects.put_if("s3://bucket/a", b"2", first)
    assert objects.put_if("s3://bucket/a", b"3", first) is None
    objects.delete("s3://bucket/a")
    assert objects.put_if("s3://bucket/a", b"3", second) is None


def test_what_may_pass_is_tried_again(monkeypatch):
    left = [ConnectionError(), TimeoutError(), obstore.exceptions.GenericError("half up")]

    def act():
        if left:
            raise left.pop()
        return 5

    assert objects.persistently(PATH, act) == 5
    for lasting in (
        obstore.exceptions.GenericError("non-2xx status code: 404 Not Found"),
        obstore.exceptions.PermissionDeniedError("no"),
    ):
        left[:] = [ConnectionError(), lasting]
        with pytest.raises(UnreachableError):
            objects.persistently(PATH, act)
        assert len(left) == 1
    left[:] = [KeyError()]
    with pytest.raises(KeyError):
        objects.persistently(PATH, act)
    left[:] = [ConnectionError()]
    with pytest.raises(ConnectionError):
        place("here.zarr").persistently(act)


def test_paths():
    assert overlap("s3://b/a.zarr", "s3://b/a.zarr/")
    assert overlap("s3://b/x/../a.zarr/c", "s3://b/a.zarr")
    assert not overlap("s3://b/a.zarr", "s3://c/a.zarr")
    assert not overlap("s3://b/a.zarr", "s3://b/a.zarr2")
    assert not overlap("s3:/b/a.zarr", "s3://b/a.zarr")
    assert overlap("/b/a.zarr", "/b/a.zarr/c")
    assert place("s3://b/x/a.zarr/").beside("c").path == "s3://b/x/c"


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


def test_what_is_appended_is_sent_in_order_and_nobody_waits():
    sent, may = [], threading.Event()

    def send(content):
        may.wait()
        sent.append(content)

    with Appender(send, 0.0) as appender:
        appender.append(b"1")
        appender.append(b"2")
        assert not sent
        may.set()
        appender.flush()
        assert b"".join(sent) == b"12"
        appender.append(b"3")
    assert b"".join(sent) == b"123"


def test_what_cannot_be_sent_is_told():
    def send(content):
        raise UnreachableError("away")

    appender = Appender(send, 0.0)
    appender.append(b"1")
    with pytest.raises(UnreachableError):
        appender.flush()
    with pytest.raises(UnreachableError):
        appender.append(b"2")
    with pytest.raises(UnreachableError):
        appender.close()
    # What happened before is raised, and not what comes of it.
    with pytest.raises(ZeroDivisionError), Appender(send, 0.0) as appender:
        appender.append(bytes([1 // 0]))
    appender = Appender(send, 0.0)
    appender.append(b"1")
    appender.__exit__(UnreachableError, None, None)


def noted(table, owner="me", batches=BATCHES):
    """One object for every batch."""
    for rows in batches:
        with Journal(PATH, owner, unmeasured()) as journal:
            journal.append(table, rows, np.unique([table.reference[rows], table.moving[rows]]))


def test_a_journal_of_objects(store):
    table, found = measured(), unmeasured()
    noted(table)
    assert listed(store) == [f"deep/s.zarr.journal/0000000{n}" for n in (1, 2, 3, 4)]
    assert replay(PATH, "me", found) == 10
    assert_equal_tables(found, with_batches(table, 4))
    # Of one that is torn, and of another's, nothing is taken; the others stand.
    third = objects.get(f"{journal_path(PATH)}/00000003").data
    objects.put(f"{journal_path(PATH)}/00000003", third[:-1])
    found = unmeasured()
    replay(PATH, "me", found)
    assert_equal_tables(found, with_batches(table, 2))
    assert replay(PATH, "somebody else", unmeasured()) == 0
    with Journal(PATH, "somebody else", unmeasured()):
        pass
    assert not listed(store)


def test_a_run_measures_on_while_its_journal_is_sent(store):
    """Records that came together are one object; they count from where an earlier run ended."""
    table = measured()
    noted(table, batches=BATCHES[:1])
    with Journal(PATH, "me", unmeasured()) as journal:
        assert journal.replayed == 5
        for rows in BATCHES[1:]:
            journal.append(table, rows, np.unique([table.reference[rows], table.moving[rows]]))
    found = unmeasured()
    replay(PATH, "me", found)
    assert_equal_tables(found, with_batches(table, 4))
    assert len(listed(store)) in (2, 3)


def test_a_record_of_tasks(store):
    stack = "s3://bucket/c.zarr"
    build = place(stack).build()
    told = {"steadystack": {"digest": "digest", "layout": "layout"}}
    with build.beginning():
        assert begun_at(stack) is None
        objects.put(f"{stack}/zarr.json", b"{}")
        zarr.create_group(store_of_zarr(stack), attributes=told)
        assert begun_at(stack) is None  # it is not laid out yet
    assert begun_at(stack) == ("digest", "layout")
    assert digest_at(stack) is None  # it is not whole
    for done in ({}, {0: [7, 0]}):
        with TaskRecord(stack) as record:
            assert record.done == done
            record.add(len(done), [7, len(done)])
    assert TaskRecord(stack).done == {0: [7, 0], 1: [7, 1]}
    build.settle()
    assert len(listed(store)) == 5
    objects.delete(f"{stack}.partial/begun")
    build.settle()
    assert listed(store) == ["c.zarr/zarr.json", "zarr.json"]
    assert digest_at(stack) == "digest"


def test_a_log(store):
    import logging

    for text in ("one", "two"):
        handler = place("s3://bucket/run.log").log_handler()
        handler.handle(logging.makeLogRecord({"msg": text}))
        handler.flush()
        handler.close()
    assert objects.get("s3://bucket/run.log").data == b"one\ntwo\n"


def test_a_lock_is_a_lease(store):
    with place(PATH).locked():
        assert listed(store) == ["deep/.s.zarr.lock"]
        with (
            pytest.raises(InputError, match="is being written by another run"),
            place(PATH).locked(),
        ):
            pass
        leases.check_held()
    assert not listed(store)
    objects.put("s3://bucket/deep/.s.zarr.lock", b"no lease")
    with pytest.raises(InputError, match="its lock ends in 1"), place(PATH).locked():
        pass


def test_a_process_number_that_is_another_s_now(store):
    other = leases.this_process()
    with place(PATH).locked():
        (token,) = leases._held
        assert not leases.is_dead(other | {"token": token})
    assert leases.is_dead(other | {"token": token})  # a run of this process, which has ended
    parent = {"process": str(os.getppid()), "born": leases._born(os.getppid())}
    assert not leases.is_dead(other | parent)
    assert leases.is_dead(other | {"born": "1"})
    assert leases.is_dead(other | {"process": "999999999"})
    assert not leases.is_dead(other | {"process": "999999999", "host": "elsewhere"})
    assert not leases.is_dead(other | {"process": "999999999", "machine": "rebooted"})
    objects.put("s3://bucket/deep/.s.zarr.lock", json.dumps(other | {"born": "1"}).encode())
    with place(PATH).locked():
        pass


@pytest.mark.parametrize("how", ["refused", "ignored"])
def test_a_store_that_knows_no_conditions_is_told_and_used(monkeypatch, caplog, how):
    put = obstore.put

    def without(store, key, content, mode=None, **more):
        if mode is not None and how == "refused":
            raise NotSupportedError("no such header")
        return put(store, key, content, **more)

    monkeypatch.setattr(obstore, "put", without)
    with place(PATH).locked():
        pass
    assert "cannot be locked (its store knows no conditional requests)" in caplog.text


def test_a_lease_that_was_taken_over(monkeypatch):
    monkeypatch.setattr(leases, "RENEWED_S", 0.001)
    with place(PATH).locked():
        (lease,) = leases._held.values()
        objects.put(lease.object, b"{}")
        until = time.monotonic() + 30
        while not lease.lost:
            assert time.monotonic() < until
        with pytest.raises(OutputError, match="taken over by another run"):
            leases.check_held()
    leases.check_held()
    assert objects.get("s3://bucket/deep/.s.zarr.lock").data == b"{}"


class Killed(BaseException):
    """Ends a run as a kill does: from then on it changes nothing any more."""


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Buckets are folders of this machine."""

    def store_of(url):
        return LocalStore(tmp_path / "buckets" / url.removeprefix("s3://"), mkdir=True)

    monkeypatch.setattr(remote, "object_store", store_of)
    return tmp_path / "buckets"


class Requests:
    """Counts what changes a store; one of them, and all that come after it, do not happen."""

    def __init__(self, monkeypatch):
        self.count, self.due = 0, None
        for name in ("put", "delete"):
            monkeypatch.setattr(obstore, name, self.counted(getattr(obstore, name)))

    def counted(self, call):
        def request(*arguments, **keywords):
            self.count += 1
            if self.due is not None and self.count >= self.due:
                raise Killed
            return call(*arguments, **keywords)

        return request


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_may_end_at_any_of_its_requests(folders, tmp_path, monkeypatch):
    """What is there then opens; the same command goes on and ends with the same numbers."""
    monkeypatch.setattr(appender_module, "OFTEN_S", 0.0)
    base = rough(0, (60, 60), 1)
    frames = [base[t : t + 40, 10 - t : 50 - t] + 0.1 * rough(t, (40, 40), 0) for t in range(6)]
    write_stack(tmp_path / "stack.zarr", np.stack(frames).astype("f4"))
    requests = Requests(monkeypatch)

    def run(root):
        output = {"shifts": f"{root}/s.zarr", "corrected": f"{root}/c.zarr"}
        return stages.run(
            make_config(
                {
                    "input": {"path": str(tmp_path / "stack.zarr")},
                    "register": {"max_shift": 6},
                    "pairs": {"width": 2},
                    "correct": {"chunks": 20},
                    "output": output,
                    "cluster": {"kind": "in-process", "task_memory": "26 MiB"},
                }
            )
        )

    expected = run("s3://whole")
    pixels = zarr.open_group(folders / "whole" / "c.zarr", mode="r")["0"][...]
    total = requests.count
    drawn = np.random.default_rng(1).choice(np.arange(3, total), 10, replace=False)
    for due in [1, 2, total, *drawn.tolist()]:
        requests.count, requests.due = 0, due
        with suppress(Killed):  # but for the last, which ends the lock in the background
            run(f"s3://b{due}")
        assert requests.count >= due
        requests.due = None
        if place(f"s3://b{due}/s.zarr").exists():
            load_shifts(f"s3://b{due}/s.zarr")
        assert_same_numbers(run(f"s3://b{due}"), expected)
        assert_same_numbers(load_shifts(f"s3://b{due}/s.zarr"), expected)
        found = zarr.open_group(folders / f"b{due}" / "c.zarr", mode="r")["0"][...]
        np.testing.assert_array_equal(found, pixels)
        left = {file.relative_to(folders / f"b{due}").parts[0] for file in
                (folders / f"b{due}").rglob("*") if file.is_file()}  # fmt: skip
        assert left <= {"s.zarr", "c.zarr", "run.log"}
