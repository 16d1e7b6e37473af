"""Tables in text files: lists of pairs, rows for other programs, what became of many inputs."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import InputError
from steadystack.store.files import staged


def read_pair_list(path: str) -> NDArray[np.int64]:
    """The pairs (reference, moving) of a CSV file, an integer array (pairs, 2).

    Each line holds two whole numbers; a first line of words is a heading, empty lines and what
    stands behind ``#`` are left out.

    Raises InputError that names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {why}") from error
    pairs: list[tuple[int, int]] = []
    rows = csv.reader(line.split("#")[0] for line in text.splitlines())
    for number, cells in enumerate(rows, start=1):
        row = [cell.strip() for cell in cells]
        if not any(row) or (not pairs and row == ["reference", "moving"]):
            continue
        try:
            reference, moving = map(int, row)
        except ValueError:
            raise InputError(
                f"{path}, line {number}: {','.join(cells)!r} is not a pair: two whole numbers, "
                "reference,moving"
            ) from None
        pairs.append((reference, moving))
    return np.array(pairs, np.int64).reshape(-1, 2)


def write_table(path: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A CSV file of these columns, in place of what is there."""
    try:
        with staged(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([names, *rows])
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error


def digest_of(pairs: NDArray[np.int64]) -> str:
    """A short hash of a list of pairs."""
    return hashlib.sha256(np.ascontiguousarray(pairs, "<i8").tobytes()).hexdigest()[:16]


def write_rows(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file with a line per row; what is None stays empty."""
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
