"""Where the parts of a shared-out measuring lie: shifts datasets beside that of the whole."""

from __future__ import annotations

from pathlib import PurePath

from steadystack.store.files import discard, exists, siblings, with_name
from steadystack.store.journal import journal_path
from steadystack.store.shifts import check_replaceable


def part_path(path: str, number: int, count: int) -> str:
    """Of the part with that number, from 1, of so many, beside the dataset of the whole."""
    whole = PurePath(path)
    return with_name(path, f"{whole.stem}.part-{number}-of-{count}{whole.suffix}")


def part_paths(path: str) -> list[str]:
    """Of the parts that are there, however many there were to be."""
    whole = PurePath(path)
    begin = f"{whole.stem}.part-"
    return [
        found
        for found in siblings(path)
        if (name := PurePath(found)).name.startswith(begin) and name.suffix == whole.suffix
        and name.name.count(".part-") == 1 and len(name.suffixes) == len(whole.suffixes) + 1
        and exists(found)
    ]  # fmt: skip


def remove_part(path: str) -> None:
    """A part, its journal and its lock, and the images that its frames were corrected with."""
    check_replaceable(path)
    discard(journal_path(path))
    name = PurePath(path).name
    discard(path)
    for found in siblings(path):
        if PurePath(found).name == f".{name}.lock" or PurePath(found).name.startswith(f"{name}."):
            discard(found)
