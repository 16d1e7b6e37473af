"""The journal of a run: what every finished batch found, appended to a file beside the dataset.

A checkpoint costs what is new, not what is there. A record has a checksum; a record that was not
finished when the process died is not there. The journal belongs to one dataset, by the name that
stands in both: that of another is not taken for it.

On an object store, where nothing can be appended to, the journal is a folder of objects, each of
which is a journal of some batches; they are put there in the background.
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
TITLE = b"steadystack journal "  # what every journal begins with
RUN = "run"  # the attribute that holds the dataset's name, which its journal bears, too
NUMBER = "number"  # of a row or a frame, the first field of its record


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
        self.path, self._dtypes = get_journal_path(path), _make_dtypes(table)
        try:
            self.replayed, lengths = _replay(_read_own(self.path), owner, table)
            self._file = (
                get_place(self.path).open_records().write(lengths, _make_title(owner, table))
            )
        except OSError as error:
            raise explain_unwritable(self.path, error) from error

    def append(self, table: PairTable, rows: Ints, frames: Ints) -> None:
        """Note rows of a table that were measured, and the frames that were read for them."""
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
    """What the journal of a dataset bears."""
    return str(dataset.attrs.get(RUN, dataset.attrs.get("fingerprint")))


def get_journal_path(path: str) -> str:
    """Where the journal of the dataset at `path` is."""
    return f"{path.rstrip('/')}.journal"


def check_journal(path: str) -> None:
    """Raise InputError if what lies in the place of a dataset's journal is not one of ours."""
    _read_own(get_journal_path(path))


def _read_own(journal: str) -> dict[str, bytes]:
    """Read a journal, by the names of its pieces; raises InputError if it is not one of ours."""
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
    """Delete the journal of a dataset; what is not one of ours stays."""
    try:
        check_journal(path)
    except InputError:
        return
    get_place(get_journal_path(path)).discard()


def replay_journal(path: str, owner: str, table: PairTable) -> int:
    """Fill rows of `table` from the journal of the dataset at `path`; how many were new."""
    try:
        return _replay(_read(get_journal_path(path)), owner, table)[0]
    except IsADirectoryError:  # a stranger's: no journal of ours
        return 0


def _replay(
    contents: Mapping[str, bytes], owner: str, table: PairTable
) -> tuple[int, dict[str, int]]:
    """How many rows were new, and how many bytes are good of what is there by its name."""
    before = table.status.copy()
    lengths = {
        name: _replay_one(memoryview(content), owner, table) for name, content in contents.items()
    }
    return int((table.status != before).sum()), lengths


def _replay_one(content: memoryview, owner: str, table: PairTable) -> int:
    """Fill rows from one journal; how many of its bytes are good."""
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
    """The first line: rows of another dataset, of other pairs or columns are not read."""
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
    """A record of a pair, and one of a frame: its number, and what measuring gave."""

    def make_dtype(columns: Iterable[Column]) -> np.dtype[Any]:
        fields = [
            (column.field, column.dtype, getattr(table, column.field).shape[1:])
            for column in columns
        ]
        return np.dtype([(NUMBER, "<i8"), *fields])

    return make_dtype(PAIR_RESULTS), make_dtype(FRAME_RESULTS)
