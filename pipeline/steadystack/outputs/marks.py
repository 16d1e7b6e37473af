"""Distinguish files made by this program from others, which no output replaces.

Pages and pictures carry a mark inside. Tables and layers have no room for one: a hidden file beside
them keeps the digest of what was written, so that an edited table counts as the user's. Both can
also record which run they are from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from steadystack.durable import get_place
from steadystack.model import InputError

NAME = "steadystack"
# What the first or last bytes of a file made here contain, by suffix.
MARKS = {
    ".html": (b'<meta name="generator" content="steadystack">', b"<!-- made by steadystack -->"),
    ".png": (b"Software\x00steadystack",),
    ".svg": (b"<dc:title>steadystack</dc:title>",),
    ".pdf": (b"/Creator (steadystack)",),
}
PREVIEW_MARK = b'<meta name="steadystack" content="preview">'
SEARCHED_BYTES = 2**16  # at either end of a file
DIGESTS = ".steadystack-digest"
DIGEST = re.compile(r"[0-9a-f]{64}(=.*)?")  # an entry of it, which may contain the origin
OF_RUN = "steadystack-run"  # precedes the name of a run, in pages and pictures


@dataclass(frozen=True)
class Origin:
    """Where an image of a run comes from; "" where not recorded.

    Attributes
    ----------
    digest : of what it is made from
    fingerprint : of the measurement
    run : its name, see `name_run`
    """

    digest: str = ""
    fingerprint: str = ""
    run: str = ""

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Parse what `dump` made, or a digest alone."""
        return cls(*text.split(":")[:3])

    def dump(self) -> str:
        """Make a text without spaces."""
        return f"{self.digest}:{self.fingerprint}:{self.run}"


def name_run(shifts: str, path: str) -> str:
    """Name a run for an output at a path: by the relative path to its dataset.

    The name is the same if both are moved together, and reveals no path.
    """
    to, folder = get_place(shifts).location, get_place(path).location[:-1]
    common = 0
    while common < min(len(to), len(folder)) and to[common] == folder[common]:
        common += 1
    way = (*[".."] * (len(folder) - common), *to[common:])
    return hashlib.sha256("/".join(way).encode(errors="surrogateescape")).hexdigest()[:16]


def is_of_state(path: str, run: str) -> bool:
    """Whether there is a page or picture at a path, made here for exactly the state named by `run`.

    That is the name of a run plus its state, as written into the page.
    """
    return get_place(path).is_file() and f"{OF_RUN} {run}".encode("ascii") in _read_ends(path)


def make_figure_metadata(suffix: str, run: str = "") -> dict[str, str | None]:
    """The metadata that marks a figure, as matplotlib's ``savefig`` takes it; it has no date.

    `run` is the name of its run; "": none.
    """
    of_run: dict[str, str | None] = {}
    if run:
        name = {".png": "Comment", ".pdf": "Keywords"}.get(suffix, "Identifier")
        of_run[name] = f"{OF_RUN} {run}"
    if suffix == ".png":
        return {"Software": NAME, **of_run}
    return {"Creator": NAME, "CreationDate" if suffix == ".pdf" else "Date": None, **of_run}


def mark_page(path: Path, run: str = "") -> None:
    """Mark an HTML file written by another library as made for the run of that name."""
    with path.open("ab") as file:
        file.write(b"\n" + MARKS[".html"][1] + b"\n")
        if run:
            file.write(f"<!-- {OF_RUN} {run} -->\n".encode("ascii"))


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
    if PurePath(path).suffix not in MARKS:
        _check_own_digests(path)


def check_of_run(path: str, run: str, key: str) -> None:
    """Raise InputError if the page or picture at a path was made here for another run.

    Parameters
    ----------
    run : the name of this run, see `name_run`
    key : of the settings, for the error
    """
    place = get_place(path)
    if not place.is_file() or PurePath(path).suffix not in MARKS:
        return
    found = re.search(rf"{OF_RUN} (\w+)".encode(), _read_ends(path))
    if found and not found[1].startswith(run.encode("ascii")):  # other bytes may follow it
        raise InputError(
            f"{key} {path} is the page of another run, whose output.shifts is another: it will not "
            f"be overwritten; set another {key}, or move it"
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
        f"{path} exists and is not a preview made by steadystack: it will not be overwritten; move "
        "it, or give output.report, beside which a preview lies, another name"
    )


@contextmanager
def replacing_own_file(path: str, key: str = "", origin: Origin | None = None) -> Iterator[Path]:
    """Give a path to write a file to, which is moved into place on success.

    `origin` is kept beside files that have no room for it; `read_kept_origin` finds it again.
    Raises InputError if the existing file was not made here, or was put there meanwhile.
    """
    check_own_file(path, key)
    with get_place(path).replacing() as new:
        yield new
        check_own_file(path, key)  # writing takes long; a foreign file may be there by now
        if PurePath(path).suffix not in MARKS:
            _keep_digests(path, new, origin)


def read_kept_origin(path: str) -> Origin | None:
    """Read where the file at a path comes from; None: there is none, or it is not known."""
    if not get_place(path).is_file():
        return None
    known = dict(entry.partition("=")[::2] for entry in _read_digests(path) if "=" in entry)
    text = known.get(_read_content_digest(path))
    return None if text is None else Origin.parse(text)


def _is_own(path: str) -> bool:
    place = get_place(path)
    if not place.is_occupied():
        return True
    if not place.is_file():
        return False
    marks = MARKS.get(PurePath(path).suffix)
    if marks is None:
        return _read_content_digest(path) in _read_digests(path)
    ends = _read_ends(path)
    return any(mark in ends for mark in marks)


def _read_ends(path: str) -> bytes:
    """Read the first and last bytes of a file."""
    with get_place(path).open() as file:
        begin = file.read(SEARCHED_BYTES)
        file.seek(max(file.seek(0, 2) - SEARCHED_BYTES, 0))
        return begin + file.read()


def _get_digests_path(path: str) -> str:
    place = get_place(path)
    return place.get_sibling(f".{place.name}{DIGESTS}").path


def _read_content_digest(path: str) -> str:
    digest = hashlib.sha256()
    with get_place(path).open() as file:
        while block := file.read(SEARCHED_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _check_own_digests(path: str) -> None:
    """Raise InputError if a foreign file is where the digests of a file at a path are kept."""
    kept = get_place(_get_digests_path(path))
    if not kept.is_occupied():
        return
    if not kept.is_file() or not all(map(DIGEST.fullmatch, _read_digests(path))):
        raise InputError(
            f"{kept.path} is not what steadystack keeps there on {path}: it will not be "
            "overwritten; move it, or choose another path"
        )


def _read_digests(path: str) -> list[str]:
    try:
        with get_place(_get_digests_path(path)).open() as file:
            return file.read().decode("ascii", "replace").split()
    except (FileNotFoundError, IsADirectoryError):
        return []


def _keep_digests(path: str, new: Path, origin: Origin | None) -> None:
    """Keep the digests of a file's replacement, and of the file until it is replaced."""
    digests = []
    if get_place(path).is_occupied():
        digests.append(_read_content_digest(path))
        if before := read_kept_origin(path):
            digests.append(f"{digests[0]}={before.dump()}")
    with new.open("rb") as file:
        digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if origin is not None:
        digests.append(f"{digests[-1]}={origin.dump()}")
    with get_place(_get_digests_path(path)).replacing() as kept:
        kept.write_text("\n".join(digests) + "\n", encoding="ascii")
