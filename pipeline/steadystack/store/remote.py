"""Where files lie: on this machine, or behind s3://, https:// and the like.

Remote stores are opened with patience: a server that is restarted costs a run time and nothing
else. What stays out of reach is no property of a frame: an `UnreachableError` stops the run.
Credentials come from the environment alone, in the usual ways of obstore's clients.
"""

from __future__ import annotations

import difflib
import fnmatch
import io
import os
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import zarr
from zarr.storage import ObjectStore, StoreLike, ZipStore

from steadystack.model import InputError, UnreachableError
from steadystack.store.outages import S3, answered, endpoint, no_bucket, reason_of, way_out

# How long a request is tried again before the store counts as out of reach. The libraries' own
# limits are a few seconds, less than a storage server takes to restart.
PATIENCE = timedelta(seconds=120)
SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss", "http", "https")
# A remote file up to this size is fetched in one go; of a larger one only what is asked for.
WHOLE_FILE = 64 * 2**20
READ_AHEAD = 2**20
# Names that an error lists before it breaks off.
LISTED = 8

Found = TypeVar("Found")


class _WebStore(ObjectStore[Any]):
    """A store on a web server: it can be read and not listed, and asking would take long."""

    supports_listing = False

    def list(self) -> AsyncGenerator[str, None]:
        raise NotImplementedError("a web server does not list what it holds")

    def list_prefix(self, prefix: str) -> AsyncGenerator[str, None]:
        return self.list()

    def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        return self.list()


class _Parts(io.RawIOBase):
    """A remote file that is fetched by parts."""

    def __init__(self, path: str, store: Any, name: str) -> None:
        import obstore

        self._path, self._store, self._name = path, store, name
        self._size, self._place = int(obstore.head(store, name)["size"]), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place}.get(whence, self._size)
        return self._place

    def readinto(self, buffer: Any) -> int:
        import obstore

        stop = min(self._place + len(buffer), self._size)
        if stop <= self._place:
            return 0
        with telling_outages(self._path):
            got = obstore.get_range(self._store, self._name, start=self._place, end=stop)
        buffer[: len(got)] = memoryview(got)
        self._place += len(got)
        return len(got)


def is_remote(path: str) -> bool:
    return "://" in path


