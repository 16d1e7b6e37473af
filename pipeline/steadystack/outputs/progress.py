"""Keep track of a corrected stack that is written in many steps: its identity and progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import zarr

from steadystack.durable import RecordWriter, explain_unwritable, explain_unwritten, get_place
from steadystack.model import InputError, OutputError, UnreachableError
from steadystack.outputs.marks import Origin

OWN = "steadystack"  # the attribute that says where a stack comes from
CORRECTED, MEAN, MOVIE = "output.corrected", "output.mean", "output.movie"
WHAT = {CORRECTED: "a corrected stack", MEAN: "a mean of a corrected series"}
LISTED = "images"  # what a mean lists in the attribute, and no corrected stack does


class TaskRecord:
    """The record of finished tasks, a line of text for each with the numbers it returned.

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
        self._writer.append(make_record(number, values))

    def __enter__(self) -> Self:
        self._writer = self._records.write(self._good)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._writer.__exit__(*raised)


def make_record(number: int, values: Sequence[int]) -> bytes:
    """Make the line that records a task and the numbers it returned."""
    return (" ".join(map(str, (number, *values))) + "\n").encode("ascii")


def read_digest(path: str, key: str = CORRECTED) -> str | None:
    """Read the digest of the output of `key` at a path; None if there is no complete one.

    Raises InputError if something else is there, which is never overwritten.
    """
    return _read_identity(path, key)[0] if get_place(path).open_build().is_whole() else None


def read_begun(path: str, key: str = CORRECTED) -> tuple[str, str] | None:
    """Read digest and layout (the cut into tasks) of what was begun; None: nothing."""
    build = get_place(path).open_build()
    return _read_identity(build.path, key) if build.is_begun() else None


def read_stored_origin(path: str) -> Origin | None:
    """Read where a whole corrected stack or mean comes from; None: there is none of ours."""
    place = get_place(path)
    if not place.open_build().is_whole():
        return None
    try:
        own: Any = zarr.open_group(place.make_zarr_store(), mode="r").attrs[OWN]
        return Origin(*(str(own.get(name, "")) for name in ("digest", "fingerprint", "run")))
    except (AttributeError, KeyError, TypeError, ValueError, FileNotFoundError):
        return None


def _read_identity(path: str, key: str) -> tuple[str, str]:
    """Read digest and layout of a corrected stack or a mean; raises InputError if it is none."""
    place = get_place(path)
    try:
        with place.explaining_outages():
            attributes: Any = dict(zarr.open_group(place.make_zarr_store(), mode="r").attrs)
        identity = attributes[OWN]
        if (LISTED in identity) != (key == MEAN):
            raise KeyError(key)
        return str(identity["digest"]), str(identity.get("layout", ""))
    except UnreachableError:
        raise
    except Exception as error:  # whatever lies there
        raise InputError(
            f"{path} exists and is not {WHAT[key]}: it will not be overwritten; set another {key}"
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


@contextmanager
def writing_at_once(path: str) -> Iterator[None]:
    """Turn an OSError raised inside into a line that says why a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise explain_unwritten(path, error) from error
