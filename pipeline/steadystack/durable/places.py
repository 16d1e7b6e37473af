"""Places: what a user's path stands for, on this machine, on an object store, or on the web.

Only `get_place` decides, by the path, which kind it is; all other code asks the place.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, TypeVar

from numpy.typing import NDArray

from steadystack.durable.buckets import ObjectPlace
from steadystack.durable.local import LocalPlace
from steadystack.durable.remote import WebPlace
from steadystack.model import InputError

if TYPE_CHECKING:
    import zarr
    from zarr.storage import StoreLike

Answer = TypeVar("Answer")


def get_place(path: str | Path) -> Place:
    """Make the place of a path or URL, without checking whether anything is there."""
    text = str(path)
    text = text.rstrip("/") or text
    if "://" not in text:
        return LocalPlace(text)
    return WebPlace(text) if text.startswith(("http://", "https://")) else ObjectPlace(text)


def make_absolute(path: str, folder: Path) -> str:
    """Make a path absolute; a relative one begins at `folder`.

    Raises InputError for what cannot be a path.
    """
    folder = folder.absolute()  # an absolute path never begins with ~
    # What exists is literal: a name may begin with ~.
    is_literal = path.startswith("~") and os.path.lexists(folder / path)
    circle = f"{path!r} cannot be a path: its links form a loop"
    try:
        absolute = get_place(folder / path if is_literal else path).make_absolute(folder)
        if os.path.islink(absolute):  # what is resolved is none; Python 3.13 tells of no circle
            raise InputError(circle)
        return absolute
    except RuntimeError as error:
        raise InputError(circle) from error
    except InputError:
        raise
    except (OSError, ValueError) as error:  # a zero byte
        raise InputError(f"{path!r} cannot be a path: {error}") from error


@contextmanager
def explaining_unreadable(path: str) -> Iterator[None]:
    """Turn errors of the system, raised in the block, to an InputError that names the path.

    These are an unreadable folder, a name that is too long, and circular links.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


class RecordWriter(Protocol):
    """Takes records in order; appending does not wait for a remote store."""

    def append(self, content: bytes) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: Any) -> None: ...


