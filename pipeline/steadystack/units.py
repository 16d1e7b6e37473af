"""Lengths and sizes as people write them: "3 um", "512 MiB"."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from steadystack.model import InputError

UNITS_UM = {
    "nm": 1e-3, "nanometer": 1e-3, "um": 1.0, "µm": 1.0, "micron": 1.0, "micrometer": 1.0,
    "mm": 1e3, "millimeter": 1e3, "m": 1e6, "meter": 1e6, "angstrom": 1e-4, "pm": 1e-6,
    "picometer": 1e-6,
}  # fmt: skip
PIXELS = ("px", "pixel", "pixels")
BYTES = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def parse_bytes(text: str) -> int | None:
    """Parse a size such as "512 MiB" into bytes; None if the text is no size."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?b)\s*", text.lower())
    return int(float(match[1]) * BYTES[match[2]]) if match else None


def parse_shift_bounds(
    max_shift: int | str | Sequence[int | str] | None, pixel_size: Sequence[float], unit: str
) -> tuple[int, ...] | None:
    """Convert the setting `register.max_shift` to whole pixels per axis, rounded up.

    Parameters
    ----------
    max_shift : pixels or lengths such as "3 um", one for all axes or one per axis; None: no limit
    pixel_size : of each axis, in `unit`; needed where a bound is given as a length
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
    match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*(\S+)\s*", length)
    if match and match[2] in PIXELS:
        return float(match[1])
    if not match or match[2] not in UNITS_UM:
        raise InputError(
            f"{key} {length!r} is neither pixels nor a length such as '3 um' "
            f"({', '.join(UNITS_UM)})"
        )
    if unit not in UNITS_UM:
        raise InputError(
            f"{key} {length!r} needs a pixel size with a unit, and the stack has none: give it in "
            "pixels, or set input.pixel_size"
        )
    return float(match[1]) * UNITS_UM[match[2]] / (pixel_size * UNITS_UM[unit])


def choose_common_unit(
    sizes: Sequence[float], units: Sequence[str]
) -> tuple[tuple[float, ...], str]:
    """Convert sizes to one unit: theirs, micrometer if they have several, "" if not known.

    With a unit that is not known, sizes in different units are returned as they are.
    """
    if len(set(units)) == 1:
        return tuple(sizes), units[0]
    if all(unit in UNITS_UM for unit in units):
        in_um = (size * UNITS_UM[unit] for size, unit in zip(sizes, units, strict=True))
        return tuple(in_um), "micrometer"
    return tuple(sizes), ""
