"""What appears at a path appears whole: files and folders are made beside it and put there at once.

Whenever a process dies, the path holds what was there before or what is new, never a mixture, and
`settle` clears away what lies around.

A remote path is written from a temporary folder of this machine. A file is one object, which
appears at once. A folder is many: first it is put whole, as one archive beside its path, and then
file by file; as long as the archive is there it is what counts, for `exists` and `fetched`, and
`settle` finishes what a process that died has begun.
"""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from steadystack.model import InputError, OutputError, UnreachableError
from steadystack.store import objects
from steadystack.store.remote import is_remote

# What the system says where there is no room.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Beside a path: what is being made, what it replaces, what is on its way out.
PARTIAL, BEFORE, DISCARDED = ".partial", ".before", ".discarded"
EXCHANGE, HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux
# What makes a folder a Zarr array or group: put there last, and deleted first.
METADATA = (".zarray", ".zgroup", ".zmetadata", "zarr.json")
# How often a remote folder that others write meanwhile is read anew.
TRIES = 10


@contextmanager
def staged(path: str | Path) -> Iterator[Path]:
    """A path to make a file or a folder at; it takes the place of `path` when all went well."""
    if is_remote(str(path)):
        with _temporary() as folder:
            made = folder / _name(str(path))
            yield made
            upload(made, str(path))
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path, PARTIAL)
    _delete(partial)
    yield partial
    _to_disk(partial)
    put(partial, path)


def upload(made: Path, path: str) -> None:
    """Put a file, or a folder and all in it, to a remote path."""
    path = path.rstrip("/")
    if made.is_file():
        objects.put(path, made)
        return
    with _temporary() as folder:
        archive = folder / "archive.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for one in sorted(made.rglob("*")):
                if one.is_file():
                    file.write(one, one.relative_to(made).as_posix())
        objects.put(path + PARTIAL, archive)
    _unpack(made, path)


def _unpack(made: Path, path: str) -> None:
    """Put the files of a folder to a remote path; the archive that holds them all goes away."""
    found = {one.relative_to(made).as_posix(): one for one in made.rglob("*") if one.is_file()}
    last = {name for name in found if _name(name) in METADATA}
    objects.put_all(path, {name: found[name] for name in found.keys() - last})
    objects.put_all(path, {name: found[name] for name in last})
    objects.delete(path, sorted(objects.below(path).keys() - found.keys()))
    objects.delete(path + PARTIAL)


@contextmanager
def fetched(path: str) -> Iterator[Path]:
    """A file or a folder where this machine can read it: a copy, for as long as this lasts.

    Raises FileNotFoundError if nothing is there.
    """
    if not is_remote(path):
        yield Path(path)
        return
    path = path.rstrip("/")
    with _temporary() as folder:
        target = folder / _name(path)
        found = objects.get(path)
        if found is not None:
            target.write_bytes(found.data)
        elif not _fetch_archive(path, target):
            _fetch_folder(path, target)
        yield target


def _fetch_archive(path: str, target: Path) -> bool:
    """Whether a folder is there as an archive, which is unpacked then."""
    found = objects.get(path + PARTIAL)
    if found is None:
        return False
    shutil.rmtree(target, ignore_errors=True)
    archive = target.with_name(target.name + ".zip")
    archive.write_bytes(found.data)
    with zipfile.ZipFile(archive) as file:
        file.extractall(target)
    return True


def _fetch_folder(path: str, target: Path) -> None:
    """All objects of a remote folder, as they are between two changes."""
    for _ in range(TRIES):
        before = objects.below(path)
        if not before:
            raise FileNotFoundError(path)
        shutil.rmtree(target, ignore_errors=True)
        for name, content in objects.get_all(path, list(before)):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
        if _fetch_archive(path, target) or objects.below(path) == before:
            return
    raise UnreachableError(f"{path} changes all the time: another run writes it")


def exists(path: str | Path) -> bool:
    """Whether something is at that path; at one that ends in .zarr, what zarr can open."""
    path = str(path)
    if not is_remote(path):
        return Path(path).exists()
    path = path.rstrip("/")
    if path.endswith(".zarr"):
        inside, _ = objects.names_in(path)
        return not inside.isdisjoint(METADATA) or objects.is_object(path + PARTIAL)
    return objects.is_object(path) or objects.any_below(path)


def siblings(path: str) -> list[str]:
    """The paths of everything that lies beside a path, itself included."""
    if is_remote(path):
        folder = path.rstrip("/").rpartition("/")[0]
        inside, folders = objects.names_in(folder)
        return [f"{folder}/{name}" for name in sorted(inside | folders)]
    folder_here = Path(path).parent
    return sorted(map(str, folder_here.iterdir())) if folder_here.is_dir() else []


def with_name(path: str, name: str) -> str:
    """The path of that name beside another."""
    if is_remote(path):
        return f"{path.rstrip('/').rpartition('/')[0]}/{name}"
    return str(Path(path).with_name(name))


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    if is_remote(one) != is_remote(other):
        return False
    pure = [
        PurePosixPath("/", posixpath.normpath(path.split("://", 1)[1])) if is_remote(path) else
        Path(path) for path in (one, other)
    ]  # fmt: skip
    return pure[0] == pure[1] or pure[0] in pure[1].parents or pure[1] in pure[0].parents


def check_writable(path: str) -> None:
    """Raise InputError if nothing can be written to a path, before anything is computed for it."""
    if is_remote(path):
        objects.check_writable(path)
        return
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error


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
    if is_remote(str(path)):
        _discard_objects(str(path).rstrip("/"))
        return
    path = Path(path)
    if path.is_dir():
        aside = _beside(path, DISCARDED)
        _delete(aside)
        os.replace(path, aside)
        _delete(aside)
    else:
        path.unlink(missing_ok=True)


def _discard_objects(path: str) -> None:
    names = sorted(objects.below(path))
    objects.delete(path, [name for name in names if name in METADATA])
    objects.delete(path, [name for name in names if name not in METADATA])
    for one in (path, path + PARTIAL):
        if objects.is_object(one):
            objects.delete(one)


def settle(path: str | Path, *, keep_partial: bool = False) -> None:
    """Finish or take back what a process that died has begun; to be called by one at a time.

    With `keep_partial` what was being made stays: it can be gone on with.
    """
    if is_remote(str(path)):
        finish(str(path))
        return
    path = Path(path)
    before = _beside(path, BEFORE)
    if before.exists() and not path.exists():
        os.replace(before, path)
    for name in (PARTIAL, BEFORE, DISCARDED):
        if name != PARTIAL or not keep_partial:
            _delete(_beside(path, name))
        _delete(_beside(_beside(path, name), DISCARDED))


def finish(path: str) -> None:
    """Put a remote folder to its place that is whole beside it; others find the same."""
    if not is_remote(path) or path.endswith(".nc"):
        return
    path = path.rstrip("/")
    with _temporary() as folder:
        if _fetch_archive(path, folder / _name(path)):
            _unpack(folder / _name(path), path)


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


@contextmanager
def _temporary() -> Iterator[Path]:
    with TemporaryDirectory(prefix="steadystack-") as folder:
        yield Path(folder)


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