class Records(Protocol):
    """Records that are appended at a place: in one file, or in a sequence of objects."""

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Read every piece, as (name, content); nothing if none is there.

        A piece is an object of a store; a local file is one piece with the name "".
        """
        ...

    def write(self, good: Mapping[str, int], title: bytes = b"") -> RecordWriter:
        """Open the records to append to them.

        Parameters
        ----------
        good : how many bytes of each piece are kept, by its name; what follows them is deleted,
            and so are pieces of 0 bytes
        title : bytes that every new piece begins with
        """
        ...


class Build(Protocol):
    """An output that is made in many steps, by many processes, and counts only once complete.

    Attributes
    ----------
    path : where it is written, which need not be its place
    """

    @property
    def path(self) -> str: ...

    def settle(self) -> None:
        """Restore what a dead process was replacing; an unfinished output stays."""
        ...

    def is_whole(self) -> bool:
        """Whether a complete output is at the place."""
        ...

    def is_begun(self) -> bool:
        """Whether an output was laid out that is not yet complete."""
        ...

    def beginning(self) -> AbstractContextManager[list[bytes]]:
        """Delete an unfinished output; the block lays out a new one, which is begun at its end.

        What it adds to the list are the records of steps that are done then.
        """
        ...

    def finish(self) -> None:
        """Put the output at its place; what was there before is deleted."""
        ...

    def tidy(self) -> None:
        """Delete what a complete output does not need, if a process died before doing so."""
        ...

    def open_records(self) -> Records:
        """Open the records of the steps that are done."""
        ...


class Place(Protocol):
    """Where something is, or is to be. Paths from a place are text, like the user's.

    Every method raises `UnreachableError` if a store stays out of reach.

    Attributes
    ----------
    path : without a slash at its end
    name : the last component of the path
    """

    @property
    def path(self) -> str: ...

    @property
    def name(self) -> str: ...

    # --- names; no store is accessed ---

    def make_absolute(self, folder: Path) -> str:
        """Make the path absolute; a relative one begins at `folder`."""
        ...

    def get_sibling(self, name: str) -> Place:
        """Get the place of that name in the same folder."""
        ...

    def get_child(self, name: str) -> Place:
        """Get the place of that name in this folder."""
        ...

    @property
    def location(self) -> tuple[str, ...]:
        """The components of the path, outermost first; unique to the place."""
        ...

    @property
    def is_pattern(self) -> bool:
        """Whether the last component stands for many files, such as ``frames/*.tif``."""
        ...

    @property
    def has_wildcards(self) -> bool:
        """Whether the path stands for many paths, which `list_matching` gives.

        The part that exists is literal, whatever its name: only the rest can be a pattern.
        """
        ...

    def split_pattern(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Split the path into the leading components that exist and the rest, the pattern."""
        ...

    def matches(self, pattern: str) -> bool:
        """Whether this path matches `pattern`, a path with wildcards."""
        ...

    # --- what is there ---

    def exists(self) -> bool:
        """Whether something is there; for a path that ends in .zarr, something zarr can open."""
        ...

    def is_occupied(self) -> bool:
        """Whether anything is there, be it incomplete."""
        ...

    def is_file(self) -> bool: ...

    def is_folder(self) -> bool:
        """Whether it is a folder of files; a store that knows no folders says no."""
        ...

    def list_siblings(self) -> list[str]:
        """List the paths of everything in the same folder, this one included."""
        ...

    def list_matching(self) -> list[str]:
        """List the paths that match this one, which may have wildcards anywhere, sorted."""
        ...

    def list_files(self) -> list[str]:
        """List the files of a pattern or in a folder, in natural order: frame9 before frame10."""
        ...

    def list_below(self) -> list[str]:
        """List all files in a folder and its folders, by their path from it."""
        ...

    # --- reading ---

    def describe_missing(self) -> str:
        """Describe what does not exist, in a line, with the nearest name that does, if known."""
        ...

    def call_interruptibly(self, look: Callable[[], Answer]) -> Answer:
        """Call `look` and return its result; warn of a silent store, and let Ctrl-C stop it."""
        ...

    def explaining_outages(self) -> AbstractContextManager[None]:
        """Turn errors of the connection to a store, raised in the block, to UnreachableError."""
        ...

    def open(self) -> BinaryIO:
        """Open the file for reading; raises FileNotFoundError if it does not exist."""
        ...

    def get_source(self) -> str | BinaryIO:
        """Get what a library can read the file from: a local path, or the open file."""
        ...

    def load_array(self) -> NDArray[Any]:
        """Load the array of a .npy file; a local one is mapped into memory."""
        ...

    def fetching(self) -> AbstractContextManager[Path]:
        """Give the local path of the file or folder, or of a copy that lasts for the block.

        Raises FileNotFoundError if nothing is there.
        """
        ...

    def open_zarr(self) -> zarr.Array[Any] | zarr.Group:
        """Open the Zarr array or group for reading; raises InputError if there is none."""
        ...

    def make_zarr_store(self, *, read_only: bool = True) -> StoreLike:
        """Make the store by which zarr opens this place."""
        ...

    # --- writing: whenever a process dies, either the old or the new content is complete ---

    @property
    def keeps_old(self) -> bool:
        """Whether an old output stays until the new one is complete."""
        ...

    def check_name(self) -> None:
        """Raise InputError if such a name cannot be written; no store is asked."""
        ...

    def check_writable(self) -> None:
        """Raise InputError if nothing can be written there, which is tried."""
        ...

    def replacing(self) -> AbstractContextManager[Path]:
        """Give a path for a new file or folder, put at this place if the block succeeds."""
        ...

    def put(self, made: Path) -> None:
        """Put a local file or folder at this place; what was there is deleted."""
        ...

    def discard(self) -> None:
        """Delete the file or folder; the path is free at once."""
        ...

    def settle(self) -> None:
        """Finish or undo what a dead process has left; for one process at a time."""
        ...

    def finish(self) -> None:
        """Move a complete output that lies beside this place to it; several processes may do so."""
        ...

    def retry_while_away(self, act: Callable[[], Answer]) -> Answer:
        """Call `act`, again while the store is out of reach and a run waits; its result."""
        ...

    def is_cut_off_by(self, error: BaseException) -> bool:
        """Whether an error says that this place cannot be written for now."""
        ...

    def holding_lock(self, key: str = "") -> AbstractContextManager[None]:
        """Keep other runs off this output during the block.

        Raises InputError that says who holds it. `key` is the settings' key for an output besides
        the shifts, or TARGET; only for shifts is it reported that locking is impossible.
        """
        ...

    def open_records(self) -> Records:
        """Open the records that are appended at this place."""
        ...

    def open_build(self) -> Build:
        """Open the build of an output that is made here in many steps."""
        ...

    def make_log_handler(self) -> logging.Handler:
        """Make the handler that appends the lines of a log here; raises OSError if it cannot.

        Raises InputError if something other than a file is there.
        """
        ...


def paths_overlap(first_path: str, second_path: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    first, second = get_place(first_path).location, get_place(second_path).location
    length = min(len(first), len(second))
    return first[:length] == second[:length]
