"""Parse lengths, sizes, slices and layouts: "3 um", "64 MiB", "155:245:3", "uint16 9 x 7"."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from steadystack.model import InputError

# Micrometers by symbol, and by name in the singular; `find_micrometers` knows other spellings.
SYMBOLS = {
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    "um": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "km": 1e9,
    "in": 25400.0,
}
NAMES = {
    "picometer": 1e-6, "angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "micron": 1.0,
    "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6, "kilometer": 1e9, "inch": 25400.0,
}  # fmt: skip
# Other spellings of names, all in lower case.
SPELLINGS = {"ångström": "angstrom", "ångstrom": "angstrom", "angström": "angstrom"}
LISTED = ", ".join(SYMBOLS)
PIXELS = ("px", "pixel", "pixels")
BYTES = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def find_micrometers(unit: str) -> float | None:
    """Find how many micrometers a unit of length is; None if it is not understood.

    Symbols such as nm or µm (u, or either of the two signs for micro) must match exactly, and names
    such as nanometer in upper or lower case, British or American, singular or plural.
    """
    text = unicodedata.normalize("NFKC", unit.strip().replace("\\u00B5", "µ"))
    symbol = text.replace("μ", "u").replace("\N{MICRO SIGN}", "u")
    if symbol in SYMBOLS:
        return SYMBOLS[symbol]
    name = text.lower().replace("metre", "meter")
    for singular in (name, name.removesuffix("s"), name.removesuffix("es")):
        singular = SPELLINGS.get(singular, singular)
        if singular in NAMES:
            return NAMES[singular]
    return None


def parse_bytes(text: str) -> int | None:
    """Parse a size such as "512 MiB" into bytes; None if the text is not a size."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?b)\s*", text.lower())
    return int(float(match[1]) * BYTES[match[2]]) if match else None


def parse_shift_bounds(
    max_shift: int | str | Sequence[int | str] | None, pixel_size: Sequence[float], unit: str
) -> tuple[int, ...] | None:
    """Convert the setting `register.max_shift` to whole pixels per axis, rounded up.

    Parameters
    ----------
    max_shift : pixels or lengths such as "3 um", one for all axes or one per axis; None: no limit
    pixel_size : of each axis, in `unit`; needed if a bound is a length
    """
    if max_shift is None:
        return None
    bounds = [max_shift] if isinstance(max_shift, int | str) else list(max_shift)
    if len(bounds) == 1:
        bounds = bounds * len(pixel_size)
    if len(bounds) != len(pixel_size):
        raise InputError(
            f"register.max_shift has {len(bounds)} values for {len(pixel_size)} axes: give one "
            "for all or one per axis"
        )
    return tuple(
        bound if isinstance(bound, int) else _parse_pixels(bound, size, unit)
        for bound, size in zip(bounds, pixel_size, strict=True)
    )


def _parse_pixels(length: str, pixel_size: float, unit: str) -> int:
    pixels = convert_to_pixels("register.max_shift", length, pixel_size, unit)
    if pixels < 0:
        raise InputError(f"register.max_shift {length!r} is negative")
    return math.ceil(round(pixels, 6))


def convert_to_pixels(key: str, length: float | str, pixel_size: float, unit: str) -> float:
    """Convert a length to pixels of that size; it may be negative.

    `key` is the setting that the length comes from, for error messages.
    """
    if not isinstance(length, str):
        return float(length)
    match = re.fullmatch(r"\s*([-+]?\d+(?:\.\d+)?)\s*(\S+)\s*", length)
    if match and match[2] in PIXELS:
        return float(match[1])
    micrometers = find_micrometers(match[2]) if match else None
    if match is None or micrometers is None:
        raise InputError(
            f"{key} {length!r} is neither pixels nor a length such as '3 um' ({LISTED})"
        )
    return float(match[1]) * micrometers / _convert_pixel_size(key, length, pixel_size, unit)


