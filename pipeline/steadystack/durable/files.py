"""Files and folders of this machine that appear whole: made beside their place, and put there.

Whenever a process dies, the path holds what was there before or what is new, never a mixture, and
`settle` clears away what lies around.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from steadystack.model import InputError, OutputError

# Errors of the system that mean a full disk.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Endings of what lies beside a path: the new one, the one it replaces, the one being deleted.
PARTIAL, BEFORE, DISCARDED = ".partial", ".before", ".discarded"
# What is said of a path that exists and cannot be read.
NO_ZARR = "is not a Zarr store, TIFF or .npy file (convert other formats first)"
EXCHANGE, WORKING_FOLDER = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux
# Records go to the system at once, which outlives the process, and to the disk so often, seconds.
SYNC_INTERVAL_S = 1.0


def natural_sort_key(name: str) -> list[tuple[int, int | str]]:
    """Make a sort key for names with numbers in them: frame9 comes before frame10."""
    pieces = re.split(r"(\d+)", name)
    return [(0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces if piece]


@dataclass(frozen=True)
class RecordFile:
    """Records in one file."""

    file: Path

    def read(self) -> Iterator[tuple[str, bytes]]:
        try:
            yield "", self.file.read_bytes()
        except FileNotFoundError:
            return

    def write(self, good: Mapping[str, int], title: bytes = b"") -> OpenRecords:
        return OpenRecords(self.file, good.get("", 0), title)


class OpenRecords:
    """A file of records, cut to its first `length` bytes and open for more.

    An empty file begins with `title`.
    """

    def __init__(self, path: Path, length: int, title: bytes) -> None:
        self._synced = time.monotonic()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        os.ftruncate(self._file, length)
        os.lseek(self._file, length, os.SEEK_SET)
        if not length:
            self._write(title)

    def append(self, content: bytes) -> None:
        self._write(content)
        if time.monotonic() - self._synced > SYNC_INTERVAL_S:
            os.fsync(self._file)
            self._synced = time.monotonic()

    def _write(self, content: bytes) -> None:
        remaining = memoryview(content)
        while remaining:
            remaining = remaining[os.write(self._file, remaining) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def explain_unwritable(path: str, error: OSError) -> InputError | OutputError:
    """Make the error for a path that cannot be written: OutputError if the disk is full."""
    if error.errno in DISK_FULL:
        return OutputError(
            f"{path}: no space left on the disk; what was written is kept: free some space and "
            "run the same command to continue"
        )
    return InputError(f"{path} cannot be written: {error}")


def put(new: Path, path: Path) -> None:
    """Move `new` to `path`, and delete what was there."""
    if not path.is_dir():
        os.replace(new, path)
    elif _exchange(new, path):
        discard(new)
    else:  # for a moment nothing is at the path; `settle` knows
        before = get_hidden_sibling(path, BEFORE)
        os.replace(path, before)
        os.replace(new, path)
        discard(before)
    _sync_path(path.parent)


def discard(path: Path) -> None:
    """Delete a file or folder; it is gone from its path at once."""
    if path.is_dir():
        aside = get_hidden_sibling(path, DISCARDED)
        delete(aside)
        os.replace(path, aside)
        delete(aside)
    else:
        path.unlink(missing_ok=True)


def settle(path: Path, *, keep_partial: bool = False) -> None:
    """Finish or undo what a process that died has left; for one process at a time.

    With `keep_partial` an unfinished file or folder stays, so that it can be continued.
    """
    before = get_hidden_sibling(path, BEFORE)
    if before.exists() and not path.exists():
        os.replace(before, path)
    for name in (PARTIAL, BEFORE, DISCARDED):
        if name != PARTIAL or not keep_partial:
            delete(get_hidden_sibling(path, name))
        delete(get_hidden_sibling(get_hidden_sibling(path, name), DISCARDED))


def get_hidden_sibling(path: Path, name: str) -> Path:
    return path.with_name(path.name + name)


def delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two paths in one step; False where the system cannot.

    Linux can, but not on every file system.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    names = os.fsencode(first), os.fsencode(second)
    if rename(WORKING_FOLDER, names[0], WORKING_FOLDER, names[1], EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(second))


def sync_to_disk(path: Path) -> None:
    """Flush a file, or a folder and all in it, from the system's memory to the disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            _sync_path(Path(folder) / name)
        _sync_path(Path(folder))
    if path.is_file():
        _sync_path(path)


def _sync_path(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # folders cannot be opened everywhere
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EACCES):
            raise
    finally:
        os.close(handle)
