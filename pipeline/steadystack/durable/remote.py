"""Open remote stores (s3://, https:// and the like), and the places on them that can be read.

Requests are retried for long: a restarted server costs a run nothing but time. A store that stays
out of reach is not the fault of a frame: an `UnreachableError` stops the run. Credentials come from
the environment alone, in the usual ways of obstore's clients.
"""

from __future__ import annotations

import difflib
import io
import os
import posixpath
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from steadystack.durable.files import NO_ZARR, expand_user
from steadystack.durable.outages import (
    S3,
    await_answer,
    describe_missing_bucket,
    explaining_outages,
    get_endpoint,
    get_region,
    is_bucket_missing,
)
from steadystack.model import InputError, UnreachableError

if TYPE_CHECKING:
    import zarr
    from zarr.storage import ObjectStore

# How long a request is retried before the store counts as out of reach. The libraries' own limits
# are a few seconds, less than a storage server takes to restart.
PATIENCE = timedelta(seconds=120)
# Largest file, bytes, that is fetched in full; of larger ones only the ranges that are read.
MAX_WHOLE_FILE = 64 * 2**20
READ_AHEAD = 2**20
SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss", "http", "https")

Answer = TypeVar("Answer")


def open_object_store(url: str) -> Any:
    """Open obstore's store for what is below a URL, with retries."""
    return _open_object_store(url, PATIENCE)


@lru_cache(maxsize=32)
def _open_object_store(url: str, patience: timedelta) -> Any:
    check_address(url)
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise InputError(
            f"{url} is remote: that needs obstore (pip install 'steadystack[remote]')"
        ) from error
    options: dict[str, Any] = {"timeout": "60s", "connect_timeout": "10s"}
    store_options: dict[str, Any] = {}
    if url.startswith(S3):
        options["allow_http"] = get_endpoint().startswith("http://")
        store_options = {"region": get_region()} | _read_profile()
        if get_endpoint():
            store_options["endpoint"] = get_endpoint()
    elif url.startswith("http://"):
        options["allow_http"] = True
    retries = {
        "max_retries": 1000,  # time is the limit
        "retry_timeout": patience,
        "backoff": {
            "init_backoff": timedelta(milliseconds=200),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        },
    }
    open_store: Any = from_url  # its types know one scheme at a time
    return open_store(url, client_options=options, retry_config=retries, **store_options)


def check_address(url: str) -> None:
    """Raise InputError for a URL that no client knows, with the nearest scheme that one does."""
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        raise InputError(f"{url}: give a local path without file://")
    if scheme not in SCHEMES:
        close_schemes = difflib.get_close_matches(scheme, SCHEMES, n=1, cutoff=0.5)
        suggestion = f"did you mean {close_schemes[0]}://{rest}? " if close_schemes else ""
        raise InputError(
            f"{url}: {scheme}:// is not supported; {suggestion}supported are {', '.join(SCHEMES)} "
            "and local paths"
        )
    if (
        url.startswith(S3)
        and get_endpoint()
        and not get_endpoint().startswith(("http://", "https://"))
    ):
        raise InputError(f"AWS_ENDPOINT_URL {get_endpoint()!r} must begin with http:// or https://")


def _read_profile() -> dict[str, Any]:
    """Read the credentials of a profile in ~/.aws; empty without one, or without boto3."""
    if "AWS_ACCESS_KEY_ID" in os.environ or "AWS_SKIP_SIGNATURE" in os.environ:
        return {}
    if "AWS_PROFILE" not in os.environ and not expand_user("~/.aws/credentials").exists():
        return {}
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return {}
    return {"credential_provider": Boto3CredentialProvider()}


