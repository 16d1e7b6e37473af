"""Where the parts of a shared-out measuring lie: shifts datasets beside that of the whole."""

from __future__ import annotations

from pathlib import Path

from pipeline.store.files import discard
from pipeline.store.journal import journal_path
from pipeline.store.shifts import check_replaceable


def part_path(path: str, number: int, count: int) -> str:
    """Of the part with that number, from 1, of so many, beside the dataset of the whole."""
    whole = Path(path)
    return str(whole.with_name(f"{whole.stem}.part-{number}-of-{count}{whole.suffix}"))


def part_paths(path: str) -> list[str]:
    """Of the parts that are there, however many there were to be."""
    whole = Path(path)
    if not whole.parent.is_dir():
        return []
    begin = f"{whole.stem}.part-"
    return sorted(
        str(found)
        for found in whole.parent.iterdir()
        if found.name.startswith(begin) and found.suffix == whole.suffix
        and found.name.count(".part-") == 1 and len(found.suffixes) == len(whole.suffixes) + 1
    )  # fmt: skip


def remove_part(path: str) -> None:
    """A part, its journal and its lock, and the images that its frames were corrected with."""
    part = Path(path)
    check_replaceable(path)
    discard(journal_path(path))
    for found in (part, part.with_name(f".{part.name}.lock"), *part.parent.glob(f"{part.name}.*")):
        discard(found)
