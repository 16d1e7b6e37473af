"""Make local files and folders appear complete: they are made beside their place, then moved.

Whenever a process dies, the path holds either the old or the new content, never a mixture, and
`settle` clears away the remains. All of these are in one hidden folder, the workshop, that carries
a mark: nothing else beside a path is touched.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from steadystack.model import InputError, OutputError

# System errors that mean a full disk.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The ending of the hidden folder beside a path, the workshop, in which the new one, the one it
# replaces, and the one being deleted lie; and the file that marks it all as ours.
WORKSHOP, NEW, OLD, GONE = ".steadystack", "new", "old", "gone"
MARK, MARKED = "made-by-steadystack", b"steadystack works here"
# What is reported for a path that exists but cannot be read.
NO_ZARR = (
    "is not a Zarr store, and its name matches no other format (for others, there are input.raw "
    "and input.reader)"
)
ONE_BY_ONE = (
    "one file per frame is possible with TIFF files and pictures, by their folder or a pattern "
    "that ends as they do ('*.tif'), and with HDF5 files, by a pattern that names the dataset "
    "('*.h5:/entry/data'); with other formats, name one file, or read all of them with a "
    "function of your own (input.reader)"
)
MAX_LISTED, FEW_LISTED = 8, 3  # most names that an error lists
EXCHANGE, WORKING_FOLDER = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux
# Records go to the system at once, which outlives the process, and to the disk at this interval,
# seconds.
SYNC_INTERVAL_S = 1.0
# Files flushed at a time: a disk flushes many in the time of few.
SYNC_THREADS = 16


def natural_sort_key(name: str) -> list[tuple[int, int | str]]:
    """Make a sort key for names with numbers in them: frame9 comes before frame10."""
    pieces = re.split(r"(\d+)", name)
    return [(0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces if piece]


def expand_user(path: str) -> Path:
    """Put the home folder of a user in place of ~ or ~NAME at the beginning of a path.

    As in a shell, an unknown user's name is left as it is.
    """
    return Path(os.path.expanduser(path))


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
            f"{path}: no space left on the disk; what was written is kept: free some space and run "
            "the same command to continue"
        )
    return InputError(f"{path} cannot be written: {error}")


def explain_stranger(path: object, key: str = "output") -> InputError:
    """Make the error for a foreign file where ours belongs, naming the `key` that moves ours."""
    return InputError(
        f"{path} is in the way and was not made by steadystack: move it, or set another {key}"
    )


def explain_unwritten(path: str, error: OSError) -> InputError | OutputError:
    """Make the error for a file written in one go, with nothing to continue."""
    kind = OutputError if error.errno in DISK_FULL else InputError
    return kind(f"{path} cannot be written: {error.strerror or error}")


def check_link(path: str, absolute: str) -> str:
    """Check that what a path leads to is called like it; returns where that lies.

    Raises InputError for a link to a name with another ending, by which the format is chosen.
    """
    if os.path.islink(path) and Path(path).suffix.lower() != Path(absolute).suffix.lower():
        raise InputError(
            f"{path} is a link to {absolute}, whose name ends otherwise: give that path, or one "
            "that is no link"
        )
    return absolute


def check_nothing_else(
    folder: str, listed: Iterable[str], ours: Collection[object], way_out: str
) -> None:
    """Raise InputError if a Zarr group of ours contains anything but these arrays.

    Hidden files do not count: systems leave them everywhere.

    Parameters
    ----------
    listed : the paths of all that is in it
    way_out : what can be done instead of moving what others put there
    """
    names = {path.rsplit("/", 1)[-1] for path in listed}
    others = sorted(name for name in names - {"zarr.json"} if name[0] != "." and name not in ours)
    if others:
        raise InputError(
            f"{folder}/{others[0]} was not written by steadystack, and would be deleted with "
            f"{folder}, which is to be replaced: move it, or {way_out}"
        )


def get_workshop(path: Path) -> Path:
    """The hidden folder beside a path in which its new content is made."""
    return path.with_name(f".{path.name}{WORKSHOP}")


def check_workshop(path: Path) -> bool:
    """Whether there is a workshop for a path.

    Raises InputError if something else lies there, which is then never touched.
    """
    folder = get_workshop(path)
    if not folder.exists() and not folder.is_symlink():
        return False
    mark = folder / MARK
    try:
        content = mark.read_bytes()[: len(MARKED)]  # or part of it, after a full disk
        ours = not folder.is_symlink() and MARKED.startswith(content)
    except (FileNotFoundError, NotADirectoryError):
        # killed between making the folder and marking it
        ours = folder.is_dir() and not any(folder.iterdir())
    if not ours:
        raise explain_stranger(folder)
    return True


def open_workshop(path: Path) -> Path:
    """Make the workshop for a path, if there is none; its content counts as ours from then on."""
    check_workshop(path)
    folder = get_workshop(path)
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / MARK
    if not mark.exists():
        mark.write_bytes(MARKED + f", to make {path.name}\n".encode())
    return folder


def put(new: Path, path: Path) -> None:
    """Move `new` to `path`; what was there is deleted."""
    if not path.is_dir():
        os.replace(new, path)
    elif _exchange(new, path):
        delete(new)
    else:  # for a moment there is nothing at the path; `settle` handles that
        old = open_workshop(path) / OLD
        os.replace(path, old)
        os.replace(new, path)
        delete(old)
    _sync_path(path.parent)


def discard(path: Path) -> None:
    """Delete a file or folder; it is gone from its path at once."""
    if path.is_dir() and not path.is_symlink():
        gone = open_workshop(path) / GONE
        delete(gone)
        os.replace(path, gone)
        delete(gone)
        if not (gone.parent / NEW).exists():
            close_workshop(path)
    else:
        path.unlink(missing_ok=True)


def settle(path: Path, *, keep_new: bool = False) -> None:
    """Finish or undo what a dead process has begun; to be called by one process at a time.

    With `keep_new` unfinished content stays, to be continued.
    """
    if not check_workshop(path):
        return
    folder = get_workshop(path)
    if (folder / OLD).exists() and not path.exists():
        os.replace(folder / OLD, path)
    for name in (OLD, GONE):
        delete(folder / name)
    if not (keep_new and (folder / NEW).exists()):
        close_workshop(path)


def close_workshop(path: Path) -> None:
    """Delete the workshop for a path; its mark goes last, so that it counts as ours until then."""
    if not check_workshop(path):
        return
    folder = get_workshop(path)
    for name in (NEW, OLD, GONE):
        delete(folder / name)
    (folder / MARK).unlink(missing_ok=True)
    with suppress(OSError):  # foreign files stay
        folder.rmdir()


def link_file(source: str, target: str) -> bool:
    """Give a file of this machine a second place, as a copy where the disk has no links.

    False: there is no such file. Neither may be modified in place afterwards.
    """
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        return False
    except OSError:
        shutil.copyfile(source, target)
    return True


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
    if path.is_file():
        _sync_path(path)
        return
    folders = [(Path(folder), names) for folder, _, names in os.walk(path)]
    with ThreadPoolExecutor(SYNC_THREADS) as threads:
        for paths in (
            [folder / name for folder, names in folders for name in names],
            [folder for folder, _ in folders],
        ):
            deque(threads.map(_sync_path, paths), maxlen=0)  # raises what one of them does


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