@dataclass(frozen=True)
class RemotePlace:
    """What object stores and web servers have in common; see `places.Place` for each method."""

    path: str

    keeps_old = False

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def _folder(self) -> str:
        return self.path.rpartition("/")[0]

    def make_absolute(self, folder: Path) -> str:
        return self.path

    @property
    def location(self) -> tuple[str, ...]:
        rest = posixpath.normpath(self.path.split("://", 1)[1])
        return "://", *rest.split("/")

    @property
    def is_pattern(self) -> bool:
        return any(letter in self.name for letter in "*?[")

    @property
    def has_wildcards(self) -> bool:
        return False  # a pattern of many paths is for this machine alone

    def split_pattern(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (self.path,), ()

    def matches(self, pattern: str) -> bool:
        return False

    def list_matching(self) -> list[str]:
        return [self.path]

    def is_folder(self) -> bool:
        return False

    def call_interruptibly(self, look: Callable[[], Answer]) -> Answer:
        check_address(self.path)

        def look_explained() -> Answer:
            with self.explaining_outages():
                return look()

        return await_answer(self.path, look_explained, PATIENCE)

    def explaining_outages(self) -> AbstractContextManager[None]:
        return explaining_outages(self.path)

    def describe_missing(self) -> str:
        raise NotImplementedError

    def open(self) -> BinaryIO:
        store = open_object_store(self._folder)
        import obstore

        with self.explaining_outages():
            if obstore.head(store, self.name)["size"] <= MAX_WHOLE_FILE:
                return io.BytesIO(obstore.get(store, self.name).bytes().to_bytes())
            reader = _RangeReader(self.path, store, self.name)
            return cast(BinaryIO, io.BufferedReader(reader, READ_AHEAD))

    def get_source(self) -> BinaryIO:
        return self.open()

    def load_array(self) -> NDArray[Any]:
        with self.open() as file:
            return np.asarray(np.load(file, allow_pickle=False))

    def open_zarr(self) -> zarr.Array[Any] | zarr.Group:
        import zarr

        try:
            with self.explaining_outages():
                self._check_reachable()
                return zarr.open(self.make_zarr_store(), mode="r")
        except FileNotFoundError as error:
            raise InputError(self._describe_no_zarr()) from error
        except (InputError, UnreachableError):
            raise
        except Exception as error:  # a store may raise anything: torn metadata, a missing module
            raise InputError(f"{self.path} cannot be opened as Zarr: {error}") from error

    def make_zarr_store(self, *, read_only: bool = True) -> ObjectStore[Any]:
        from zarr.storage import ObjectStore

        return ObjectStore(open_object_store(self.path), read_only=read_only)

    def _describe_no_zarr(self) -> str:
        raise NotImplementedError

    def _check_reachable(self) -> None:
        """Send a single request, which raises if the store cannot be reached.

        Zarr sends several at a time; those under way when the first has failed may return while the
        process is ending.
        """
        store = open_object_store(self.path)
        import obstore

        try:
            obstore.get(store, "zarr.json")
        except FileNotFoundError as error:
            if is_bucket_missing(error):
                raise InputError(describe_missing_bucket(self.path)) from error


class _RangeReader(io.RawIOBase):
    """A remote file whose byte ranges are fetched as they are read."""

    def __init__(self, path: str, store: Any, name: str) -> None:
        import obstore

        self._path, self._store, self._name = path, store, name
        self._size, self._position = int(obstore.head(store, name)["size"]), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}
        self._position = offset + origins.get(whence, self._size)
        return self._position

    def readinto(self, buffer: Any) -> int:
        import obstore

        stop = min(self._position + len(buffer), self._size)
        if stop <= self._position:
            return 0
        with explaining_outages(self._path):
            got = obstore.get_range(self._store, self._name, start=self._position, end=stop)
        buffer[: len(got)] = memoryview(got)
        self._position += len(got)
        return len(got)


@dataclass(frozen=True)
class WebPlace(RemotePlace):
    """A path on a web server: it can be read and neither listed nor written."""

    def get_sibling(self, name: str) -> WebPlace:
        return WebPlace(f"{self._folder}/{name}")

    def get_child(self, name: str) -> WebPlace:
        return WebPlace(f"{self.path}/{name}")

    def describe_missing(self) -> str:
        return f"{self.path} does not exist (404)"

    def list_files(self) -> list[str]:
        raise InputError(
            f"{self.path}: a web server does not list its files; s3:// and local folders do"
        )

    def list_below(self) -> list[str]:
        return self.list_files()

    def make_zarr_store(self, *, read_only: bool = True) -> ObjectStore[Any]:
        return _get_web_store_class()(open_object_store(self.path), read_only=read_only)

    def _describe_no_zarr(self) -> str:
        import obstore

        with suppress(Exception):  # any answer but "not found" means that something is there
            try:
                obstore.head(open_object_store(self._folder), self.name)
            except FileNotFoundError:
                return (
                    f"{self.path} does not exist (404; nor a zarr.json, .zgroup or .zarray in it)"
                )
        return f"{self.path} {NO_ZARR}"

    def check_name(self) -> None:
        raise InputError(
            f"{self.path} cannot be written: outputs go to local paths or object stores, such as "
            "s3://bucket/shifts.zarr"
        )

    def _refuse(self, *_: object) -> Any:
        raise InputError(
            f"{self.path}: a web server can neither be written to nor listed; s3:// can"
        )

    exists = is_occupied = is_file = list_siblings = fetching = _refuse
    check_writable = replacing = put = discard = settle = finish = _refuse
    retry_while_away = is_cut_off_by = holding_lock = _refuse
    open_records = open_build = make_log_handler = _refuse


@lru_cache
def _get_web_store_class() -> type[ObjectStore[Any]]:
    """Get the class of Zarr stores on a web server: they can be read and not listed."""
    from zarr.storage import ObjectStore

    class WebStore(ObjectStore[Any]):
        supports_listing = False

        def list(self) -> AsyncGenerator[str, None]:
            raise NotImplementedError("a web server does not list its contents")

        def list_prefix(self, prefix: str) -> AsyncGenerator[str, None]:
            return self.list()

        def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
            return self.list()

    return WebStore
