"""Tell files that this program made from those of others, which no output replaces.

Pages and pictures bear a mark inside. Tables and layers have no room for one: a hidden file beside
them keeps the digest of what was written, so that a table that somebody edited is theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from steadystack.durable import get_place
from steadystack.model import InputError

NAME = "steadystack"
# What the first or last bytes of a file hold that was made here, by its suffix.
MARKS = {
    ".html": (b'<meta name="generator" content="steadystack">', b"<!-- made by steadystack -->"),
    ".png": (b"Software\x00steadystack",),
    ".svg": (b"<dc:title>steadystack</dc:title>",),
    ".pdf": (b"/Creator (steadystack)",),
}
PREVIEW_MARK = b'<meta name="steadystack" content="preview">'
SEARCHED_BYTES = 2**16  # at either end of a file
DIGESTS = ".steadystack-digest"


def make_figure_metadata(suffix: str) -> dict[str, str | None]:
    """The metadata that marks a figure, as matplotlib's ``savefig`` takes it; it has no date."""
    if suffix == ".png":
        return {"Software": NAME}
    return {"Creator": NAME, "CreationDate" if suffix == ".pdf" else "Date": None}


def mark_page(path: Path) -> None:
    """Mark an HTML file of another library as one that was made for a run."""
    with path.open("ab") as file:
        file.write(b"\n" + MARKS[".html"][1] + b"\n")


def check_own_file(path: str, key: str = "") -> None:
    """Raise InputError if there is a file, or folder, at a path that was not made here.

    Parameters
    ----------
    key : of the settings, for the error
    """
    if not _is_own(path):
        raise InputError(
            f"{key} {path}".lstrip() + " exists and was not made by steadystack: it will not be "
            "overwritten; move it, or choose another path"
        )


def check_own_preview(path: str) -> None:
    """Raise InputError if there is something at a path that is not the page of a preview."""
    place = get_place(path)
    if not place.is_occupied():
        return
    if place.is_file():
        with place.open() as file:
            if PREVIEW_MARK in file.read(SEARCHED_BYTES):
                return
    raise InputError(
        f"{path} exists and is no preview made by steadystack: it will not be overwritten; move "
        "it, or give output.report, beside which a preview lies, another name"
    )


@contextmanager
def replacing_own_file(path: str, key: str = "", made_of: str = "") -> Iterator[Path]:
    """A path to write a file at, which takes its place when all went well.

    `made_of` is a hash of what the file is made of, for files without room for it, which
    `read_made_of` finds again. Raises InputError if what is there was not made here.
    """
    check_own_file(path, key)
    with get_place(path).replacing() as new:
        yield new
        if PurePath(path).suffix not in MARKS:
            _keep_digests(path, new, made_of)


def read_made_of(path: str) -> str | None:
    """Read the hash of what the file at a path was made of; None: there is none, or not known."""
    if not get_place(path).is_file():
        return None
    known = dict(entry.partition("=")[::2] for entry in _read_digests(path) if "=" in entry)
    return known.get(_read_content_digest(path))


def _is_own(path: str) -> bool:
    place = get_place(path)
    if not place.is_occupied():
        return True
    if not place.is_file():
        return False
    marks = MARKS.get(PurePath(path).suffix)
    if marks is None:
        return _read_content_digest(path) in _read_digests(path)
    with place.open() as file:
        ends = file.read(SEARCHED_BYTES)
        file.seek(max(file.seek(0, 2) - SEARCHED_BYTES, 0))
        ends += file.read()
    return any(mark in ends for mark in marks)


def _get_digests_path(path: str) -> str:
    place = get_place(path)
    return place.get_sibling(f".{place.name}{DIGESTS}").path


def _read_content_digest(path: str) -> str:
    digest = hashlib.sha256()
    with get_place(path).open() as file:
        while block := file.read(SEARCHED_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _read_digests(path: str) -> list[str]:
    try:
        with get_place(_get_digests_path(path)).open() as file:
            return file.read().decode("ascii", "replace").split()
    except FileNotFoundError:
        return []


def _keep_digests(path: str, new: Path, made_of: str) -> None:
    """Keep the digest of what takes the place of a file, and of what is there until then."""
    digests = []
    if get_place(path).is_occupied():
        digests.append(_read_content_digest(path))
        if before := read_made_of(path):
            digests.append(f"{digests[0]}={before}")
    with new.open("rb") as file:
        digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if made_of:
        digests.append(f"{digests[-1]}={made_of}")
    with get_place(_get_digests_path(path)).replacing() as kept:
        kept.write_text("\n".join(digests) + "\n", encoding="ascii")
