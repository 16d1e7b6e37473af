"""The lock of an output: of a process on this machine, and as a lease on a store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import obstore
import pytest
from obstore.exceptions import NotSupportedError

from steadystack.durable import get_place, objects
from steadystack.durable import locks as leases
from steadystack.model import InputError, OutputError
from support import ROOT
from support.locks import HOLD
from support.objects import PATH, listed


def test_a_second_run_is_told_who_holds_the_output_and_a_dead_one_holds_nothing(tmp_path):
    path = str(tmp_path / "deep" / "s.zarr")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        told = f"another run \\(process {holder.pid} on .*, since 20"
        for _ in range(2):  # asking does not make it forget
            with pytest.raises(InputError, match=told), get_place(path).holding_lock():
                pass
        with get_place(str(tmp_path / "other.zarr")).holding_lock():
            pass
        holder.kill()
        holder.wait()
    with (
        get_place(path).holding_lock(),
        pytest.raises(InputError, match=f"process {os.getpid()} on"),
        get_place(path).holding_lock(),
    ):
        pass
    with get_place(path).holding_lock():
        pass


def test_folders_that_were_made_for_a_lock_do_not_outlast_what_is_refused(tmp_path):
    path = tmp_path / "new" / "deep" / "frames.csv"
    with pytest.raises(InputError), get_place(path).holding_lock(leases.TARGET):
        raise InputError("refused")
    assert not list(tmp_path.iterdir())
    with get_place(path).holding_lock(leases.TARGET):
        path.with_name("theirs").touch()
    assert [each.name for each in path.parent.iterdir()] == ["theirs"]


@pytest.mark.parametrize("key", ["", "report"])
def test_a_file_of_others_in_the_place_of_the_lock_stays(tmp_path, key):
    path, file = str(tmp_path / "s.zarr"), tmp_path / ".s.zarr.lock"
    file.write_text("mine")
    told = r"\.s\.zarr\.lock is in the way and was not made by steadystack: move it"
    with pytest.raises(InputError, match=told), get_place(path).holding_lock(key):
        pass
    assert file.read_text() == "mine"
    for begun in ("", '{"ho'):  # the disk was full
        file.write_text(begun)
        with get_place(path).holding_lock(key):
            assert json.loads(file.read_text())["process"] == str(os.getpid())


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="only Linux has /proc")
def test_where_no_file_can_be_the_reason_is_reported_and_no_other_run():
    with (
        pytest.raises(InputError, match=r"^/proc/s.zarr cannot be written: "),
        get_place("/proc/s.zarr").holding_lock(),
    ):
        pass


def test_a_file_system_without_locks_is_reported_and_used(tmp_path, monkeypatch, caplog):
    def unknown(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("filelock.FileLock.acquire", unknown)
    with get_place(str(tmp_path / "c.zarr")).holding_lock("corrected"):
        pass
    assert not caplog.text  # it is told once in a run
    with get_place(str(tmp_path / "s.zarr")).holding_lock():
        pass
    assert "cannot be locked" in caplog.text


def test_a_lock_of_another_user_keeps_others_off_the_image(tmp_path, monkeypatch):
    """Where shifts are one's own and the image is in a shared folder, nothing else tells of it."""
    place = get_place(str(tmp_path / "steady.zarr"))

    def refuse(lock):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(leases.FileLock, "acquire", refuse)
    words = (
        "cannot be locked.*another user's: wait for it, stop it, or set another output.corrected"
    )
    with pytest.raises(InputError, match=words), place.holding_lock("corrected"):
        pass


def test_a_run_that_ends_at_that_moment_keeps_nobody_off(tmp_path, monkeypatch):
    """Its lock file is gone, and the next one is tried."""
    place, tried = get_place(str(tmp_path / "steady.zarr")), []
    acquire = leases.FileLock.acquire

    def late(lock):
        tried.append(0)
        if len(tried) == 1:
            raise leases.Timeout(str(tmp_path))
        return acquire(lock)

    monkeypatch.setattr(leases.FileLock, "acquire", late)
    with place.holding_lock("corrected"):
        assert len(tried) == 2


def test_the_lock_of_an_image_names_its_setting_and_leaves_nothing(tmp_path):
    place = get_place(str(tmp_path / "c.zarr"))
    told = r"c\.zarr is being written by .*: wait for it, stop it, or set another output\.corr"
    for _ in range(2):
        with place.holding_lock("corrected"):
            with pytest.raises(InputError, match=told), place.holding_lock("corrected"):
                pass
            with pytest.raises(InputError, match=told), place.holding_lock("corrected"):
                pass
        assert not list(tmp_path.iterdir())


