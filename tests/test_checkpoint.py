"""What a run leaves behind at any instant: the journal, what is put in place, the lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from steadystack.dataset import Journal, journal_path, replay
from steadystack.durable import files, place
from steadystack.model import InputError, PairStatus, PairTable

COLUMNS = ("shift", "std", "ncc", "runner_up", "overlap", "status", "frame_status")


def unmeasured(frames=20):
    pairs = np.stack([np.arange(frames - 1), np.arange(1, frames)], axis=1)
    return PairTable.unmeasured(pairs, frames, 2)


def measured(seed=0):
    """A table with all rows filled, some of them NaN."""
    table, rng = unmeasured(), np.random.default_rng(seed)
    for name in COLUMNS[:-2]:
        column = getattr(table, name)
        column[:] = rng.normal(size=column.shape)
        column[3] = np.nan
    table.status[:] = rng.integers(1, 9, len(table.status))
    table.frame_status[:] = rng.integers(1, 5, len(table.frame_status))
    return table


BATCHES = [np.arange(0, 5), np.array([11, 7, 18]), np.arange(5, 7), np.array([], int)]


def noted(path, table, owner="me", batches=BATCHES):
    with Journal(str(path), owner, unmeasured()) as journal:
        for rows in batches:
            journal.append(table, rows, np.unique([table.reference[rows], table.moving[rows]]))
    return Path(journal_path(str(path)))


def assert_equal_tables(one, other):
    for name in COLUMNS:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def with_batches(table, count):
    """What a table looks like after so many of the batches."""
    found = unmeasured()
    for rows in BATCHES[:count]:
        for name in COLUMNS[:-1]:
            getattr(found, name)[rows] = getattr(table, name)[rows]
        seen = np.unique([table.reference[rows], table.moving[rows]])
        found.frame_status[seen] = table.frame_status[seen]
    return found


def test_the_journal_gives_back_what_was_noted(tmp_path):
    table = measured()
    noted(tmp_path / "s.zarr", table)
    found = unmeasured()
    assert replay(str(tmp_path / "s.zarr"), "me", found) == 10
    assert_equal_tables(found, with_batches(table, 4))
    assert replay(str(tmp_path / "s.zarr"), "me", found) == 0


def test_wherever_a_journal_is_torn_its_whole_batches_stand(tmp_path):
    """Cut after every byte, or with a byte changed: what stands before is there, and goes on."""
    table = measured()
    path = noted(tmp_path / "s.zarr", table)
    whole = path.read_bytes()
    states = [with_batches(table, count) for count in range(5)]
    seen = []
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        found = unmeasured()
        replay(str(tmp_path / "s.zarr"), "me", found)
        count = next(n for n, state in enumerate(states) if (state.status == found.status).all())
        assert_equal_tables(found, states[count])
        seen.append(count)
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2, 3}
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        found = unmeasured()
        replay(str(tmp_path / "s.zarr"), "me", found)
        assert any((state.status == found.status).all() for state in states[:4])


@pytest.mark.parametrize("lost", [1, 20, 200, 10_000])
def test_a_torn_journal_goes_on(tmp_path, lost):
    table = measured()
    path = noted(tmp_path / "s.zarr", table)
    path.write_bytes(path.read_bytes()[:-lost])
    found = unmeasured()
    with Journal(str(tmp_path / "s.zarr"), "me", found) as journal:
        missing = np.flatnonzero(found.status == PairStatus.UNMEASURED.code)
        journal.append(table, missing, np.arange(20))
    again = unmeasured()
    replay(str(tmp_path / "s.zarr"), "me", again)
    assert_equal_tables(again, table)


def test_the_journal_of_another_dataset_is_not_taken(tmp_path):
    path = noted(tmp_path / "s.zarr", measured())
    found = unmeasured()
    assert replay(str(tmp_path / "s.zarr"), "somebody else", found) == 0
    assert_equal_tables(found, unmeasured())
    with Journal(str(tmp_path / "s.zarr"), "somebody else", found):
        pass
    assert b"somebody else" in path.read_bytes()
    assert replay(str(tmp_path / "s.zarr"), "me", found) == 0


def test_a_journal_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "s.zarr.journal").mkdir()
    with pytest.raises(InputError, match=r"s\.zarr\.journal cannot be written"):
        noted(tmp_path / "s.zarr", measured())


# What is put in place


class Killed(BaseException):
    """Ends things here as a kill does: nothing is tidied up on the way."""


def write_folder(path, text):
    with place(path).replaced() as partial:
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
        monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    path, steps, stop_at = tmp_path / "s.zarr", 0, None

    def counted(call):
        def step(*arguments, **keywords):
            nonlocal steps
            steps += 1
            if steps == stop_at:
                raise Killed
            return call(*arguments, **keywords)

        return step

    for module, name in ((os, "replace"), (os, "fsync"), (files.shutil, "rmtree")):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    monkeypatch.setattr(files, "_exchanged", counted(files._exchanged))
    write_folder(path, "old")
    before, steps = steps, 0
    write_folder(path, "new")
    total = steps
    assert before
    assert total > 6
    results = []
    for stop in range(1, total + 1):
        place(path).settle()
        write_folder(path, "old")
        steps, stop_at = 0, stop
        with pytest.raises(Killed):
            write_folder(path, "new")
        stop_at = None
        if exchange:
            results.append(content(path))  # whole at any time
            assert results[-1] in (["old"] * 2, ["new"] * 2)
        place(path).settle()
        results.append(content(path))
        assert results[-1] in (["old"] * 2, ["new"] * 2)
        assert list(tmp_path.iterdir()) == [path]
    assert results[0] == ["old"] * 2
    assert results[-1] == ["new"] * 2


def test_a_file_is_replaced_and_things_are_discarded(tmp_path):
    for text in ("old", "new"):
        with place(tmp_path / "deep" / "s.nc").replaced() as partial:
            partial.write_text(text)
    assert (tmp_path / "deep" / "s.nc").read_text() == "new"
    place(tmp_path / "deep" / "s.nc").discard()
    place(tmp_path / "deep" / "s.nc").discard()
    place(tmp_path / "deep").discard()
    assert not list(tmp_path.iterdir())


def test_what_fails_leaves_what_was_there(tmp_path):
    write_folder(tmp_path / "s.zarr", "old")
    with pytest.raises(FileExistsError), place(tmp_path / "s.zarr").replaced():
        (tmp_path / "s.zarr").mkdir()
    assert content(tmp_path / "s.zarr") == ["old"] * 2


# The lock

HOLD = """
import sys
from steadystack.durable import place
with place(sys.argv[1]).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_told_who_holds_the_output_and_a_dead_one_holds_nothing(tmp_path):
    path = str(tmp_path / "deep" / "s.zarr")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        told = f"another run \\(process {holder.pid} on .*, since 20"
        for _ in range(2):  # asking does not make it forget
            with pytest.raises(InputError, match=told), place(path).locked():
                pass
        with place(str(tmp_path / "other.zarr")).locked():
            pass
        holder.kill()
        holder.wait()
    with (
        place(path).locked(),
        pytest.raises(InputError, match=f"process {os.getpid()} on"),
        place(path).locked(),
    ):
        pass
    with place(path).locked():
        pass


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, caplog):
    def unknown(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("filelock.FileLock.acquire", unknown)
    with place(str(tmp_path / "s.zarr")).locked():
        pass
    assert "cannot be locked" in caplog.text
