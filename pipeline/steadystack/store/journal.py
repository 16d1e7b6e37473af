"""The journal of a run: what every finished batch found, appended to a file beside the dataset.

A checkpoint costs what is new, not what is there. A record has a checksum; a record that was not
finished when the process died is not there. The journal belongs to one dataset, by the name that
stands in both: that of another is not taken for it.

On an object store, where nothing can be appended to, the journal is a folder of objects, each of
which is a journal of some batches; they are put there in the background.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np

from steadystack.model import MEASURED, Ints, PairTable
from steadystack.store import objects
from steadystack.store.appender import Appender, Numbered, numbers
from steadystack.store.files import unwritable
from steadystack.store.remote import is_remote

HEAD = struct.Struct("<III")  # checksum of what follows, number of pairs, number of frames
FRAME = np.dtype([("frame", "<i8"), ("status", "i1")])
# A record is with the system at once, and outlives the process; so often it has to be on the disk.
DISK_S = 1.0


class Journal:
    """The journal of the dataset at `path`, whose name is `owner`; replayed, open for more.

    Parameters
    ----------
    path : of the dataset
    owner : the name of the dataset, a word
    table : gets the rows that the journal holds

    Attributes
    ----------
    replayed : how many rows came from the journal that the table had not
    """

    def __init__(self, path: str, owner: str, table: PairTable) -> None:
        self.path, self._dtype = journal_path(path), _row_dtype(table)
        try:
            self.replayed, lengths = _replay(self.path, owner, table)
            self._file = _place(self.path, lengths, _title(owner, table))
        except OSError as error:
            raise unwritable(self.path, error) from error

    def append(self, table: PairTable, rows: Ints, frames: Ints) -> None:
        """Note rows of a table that were measured, and the frames that were read for them."""
        pairs, seen = np.empty(len(rows), self._dtype), np.empty(len(frames), FRAME)
        pairs["row"] = rows
        for name in MEASURED:
            pairs[name] = getattr(table, name)[rows]
        seen["frame"], seen["status"] = frames, table.frame_status[frames]
        content = pairs.tobytes() + seen.tobytes()
        counts = HEAD.pack(0, len(pairs), len(seen))[4:]
        record = struct.pack("<I", zlib.crc32(counts + content)) + counts + content
        try:
            self._file.write(record)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.__exit__(kind, error, trace)


class _File:
    """The journal as a file, of which so many bytes are good."""

    def __init__(self, path: str, length: int, title: bytes) -> None:
        self._synced = time.monotonic()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        os.ftruncate(self._file, length)
        os.lseek(self._file, length, os.SEEK_SET)
        if not length:
            self._write(title)

    def write(self, record: bytes) -> None:
        self._write(record)
        if time.monotonic() - self._synced > DISK_S:
            os.fsync(self._file)
            self._synced = time.monotonic()

    def _write(self, record: bytes) -> None:
        left = memoryview(record)
        while left:
            left = left[os.write(self._file, left) :]

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


class _Objects(Appender):
    """The journal as objects under a path, each with the title before its records."""

    def __init__(self, path: str, title: bytes) -> None:
        put = Numbered(path)
        super().__init__(lambda records: put(title + records))

    write = Appender.append


def _place(path: str, lengths: dict[str, int], title: bytes) -> _File | _Objects:
    """Where further records go; what another dataset has left there goes away."""
    if not is_remote(path):
        return _File(path, lengths.get("", 0), title)
    objects.delete(path, [name for name, length in lengths.items() if not length])
    return _Objects(path, title)


def journal_path(path: str) -> str:
    """Where the journal of the dataset at `path` is."""
    return f"{path.rstrip('/')}.journal"


def replay(path: str, owner: str, table: PairTable) -> int:
    """Fill rows of `table` from the journal of the dataset at `path`; how many were new."""
    return _replay(journal_path(path), owner, table)[0]


def _contents(path: str) -> Iterator[tuple[str, bytes]]:
    """The journals at a path, by their names: objects, or the one file."""
    if is_remote(path):
        yield from objects.get_all(path, numbers(objects.below(path)))
        return
    try:
        with open(path, "rb") as file:
            yield "", file.read()
    except FileNotFoundError:
        return


def _replay(path: str, owner: str, table: PairTable) -> tuple[int, dict[str, int]]:
    """How many rows were new, and how many bytes are good of what is there by its name."""
    before = table.status.copy()
    lengths = {
        name: _replay_one(memoryview(content), owner, table) for name, content in _contents(path)
    }
    return int((table.status != before).sum()), lengths


def _replay_one(content: memoryview, owner: str, table: PairTable) -> int:
    """Fill rows from one journal; how many of its bytes are good."""
    title, dtype = _title(owner, table), _row_dtype(table)
    if content[: len(title)] != title:
        return 0
    length = len(title)
    while length + HEAD.size <= len(content):
        checksum, pairs, frames = HEAD.unpack_from(content, length)
        middle = length + HEAD.size + pairs * dtype.itemsize
        end = middle + frames * FRAME.itemsize
        if end > len(content) or zlib.crc32(content[length + 4 : end]) != checksum:
            break
        found = np.frombuffer(content[length + HEAD.size : middle], dtype)
        for name in MEASURED:
            getattr(table, name)[found["row"]] = found[name]
        seen = np.frombuffer(content[middle:end], FRAME)
        table.frame_status[seen["frame"]] = seen["status"]
        length = end
    return length


def _title(owner: str, table: PairTable) -> bytes:
    """The first line: rows of another dataset, of other pairs or of another shape are not read."""
    pairs, ndim = table.shift.shape
    which = zlib.crc32(table.moving.tobytes(), zlib.crc32(table.reference.tobytes()))
    return f"steadystack journal 2 of {owner}: {pairs} pairs {which:08x}, {ndim} axes\n".encode()


def _row_dtype(table: PairTable) -> np.dtype[Any]:
    ndim = table.shift.shape[1]
    numbers: list[Any] = [("row", "<i8"), ("shift", "<f8", (ndim,)), ("std", "<f8", (ndim,))]
    return np.dtype(
        [*numbers, ("ncc", "<f8"), ("runner_up", "<f8"), ("overlap", "<f8"), ("status", "i1")]
    )
