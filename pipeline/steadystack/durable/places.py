"""A place is what a path of the user's stands for: on this machine, on an object store, on the web.

`get_place` alone looks at the path and decides which it is; everybody else asks the place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self, TypeVar

import zarr
from numpy.typing import NDArray
from zarr.storage import StoreLike

from steadystack.durable.buckets import ObjectPlace
from steadystack.durable.local import LocalPlace
from steadystack.durable.remote import WebPlace

Answer = TypeVar("Answer")


def get_place(path: str | Path) -> Place:
    """What lies, or is to lie, at a path or URL; whether it does is not asked here."""
    text = str(path)
    text = text.rstrip("/") or text
    if "://" not in text:
        return LocalPlace(text)
    return WebPlace(text) if text.startswith(("http://", "https://")) else ObjectPlace(text)


class RecordWriter(Protocol):
    """Takes records in their order; who appends them does not wait for a store that is far away."""

    def append(self, content: bytes) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: Any) -> None: ...


class Records(Protocol):
    """Bytes that grow at a place: a file, or objects that are each a part of it."""

    def read(self) -> Iterator[tuple[str, bytes]]:
        """What is there, part by part with its name; nothing if nothing is."""
        ...

    def write(self, good: Mapping[str, int], title: bytes = b"") -> RecordWriter:
        """Open for more.

        Parameters
        ----------
        good : how many bytes of each part stand; what is behind them, and parts of 0, go away
        title : what every new part begins with
        """
        ...


class Build(Protocol):
    """What is made in many steps, by many hands: not at its place, or not valid, until it is whole.

    Attributes
    ----------
    path : where it is written
    """

    @property
    def path(self) -> str: ...

    def settle(self) -> None:
        """Put back what was being replaced when a process died; what was begun stays."""
        ...

    def is_whole(self) -> bool:
        """Whether something whole is at the place."""
        ...

    def is_begun(self) -> bool:
        """Whether something was begun, and laid out, that is not whole yet."""
        ...

    def beginning(self) -> AbstractContextManager[None]:
        """What is laid out in here is begun, in the place of all that was begun before."""
        ...

    def finish(self) -> None:
        """Let what was written be what is at the place; what was there before goes away."""
        ...

    def tidy(self) -> None:
        """Delete what a whole one does not need, if a process died before it did."""
        ...

    def open_records(self) -> Records:
        """How far it is."""
        ...


class Place(Protocol):
    """Where something lies or is to lie. Paths that a place gives are texts, as the user's are.

    What stays out of reach is no property of what lies there: an `UnreachableError` is raised for
    it. Attributes: `path`, without a slash at its end, and `name`, its last part.
    """

    @property
    def path(self) -> str: ...

    @property
    def name(self) -> str: ...

    # --- names; nothing is asked of a store ---

    def make_absolute(self, folder: Path) -> str:
        """The path that does not depend on the working folder; `folder` is where it begins."""
        ...

    def get_sibling(self, name: str) -> Place:
        """The place of that name in the same folder."""
        ...

    def get_child(self, name: str) -> Place:
        """The place of that name in this folder."""
        ...

    @property
    def location(self) -> tuple[str, ...]:
        """The parts of the path, each in the one before; nothing else has the same."""
        ...

    @property
    def is_pattern(self) -> bool:
        """Whether the last part stands for many files, such as ``frames/*.tif``."""
        ...

    @property
    def has_wildcards(self) -> bool:
        """Whether the path stands for the many paths that `matching` finds."""
        ...

    def matches(self, pattern: str) -> bool:
        """Whether a path with wildcards would find this one."""
        ...

    # --- what is there ---

    def exists(self) -> bool:
        """Whether something is there; of a path that ends in .zarr, what zarr can open."""
        ...

    def is_occupied(self) -> bool:
        """Whether anything is there, be it torn."""
        ...

    def is_file(self) -> bool: ...

    def is_folder(self) -> bool:
        """Whether it is a folder of files; a store that knows no folders says no."""
        ...

    def list_siblings(self) -> list[str]:
        """The paths of everything that lies beside it, itself included."""
        ...

    def list_matching(self) -> list[str]:
        """The paths that a path with wildcards in any of its parts stands for, sorted."""
        ...

    def list_files(self) -> list[str]:
        """The files of a pattern, or in a folder, in natural order: frame9 before frame10."""
        ...

    # --- reading ---

    def describe_missing(self) -> str:
        """The line for what is not there, with the nearest name that is, where that is known."""
        ...

    def call_interruptibly(self, look: Callable[[], Answer]) -> Answer:
        """What `look` finds here; a store that does not answer is told of, and Ctrl-C works."""
        ...

    def explaining_outages(self) -> AbstractContextManager[None]:
        """Errors of the way to a store in here, and not of what lies there, are told as such."""
        ...

    def open(self) -> BinaryIO:
        """The file, for reading; raises FileNotFoundError if it is not there."""
        ...

    def as_source(self) -> str | BinaryIO:
        """What a library reads a file from: its path, where it has one, or the file, open."""
        ...

    def load_array(self) -> NDArray[Any]:
        """The array of a .npy file; mapped into memory where that can be."""
        ...

    def fetching(self) -> AbstractContextManager[Path]:
        """The file or folder where this machine can read it, for as long as this lasts.

        Raises FileNotFoundError if nothing is there.
        """
        ...

    def open_zarr(self) -> zarr.Array[Any] | zarr.Group:
        """The Zarr array or group, for reading; raises InputError if there is none."""
        ...

    def zarr_store(self, *, read_only: bool = True) -> StoreLike:
        """What zarr opens it by."""
        ...

    # --- writing: whenever a process dies, what was there before or what is new is whole ---

    @property
    def keeps_old(self) -> bool:
        """Whether what is replaced stays until the new is whole."""
        ...

    def check_name(self) -> None:
        """Raise InputError if nothing can be written by such a name; nothing is asked."""
        ...

    def check_writable(self) -> None:
        """Raise InputError if nothing can be written there; tries it."""
        ...

    def replacing(self) -> AbstractContextManager[Path]:
        """A path to make a file or folder at, which takes this place when all went well."""
        ...

    def put(self, made: Path) -> None:
        """Let a file or folder that was made on this machine be what is at the place."""
        ...

    def discard(self) -> None:
        """Delete the file or folder; it is gone from its path at once."""
        ...

    def settle(self) -> None:
        """Finish or take back what a process that died has begun; by one process at a time."""
        ...

    def finish(self) -> None:
        """Put to its place what is whole beside it; others that do so find the same."""
        ...

    def retry_while_away(self, act: Callable[[], Answer]) -> Answer:
        """What `act` gives, tried again for as long as a run waits for a store."""
        ...

    def is_cut_off_by(self, error: BaseException) -> bool:
        """Whether an error says that nothing can be written here for now."""
        ...

    def holding_lock(self) -> AbstractContextManager[None]:
        """Keep other runs off this output for as long as this lasts.

        Raises InputError that tells who holds it.
        """
        ...

    def open_records(self) -> Records:
        """Bytes that grow here."""
        ...

    def open_build(self) -> Build:
        """Something that is made here in many steps."""
        ...

    def make_log_handler(self) -> logging.Handler:
        """What appends the lines of a log here; raises OSError if it cannot."""
        ...


def paths_overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    first, second = get_place(one).location, get_place(other).location
    shared = min(len(first), len(second))
    return first[:shared] == second[:shared]
