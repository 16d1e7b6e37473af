"""A corrected stack that is written in many steps: what there is of it, and how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import zarr

from steadystack.durable import RecordWriter, explain_unwritable, get_place
from steadystack.model import InputError, OutputError, UnreachableError

OWN = "steadystack"  # the attribute that tells where a stack comes from


class TaskRecord:
    """Which tasks are done, each with the numbers it gave: one line of text for each.

    A line is written when all that the task wrote is on its place; a process that is killed leaves
    at most the last line torn, which then counts for nothing.

    Parameters
    ----------
    path : of the stack

    Attributes
    ----------
    done : the numbers that every task gave, by its number, as an earlier process left them
    """

    def __init__(self, path: str) -> None:
        self._records, self.done = (
            get_place(path).open_build().open_records(),
            dict[int, list[int]](),
        )
        self._good: dict[str, int] = {}
        for name, content in self._records.read():
            lines, torn, _ = content.rpartition(b"\n")
            self._good[name] = len(lines) + len(torn)
            for line in lines.splitlines():
                number, *values = map(int, line.split())
                self.done[number] = values
        self._writer: RecordWriter

    def add(self, number: int, values: list[int]) -> None:
        self._writer.append((" ".join(map(str, (number, *values))) + "\n").encode("ascii"))

    def __enter__(self) -> Self:
        self._writer = self._records.write(self._good)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._writer.__exit__(*raised)


def read_digest(path: str) -> str | None:
    """The digest of the corrected stack at a path; None if nothing is there, or nothing whole.

    Raises InputError if something else is there: that is never written over.
    """
    return _read_identity(path)[0] if get_place(path).open_build().is_whole() else None


def read_begun(path: str) -> tuple[str, str] | None:
    """Digest and layout (how it is cut into tasks) of what was begun for a path; None: nothing."""
    build = get_place(path).open_build()
    return _read_identity(build.path) if build.is_begun() else None


def _read_identity(path: str) -> tuple[str, str]:
    """Digest and layout, as a corrected stack tells them; raises InputError if it is none."""
    where = get_place(path)
    try:
        with where.explaining_outages():
            attributes: Any = dict(zarr.open_group(where.zarr_store(), mode="r").attrs)
        own = attributes[OWN]
        return str(own["digest"]), str(own.get("layout", ""))
    except UnreachableError:
        raise
    except Exception as error:  # whatever lies there
        raise InputError(
            f"{path} exists and is not a corrected stack: it will not be overwritten; set another "
            "output.corrected"
        ) from error


@contextmanager
def explaining_write_errors(path: str) -> Iterator[None]:
    """What the system says of a path that cannot be written, in a line."""
    try:
        yield
    except OSError as error:
        found = explain_unwritable(path, error)
        raise (found if isinstance(found, OutputError) else OutputError(str(found))) from error
