"""Read numbers by the CF conventions: packed and missing values, coordinates and their times.

They are read as xarray reads them (https://cfconventions.org/, sections 2.5.1, 4.4 and 8.1).
"""

from __future__ import annotations

import base64
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, InputError
from steadystack.units import is_size

PACKING = ("scale_factor", "add_offset")
FILLS = ("_FillValue", "missing_value")
LIMITS = ("valid_min", "valid_max", "valid_range")
NO_TIME = np.iinfo(np.int64).min  # what xarray stores for a date that is not known


@dataclass(frozen=True)
class Coding:
    """How stored numbers become values: ``value = stored * scale + offset``, or NaN for "no data".

    Attributes
    ----------
    dtype : of the values, as xarray chooses it
    fills : stored numbers that mean "no data"
    low, high : smallest and largest stored number that is data
    unsigned : whether stored integers are to be read as unsigned
    """

    dtype: np.dtype[Any]
    fills: tuple[float, ...] = ()
    low: float = -np.inf
    high: float = np.inf
    scale: float | None = None
    offset: float | None = None
    unsigned: bool = False

    def decode(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Decode stored numbers to values of `dtype`, an array of the same shape."""
        if self.unsigned:
            stored = stored.view(stored.dtype.str.replace("i", "u"))
        values = stored.astype(self.dtype)
        values[self.find_empty(stored)] = np.nan
        if self.scale is not None:
            values *= self.dtype.type(self.scale)
        if self.offset is not None:
            values += self.dtype.type(self.offset)
        return values

    def find_empty(self, stored: NDArray[Any]) -> Bools:
        """Find the stored numbers that mean "no data"; NaN always does."""
        empty = (stored < self.low) | (stored > self.high) | (stored != stored)
        for fill in self.fills:
            empty |= stored == stored.dtype.type(fill)
        return np.asarray(empty)


def read_coding(
    attributes: Mapping[str, Any], dtype: np.dtype[Any], fill: Any = None
) -> Coding | None:
    """Read how the numbers of an array are coded; None if they are the values themselves.

    Parameters
    ----------
    attributes : of the array
    dtype : of the stored numbers
    fill : the store's own value for "no data"; None: only ``_FillValue`` counts

    Raises
    ------
    InputError
        Naming the attribute that is not the number, or numbers, that it should be.
    """
    if dtype.kind not in "iuf":
        return None
    is_unsigned = dtype.kind == "i" and str(attributes.get("_Unsigned", "")).lower() == "true"
    stored = np.dtype(dtype.str.replace("i", "u")) if is_unsigned else dtype
    numbers = {
        name: _parse_numbers(name, attributes[name])
        for name in (*PACKING, *FILLS, *LIMITS)
        if attributes.get(name) is not None
    }
    if fill is not None:
        numbers.setdefault("_FillValue", (float(fill),))
    fills = [number for name in FILLS for number in numbers.get(name, ())]
    fills = [_wrap(number, dtype, stored) for number in fills if number == number]
    fills = [number for number in fills if stored.kind == "f" or _fits(number, stored)]
    low, high = numbers.get("valid_range", (-np.inf, np.inf))[:2]
    low = numbers.get("valid_min", (low,))[0]
    high = numbers.get("valid_max", (high,))[0]
    scale, offset = (numbers.get(name, (None,))[0] for name in PACKING)
    is_plain = not fills and (low, high) == (-np.inf, np.inf)
    if is_plain and (scale, offset) == (None, None) and not is_unsigned:
        return None
    held = _choose_dtype(stored, numbers, may_lack=not is_plain)
    return Coding(held, tuple(dict.fromkeys(fills)), low, high, scale, offset, is_unsigned)


def _parse_numbers(name: str, value: Any) -> tuple[float, ...]:
    """Parse the value of an attribute: a number, the two of a range, or several fills."""
    if isinstance(value, str) and name == "_FillValue":
        value = _decode_fill(value)
    try:
        numbers = tuple(float(number) for number in np.ravel(np.asarray(value)))
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    several = 2 if name == "valid_range" else None if name == "missing_value" else 1
    must_be_finite = name in PACKING
    if (
        not numbers
        or (several is not None and len(numbers) != several)
        or (must_be_finite and not np.isfinite(numbers).all())
    ):
        what = {2: "two numbers", 1: "a number", None: "numbers"}[several]
        raise InputError(f"its attribute {name} is {value!r}, not {what}: correct it, or delete it")
    return numbers


def _decode_fill(text: str) -> float | str:
    """Decode ``_FillValue`` as xarray writes that of floating arrays of Zarr 3: in base 64."""
    try:
        number: float = struct.unpack("<d", base64.b64decode(text, validate=True))[0]
    except (ValueError, struct.error):
        return text
    return number


def _wrap(number: float, dtype: np.dtype[Any], stored: np.dtype[Any]) -> float:
    """Convert a number of the signed type to unsigned, if that is the stored type."""
    return number + 2.0 ** (8 * dtype.itemsize) if stored != dtype and number < 0 else number


def _fits(number: float, dtype: np.dtype[Any]) -> bool:
    """Whether an integer type can hold a number."""
    limits = np.iinfo(dtype)
    return number == int(number) and limits.min <= number <= limits.max


def _choose_dtype(
    stored: np.dtype[Any], numbers: Mapping[str, tuple[float, ...]], *, may_lack: bool
) -> np.dtype[Any]:
    """Choose the type of the values by decoding a single number with xarray."""
    import xarray as xr  # slow to import, and not needed by other functions here

    attributes: dict[str, Any] = {name: numbers[name][0] for name in PACKING if name in numbers}
    if may_lack:
        attributes["_FillValue"] = stored.type(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        variable = xr.conventions.decode_cf_variable(
            "values", xr.Variable(("x",), np.ones(1, stored), attributes), decode_times=False
        )
    dtype = np.dtype(variable.dtype)
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def find_spacing(values: NDArray[Any] | None) -> float:
    """Find the step of an evenly spaced coordinate; NaN without a coordinate or an even spacing."""
    if values is None or values.ndim != 1 or len(values) < 2 or values.dtype.kind not in "iuf":
        return np.nan
    steps = np.diff(values.astype(float))
    if not np.isfinite(steps).all() or not np.allclose(steps, steps[0], rtol=1e-3):
        return np.nan
    return float(abs(steps[0])) or np.nan


def compute_regular_times(
    step: float | None, unit: str, count: int
) -> tuple[tuple[float, ...], str] | None:
    """Compute the times of equally spaced frames; None if the store has no step or unit."""
    if step is None or not is_size(step) or not unit:
        return None
    return tuple(step * frame for frame in range(count)), unit


def read_times(
    values: NDArray[Any], unit: str, calendar: str = ""
) -> tuple[tuple[float, ...], str]:
    """Read the times of frames and their unit, such as "second" or "days since 2000-01-01".

    Times in a calendar other than today's count from a day that xarray could not interpret without
    it: only their unit is kept. Dates become seconds since the first of them.
    """
    if values.dtype.kind == "M":
        dates = values.astype("datetime64[ns]")
        certain = dates[~np.isnat(dates)]
        first = certain[0] if len(certain) else np.datetime64(0, "ns")
        return _count_seconds(dates - first), f"seconds since {np.datetime_as_string(first)}"
    if values.dtype.kind == "m":
        return _count_seconds(values.astype("timedelta64[ns]")), "second"
    if values.dtype.kind == "O":  # cftime dates, in another calendar
        seconds = [float((value - values[0]).total_seconds()) for value in values]
        return tuple(seconds), "second"
    if calendar.lower() not in ("", "standard", "gregorian", "proleptic_gregorian"):
        unit = unit.partition(" since ")[0]
    unknown = values == NO_TIME if values.dtype.kind == "i" else np.zeros(len(values), bool)
    return tuple(np.where(unknown, np.nan, values.astype(float)).tolist()), unit


def _count_seconds(durations: NDArray[np.timedelta64]) -> tuple[float, ...]:
    """Convert durations to seconds; NaN where not known."""
    return tuple((durations / np.timedelta64(1, "s")).tolist())
