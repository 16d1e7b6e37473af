"""The journal: what was noted comes back, wherever it is torn, from files and from objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from steadystack.dataset import Journal, discard_journal, get_journal_path, replay_journal
from steadystack.durable import objects
from steadystack.model import InputError, PairStatus
from support.journals import BATCHES, assert_equal_tables, measured, unmeasured, with_batches
from support.objects import PATH, listed


def noted(path, table, owner="me", batches=BATCHES):
    with Journal(str(path), owner, unmeasured()) as journal:
        for rows in batches:
            journal.append(table, rows, np.unique([table.reference[rows], table.moving[rows]]))
    return Path(get_journal_path(str(path)))


def test_the_journal_gives_back_what_was_noted(tmp_path):
    table = measured()
    noted(tmp_path / "s.zarr", table)
    found = unmeasured()
    assert replay_journal(str(tmp_path / "s.zarr"), "me", found) == 10
    assert_equal_tables(found, with_batches(table, 4))
    assert replay_journal(str(tmp_path / "s.zarr"), "me", found) == 0


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
        replay_journal(str(tmp_path / "s.zarr"), "me", found)
        count = next(n for n, state in enumerate(states) if (state.status == found.status).all())
        assert_equal_tables(found, states[count])
        seen.append(count)
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2, 3}
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        found = unmeasured()
        replay_journal(str(tmp_path / "s.zarr"), "me", found)
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
    replay_journal(str(tmp_path / "s.zarr"), "me", again)
    assert_equal_tables(again, table)


def test_the_journal_of_another_dataset_is_not_taken(tmp_path):
    path = noted(tmp_path / "s.zarr", measured())
    found = unmeasured()
    assert replay_journal(str(tmp_path / "s.zarr"), "somebody else", found) == 0
    assert_equal_tables(found, unmeasured())
    with Journal(str(tmp_path / "s.zarr"), "somebody else", found):
        pass
    assert b"somebody else" in path.read_bytes()
    assert replay_journal(str(tmp_path / "s.zarr"), "me", found) == 0


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_a_stranger_calls_a_journal_is_reported_and_stays(tmp_path, kind):
    path = tmp_path / "s.zarr.journal"
    if kind == "folder":
        path.mkdir()
        kept = path / "theirs"
    else:
        kept = path
    kept.write_text("Monday: the stage was moved by hand.")
    with pytest.raises(InputError, match=r"s\.zarr\.journal is in the way and was not made by"):
        noted(tmp_path / "s.zarr", measured())
    assert replay_journal(str(tmp_path / "s.zarr"), "me", unmeasured()) == 0
    discard_journal(str(tmp_path / "s.zarr"))
    assert kept.read_text().startswith("Monday")


def noted_in_objects(table, owner="me", batches=BATCHES):
    """One object for every batch."""
    for rows in batches:
        with Journal(PATH, owner, unmeasured()) as journal:
            journal.append(table, rows, np.unique([table.reference[rows], table.moving[rows]]))


def test_a_journal_of_objects(store):
    table, found = measured(), unmeasured()
    noted_in_objects(table)
    assert listed(store) == [f"deep/s.zarr.journal/0000000{n}" for n in (1, 2, 3, 4)]
    assert replay_journal(PATH, "me", found) == 10
    assert_equal_tables(found, with_batches(table, 4))
    # Of one that is torn, and of another's, nothing is taken; the others stand.
    third = objects.get(f"{get_journal_path(PATH)}/00000003").data
    objects.put(f"{get_journal_path(PATH)}/00000003", third[:-1])
    found = unmeasured()
    replay_journal(PATH, "me", found)
    assert_equal_tables(found, with_batches(table, 2))
    assert replay_journal(PATH, "somebody else", unmeasured()) == 0
    with Journal(PATH, "somebody else", unmeasured()):
        pass
    assert not listed(store)


def test_a_run_measures_on_while_its_journal_is_sent(store):
    """Records that came together are one object; they count from where an earlier run ended."""
    table = measured()
    noted_in_objects(table, batches=BATCHES[:1])
    with Journal(PATH, "me", unmeasured()) as journal:
        assert journal.replayed == 5
        for rows in BATCHES[1:]:
            journal.append(table, rows, np.unique([table.reference[rows], table.moving[rows]]))
    found = unmeasured()
    replay_journal(PATH, "me", found)
    assert_equal_tables(found, with_batches(table, 4))
    assert len(listed(store)) in (2, 3)
