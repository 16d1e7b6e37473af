"""A stack that is written in many steps: beside its place until it is whole, and how far it is.

A remote stack is written at its place, as nothing can be moved there; objects beside it, under its
path with ``.partial``, say that it is not whole yet and how far it is, and go away at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zarr

from steadystack.model import InputError, OutputError, UnreachableError
from steadystack.store import files, objects
from steadystack.store.appender import Appender, Numbered, numbers
from steadystack.store.files import PARTIAL, unwritable
from steadystack.store.remote import is_remote, telling_outages, zarr_store

RECORD = ".done"  # a line for every task that is done, in the folder of the stack
BEGUN = "begun"  # beside a remote stack: that it is not whole; and what it will be, once laid out
OWN = "steadystack"  # the attribute that tells where a stack comes from


class Record:
    """Which tasks are done, each with the numbers it gave: one line of text for each.

    A line is written when all that the task wrote is on its place; a process that is killed leaves
    at most the last line torn, which then counts for nothing. On an object store the lines are put
    into objects in the background.

    Parameters
    ----------
    path : of the stack
    """

    def __init__(self, path: str) -> None:
        self.folder = path.rstrip("/") + PARTIAL
        self.file = Path(self.folder) / RECORD
        self.sent = Appender(Numbered(self.folder)) if is_remote(path) else None

    def read(self) -> dict[int, list[int]]:
        found = ([int(word) for word in line.split()] for line in self._whole().splitlines())
        return {number: values for number, *values in found}

    def _whole(self) -> str:
        """The lines that are not torn; what else there is goes away."""
        if self.sent is not None:
            names = numbers(objects.below(self.folder))
            content = b"".join(lines for _, lines in objects.get_all(self.folder, names))
            return content.decode("ascii")
        if not self.file.exists():
            return ""
        text = self.file.read_text(encoding="ascii", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.file.write_text(whole, encoding="ascii")
        return whole

    def add(self, number: int, values: list[int]) -> None:
        line = " ".join(map(str, (number, *values))) + "\n"
        if self.sent is not None:
            self.sent.append(line.encode("ascii"))
            return
        with self.file.open("a", encoding="ascii") as file:
            file.write(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.sent is not None:
            self.sent.__exit__(kind, error, trace)


def writing_path(path: str) -> str:
    """Where a stack is written until it is whole."""
    return path if is_remote(path) else path.rstrip("/") + PARTIAL


def digest_at(path: str) -> str | None:
    """The digest of the corrected stack at a path; None if nothing is there, or nothing whole.

    Raises InputError if something else is there: that is never written over.
    """
    if is_remote(path):
        there = not objects.is_object(_begun_at(path)) and objects.any_below(path)
    else:
        there = Path(path).exists()
    if not there:
        return None
    try:
        return str(_told_at(path)["digest"])
    except UnreachableError:
        raise
    except Exception as error:  # whatever lies there
        raise InputError(
            f"{path} is there and is no corrected stack: it is not overwritten, give another "
            "output.corrected"
        ) from error


def begun_at(path: str) -> tuple[str, str] | None:
    """Digest and layout (how it is cut into tasks) of what was begun for a path; None: nothing."""
    if is_remote(path):
        found = objects.get(_begun_at(path))
        told = json.loads(found.data or b"{}") if found is not None else {}
        return (told["digest"], told["layout"]) if told else None
    digest = digest_at(path.rstrip("/") + PARTIAL)
    return None if digest is None else (digest, _told_at(path.rstrip("/") + PARTIAL)["layout"])


def _told_at(path: str) -> Any:
    """What a corrected stack tells of itself."""
    with telling_outages(path):
        attributes: Any = dict(zarr.open_group(zarr_store(path), mode="r").attrs)
    return attributes[OWN]


def settle(path: str) -> None:
    """Put back what was being replaced when a process died; what was begun stays."""
    if not is_remote(path):
        files.settle(path, keep_partial=True)
    elif not objects.is_object(_begun_at(path)):
        objects.delete_below(path.rstrip("/") + PARTIAL)


@contextmanager
def beginning(path: str, digest: str, layout: str) -> Iterator[None]:
    """What is laid out in here is begun, in the place of all that was begun there before."""
    if not is_remote(path):
        files.discard(path.rstrip("/") + PARTIAL)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        yield
        return
    partial = path.rstrip("/") + PARTIAL
    objects.put(_begun_at(path), b"")  # from here on it is not whole, whatever lies there
    objects.delete(partial, [name for name in objects.below(partial) if name != BEGUN])
    objects.delete_below(path)
    yield
    told = json.dumps({"digest": digest, "layout": layout})
    objects.put(_begun_at(path), told.encode())


def put_in_place(path: str) -> None:
    """Let what is written become the stack; what was there before goes away."""
    path = path.rstrip("/")
    if is_remote(path):
        objects.delete(_begun_at(path))  # now it is whole
        objects.delete_below(path + PARTIAL)
        return
    files.put(Path(path + PARTIAL), Path(path))
    tidy(path)


def tidy(path: str) -> None:
    """Delete what a whole stack does not need, if a process died before it did."""
    if not is_remote(path):
        files.discard(path.rstrip("/") + PARTIAL)
        Path(path, RECORD).unlink(missing_ok=True)


@contextmanager
def writing(path: str) -> Iterator[None]:
    """What the system says of a path that cannot be written, in a line."""
    try:
        yield
    except OSError as error:
        found = unwritable(path, error)
        raise (found if isinstance(found, OutputError) else OutputError(str(found))) from error


def _begun_at(path: str) -> str:
    return f"{path.rstrip('/')}{PARTIAL}/{BEGUN}"