def parse_micrometers(size: Any) -> Any:
    """Parse a pixel size, such as "0.5 nm", into micrometers; anything but text is returned as is.

    Raises InputError for text that is not a length.
    """
    if not isinstance(size, str):
        return size
    match = re.fullmatch(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(\S*)\s*", size)
    micrometers = find_micrometers(match[2] or "um") if match else None
    try:
        if match is not None and micrometers is not None:
            return float(f"{float(match[1]) * micrometers:.12g}")  # 0.5 nm is 0.0005
    except ValueError:  # 1.2.3
        pass
    raise InputError(f"{size!r} is not a length like '0.5 nm' ({LISTED}); a number is micrometers")


def parse_pixel_size(
    pixel_size: float | str | Sequence[float | str], axes: Sequence[str]
) -> tuple[float, ...]:
    """Parse the setting `input.pixel_size`, one for all axes or one per axis, into micrometers."""
    given: Any = pixel_size
    if isinstance(pixel_size, str) or not hasattr(pixel_size, "__len__"):  # or a NumPy number
        given = [pixel_size]
    sizes = [float(parse_micrometers(size)) for size in given]
    sizes = sizes * len(axes) if len(sizes) == 1 else sizes
    if len(sizes) != len(axes):
        raise InputError(f"input.pixel_size has {len(sizes)} values for the axes {', '.join(axes)}")
    if not all(map(is_size, sizes)):
        raise InputError(f"input.pixel_size {pixel_size} is not a size: sizes are above 0")
    return tuple(sizes)


def _convert_pixel_size(key: str, length: str, pixel_size: float, unit: str) -> float:
    """Convert a pixel size to micrometers; raises InputError if it or its unit is not known."""
    micrometers = find_micrometers(unit)
    if unit and micrometers is None:
        problem = f"the stack states its own in {unit!r}, which is not understood ({LISTED})"
    elif micrometers is None or not is_size(pixel_size):
        problem = "the stack has none"
    else:
        return pixel_size * micrometers
    raise InputError(
        f"{key} {length!r} needs a pixel size with a unit, and {problem}: give it in pixels, or "
        "set input.pixel_size"
    )


def is_size(value: float) -> bool:
    """Whether a number can be the size of a pixel, or a step in time: finite and above 0."""
    return 0 < value < math.inf


def get_comparable_sizes(sizes: Sequence[float], unit: str) -> tuple[float, ...] | None:
    """The pixel sizes along all axes if comparable; None: a size, or its unit, is not known.

    `unit` is the common one, from `choose_common_unit`.
    """
    is_one = all(map(is_size, sizes)) and "," not in unit
    return tuple(sizes) if is_one else None


def choose_common_unit(
    sizes: Sequence[float], units: Sequence[str]
) -> tuple[tuple[float, ...], str]:
    """Convert sizes to one unit: theirs, or micrometer if they have several.

    Unknown (NaN) are impossible sizes (0, negative, infinite), sizes without a unit if others have
    one, and sizes of 1 if none has one, which writers use as a default. Without any size, the unit
    is "". If one of several units is not understood, sizes are unchanged, and the unit names them
    all.
    """
    checked = tuple(size if is_size(size) else math.nan for size in sizes)
    stated = ["" if unit.strip().lower() in PIXELS else unit for unit in units]
    used = [unit for size, unit in zip(checked, stated, strict=True) if is_size(size)]
    if not any(used):
        is_stated = any(is_size(size) and size != 1 for size in checked)
        return checked if is_stated else (math.nan,) * len(checked), ""
    named = sorted({unit for unit in used if unit})
    if len(named) == 1:
        pairs = zip(checked, stated, strict=True)
        return tuple(size if unit else math.nan for size, unit in pairs), named[0]
    factors = [find_micrometers(unit) if unit else math.nan for unit in stated]
    if None in [factor for factor, size in zip(factors, checked, strict=True) if is_size(size)]:
        return checked, ", ".join(unit or "no unit" for unit in stated)
    both = zip(checked, factors, strict=True)
    return tuple(size * (factor or math.nan) for size, factor in both), "micrometer"


def parse_slice(key: str, text: str) -> slice:
    """Parse a slice "start:stop:step" of frames, in Python's syntax, without negative numbers.

    `key` of the settings is for the error, an InputError.
    """
    match = re.fullmatch(r"\s*(-?\d*)\s*:\s*(-?\d*)\s*(?::\s*(-?\d*)\s*)?", text)
    example = "such as '155:245:3', '100:' or '::2'"
    if match is None:
        raise InputError(f"{key} {text!r} is not a slice start:stop:step: write it {example}")
    start, stop, step = (None if part in (None, "") else part for part in match.groups())
    parts = {"start": start, "stop": stop, "step": step}
    negative = [name for name, part in parts.items() if part is not None and part.startswith("-")]
    if negative or "-" in parts.values():
        raise InputError(
            f"{key} {text!r}: {negative[0]} is negative: frames count from 0, and stay in order: "
            f"write it {example}"
        )
    numbers = [None if part is None else int(part) for part in (start, stop, step)]
    if numbers[2] == 0:
        raise InputError(f"{key} {text!r}: step is 0, but must be 1 or more")
    return slice(*numbers)


# Shortest side of a region along y and x, pixels; along z it may be one plane.
LEAST_SIDE = 16


def parse_region(
    key: str,
    region: Sequence[tuple[float | str, float | str] | None],
    axes: Sequence[str],
    shape: Sequence[int],
    pixel_size: Sequence[float],
    unit: str,
) -> tuple[tuple[int, int], ...]:
    """Convert a region of a frame to its first and one past its last pixel along each axis.

    Parameters
    ----------
    key : of the settings, for an error
    region : (first, stop) along the last axes: pixels, or lengths, to the nearest pixel; None: all
    axes, shape, pixel_size, unit : of the frame

    Raises
    ------
    InputError
        For a box that is empty, too small, or not inside of the frame, with the limits.
    """
    if len(region) > len(axes):
        raise InputError(f"{key} has {len(region)} axes, but frames have {', '.join(axes)}")
    sides: list[tuple[int, int]] = []
    padded = [None] * (len(axes) - len(region)) + list(region)
    for axis, size, step, side in zip(axes, shape, pixel_size, padded, strict=True):
        if side is None:
            sides.append((0, size))
            continue
        first, stop = (
            math.floor(convert_to_pixels(key, length, step, unit) + 0.5) for length in side
        )
        named = f"{key}: {list(side)} along {axis}"
        if isinstance(side[0], str) or isinstance(side[1], str):
            named += f", pixels {first} to {stop},"
        if first < 0 or stop > size:
            raise InputError(
                f"{named} is not inside the frame, whose pixels are 0 to {size} (stop is not "
                "included)"
            )
        least = 1 if axis == "z" else min(LEAST_SIDE, size)
        if stop - first < least:
            raise InputError(
                f"{named} has {max(stop - first, 0)} pixels: at least {least} are needed, of the "
                f"frame's {size}"
            )
        sides.append((first, stop))
    return tuple(sides)


def split_region(key: str, text: str) -> list[list[float | str] | None]:
    """Split comma-separated texts "first:stop", one per axis, into a region.

    A ":" stands for the whole axis, None. `key` is for the error, an InputError.
    """
    is_number = re.compile(r"[-+]?\d+(\.\d+)?").fullmatch
    sides: list[list[float | str] | None] = []
    for part in text.split(","):
        ends = [end.strip() for end in part.split(":")]
        if len(ends) != 2 or bool(ends[0]) != bool(ends[1]):
            raise InputError(
                f"{key} {text!r}: {part.strip()!r} is not first:stop: write one for each axis, "
                "such as 64:320,100:356; ':' is all of an axis"
            )
        numbers = [(float if "." in end else int)(end) if is_number(end) else end for end in ends]
        sides.append(None if ends == ["", ""] else numbers)
    return sides


@dataclass(frozen=True)
class RawLayout:
    """The layout of numbers in a file without a header that describes it.

    Attributes
    ----------
    dtype : of a number, in NumPy's notation, such as ">u2"
    shape : of an entry, all axes of the array but its first
    offset : bytes before the first entry
    gap : bytes before each entry
    count : number of entries; None: as many as the file holds
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int = 0
    gap: int = 0
    count: int | None = None

    def __str__(self) -> str:
        words = [self.dtype, "x".join(map(str, self.shape))]
        words += [f"offset {self.offset}"] if self.offset else []
        words += [f"gap {self.gap}"] if self.gap else []
        return " ".join(words + ([] if self.count is None else [f"count {self.count}"]))


LAYOUT = re.compile(
    r"([<>]?)(?:(u?int|float)(8|16|32|64)|([iuf])([1248]))\s+(\d+(?:\s*x\s*\d+)+)"
    r"((?:\s+(?:offset|gap|count)\s+\d+)*)"
)


def parse_layout(key: str, text: str) -> RawLayout:
    """Parse "uint16 512 x 640 offset 4096": type and shape of an entry, and the bytes around it.

    `key` of the settings is for the error, an InputError.
    """
    match = LAYOUT.fullmatch(" ".join(text.replace(",", " ").split()))
    example = (
        "write it such as 'uint16 512 x 640' (rows x columns) or '>uint16 512 x 640 offset 4096 "
        "gap 32 count 100' (> big-endian; bytes before the first frame and before each; frames)"
    )
    if match is None:
        raise InputError(f"{key} {text!r} is not a type, shape and offset: {example}")
    order, name, bits, letter, size, sides, rest = match.groups()
    kind, size = letter or name[0], int(size or int(bits) // 8)
    shape = tuple(int(side) for side in sides.split("x"))
    words = rest.split()
    numbers = {word: int(number) for word, number in zip(words[::2], words[1::2], strict=True)}
    if (kind, size) == ("f", 1):
        raise InputError(f"{key} {text!r}: there are no floats of 8 bits: {example}")
    if 0 in shape or numbers.get("count") == 0 or len(numbers) < len(words) // 2:
        raise InputError(f"{key} {text!r}: a size is 0, or a word occurs twice: {example}")
    return RawLayout(f"{order or '<'}{kind}{size}", shape, **numbers)
