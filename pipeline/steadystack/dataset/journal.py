"""The journal of a run: results of finished batches, appended to a file beside the dataset.

A checkpoint costs only what is new. Records have checksums; one that was incomplete when the
process died is ignored. The journal belongs to one dataset, whose name is in both: that of another
dataset is not used.

On an object store, where nothing can be appended to, the journal is a folder of objects, each a
journal of some batches, written in the background.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import xarray as xr

from steadystack.durable import explain_stranger, explain_unwritable, get_place
from steadystack.model import FRAME_RESULTS, PAIR_RESULTS, Column, InputError, Ints, PairTable

HEAD = struct.Struct("<III")  # checksum of what follows, number of pairs, number of frames
TITLE = b"steadystack journal "  # the beginning of every journal
RUN = "run"  # the attribute with the dataset's name, also in its journal
NUMBER = "number"  # of the row or frame: the first field of its record


class Journal:
    """The journal of the dataset at `path`, named `owner`: replayed, and open to append.

    Parameters
    ----------
    path : of the dataset
    owner : the name of the dataset, a word
    table : filled with the rows in the journal

    Attributes
    ----------
    replayed : how many rows from the journal were new to the table
    """

    def __init__(self, path: str, owner: str, table: PairTable) -> None:
        self.path, self._dtypes = get_journal_path(path), _make_dtypes(table)
        try:
            self.replayed, lengths = _replay(_read_own(self.path), owner, table)
            self._file = (
                get_place(self.path).open_records().write(lengths, _make_title(owner, table))
            )
        except OSError as error:
            raise explain_unwritable(self.path, error) from error

    def append(self, table: PairTable, rows: Ints, frames: Ints) -> None:
        """Append the measured rows of a table, and the frames that were read for them."""
        content = b""
        for numbers, dtype in zip((rows, frames), self._dtypes, strict=True):
            records = np.empty(len(numbers), dtype)
            for name in dtype.names or ():
                records[name] = numbers if name == NUMBER else getattr(table, name)[numbers]
            content += records.tobytes()
        counts = HEAD.pack(0, len(rows), len(frames))[4:]
        record = struct.pack("<I", zlib.crc32(counts + content)) + counts + content
        try:
            self._file.append(record)
        except OSError as error:
            raise explain_unwritable(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._file.__exit__(*raised)


def get_journal_owner(dataset: xr.Dataset) -> str:
    """The name that the journal of a dataset carries."""
    return str(dataset.attrs.get(RUN, dataset.attrs.get("fingerprint")))


def get_journal_path(path: str) -> str:
    """Where the journal of the dataset at `path` is."""
    return f"{path.rstrip('/')}.journal"


def check_journal(path: str) -> None:
    """Raise InputError if a foreign file is in the place of a dataset's journal."""
    _read_own(get_journal_path(path))


def _read_own(journal: str) -> dict[str, bytes]:
    """Read the pieces of a journal by name; raises InputError if it is not one of ours."""
    try:
        contents = _read(journal)
        ours = all(TITLE.startswith(content[: len(TITLE)]) for content in contents.values())
    except IsADirectoryError:
        ours = False
    if not ours:
        raise explain_stranger(journal, "output.shifts")
    return contents


def _read(journal: str) -> dict[str, bytes]:
    return dict(get_place(journal).open_records().read())


def discard_journal(path: str) -> None:
    """Delete the journal of a dataset; foreign files stay."""
    try:
        check_journal(path)
    except InputError:
        return
    get_place(get_journal_path(path)).discard()


def replay_journal(path: str, owner: str, table: PairTable) -> int:
    """Fill rows of `table` from the journal of the dataset at `path`; returns how many were new."""
    try:
        return _replay(_read(get_journal_path(path)), owner, table)[0]
    except IsADirectoryError:  # foreign: not one of our journals
        return 0


def _replay(
    contents: Mapping[str, bytes], owner: str, table: PairTable
) -> tuple[int, dict[str, int]]:
    """Replay all pieces; returns how many rows were new, and the valid bytes of each piece."""
    before = table.status.copy()
    lengths = {
        name: _replay_one(memoryview(content), owner, table) for name, content in contents.items()
    }
    return int((table.status != before).sum()), lengths


def _replay_one(content: memoryview, owner: str, table: PairTable) -> int:
    """Fill rows from one journal; returns how many of its bytes are valid."""
    title, (of_pairs, of_frames) = _make_title(owner, table), _make_dtypes(table)
    if content[: len(title)] != title:
        return 0
    length = len(title)
    while length + HEAD.size <= len(content):
        checksum, pairs, frames = HEAD.unpack_from(content, length)
        middle = length + HEAD.size + pairs * of_pairs.itemsize
        end = middle + frames * of_frames.itemsize
        if end > len(content) or zlib.crc32(content[length + 4 : end]) != checksum:
            break
        for records in (
            np.frombuffer(content[length + HEAD.size : middle], of_pairs),
            np.frombuffer(content[middle:end], of_frames),
        ):
            for name in records.dtype.names or ():
                if name != NUMBER:
                    getattr(table, name)[records[NUMBER]] = records[name]
        length = end
    return length


def _make_title(owner: str, table: PairTable) -> bytes:
    """The first line: rows of another dataset, or of other pairs or columns, are not read."""
    pairs, ndim = table.shift.shape
    which = zlib.crc32(table.moving.tobytes(), zlib.crc32(table.reference.tobytes()))
    columns = zlib.crc32(repr([dtype.descr for dtype in _make_dtypes(table)]).encode())
    return (
        TITLE
        + (
            f"4 of {owner}: {pairs} pairs {which:08x}, {ndim} axes, columns {columns:08x}\n"
        ).encode()
    )


def _make_dtypes(table: PairTable) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """The record types of a pair and of a frame: its number, and the measured values."""

    def make_dtype(columns: Iterable[Column]) -> np.dtype[Any]:
        fields = [
            (column.field, column.dtype, getattr(table, column.field).shape[1:])
            for column in columns
        ]
        return np.dtype([(NUMBER, "<i8"), *fields])

    return make_dtype(PAIR_RESULTS), make_dtype(FRAME_RESULTS)
