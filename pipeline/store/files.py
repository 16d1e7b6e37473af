"""What appears at a path appears whole: files and folders are made beside it and put there at once.

Whenever a process dies, the path holds what was there before or what is new, never a mixture, and
`settle` clears away what lies around.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.model import InputError, OutputError

# What the system says where there is no room.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Beside a path: what is being made, what it replaces, what is on its way out.
PARTIAL, BEFORE, DISCARDED = ".partial", ".before", ".discarded"
EXCHANGE, HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux


@contextmanager
def staged(path: str | Path) -> Iterator[Path]:
    """A path to make a file or a folder at; it takes the place of `path` when all went well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path, PARTIAL)
    _delete(partial)
    yield partial
    _to_disk(partial)
    put(partial, path)


def put(new: Path, path: Path) -> None:
    """Move `new` to `path`; what was there goes away."""
    if not path.is_dir():
        os.replace(new, path)
    elif _exchanged(new, path):
        discard(new)
    else:  # for a moment nothing is at the path; `settle` knows
        before = _beside(path, BEFORE)
        os.replace(path, before)
        os.replace(new, path)
        discard(before)
    _to_disk_alone(path.parent)


def unwritable(path: str, error: OSError) -> InputError | OutputError:
    """What to raise where a path cannot be written: a full disk is no wrong use."""
    if error.errno in FULL:
        return OutputError(
            f"{path}: no space is left on the disk; what is written is kept, make room and the "
            "same command goes on"
        )
    return InputError(f"{path} cannot be written: {error}")


def discard(path: str | Path) -> None:
    """Delete a file or folder; it is gone from its path at once."""
    path = Path(path)
    if path.is_dir():
        aside = _beside(path, DISCARDED)
        _delete(aside)
        os.replace(path, aside)
        _delete(aside)
    else:
        path.unlink(missing_ok=True)


def settle(path: str | Path) -> None:
    """Finish or take back what a process that died has begun; to be called by one at a time."""
    path = Path(path)
    before = _beside(path, BEFORE)
    if before.exists() and not path.exists():
        os.replace(before, path)
    for name in (PARTIAL, BEFORE, DISCARDED):
        _delete(_beside(path, name))
        _delete(_beside(_beside(path, name), DISCARDED))


def _beside(path: Path, name: str) -> Path:
    return path.with_name(path.name + name)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the two could change places in one step: Linux, and not on every file system."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    if rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def _to_disk(path: Path) -> None:
    """Have a file, or a folder and all in it, on the disk and not only in the system's memory."""
    for folder, _, names in os.walk(path):
        for name in names:
            _to_disk_alone(Path(folder) / name)
        _to_disk_alone(Path(folder))
    if path.is_file():
        _to_disk_alone(path)


def _to_disk_alone(path: Path) -> None:
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
