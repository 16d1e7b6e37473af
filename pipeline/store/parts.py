"""Where the parts of a shared-out measuring lie: shifts datasets beside that of the whole."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.store.shifts import remove


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
    """A part, and the images that its frames were corrected with."""
    remove(path)
    for image in Path(path).parent.glob(f"{Path(path).name}.*.zarr"):
        shutil.rmtree(image)
