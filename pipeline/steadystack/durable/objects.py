"""Objects of a remote store: put, got, listed and deleted with patience, by their URL.

What appears at a URL appears whole, as a store takes an object as a whole or not at all. Nothing
can be moved or appended to, and a folder is no more than a common beginning of names.
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
from steadystack.durable.outages import describe_reason, explaining_outages, suggest_way_out
from steadystack.model import InputError, UnreachableError

Answer = TypeVar("Answer")
Version = Mapping[str, Any]  # what a store tells the states of an object apart by

# Between one try and the next of what obstore itself does not try again, seconds.
PAUSE_S = 0.5
AT_A_TIME = 16  # requests


class ConditionsUnknown(Exception):  # noqa: N818
    """A store that cannot be asked to write only where nothing, or nothing else, is."""


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
    """Write an object if nothing is there, or if what is there is of that version.

    Returns
    -------
    Its new version; None if somebody else was first. An answer that was lost on its way is no
    matter if `content` differs from all that others write.

    Raises
    ------
    ConditionsUnknown
        If the store has no such request.
    """
    store, key = _locate(path)
    import obstore
    from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

    mode: Any = "create" if version is None else dict(version)

    def act() -> Version | Literal["unknown"] | None:
        try:
            return _read_version(obstore.put(store, key, content, mode=mode, use_multipart=False))
        except (NotSupportedError, NotImplementedError):
            return "unknown"
        except (AlreadyExistsError, PreconditionError):
            there = _get(store, key)
        except FileNotFoundError:
            if version is None:
                raise  # the bucket
            there = None
        return there.version if there is not None and there.data == content else None

    found = retry_while_away(path, act)
    if found == "unknown":
        raise ConditionsUnknown
    return found


def knows_conditions(path: str) -> bool:
    """Whether a store refuses to write over an object, which is there, where that is asked.

    One that does not gets the same content once more.
    """
    store, key = _locate(path)
    import obstore
    from obstore.exceptions import AlreadyExistsError, NotSupportedError

    def act() -> bool:
        there = _get(store, key)
        try:
            obstore.put(store, key, there.data if there else b"", mode="create")
        except AlreadyExistsError:
            return True
        except (NotSupportedError, NotImplementedError):
            return False
        return there is None

    return retry_while_away(path, act)


def append(path: str, content: bytes) -> None:
    """Put what is at a path once more, with this behind it; others may do so at the same time."""
    while True:
        there = get(path)
        before = there.data if there else b""
        try:
            if put_if(path, before + content, there.version if there else None) is not None:
                return
        except ConditionsUnknown:
            put(path, before + content)
            return


def get(path: str) -> Content | None:
    """An object; None if there is none of that name."""
    store, key = _locate(path)
    return retry_while_away(path, lambda: _get(store, key))


def is_object(path: str) -> bool:
    """Whether there is an object of that name."""
    store, key = _locate(path)
    import obstore

    def act() -> bool:
        try:
            obstore.head(store, key)
        except FileNotFoundError:
            return False
        return True

    return retry_while_away(path, act)


def list_below(path: str) -> dict[str, Version]:
    """Every object under a path: its name from there on, and its version."""
    store, key = _locate(path.rstrip("/"))
    import obstore

    def act() -> dict[str, Version]:
        found = obstore.list(store, prefix=f"{key}/", chunk_size=1000)
        return {
            str(one["path"])[len(key) + 1 :]: _read_version(one) for some in found for one in some
        }  # fmt: skip

    return retry_while_away(path, act)


def is_any_below(path: str) -> bool:
    """Whether there is any object under a path."""
    store, key = _locate(path.rstrip("/"))
    import obstore

    def act() -> bool:
        return any(len(some) for some in obstore.list(store, prefix=f"{key}/", chunk_size=1))

    return retry_while_away(path, act)


def list_names(path: str) -> tuple[set[str], set[str]]:
    """The names of the objects, and of the folders, that are in a folder or bucket itself.

    A folder that was just emptied may be among them.
    """
    store, key = _locate(path.rstrip("/"), bucket=True)
    import obstore

    def act() -> tuple[set[str], set[str]]:
        found = obstore.list_with_delimiter(store, prefix=f"{key}/" if key else None)
        objects = {str(one["path"]) for one in found["objects"]}
        folders = {str(one) for one in found["common_prefixes"]}
        last = posixpath.basename
        return {last(one) for one in objects}, {last(one.rstrip("/")) for one in folders}

    return retry_while_away(path, act)


def get_all(path: str, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The objects of these names under a path that are there, some at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = pool.map(lambda name: get(f"{path.rstrip('/')}/{name}"), names)
        for name, content in zip(names, found, strict=True):
            if content is not None:
                yield name, content.data


def put_all(path: str, files: Mapping[str, Path]) -> None:
    """Write files as objects of these names under a path, some at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(lambda name: put(f"{path.rstrip('/')}/{name}", files[name]), files))