def natural_order(name: str) -> list[tuple[int, int | str]]:
    """Sort key for names with numbers in them: frame9 comes before frame10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def zarr_store(path: str, *, read_only: bool = True) -> StoreLike:
    """What zarr opens a path by: a remote store with retries, a zip file, or the path itself."""
    if is_remote(path):
        kind = _WebStore if path.startswith("http") else ObjectStore
        return kind(object_store(path), read_only=read_only)
    if path.lower().endswith((".zip", ".ozx")) and Path(path).is_file():
        return ZipStore(path, mode="r")
    return path


def open_node(path: str) -> zarr.Array[Any] | zarr.Group:
    """The Zarr array or group at a path, for reading; raises InputError if there is none."""
    if not is_remote(path) and not Path(path).exists():
        raise InputError(f"{path} is not there")
    try:
        with telling_outages(path):
            if is_remote(path):
                _knock(path)
            return zarr.open(zarr_store(path), mode="r")
    except FileNotFoundError as error:
        raise InputError(_no_zarr(path)) from error
    except (InputError, UnreachableError):
        raise
    except Exception as error:  # a store may raise anything: metadata that is torn, no module
        raise InputError(f"{path} cannot be opened as Zarr: {error}") from error


def open_file(path: str) -> BinaryIO:
    """A file for reading at any place; raises FileNotFoundError if it is not there."""
    if not is_remote(path):
        return Path(path).open("rb")
    folder, name = path.rsplit("/", 1)
    store = object_store(folder)
    import obstore

    with telling_outages(path):
        if obstore.head(store, name)["size"] <= WHOLE_FILE:
            return io.BytesIO(obstore.get(store, name).bytes().to_bytes())
        return cast(BinaryIO, io.BufferedReader(_Parts(path, store, name), READ_AHEAD))


def opening(path: str, look: Callable[[], Found]) -> Found:
    """What `look` finds at a path; a remote one that does not answer is told of, and Ctrl-C works.

    Errors of the way there become `UnreachableError`.
    """
    if not is_remote(path):
        return look()
    _check_address(path)

    def told() -> Found:
        with telling_outages(path):
            return look()

    return answered(path, told, PATIENCE)


def _knock(path: str) -> None:
    """One request by itself, which says why if there is no way to a store.

    Zarr sends several at a time, and those that are on their way when the first has failed may come
    back to a process that ends.
    """
    store = _object_store(path, PATIENCE)
    import obstore

    try:
        obstore.get(store, "zarr.json")
    except FileNotFoundError as error:
        if no_bucket(error):
            raise InputError(_no_such_bucket(path)) from error


def not_there(path: str) -> str:
    """The line for a file that is not there; of a bucket it says whether that is."""
    if path.startswith("http"):
        return f"{path} is not there (404)"
    if not is_remote(path):
        return f"{path} is not there"
    folder, name = path.rstrip("/").rsplit("/", 1)
    near = difflib.get_close_matches(name, _listed(folder), n=1)
    return f"{path} is not there" + (f"; did you mean {near[0]}?" if near else "")


def _no_zarr(path: str) -> str:
    """The line for a path that is no Zarr store: there may be nothing, or something else."""
    what = f"{path} is no Zarr store, TIFF or .npy file (others: convert them first)"
    if path.startswith("http"):
        folder, name = path.rstrip("/").rsplit("/", 1)
        import obstore

        try:
            obstore.head(_object_store(folder, PATIENCE), name)
        except FileNotFoundError:
            return f"{path} is not there (404; nor a zarr.json, .zgroup or .zarray in it)"
        except Exception:  # it answers: that is all that is asked
            return what
        return what
    if not is_remote(path):
        return what
    held = _listed(path)
    if not held:
        return not_there(path)
    return f"{what}: it holds {', '.join(held[:LISTED])}{', ...' * (len(held) > LISTED)}"


def _listed(folder: str) -> list[str]:
    """What lies in a remote folder, by name; empty if nothing does, or nobody may list it."""
    import obstore

    try:
        found = obstore.list_with_delimiter(_object_store(folder, PATIENCE))
    except Exception as error:
        if no_bucket(error):
            raise InputError(_no_such_bucket(folder)) from error
        return []
    places = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
    return [place.rstrip("/").rsplit("/", 1)[-1] for place in places]


def _no_such_bucket(path: str) -> str:
    bucket = path.split("://", 1)[1].split("/")[0]
    where = f"at {endpoint()}" if endpoint() else "at Amazon (another server: AWS_ENDPOINT_URL)"
    return f"{path}: there is no bucket {bucket!r} {where}"


def is_pattern(path: str) -> bool:
    """Whether the last part of a path stands for many files, such as ``frames/*.tif``."""
    if not any(letter in path.rsplit("/", 1)[-1] for letter in "*?["):
        return False
    return is_remote(path) or not Path(path).exists()  # a name may have brackets


def files_like(pattern: str) -> list[str]:
    """The files that a path with * or ? in its last part stands for, in natural order."""
    folder, last = pattern.rsplit("/", 1) if "/" in pattern else (".", pattern)
    if not is_remote(pattern):
        return sorted(glob(pattern), key=natural_order)
    if pattern.startswith("http"):
        raise InputError(f"{pattern}: a web server does not list its files; s3:// and folders do")
    store = object_store(folder)
    import obstore

    with telling_outages(pattern):
        listed = obstore.list_with_delimiter(store)["objects"]
    names = [entry["path"].rsplit("/", 1)[-1] for entry in listed]
    return [f"{folder}/{name}" for name in sorted(names, key=natural_order)
            if fnmatch.fnmatchcase(name, last)]  # fmt: skip


@contextmanager
def telling_outages(path: str) -> Iterator[None]:
    """Errors of the way to a store, and not of what lies there, become `UnreachableError`."""
    try:
        yield
    except UnreachableError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not _is_outage(cause):
            cause = cause.__cause__ or cause.__context__
        if cause is None or not is_remote(path):
            raise
        if no_bucket(cause):
            raise InputError(_no_such_bucket(path)) from error
        raise UnreachableError(
            f"{path} cannot be reached: {reason_of(cause)}{way_out(cause)}"
        ) from error


def _is_outage(error: BaseException) -> bool:
    module = type(error).__module__.split(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or module in ("obstore", "aiohttp")


def object_store(url: str) -> Any:
    """The store that holds what is below a URL, for obstore, with retries."""
    return _object_store(url, PATIENCE)


@lru_cache(maxsize=32)
def _object_store(url: str, patience: timedelta) -> Any:
    _check_address(url)
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise InputError(
            f"{url} is remote: that needs obstore (pip install 'steadystack[remote]')"
        ) from error
    options: dict[str, Any] = {"timeout": "60s", "connect_timeout": "10s"}
    keys: dict[str, Any] = {}
    if url.startswith(S3):
        options["allow_http"] = endpoint().startswith("http://")
        keys = {"region": _region()} | _profile()
        if endpoint():
            keys["endpoint"] = endpoint()
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
    connect: Any = from_url  # whose types know one scheme at a time
    return connect(url, client_options=options, retry_config=retries, **keys)


def _check_address(url: str) -> None:
    """Refuse what no client knows, with the nearest that one does."""
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        raise InputError(f"{url}: give a path of this machine without file://")
    if scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]}://{rest}? " if near else ""
        raise InputError(
            f"{url}: {scheme}:// is not known; {meant}known are {', '.join(SCHEMES)}, and paths of "
            "this machine"
        )
    if url.startswith(S3) and endpoint() and not endpoint().startswith(("http://", "https://")):
        raise InputError(f"AWS_ENDPOINT_URL {endpoint()!r} must begin with http:// or https://")


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _profile() -> dict[str, Any]:
    """Credentials of a profile in ~/.aws, where boto3 is there to read it."""
    if "AWS_ACCESS_KEY_ID" in os.environ or "AWS_SKIP_SIGNATURE" in os.environ:
        return {}
    if "AWS_PROFILE" not in os.environ and not Path("~/.aws/credentials").expanduser().exists():
        return {}
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return {}
    return {"credential_provider": Boto3CredentialProvider()}
