"""Places on this machine: local paths."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from glob import escape, glob, has_magic
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from steadystack.durable import files
from steadystack.durable.appender import FileLog
from steadystack.durable.files import (
    FEW_LISTED,
    NO_ZARR,
    ONE_BY_ONE,
    RecordFile,
    expand_user,
    natural_sort_key,
)
from steadystack.durable.locks import hold_flock
from steadystack.model import InputError

if TYPE_CHECKING:
    import zarr
    from zarr.storage import StoreLike

Answer = TypeVar("Answer")

RECORD_NAME = ".done"  # the file listing finished steps, in a folder made in many steps
ZIP_SUFFIXES = (".zip", ".ozx")


# Most bytes of an output's name: file systems allow 255, and a draft's images have longer names.
LONGEST_NAME = 180


@dataclass(frozen=True)
class LocalPlace:
    """A path of this machine; see `places.Place` for what each method is for."""

    path: str

    keeps_old = True

    @property
    def _path(self) -> Path:
        return Path(self.path)

    @property
    def name(self) -> str:
        return self._path.name

    def make_absolute(self, folder: Path) -> str:
        return str((folder / expand_user(self.path)).resolve())

    def get_sibling(self, name: str) -> LocalPlace:
        return LocalPlace(str(self._path.with_name(name)))

    def get_child(self, name: str) -> LocalPlace:
        return LocalPlace(str(self._path / name))

    @property
    def location(self) -> tuple[str, ...]:
        return "", *Path(os.path.realpath(self._path)).parts

    @property
    def is_pattern(self) -> bool:
        return has_magic(self.name) and self.has_wildcards

    @property
    def has_wildcards(self) -> bool:
        return has_magic(self.path) and has_magic("/".join(self.split_pattern()[1]))

    def split_pattern(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        parts, count = self._path.parts, 0
        while count < len(parts) and os.path.lexists(Path(*parts[: count + 1])):
            count += 1
        return parts[:count], parts[count:]

    def matches(self, pattern: str) -> bool:
        return PurePath(self.path).match(LocalPlace(pattern)._make_glob())

    def exists(self) -> bool:
        return self._find_mode() != 0

    def is_occupied(self) -> bool:
        return self.exists()

    def is_file(self) -> bool:
        return stat.S_ISREG(self._find_mode())

    def is_folder(self) -> bool:
        return stat.S_ISDIR(self._find_mode())

    def _find_mode(self) -> int:
        """The file mode of what is there, from the system; 0: nothing.

        Raises PermissionError for what may not be examined, which Python's own `exists` takes for
        missing from 3.14 on.
        """
        try:
            return os.stat(self._path).st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return 0
        except OSError as error:
            if error.errno == errno.ELOOP:
                return 0
            raise

    def list_siblings(self) -> list[str]:
        folder = self._path.parent
        return sorted(map(str, folder.iterdir())) if folder.is_dir() else []

    def list_matching(self) -> list[str]:
        return sorted(glob(self._make_glob(), recursive=True))

    def list_files(self) -> list[str]:
        if not self.is_folder():
            return sorted(glob(self._make_glob()), key=natural_sort_key)
        names = (entry.name for entry in self._path.iterdir() if not entry.name.startswith("."))
        return sorted((f"{self.path}/{name}" for name in names), key=natural_sort_key)

    def list_below(self) -> list[str]:
        files = (path for path in self._path.rglob("*") if not path.is_dir())
        return sorted(path.relative_to(self._path).as_posix() for path in files)

    def _make_glob(self) -> str:
        """Make the pattern for `glob`, in which the part that exists is taken literally."""
        literal, rest = self.split_pattern()
        return str(PurePath(*map(escape, literal), *rest))

    def describe_missing(self) -> str:
        files = self.list_matching() if self.has_wildcards else []
        if not files:
            return f"{self.path} does not exist"
        return f"{self.path} matches {files[0]}{' and others' * (len(files) > 1)}: {ONE_BY_ONE}"

    def _describe_no_zarr(self) -> str:
        if not self.is_folder() or self.name.endswith(".zarr"):
            return f"{self.path} {NO_ZARR}"
        names = [PurePath(file).name for file in self.list_files()]
        listed = ", ".join(names[:FEW_LISTED]) + ", ..." * (len(names) > FEW_LISTED)
        return f"{self.path} {NO_ZARR}: it holds {listed or 'nothing'}; {ONE_BY_ONE}"

    def call_interruptibly(self, look: Callable[[], Answer]) -> Answer:
        return look()

    def explaining_outages(self) -> AbstractContextManager[None]:
        return nullcontext()

    def open(self) -> BinaryIO:
        return self._path.open("rb")

    def get_source(self) -> str:
        return self.path

    def load_array(self) -> NDArray[Any]:
        return np.asanyarray(np.load(self.path, mmap_mode="r", allow_pickle=False))

    def fetching(self) -> AbstractContextManager[Path]:
        return nullcontext(self._path)

    def open_zarr(self) -> zarr.Array[Any] | zarr.Group:
        if not self.exists():
            raise InputError(self.describe_missing())
        import zarr  # a quarter of what a command line takes that opens none

        try:
            return zarr.open(self.make_zarr_store(), mode="r")
        except FileNotFoundError as error:
            raise InputError(self._describe_no_zarr()) from error
        except InputError:
            raise
        except Exception as error:  # a store may raise anything: metadata that is torn, no module
            raise InputError(f"{self.path} cannot be opened as Zarr: {error}") from error

    def make_zarr_store(self, *, read_only: bool = True) -> StoreLike:
        from zarr.storage import ZipStore

        is_zipped = self.path.lower().endswith(ZIP_SUFFIXES) and self.is_file()
        return ZipStore(self.path, mode="r") if is_zipped else self.path

    def check_name(self) -> None:
        """Raise InputError for a name so long that names derived from it would be too long."""
        length = len(os.fsencode(self.name))
        if length > LONGEST_NAME:
            raise InputError(
                f"the name {self.name[:40]}... has {length} bytes: the name of an output may have "
                f"at most {LONGEST_NAME}, since files beside it have longer names"
            )

    def check_writable(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error}") from error

    @contextmanager
    def replacing(self) -> Iterator[Path]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = files.open_workshop(self._path) / files.NEW
        files.delete(new)
        yield new  # after a failure in here the workshop is left to the next process
        try:
            files.sync_to_disk(new)
            files.put(new, self._path)
        finally:
            files.settle(self._path)

    def put(self, made: Path) -> None:
        with self.replacing() as partial:
            shutil.copytree(made, partial) if made.is_dir() else shutil.copyfile(made, partial)

    def discard(self) -> None:
        files.discard(self._path)

    def settle(self) -> None:
        files.settle(self._path)

    def finish(self) -> None:
        """Do nothing: a local file or folder is moved to its place at once."""

    def retry_while_away(self, act: Callable[[], Answer]) -> Answer:
        return act()

    def is_cut_off_by(self, error: BaseException) -> bool:
        return False

    def holding_lock(self, key: str = "") -> AbstractContextManager[None]:
        return hold_flock(self.path, key)

    def open_records(self) -> RecordFile:
        return RecordFile(self._path)

    def open_build(self) -> LocalBuild:
        return LocalBuild(self._path)

    def make_log_handler(self) -> logging.Handler:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_fifo() or self._path.is_dir():  # opening a pipe waits for its reader
            raise InputError(
                f"{self.path} is where the log is written, and is no regular file: move it, or set "
                "an output.shifts in another folder"
            )
        return FileLog(self.path, encoding="utf-8", errors="backslashreplace")


class LocalBuild:
    """A folder that is made in the workshop of its place, with its records until it is complete."""

    def __init__(self, target: Path) -> None:
        self._target, self._new = target, files.get_workshop(target) / files.NEW

    @property
    def path(self) -> str:
        return str(self._new)

    @property
    def _record(self) -> Path:
        """Records of finished work; the file exists once all is laid out."""
        return self._new / RECORD_NAME

    def settle(self) -> None:
        files.settle(self._target, keep_new=self._record.exists())

    def is_whole(self) -> bool:
        return self._target.exists()

    def is_begun(self) -> bool:
        return files.check_workshop(self._target) and self._record.exists()

    @contextmanager
    def beginning(self) -> Iterator[list[bytes]]:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        if files.check_workshop(self._target):
            self._record.unlink(missing_ok=True)  # first: deleting the rest takes many steps
        files.close_workshop(self._target)
        files.open_workshop(self._target)
        records: list[bytes] = []
        yield records
        whole = self._new / f"{RECORD_NAME}.new"  # which goes with the rest if this ends here
        whole.write_bytes(b"".join(records))
        os.replace(whole, self._record)

    def finish(self) -> None:
        files.put(self._new, self._target)
        self.tidy()

    def tidy(self) -> None:
        files.close_workshop(self._target)
        (self._target / RECORD_NAME).unlink(missing_ok=True)

    def open_records(self) -> RecordFile:
        return RecordFile(self._record)