def test_a_lock_is_a_lease(store):
    with get_place(PATH).holding_lock():
        assert listed(store) == ["deep/.s.zarr.lock"]
        with (
            pytest.raises(InputError, match="is being written by another run"),
            get_place(PATH).holding_lock(),
        ):
            pass
        with (
            pytest.raises(InputError, match=r"set another output\.mean; if it has died"),
            get_place(PATH).holding_lock("mean"),
        ):
            pass
        leases.check_held()
    assert not listed(store)
    elsewhere = {"host": "elsewhere", "process": "3"}
    objects.put("s3://bucket/deep/.s.zarr.lock", json.dumps(elsewhere).encode())
    with pytest.raises(InputError, match="its lock expires in 1"), get_place(PATH).holding_lock():
        pass


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("content", [b"no lease", b'{"host": "mine"}', b"[]", b"\xff\x00"])
def test_an_object_of_others_in_the_place_of_a_lease_stays(monkeypatch, content):
    monkeypatch.setattr(leases, "EXPIRY_S", -1.0)  # a lease would be taken over
    lock, probe = (f"s3://bucket/deep/.s.zarr.{ending}" for ending in ("lock", "probe"))
    objects.put(lock, content)
    objects.put(probe, content)
    told = r"^s3://bucket/deep/\.s\.zarr\.{} is in the way and was not made by steadystack: move"
    for key in ("", "mean"):
        with (
            pytest.raises(InputError, match=told.format("lock")),
            get_place(PATH).holding_lock(key),
        ):
            pass
    with pytest.raises(InputError, match=told.format("probe")):
        get_place(PATH).check_writable()
    assert objects.get(lock).data == objects.get(probe).data == content
    for empty in (b"", b"{}"):  # as a run leaves it that ends while it asks for conditions
        objects.put(lock, empty)
        with get_place(PATH).holding_lock():
            pass


@pytest.mark.usefixtures("store")
def test_the_leases_of_a_run_wait_once_for_a_store_that_is_silent(monkeypatch):
    monkeypatch.setattr(leases, "END_TIMEOUT_S", 1.0)
    answers, delete, paths = threading.Event(), objects.delete, []

    def late(path):
        answers.wait()
        delete(path)
        paths.append(path)

    monkeypatch.setattr(objects, "delete", late)
    with get_place(PATH).holding_lock(), ExitStack() as ends:
        for name in "abc":
            ends.enter_context(get_place(f"{PATH}-{name}").holding_lock("mean"))
        begun = time.monotonic()
    assert 1 <= time.monotonic() - begun < 2
    answers.set()
    for thread in leases._late:
        thread.join()
    assert len(paths) == 4


def test_a_process_number_that_is_another_s_now(store):
    other = leases.identify_process()
    with get_place(PATH).holding_lock():
        (token,) = leases._held
        assert not leases.is_dead(other | {"token": token})
    assert leases.is_dead(other | {"token": token})  # a run of this process, which has ended
    parent = {"process": str(os.getppid()), "born": leases._read_start_time(os.getppid())}
    assert not leases.is_dead(other | parent)
    assert leases.is_dead(other | {"born": "1"})
    assert leases.is_dead(other | {"process": "999999999"})
    assert not leases.is_dead(other | {"process": "999999999", "host": "elsewhere"})
    assert not leases.is_dead(other | {"process": "999999999", "machine": "rebooted"})
    objects.put("s3://bucket/deep/.s.zarr.lock", json.dumps(other | {"born": "1"}).encode())
    with get_place(PATH).holding_lock():
        pass


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("how", ["refused", "ignored"])
def test_a_store_that_knows_no_conditions_is_reported_and_used(monkeypatch, caplog, how):
    put = obstore.put

    def without(store, key, content, mode=None, **more):
        if mode is not None and how == "refused":
            raise NotSupportedError("no such header")
        return put(store, key, content, **more)

    monkeypatch.setattr(obstore, "put", without)
    with get_place(PATH).holding_lock("corrected"):
        pass
    assert not caplog.text  # it is told once in a run
    with get_place(PATH).holding_lock():
        pass
    assert "cannot be locked (its store has no conditional requests)" in caplog.text


@pytest.mark.usefixtures("store")
def test_a_lease_that_was_taken_over(monkeypatch):
    monkeypatch.setattr(leases, "RENEWAL_S", 0.001)
    with get_place(PATH).holding_lock():
        (lease,) = leases._held.values()
        objects.put(lease.lock_path, b"{}")
        until = time.monotonic() + 30
        while not lease.is_lost:
            assert time.monotonic() < until
        with pytest.raises(OutputError, match="taken over by another run"):
            leases.check_held()
    leases.check_held()
    assert objects.get("s3://bucket/deep/.s.zarr.lock").data == b"{}"
