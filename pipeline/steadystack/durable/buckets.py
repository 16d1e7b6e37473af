"""Places on object stores that can be read and written.

An object appears at once, and whole. A folder is many objects: it is written from a temporary
folder of this machine, put first as one archive beside its path and then object by object; while
the archive exists it is what counts, and `settle` finishes what a dead process has begun.
"""

from __future__ import annotations

import difflib
import fnmatch
import logging
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from steadystack.durable import objects, remote
from steadystack.durable.appender import ObjectRecords, SentLog
from steadystack.durable.files import MAX_LISTED, NO_ZARR, WORKSHOP, natural_sort_key
from steadystack.durable.locks import hold_lease
from steadystack.durable.outages import describe_missing_bucket, is_bucket_missing
from steadystack.durable.remote import RemotePlace
from steadystack.model import InputError, UnreachableError

Answer = TypeVar("Answer")

# Files that make a folder a Zarr array or group: written last, and deleted first.
METADATA = (".zarray", ".zgroup", ".zmetadata", "zarr.json")
# How often a folder is read again if another process changes it meanwhile.
MAX_TRIES = 10
# Schemes that can be written to; letters that mean something else in a URL.
WRITABLE_SCHEMES, NOT_IN_URLS = ("s3", "s3a", "gs", "az", "abfs", "abfss"), "%#?"
FLAG_NAME = "begun"  # the object saying that the folder beside it is incomplete
LAID_OUT = b"laid out"


@dataclass(frozen=True)
class ObjectPlace(RemotePlace):
    """A path on an object store; see `places.Place` for what each method is for."""

    @property
    def _archive(self) -> str:
        """The object that holds all files of a folder while they are put in their places."""
        return objects.get_hidden_sibling(self.path, f"{WORKSHOP}.zip")

    def get_sibling(self, name: str) -> ObjectPlace:
        return ObjectPlace(f"{self._folder}/{name}")

    def get_child(self, name: str) -> ObjectPlace:
        return ObjectPlace(f"{self.path}/{name}")

    @property
    def is_pattern(self) -> bool:
        return super().is_pattern and not self.is_occupied()  # names may contain brackets

    def exists(self) -> bool:
        if self.path.endswith(".zarr"):
            names, _ = objects.list_names(self.path)
            return not names.isdisjoint(METADATA) or objects.is_object(self._archive)
        return self.is_occupied()

    def is_occupied(self) -> bool:
        return objects.is_object(self.path) or objects.is_any_below(self.path)

    def is_file(self) -> bool:
        return objects.is_object(self.path)

    def list_siblings(self) -> list[str]:
        names, folders = objects.list_names(self._folder)
        return [f"{self._folder}/{name}" for name in sorted(names | folders)]

    def list_files(self) -> list[str]:
        import obstore

        with self.explaining_outages():
            entries = obstore.list_with_delimiter(remote.open_object_store(self._folder))["objects"]
        listed = (entry["path"].rsplit("/", 1)[-1] for entry in entries)
        names = sorted(listed, key=natural_sort_key)
        return [f"{self._folder}/{name}" for name in names if fnmatch.fnmatchcase(name, self.name)]

    def list_below(self) -> list[str]:
        return sorted(objects.list_below(self.path))

    def describe_missing(self) -> str:
        close_names = difflib.get_close_matches(self.name, _list_folder(self._folder), n=1)
        suggestion = f"; did you mean {close_names[0]}?" if close_names else ""
        return f"{self.path} does not exist{suggestion}"

    def _describe_no_zarr(self) -> str:
        names = _list_folder(self.path)
        if not names:
            return self.describe_missing()
        listed = ", ".join(names[:MAX_LISTED]) + ", ..." * (len(names) > MAX_LISTED)
        return f"{self.path} {NO_ZARR}: it holds {listed}"

    @contextmanager
    def fetching(self) -> Iterator[Path]:
        with _make_temporary() as folder:
            target = folder / self.name
            content = objects.get(self.path)
            if content is not None:
                target.write_bytes(content.data)
            elif not self._fetch_archive(target):
                self._fetch_folder(target)
            yield target

    def _fetch_archive(self, target: Path) -> bool:
        """Unpack the archive of this folder to `target`; False if there is no archive."""
        content = objects.get(self._archive)
        if content is None:
            return False
        shutil.rmtree(target, ignore_errors=True)
        archive = target.with_name(target.name + ".zip")
        archive.write_bytes(content.data)
        with zipfile.ZipFile(archive) as file:
            file.extractall(target)
        return True

    def _fetch_folder(self, target: Path) -> None:
        """Copy all objects of this folder to `target`, as they are between two changes."""
        for _ in range(MAX_TRIES):
            versions = objects.list_below(self.path)
            if not versions:
                raise FileNotFoundError(self.path)
            shutil.rmtree(target, ignore_errors=True)
            for name, content in objects.get_all(self.path, list(versions)):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes(content)
            if self._fetch_archive(target) or objects.list_below(self.path) == versions:
                return
        raise UnreachableError(f"{self.path} keeps changing: another run is writing it")

    def check_name(self) -> None:
        scheme, _, rest = self.path.partition("://")
        if scheme not in WRITABLE_SCHEMES:
            raise InputError(
                f"{self.path} cannot be written: outputs go to local paths or object stores, such "
                "as s3://bucket/shifts.zarr"
            )
        bucket, _, name = rest.partition("/")
        if not (bucket and name.strip("/")) or "//" in name:
            raise InputError(
                f"{self.path} does not name an object in a bucket, such as "
                f"{scheme}://bucket/shifts.zarr"
            )
        invalid = [letter for letter in NOT_IN_URLS if letter in rest]
        if invalid:
            raise InputError(f"{self.path}: the name of an object cannot contain {invalid[0]}")

    def check_writable(self) -> None:
        objects.check_writable(self.path)

    @contextmanager
    def replacing(self) -> Iterator[Path]:
        with _make_temporary() as folder:
            made = folder / self.name
            yield made
            self.put(made)

    def put(self, made: Path) -> None:
        if made.is_file():
            objects.put(self.path, made)
            return
        with _make_temporary() as folder:
            archive = folder / "archive.zip"
            with zipfile.ZipFile(archive, "w") as file:
                for path in sorted(made.rglob("*")):
                    if path.is_file():
                        file.write(path, path.relative_to(made).as_posix())
            objects.put(self._archive, archive)
        self._unpack(made)

    def _unpack(self, made: Path) -> None:
        """Put the files of the folder `made` at this place, and delete the archive of them."""
        files = [path for path in made.rglob("*") if path.is_file()]
        paths = {path.relative_to(made).as_posix(): path for path in files}
        metadata = {name for name in paths if name.rpartition("/")[2] in METADATA}
        objects.put_all(self.path, {name: paths[name] for name in paths.keys() - metadata})
        objects.put_all(self.path, {name: paths[name] for name in metadata})
        objects.delete(self.path, sorted(objects.list_below(self.path).keys() - paths.keys()))
        objects.delete(self._archive)

    def discard(self) -> None:
        names = sorted(objects.list_below(self.path))
        objects.delete(self.path, [name for name in names if name in METADATA])
        objects.delete(self.path, [name for name in names if name not in METADATA])
        for path in (self.path, self._archive):
            if objects.is_object(path):
                objects.delete(path)

    def settle(self) -> None:
        self.finish()

    def finish(self) -> None:
        if self.path.endswith(".nc"):  # a file, which appears whole
            return
        with _make_temporary() as folder:
            if self._fetch_archive(folder / self.name):
                self._unpack(folder / self.name)

    def retry_while_away(self, act: Callable[[], Answer]) -> Answer:
        return objects.retry_while_away(self.path, act)

    def is_cut_off_by(self, error: BaseException) -> bool:
        return isinstance(error, UnreachableError)

    def holding_lock(self, key: str = "") -> AbstractContextManager[None]:
        return hold_lease(self.path, key)

    def open_records(self) -> ObjectRecords:
        return ObjectRecords(self.path)

    def open_build(self) -> ObjectBuild:
        return ObjectBuild(self.path)

    def make_log_handler(self) -> logging.Handler:
        return SentLog(self.path)


