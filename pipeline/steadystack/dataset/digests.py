"""Digests of a shifts dataset: what tells that a value is not the one that was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr

from steadystack.model import COLUMNS

DIGESTS = "digests"  # the attribute that holds them
ATTRIBUTES_KEY = "attributes"  # under this name: the digest of all other attributes
NAMES_KEY = "attribute_names"  # under this one: their names, by variable; "": of the dataset
DIGEST_BYTES = 16
DTYPES = {column.name: np.dtype(column.dtype) for column in COLUMNS}


def add_digests(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with the digests of its variables and attributes as an attribute."""
    digests = _compute_digests(dataset) | {NAMES_KEY: _list_attribute_names(dataset)}
    return dataset.assign_attrs({DIGESTS: json.dumps(digests)})


def list_changed_parts(dataset: xr.Dataset) -> list[str]:
    """List the parts of a dataset that are missing, or do not match their digest.

    A part is the name of a variable, or "attributes". All parts are listed if the digests
    themselves cannot be read; variables that have no digest, and attributes that were added, are
    not looked at.
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
    """A short digest of what a dataset says of the frames, of the pairs' use, and of it all.

    It is the same wherever the stack and the outputs lie.
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
    """Whether the shifts of frames are others than those that steadystack wrote into the dataset.

    Only where that can be told: not for a dataset without digests, nor for a part of the frames.
    How it is laid out, in chunks or in another order of the dims, does not matter.
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
    """List the variables that a dataset was written with; None if its attributes do not tell."""
    digests = _read_digests(attributes)
    return None if digests is None else [name for name in digests if name != NAMES_KEY]


def list_described(attributes: Mapping[Any, Any]) -> dict[str, list[str]] | None:
    """List the attributes that each variable of a dataset was written with; "": the dataset's own.

    None if its attributes do not tell, as those of earlier versions.
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
    """List the attributes of each variable, and under "" those of the dataset, but the digests."""
    variables = _decode_time(dataset).variables
    names = {str(name): sorted(map(str, each.attrs)) for name, each in variables.items()}
    names[""] = sorted(str(key) for key in dataset.attrs if key != DIGESTS)
    return dict(sorted(names.items()))


def _compute_digests(
    dataset: xr.Dataset, names: Mapping[str, Collection[str]] | None = None
) -> dict[str, str]:
    """Compute the digest of every variable, and one of the attributes of the dataset and theirs.

    Of attributes those that are in `names`, if it is given, as `list_described` gives it.
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
    """Decode times as reading does, so that they have the same digest before and after writing."""
    if " since " not in str(dataset.variables.get("time", xr.Variable((), 0)).attrs.get("units")):
        return dataset
    try:
        return dataset.assign_coords(time=xr.decode_cf(dataset[["time"]])["time"])
    except ValueError:  # a unit that xarray does not know: it stays a number
        return dataset


def _compute_digest(name: str, variable: Any) -> str:
    """Compute the digest of the dims, the type, the shape and the values of a variable."""
    values = np.asarray(variable.to_numpy())
    content: bytes | memoryview
    if name in DTYPES and values.dtype.kind in "iuf":
        if not np.can_cast(values.dtype, DTYPES[name], "same_kind"):
            return ""  # other numbers, whatever they are
        values = values.astype(DTYPES[name], copy=False)
    if values.dtype.kind == "M":
        values = values.astype("datetime64[ns]").astype("<i8")
    elif values.dtype.kind == "f":  # one NaN is as good as another
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
    """Convert the value of an attribute to what JSON holds, the same for all kinds of files.

    NetCDF has no lists of a single item.
    """
    plain = np.asarray(value).tolist()
    return plain[0] if isinstance(plain, list) and len(plain) == 1 else plain
