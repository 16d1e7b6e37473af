"""Digests of a shifts dataset, which reveal values that are not those that were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr

from steadystack.model import ATTRIBUTES, COLUMNS

DIGESTS = "digests"  # the attribute that holds them
ATTRIBUTES_KEY = "attributes"  # under this name: the digest of all other attributes
NAMES_KEY = "attribute_names"  # under this one: their names, by variable ("": the dataset's own)
DIGEST_BYTES = 16
DTYPES = {column.name: np.dtype(column.dtype) for column in COLUMNS}


def add_digests(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with the digests of its variables and attributes as an attribute."""
    names = _list_attribute_names(dataset)
    digests = _compute_digests(dataset, names) | {NAMES_KEY: names}
    return dataset.assign_attrs({DIGESTS: json.dumps(digests)})


def list_changed_parts(dataset: xr.Dataset) -> list[str]:
    """List the parts of a dataset that are missing, or do not match their digest.

    A part is the name of a variable, or "attributes". All parts are listed if the digests
    themselves cannot be read; variables without a digest, and added attributes, are ignored.
    """
    expected = _read_digests(dataset.attrs)
    actual = _compute_digests(dataset, list_described(dataset.attrs))
    if expected is None:
        return list(actual)
    return [
        name
        for name, digest in expected.items()
        if name != NAMES_KEY and actual.get(name) != digest
    ]


def digest_solution(shifts: xr.Dataset) -> str:
    """A short digest of a dataset's frames, pair statuses, verdict and settings of the solution.

    The settings are `register`, `solve` and `motion`. It does not depend on any path.
    """
    digest = hashlib.sha256()
    for name, variable in sorted(shifts.variables.items(), key=str):
        if str(name).startswith("frame") or name == "pair_status":
            digest.update(f"{name}:{_compute_digest(str(name), variable)};".encode())
    settings = json.loads(shifts.attrs.get("configuration", "{}"))
    known = {name: settings.get(name) for name in ("register", "solve", "motion")}
    known |= {name: shifts.attrs.get(name) for name in ("verdict", "verdict_reasons")}
    digest.update(json.dumps(known, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def is_edited(shifts: xr.Dataset) -> bool:
    """Whether the frames' shifts were changed since steadystack wrote them into the dataset.

    False if that cannot be told: for a dataset without digests, or for a part of the frames. Chunks
    and the order of the dims do not matter.
    """
    if "edited" in shifts.attrs:
        return True
    digests = _read_digests(shifts.attrs)
    variable = shifts.variables.get("frame_shift")
    frames = shifts.variables.get("frame")
    if not digests or variable is None or frames is None or "frame_shift" not in digests:
        return False
    if _compute_digest("frame", frames) != digests.get("frame"):
        return False
    order = ("frame", "axis")
    if set(variable.dims) != set(order):
        return False
    return bool(
        _compute_digest("frame_shift", variable.transpose(*order)) != digests["frame_shift"]
    )


def has_digests(dataset: xr.Dataset) -> bool:
    return DIGESTS in dataset.attrs


def list_digested(attributes: Mapping[Any, Any]) -> list[str] | None:
    """List the variables that a dataset was written with; None if its attributes do not say."""
    digests = _read_digests(attributes)
    return None if digests is None else [name for name in digests if name != NAMES_KEY]


def list_described(attributes: Mapping[Any, Any]) -> dict[str, list[str]] | None:
    """List the attributes that each variable of a dataset was written with; "": the dataset's own.

    None if its attributes do not say, as in earlier versions.
    """
    digests = _read_digests(attributes)
    names = None if digests is None else digests.get(NAMES_KEY)
    if not isinstance(names, dict) or not all(isinstance(each, list) for each in names.values()):
        return None
    return names


def _read_digests(attributes: Mapping[Any, Any]) -> dict[str, Any] | None:
    """Read the digests that the attributes hold; None if they cannot be read."""
    try:
        digests = json.loads(attributes[DIGESTS])
    except (KeyError, TypeError, ValueError):
        return None
    return digests if isinstance(digests, dict) else None


def _list_attribute_names(dataset: xr.Dataset) -> dict[str, list[str]]:
    """List the attributes of each variable, and under "" the dataset's own except the digests.

    What others added to a dataset that was read, and is written again, stays theirs.
    """
    variables = _decode_time(dataset).variables
    names = {str(name): sorted(map(str, each.attrs)) for name, each in variables.items()}
    names[""] = sorted(str(key) for key in dataset.attrs if key != DIGESTS)
    for name, before in (list_described(dataset.attrs) or {}).items():
        ours = {*before, *([] if name else [each.name for each in ATTRIBUTES])}
        names[name] = [key for key in names.get(name, []) if key in ours]
    return dict(sorted(names.items()))


def _compute_digests(
    dataset: xr.Dataset, names: Mapping[str, Collection[str]] | None = None
) -> dict[str, str]:
    """Compute the digest of every variable, and one of all attributes.

    Only attributes in `names` (see `list_described`) count, if it is given.
    """
    dataset = _decode_time(dataset)
    digests = {
        str(name): _compute_digest(str(name), variable)
        for name, variable in sorted(dataset.variables.items(), key=lambda item: str(item[0]))
    }
    described = {
        str(name): {key: _make_plain(value) for key, value in variable.attrs.items()}
        for name, variable in dataset.variables.items()
    }
    described[""] = {
        key: _make_plain(value) for key, value in dataset.attrs.items() if key != DIGESTS
    }
    if names is not None:
        described = {
            name: {key: value for key, value in values.items() if key in names[name]}
            for name, values in described.items()
            if name in names
        }
    text = json.dumps(described, sort_keys=True)
    return digests | {ATTRIBUTES_KEY: _hash(text.encode())}


def _decode_time(dataset: xr.Dataset) -> xr.Dataset:
    """Decode times as reading does, so that digests agree before and after writing."""
    if " since " not in str(dataset.variables.get("time", xr.Variable((), 0)).attrs.get("units")):
        return dataset
    try:
        return dataset.assign_coords(time=xr.decode_cf(dataset[["time"]])["time"])
    except ValueError:  # xarray does not know the unit: it stays a number
        return dataset


def _compute_digest(name: str, variable: Any) -> str:
    """Compute the digest of a variable's dims, type, shape and values."""
    values = np.asarray(variable.to_numpy())
    content: bytes | memoryview
    if name in DTYPES and values.dtype.kind in "iuf":
        if not np.can_cast(values.dtype, DTYPES[name], "same_kind"):
            return ""  # unsupported numbers
        values = values.astype(DTYPES[name], copy=False)
    if values.dtype.kind == "M":
        values = values.astype("datetime64[ns]").astype("<i8")
    elif values.dtype.kind == "f":  # all NaNs are equal
        values = np.where(np.isnan(values), np.nan, values)
    if values.dtype.kind in "iufb":
        values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        content = values.reshape(-1).view(np.uint8).data  # not copied
        type_name = values.dtype.str
    else:
        content, type_name = json.dumps(values.tolist(), default=str).encode(), "text"
    head = json.dumps([list(variable.dims), type_name, list(values.shape)])
    return _hash(head.encode() + b"\n", content)


def _hash(*contents: bytes | memoryview) -> str:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def _make_plain(value: Any) -> Any:
    """Convert an attribute's value to plain JSON, the same for all file formats.

    NetCDF cannot store lists with a single item.
    """
    plain = np.asarray(value).tolist()
    return plain[0] if isinstance(plain, list) and len(plain) == 1 else plain
