"""Keep track of a corrected stack that is written in many steps: which it is, and how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import zarr

from steadystack.durable import RecordWriter, explain_unwritable, get_place
from steadystack.model import InputError, OutputError, UnreachableError

OWN = "steadystack"  # the attribute that tells where a stack comes from


class TaskRecord:
    """The record of done tasks, a line of text for each with the numbers it returned.

    A line is written when everything of its task is stored. A process that is killed leaves at most
    its last line incomplete, and that one is ignored.

    Parameters
    ----------
    path : of the stack

    Attributes
    ----------
    done : the numbers that every task returned in an earlier process, by the number of the task
    """

    def __init__(self, path: str) -> None:
        self._records = get_place(path).open_build().open_records()
        self.done = dict[int, list[int]]()
        self._good: dict[str, int] = {}
        for name, content in self._records.read():
            lines, newline, _ = content.rpartition(b"\n")
            self._good[name] = len(lines) + len(newline)
            for line in lines.splitlines():
                number, *values = map(int, line.split())
                self.done[number] = values
        self._writer: RecordWriter

    def add(self, number: int, values: list[int]) -> None:
        """Record that the task of this number is done, and the numbers it returned."""
        self._writer.append((" ".join(map(str, (number, *values))) + "\n").encode("ascii"))

    def __enter__(self) -> Self:
        self._writer = self._records.write(self._good)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._writer.__exit__(*raised)


def read_digest(path: str) -> str | None:
    """Read the digest of the corrected stack at a path; None if there is no complete one.

    Raises InputError if something else is there, which is never overwritten.
    """
    return _read_identity(path)[0] if get_place(path).open_build().is_whole() else None


def read_begun(path: str) -> tuple[str, str] | None:
    """Read digest and layout (the cut into tasks) of the stack that was begun; None: none was."""
    build = get_place(path).open_build()
    return _read_identity(build.path) if build.is_begun() else None


def _read_identity(path: str) -> tuple[str, str]:
    """Read digest and layout of a corrected stack; raises InputError if it is none."""
    place = get_place(path)
    try:
        with place.explaining_outages():
            attributes: Any = dict(zarr.open_group(place.make_zarr_store(), mode="r").attrs)
        identity = attributes[OWN]
        return str(identity["digest"]), str(identity.get("layout", ""))
    except UnreachableError:
        raise
    except Exception as error:  # whatever lies there
        raise InputError(
            f"{path} exists and is not a corrected stack: it will not be overwritten; set another "
            "output.corrected"
        ) from error


@contextmanager
def explaining_write_errors(path: str) -> Iterator[None]:
    """Turn an OSError that is raised inside into an OutputError, with a line that explains it."""
    try:
        yield
    except OSError as error:
        explained = explain_unwritable(path, error)
        if not isinstance(explained, OutputError):
            explained = OutputError(str(explained))
        raise explained from error
