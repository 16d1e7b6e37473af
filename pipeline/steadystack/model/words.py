"""Names shared by all modules: types of arrays, names of axes, statuses, errors."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from steadystack.model.redaction import hide_in_values

Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.integer[Any]]
Slices: TypeAlias = tuple[slice, ...]

SHIFT_CONVENTION = (
    "shift is what has to be applied to a frame, in pixels and array axis order, to align it with "
    "the anchor frame: scipy.ndimage.shift(frame, shift); pair_shift aligns the moving frame with "
    "the reference and equals shift[moving] - shift[reference]; masks are True where valid"
)


def name_axes(ndim: int) -> tuple[str, ...]:
    """Names of the spatial axes of an image: ``("y", "x")`` or ``("z", "y", "x")``."""
    if not 1 <= ndim <= 3:
        raise ValueError(f"a frame has 1, 2 or 3 spatial axes, not {ndim}")
    return ("z", "y", "x")[3 - ndim :]


def escape_unprintable(text: str) -> str:
    """Write line breaks and other invisible characters as backslash escapes.

    Names of files may contain them; the result is one line that can be encoded.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


# Component of a frame without a usable pair, and of every frame before the solve.
NO_COMPONENT, UNSOLVED = -1, -2


class Word(StrEnum):
    """A word that stays the same, for programs, with its meaning beside it, for people."""

    meaning: str

    def __new__(cls, word: str, meaning: str = "") -> Self:
        new = str.__new__(cls, word)
        new._value_, new.meaning = word, meaning
        return new


class Status(Word):
    """A word that is stored as a small integer: its position in the class."""

    @property
    def code(self) -> int:
        return list(type(self)).index(self)

    @classmethod
    def from_code(cls, code: int) -> Status:
        return list(cls)[int(code)]


class PairStatus(Status):
    """Status of one pair. Only pairs that are `OK`, or `REJECTED` by the solve, have a shift.

    Measuring never sets `REJECTED`: before the solve these pairs are `OK`.
    """

    UNMEASURED = "unmeasured", "not measured yet: left for a resumed run"
    OK = "ok", "measured, and has a shift"
    LOW_OVERLAP = "low_overlap", "no lag reaches the smallest allowed overlap"
    LOW_NCC = "low_ncc", "the highest peak is no higher than expected by chance"
    AT_SEARCH_LIMIT = "at_search_limit", "the maximum lies on the edge of the searched lags"
    AMBIGUOUS = "ambiguous", "another lag, away from the peak, is as significant"
    FLAT = "flat", "the valid pixels of one of the frames are all equal"
    EMPTY = "empty", "one of the frames has no valid pixel"
    UNREADABLE = "unreadable", "one of the frames could not be read"
    INVERTED = "inverted", "one frame is the other's negative: see `register.allow_inverted`"
    REJECTED = "rejected", "has a shift, but contradicts the rest: the solve gives it no weight"
    FAILED = "failed", "its task was given up: it raised an error, or killed its workers"


class FrameStatus(Status):
    """Status of one frame. It has a measured shift if `OK`, `INCOMPLETE` or `DISSIMILAR`."""

    UNMEASURED = "unmeasured", "no pair of this frame has been measured yet"
    OK = "ok", "could be read completely; once solved, it has a shift"
    INCOMPLETE = (
        "incomplete",
        "some of its chunks are missing; the shift is measured from the others",
    )
    MISSING = "missing", "all of its chunks are missing"
    EMPTY = "empty", "no valid pixel"
    FLAT = "flat", "all valid pixels are equal"
    UNREADABLE = "unreadable", "a chunk could not be decoded"
    DISCONNECTED = "disconnected", "could be read, but none of its pairs is usable"
    INCONSISTENT = (
        "inconsistent",
        "has usable pairs, but most contradict the rest, or nothing confirms the only one",
    )
    INTERPOLATED = (
        "interpolated",
        "no shift of its own: interpolated from the frames before and after it",
    )
    DISSIMILAR = (
        "dissimilar",
        "its shift fits, but the frame shows far less of the scene than the frames around it",
    )

    @property
    def of_reading(self) -> bool:
        """Whether reading a frame can set it; the solve sets the others."""
        return self.code < FrameStatus.DISCONNECTED.code


class LocalStatus(Status):
    """Status of the local shift of a frame at a node."""

    UNKNOWN = "unknown", "the frame has no comparable shift, or `motion.model` is not local"
    OK = "ok", "measured: the scene around the node is visible"
    FRAME = (
        "frame",
        "nothing is visible around the node, or there is no local motion: the frame's own shift",
    )


class InputError(ValueError):
    """Invalid input: settings, a path, a stack or a mask that cannot be used.

    The message has one line per problem: the value, the limit and a way out. Secrets in URLs are
    left out.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*map(hide_in_values, args))


class RunError(RuntimeError):
    """A run that cannot continue: the scheduler is gone, no worker connects, too many tasks fail.

    The message is one line: what happened, and what to do. Secrets in URLs are left out. What was
    measured is saved.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*map(hide_in_values, args))


class UnreachableError(RunError):
    """A store that is out of reach for longer than a run waits.

    What was measured is saved, and the same command continues where it stopped.
    """


class OutputError(RunError):
    """A result cannot be written: the disk is full, or a path cannot be reached.

    Its message is one line a user can act on; what was written before is kept.
    """
