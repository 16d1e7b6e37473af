"""Write displacements of points as a separate OME-Zarr group without pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.durable import get_place
from steadystack.model import InputError, UnreachableError
from steadystack.ome import FOLDER
from steadystack.outputs.progress import OWN

FIELDS = "displacements"  # what only such a group has in its attribute `OWN`
LEVEL = "0"  # the array of a field in its group
CHUNK_VALUES = 2**17  # most values of a chunk, which is of whole frames


@dataclass(frozen=True, eq=False)
class FieldArray:
    """An array of displacements.

    Attributes
    ----------
    attributes : of its group
    names : of its dimensions: time, the component, and those of space
    shape : along these
    make_frame : makes the values at an index along time, float64 of ``shape[1:]``
    """

    attributes: Mapping[str, Any]
    names: tuple[str, ...]
    shape: tuple[int, ...]
    make_frame: Callable[[int], NDArray[np.float64]]


def check_own_fields(path: str) -> None:
    """Raise InputError if there is anything at a path but a group from `replacing_own_fields`."""
    place = get_place(path)
    if not place.is_occupied():
        return
    try:
        with place.explaining_outages():
            group = zarr.open_group(place.make_zarr_store(), mode="r")
            own: Any = group.attrs[OWN]
            is_own = _holds_only(path, own[FIELDS])
    except UnreachableError:
        raise
    except Exception:  # whatever lies there
        is_own = False
    if not is_own:
        raise InputError(
            f"{path} exists and is not what steadystack wrote there: it will not be overwritten; "
            "move it, or choose another path"
        )


def _holds_only(path: str, names: Sequence[str]) -> bool:
    """Whether a group contains nothing but these fields."""
    groups = ["", f"{FOLDER}/", *(f"{FOLDER}/{name}/" for name in names)]
    metadata = {f"{group}zarr.json" for group in groups}
    levels = tuple(f"{FOLDER}/{name}/{LEVEL}/" for name in names)
    found = get_place(path).list_below()
    return all(each in metadata or each.startswith(levels) for each in found)


@contextmanager
def replacing_own_fields(path: str) -> Iterator[Path]:
    """Give a path to write a group of fields to, which is moved into place on success.

    Raises InputError if the existing group was not made here, or contains more.
    """
    check_own_fields(path)
    with get_place(path).replacing() as new:
        yield new


def write_fields(
    path: Path,
    attributes: Mapping[str, Any],
    about: Mapping[str, Any],
    fields: Mapping[str, FieldArray],
) -> None:
    """Write a group of fields, each in a group of its name in `FOLDER`.

    Parameters
    ----------
    attributes, about : of the group, and our own metadata, stored as ``steadystack``
    """
    own = {OWN: {FIELDS: list(fields), **about}}
    root = zarr.create_group(path, zarr_format=3, attributes={**attributes, **own})
    folder = root.create_group(FOLDER)
    for name, field in fields.items():
        count, *frame_shape = field.shape
        frames = max(1, min(count, CHUNK_VALUES // int(np.prod(frame_shape))))
        array = folder.create_group(name, attributes=dict(field.attributes)).create_array(
            LEVEL,
            shape=field.shape,
            chunks=(frames, *frame_shape),
            dtype="f8",
            fill_value=np.nan,
            dimension_names=field.names,
            config={"write_empty_chunks": True},  # a missing chunk would count as lost
        )
        for first in range(0, count, frames):
            rows = range(first, min(first + frames, count))
            array[first : rows.stop] = np.stack([field.make_frame(row) for row in rows])