class ObjectBuild:
    """A folder of objects that is made in place, as objects cannot be moved.

    Objects under a hidden path beside it mark it as incomplete, with its progress; they are deleted
    at the end.
    """

    def __init__(self, path: str) -> None:
        self.path, self._partial = path, objects.get_hidden_sibling(path, WORKSHOP)
        self._flag = f"{self._partial}/{FLAG_NAME}"

    def settle(self) -> None:
        if not objects.is_object(self._flag):
            objects.delete_below(self._partial)

    def is_whole(self) -> bool:
        return not objects.is_object(self._flag) and objects.is_any_below(self.path)

    def is_begun(self) -> bool:
        flag = objects.get(self._flag)
        return flag is not None and flag.data == LAID_OUT

    @contextmanager
    def beginning(self) -> Iterator[list[bytes]]:
        objects.put(self._flag, b"")  # from here on it is incomplete, whatever is there
        names = [name for name in objects.list_below(self._partial) if name != FLAG_NAME]
        objects.delete(self._partial, names)
        objects.delete_below(self.path)
        records: list[bytes] = []
        yield records
        if records:
            objects.put(f"{self._partial}/{1:08d}", b"".join(records))
        objects.put(self._flag, LAID_OUT)

    def finish(self) -> None:
        objects.delete(self._flag)  # now it is complete
        objects.delete_below(self._partial)

    def tidy(self) -> None:
        """Do nothing: `finish` and `settle` leave nothing to delete."""

    def open_records(self) -> ObjectRecords:
        return ObjectRecords(self._partial)


def _list_folder(folder: str) -> list[str]:
    """List the names in a folder; empty if there are none, or if listing is not allowed."""
    import obstore

    try:
        listing = obstore.list_with_delimiter(remote.open_object_store(folder))
    except Exception as error:
        if is_bucket_missing(error):
            raise InputError(describe_missing_bucket(folder)) from error
        return []
    paths = [*listing["common_prefixes"], *(entry["path"] for entry in listing["objects"])]
    return [path.rstrip("/").rsplit("/", 1)[-1] for path in paths]


@contextmanager
def _make_temporary() -> Iterator[Path]:
    with TemporaryDirectory(prefix="steadystack-") as folder:
        yield Path(folder)