def delete(path: str, names: Sequence[str] | None = None) -> None:
    """Delete an object, or those of these names under a path; if they are there."""
    store, key = _locate(path.rstrip("/"))
    import obstore

    keys = [key] if names is None else [f"{key}/{name}" for name in names]

    def act(some: list[str]) -> None:
        try:
            if some:
                obstore.delete(store, some)
        except FileNotFoundError:  # some kinds of stores say so, and stop there
            for one in some if len(some) > 1 else ():
                act([one])

    retry_while_away(path, lambda: act(keys))


def delete_below(path: str) -> None:
    """Delete every object under a path."""
    delete(path, list(list_below(path)))


def check_writable(path: str) -> None:
    """Raise InputError if nothing can be written beside a path; tries it."""
    probe = get_hidden_sibling(path, ".probe")
    with explaining_refusals(path):
        put(probe, b"")
        delete(probe)


def get_hidden_sibling(path: str, ending: str) -> str:
    """The URL of the hidden object of that ending beside a path."""
    folder, _, name = path.rstrip("/").rpartition("/")
    return f"{folder}/.{name}{ending}"


@contextmanager
def explaining_refusals(path: str) -> Iterator[None]:
    """What a store says to the first thing that is written to it becomes an `InputError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(
            f"{path} cannot be written: there is no bucket {urlsplit(path).netloc}, or it belongs "
            "to somebody else"
        ) from error
    except UnreachableError as error:
        cause = error.__cause__ or error
        if not suggest_way_out(cause):
            raise
        raise InputError(
            f"{path} cannot be written: {describe_reason(cause)}{suggest_way_out(cause)}"
        ) from error


def retry_while_away(path: str, act: Callable[[], Answer]) -> Answer:
    """What `act` gives; tried again for as long as a run waits where a store is out of reach.

    obstore tries most requests again itself, but neither those that must not be done twice nor
    where a server that is only half up answers in an odd way.
    """
    until = time.monotonic() + remote.PATIENCE.total_seconds()
    with explaining_outages(path):
        while True:
            try:
                return act()
            except Exception as error:
                if not _is_transient(error) or time.monotonic() > until:
                    raise
            time.sleep(PAUSE_S)


def _is_transient(error: BaseException | None) -> bool:
    """Whether it is an error of the way to a store, which may be gone the next time."""
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError):
            return True
        if type(error).__module__.split(".")[0] == "obstore":
            # What the client is told to have done wrong, it is told the next time.
            refused = re.search(r"status( code:)? 4(?!08|29)\d\d", str(error))
            return type(error).__name__ in ("GenericError", "JoinError") and not refused
        error = error.__cause__ or error.__context__
    return False


def _locate(path: str, bucket: bool = False) -> tuple[Any, str]:
    """The bucket of a URL as a store, and the name in it."""
    scheme, _, rest = path.partition("://")
    root, _, key = rest.partition("/")
    if not (root and (key or bucket)):
        raise InputError(f"{path} is not the URL of an object in a bucket")
    return remote.open_object_store(f"{scheme}://{root}"), key


def _get(store: Any, key: str) -> Content | None:
    import obstore

    try:
        found = obstore.get(store, key)
        return Content(
            found.bytes().to_bytes(), _read_version(found.meta), found.meta["last_modified"]
        )
    except FileNotFoundError:
        return None


def _read_version(meta: Any) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}


def compute_age_s(moment: datetime) -> float:
    """Seconds since then, by the clock of this machine."""
    return (datetime.now(UTC) - moment).total_seconds()
