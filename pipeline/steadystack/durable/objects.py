"""Put, get, list and delete objects of a remote store by URL, with retries.

Objects appear complete, as a store accepts an object in full or not at all. Nothing can be moved or
appended to, and a folder is only a common prefix of names.
"""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from steadystack.durable import remote
from steadystack.durable.files import explain_stranger
from steadystack.durable.outages import describe_reason, explaining_outages, suggest_way_out
from steadystack.model import InputError, UnreachableError

Answer = TypeVar("Answer")
Version = Mapping[str, Any]  # the tags by which a store distinguishes an object's versions

# The pause between tries of a request that obstore does not retry itself, seconds.
PAUSE_S = 0.5
MAX_REQUESTS = 16  # at the same time


class ConditionsUnknown(Exception):  # noqa: N818
    """A store without conditional requests: write only if nothing, or one version, is there."""


@dataclass(frozen=True)
class Content:
    """An object as it was at one time."""

    data: bytes
    version: Version
    modified: datetime


def put(path: str, content: bytes | Path) -> None:
    """Write an object, or a file's content as one, in place of what is there."""
    store, key = _locate(path)
    import obstore

    retry_while_away(path, lambda: obstore.put(store, key, content))


def put_if(path: str, content: bytes, version: Version | None) -> Version | None:
    """Write an object if nothing is there (`version` None), or if `version` is there.

    `content` has to differ from everything that others write: it tells whether a request whose
    answer was lost has succeeded.

    Returns
    -------
    The new version; None if somebody else was first.

    Raises
    ------
    ConditionsUnknown
        If the store has no conditional requests.
    """
    store, key = _locate(path)
    import obstore
    from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

    mode: Any = "create" if version is None else dict(version)

    def try_put() -> Version | Literal["unknown"] | None:
        try:
            return _read_version(obstore.put(store, key, content, mode=mode, use_multipart=False))
        except (NotSupportedError, NotImplementedError):
            return "unknown"
        except (AlreadyExistsError, PreconditionError):
            current = _get(store, key)
        except FileNotFoundError:
            if version is None:
                raise  # the bucket is missing
            current = None
        return current.version if current is not None and current.data == content else None

    new_version = retry_while_away(path, try_put)
    if new_version == "unknown":
        raise ConditionsUnknown
    return new_version


def supports_conditions(path: str) -> bool:
    """Whether a store refuses, on request, to overwrite an existing object.

    On a store that does not, the object is overwritten with its own content.
    """
    store, key = _locate(path)
    import obstore
    from obstore.exceptions import AlreadyExistsError, NotSupportedError

    def try_put() -> bool:
        current = _get(store, key)
        try:
            obstore.put(store, key, current.data if current else b"", mode="create")
        except AlreadyExistsError:
            return True
        except (NotSupportedError, NotImplementedError):
            return False
        return current is None

    return retry_while_away(path, try_put)


def append(path: str, content: bytes) -> None:
    """Append to an object by rewriting it; others may append at the same time."""
    while True:
        current = get(path)
        existing = current.data if current else b""
        try:
            if put_if(path, existing + content, current.version if current else None) is not None:
                return
        except ConditionsUnknown:
            put(path, existing + content)
            return


def get(path: str) -> Content | None:
    """Fetch an object; None if there is none of that name."""
    store, key = _locate(path)
    return retry_while_away(path, lambda: _get(store, key))


def is_object(path: str) -> bool:
    """Whether there is an object of that name."""
    store, key = _locate(path)
    import obstore

    def look() -> bool:
        try:
            obstore.head(store, key)
        except FileNotFoundError:
            return False
        return True

    return retry_while_away(path, look)


def list_below(path: str) -> dict[str, Version]:
    """List every object under a path: {name relative to the path: version}."""
    store, key = _locate(path.rstrip("/"))
    import obstore

    def list_objects() -> dict[str, Version]:
        batches = obstore.list(store, prefix=f"{key}/", chunk_size=1000)
        entries = (entry for batch in batches for entry in batch)
        return {str(entry["path"])[len(key) + 1 :]: _read_version(entry) for entry in entries}

    return retry_while_away(path, list_objects)


def is_any_below(path: str) -> bool:
    """Whether there is any object under a path."""
    store, key = _locate(path.rstrip("/"))
    import obstore

    def look() -> bool:
        return any(len(batch) for batch in obstore.list(store, prefix=f"{key}/", chunk_size=1))

    return retry_while_away(path, look)


