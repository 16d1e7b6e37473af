"""A stack that is written in many steps: beside its place until it is whole, and how far it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zarr

from pipeline.model import InputError, OutputError
from pipeline.store.files import BEFORE, PARTIAL, unwritable

RECORD = ".done"  # a line for every task that is done, in the folder of the stack
OWN = "steadystack"  # the attribute that tells where a stack comes from


class Record:
    """Which tasks are done, each with the numbers it gave: one line of text for each.

    A line is written when all that the task wrote is on its place; a process that is killed leaves
    at most the last line torn, which then counts for nothing.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / RECORD

    def read(self) -> dict[int, list[int]]:
        if not self.path.exists():
            return {}
        text = self.path.read_text(encoding="ascii", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.path.write_text(whole, encoding="ascii")
        found = ([int(word) for word in line.split()] for line in whole.splitlines())
        return {number: values for number, *values in found}

    def add(self, number: int, values: list[int]) -> None:
        with self.path.open("a", encoding="ascii") as file:
            file.write(" ".join(map(str, (number, *values))) + "\n")


def partial_path(path: str) -> str:
    """Where a stack is written until it is whole."""
    return path.rstrip("/") + PARTIAL


def digest_at(path: str) -> str | None:
    """The digest of the corrected stack at a path; None if nothing is there.

    Raises InputError if something else is there: that is never written over.
    """
    if not Path(path).exists():
        return None
    try:
        attributes: Any = dict(zarr.open_group(path, mode="r").attrs)
        return str(attributes[OWN]["digest"])
    except Exception as error:  # whatever lies there
        raise InputError(
            f"{path} is there and is no corrected stack: it is not overwritten, give another "
            "output.corrected"
        ) from error


def layout_at(path: str) -> str:
    """How the corrected stack at a path is cut into tasks: a digest."""
    attributes: Any = dict(zarr.open_group(path, mode="r").attrs)
    return str(attributes[OWN]["layout"])


def settle(path: str) -> None:
    """Put back what was being replaced when a process died."""
    before = Path(path.rstrip("/") + BEFORE)
    if before.exists() and not Path(path).exists():
        os.replace(before, path)
    remove(str(before))


def remove(path: str) -> None:
    """Delete a file or a folder, if it is there."""
    if Path(path).is_dir():
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)


def put_in_place(path: str) -> None:
    """Let what is written become the stack; what was there before goes away."""
    path = path.rstrip("/")
    if Path(path).exists():
        os.replace(path, path + BEFORE)
    os.replace(path + PARTIAL, path)
    remove(path + BEFORE)
    if Path(path).is_dir():
        Path(path, RECORD).unlink(missing_ok=True)


@contextmanager
def writing(path: str) -> Iterator[None]:
    """What the system says of a path that cannot be written, in a line."""
    try:
        yield
    except OSError as error:
        found = unwritable(path, error)
        raise (found if isinstance(found, OutputError) else OutputError(str(found))) from error