def list_names(path: str) -> tuple[set[str], set[str]]:
    """List a folder or bucket, not recursively: (names of objects, names of folders).

    A folder that was just emptied may be among them.
    """
    store, key = _locate(path.rstrip("/"), bucket=True)
    import obstore

    def list_folder() -> tuple[set[str], set[str]]:
        listing = obstore.list_with_delimiter(store, prefix=f"{key}/" if key else None)
        objects = {posixpath.basename(str(entry["path"])) for entry in listing["objects"]}
        prefixes = (str(prefix).rstrip("/") for prefix in listing["common_prefixes"])
        return objects, {posixpath.basename(prefix) for prefix in prefixes}

    return retry_while_away(path, list_folder)


def get_all(path: str, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Fetch objects by their names under a path, several at a time; missing ones are left out."""
    with ThreadPoolExecutor(MAX_REQUESTS) as pool:
        contents = pool.map(lambda name: get(f"{path.rstrip('/')}/{name}"), names)
        for name, content in zip(names, contents, strict=True):
            if content is not None:
                yield name, content.data


def put_all(path: str, files: Mapping[str, Path]) -> None:
    """Write `files`, {name under the path: file}, as objects, several at a time."""
    with ThreadPoolExecutor(MAX_REQUESTS) as pool:
        list(pool.map(lambda name: put(f"{path.rstrip('/')}/{name}", files[name]), files))


def delete(path: str, names: Sequence[str] | None = None) -> None:
    """Delete an object, or the objects `names` under a path; missing ones are no error."""
    store, key = _locate(path.rstrip("/"))
    import obstore

    keys = [key] if names is None else [f"{key}/{name}" for name in names]

    def delete_keys(batch: list[str]) -> None:
        try:
            if batch:
                obstore.delete(store, batch)
        except FileNotFoundError:  # some stores stop at the first missing one
            for single_key in batch if len(batch) > 1 else ():
                delete_keys([single_key])

    retry_while_away(path, lambda: delete_keys(keys))


def delete_below(path: str) -> None:
    """Delete every object under a path."""
    delete(path, list(list_below(path)))


def check_writable(path: str) -> None:
    """Raise InputError if nothing can be written beside a path, by trying.

    It writes an empty object, but not over one that has content.
    """
    probe = get_hidden_sibling(path, ".probe")
    with explaining_refusals(path):
        if (current := get(probe)) is not None and current.data:
            raise explain_stranger(probe)
        put(probe, b"")
        delete(probe)


def get_hidden_sibling(path: str, ending: str) -> str:
    """Make the URL of the hidden object with that ending beside a path."""
    folder, _, name = path.rstrip("/").rpartition("/")
    return f"{folder}/.{name}{ending}"


@contextmanager
def explaining_refusals(path: str) -> Iterator[None]:
    """Turn a store's refusal of the first write to it into an `InputError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(
            f"{path} cannot be written: there is no bucket {urlsplit(path).netloc}, or it belongs "
            "to someone else"
        ) from error
    except UnreachableError as error:
        cause = error.__cause__ or error
        if not suggest_way_out(cause):
            raise
        raise InputError(
            f"{path} cannot be written: {describe_reason(cause)}{suggest_way_out(cause)}"
        ) from error


def retry_while_away(path: str, act: Callable[[], Answer]) -> Answer:
    """Call `act`, again for `remote.PATIENCE` while the store is out of reach; its result.

    obstore retries most requests itself, but not those that must not be done twice, nor those that
    a half-started server has answered oddly.
    """
    deadline = time.monotonic() + remote.PATIENCE.total_seconds()
    with explaining_outages(path):
        while True:
            try:
                return act()
            except Exception as error:
                if not _is_transient(error) or time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE_S)


def _is_transient(error: BaseException | None) -> bool:
    """Whether an error comes from the connection to a store, and may be temporary."""
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError):
            return True
        if type(error).__module__.split(".")[0] == "obstore":
            # A wrong request stays wrong.
            refused = re.search(r"status( code:)? 4(?!08|29)\d\d", str(error))
            return type(error).__name__ in ("GenericError", "JoinError") and not refused
        error = error.__cause__ or error.__context__
    return False


def _locate(path: str, bucket: bool = False) -> tuple[Any, str]:
    """Open the bucket of a URL as a store; returns it and the name of the object in it."""
    scheme, _, rest = path.partition("://")
    root, _, key = rest.partition("/")
    if not (root and (key or bucket)):
        raise InputError(f"{path} is not the URL of an object in a bucket")
    return remote.open_object_store(f"{scheme}://{root}"), key


def _get(store: Any, key: str) -> Content | None:
    import obstore

    try:
        response = obstore.get(store, key)
        meta = response.meta
        return Content(response.bytes().to_bytes(), _read_version(meta), meta["last_modified"])
    except FileNotFoundError:
        return None


def _read_version(meta: Any) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}


def compute_age_s(moment: datetime) -> float:
    """Compute the seconds since a moment, by the clock of this machine."""
    return (datetime.now(UTC) - moment).total_seconds()
