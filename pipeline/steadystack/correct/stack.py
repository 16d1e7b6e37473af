"""A whole corrected stack on disk: laid out, written region by region, put in place when whole."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.cluster import Engine, Failure, run_tasks, share
from steadystack.config import CorrectSection
from steadystack.correct.frames import Movements, canvas, fill_value_for, movements
from steadystack.correct.layout import COARSEST, Cut, levels, regions, valid_level
from steadystack.correct.regions import Invalid, Work, correct_region
from steadystack.model import InputError, OutputError
from steadystack.store.progress import (
    OWN,
    Record,
    beginning,
    begun_at,
    digest_at,
    put_in_place,
    settle,
    tidy,
    writing,
    writing_path,
)
from steadystack.store.pyramids import (
    PyramidSpec,
    Version,
    codecs_of,
    create_pyramid,
    image_metadata,
    shards_of,
    version_of,
    write_fractions,
)
from steadystack.store.remote import is_remote
from steadystack.store.stacks import StackSpec
from steadystack.warp import Box, common_box

# Raised whenever the same settings write other pixels than before.
METHOD_VERSION = 1


@dataclass(frozen=True, eq=False)
class Corrected:
    """A corrected stack that is laid out: what the tasks need, and what the store will tell.

    `path` is where it will be; the tasks write to that of `work.target`. `task_bytes` is the memory
    of a task.
    """

    path: str
    work: Work
    attributes: dict[str, Any]
    task_bytes: int
    frames: Movements

    @property
    def blank(self) -> int:
        """How many frames stay blank."""
        return int(np.isnan(self.frames.shift).any(axis=1).sum())

    @property
    def tasks(self) -> int:
        return len(self.work.regions)


def lay_out(
    path: str,
    source: StackSpec,
    shifts: xr.Dataset,
    how: CorrectSection,
    invalid: Invalid,
    memory: int,
) -> Corrected:
    """Everything about a corrected stack that is known before a pixel is read.

    Parameters
    ----------
    path : where it will be
    source : the stack to be moved, of which all channels and planes are
    shifts : the solved dataset of shifts
    memory : bytes that a task may use

    Raises
    ------
    InputError
        Where stack, shifts and settings do not go together.
    """
    moved = movements(shifts, interpolated=how.interpolated, unusable=how.unusable)
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    _check(source, moved, axes)
    shape = tuple(source.size(axis) for axis in axes)
    box = canvas(moved, shape, how.border)
    sides = dict(zip(axes, box.shape, strict=True))
    first = dict(zip(axes, box.first, strict=True))
    spatial, names = source.spatial, tuple(a for a in "tczyx" if a in source.axes)
    shift = np.zeros((len(moved.shift), len(spatial)))
    shift[:, [spatial.index(axis) for axis in axes]] = moved.shift
    boolean = np.dtype(source.dtype).kind == "b"
    version: Version = how.format or version_of(source)
    cut = _cut(
        source, names, sides, how, version, "whole" if how.labels or boolean else how.interpolation
    )
    region = regions(cut, memory)
    target = PyramidSpec(
        path=writing_path(path),
        axes=names,
        dtype=np.dtype(source.dtype).newbyteorder("=").str,
        version=version,
        levels=levels(cut, region, how.levels),
        valid=valid_level(cut, region) if how.valid else None,
        fill_value=fill_value_for(how.fill_value, np.dtype(source.dtype)),
        digest=_digest(source, how, invalid, shift, box),
    )
    work = Work(
        source=source,
        target=target,
        regions=region,
        shift=shift,
        box=Box(
            tuple(first.get(axis, 0) for axis in spatial),
            tuple(sides.get(axis, source.size(axis)) for axis in spatial),
        ),
        interpolation=cut.interpolation,
        labels=how.labels,
        keep=how.invalid == "keep",
        invalid=invalid,
    )
    about = _about(source, how, target, work, moved, axes, shape)
    return Corrected(
        path,
        work,
        image_metadata(source, target, first, Path(path).name.split(".")[0]) | {OWN: about},
        cut.bytes_for(region.sides),
        moved,
    )


def _check(source: StackSpec, moved: Movements, axes: Sequence[str]) -> None:
    if source.frame_count != len(moved.shift):
        raise InputError(
            f"{source.path} has {source.frame_count} frames and there are shifts for "
            f"{len(moved.shift)}"
        )
    if not set(axes) <= set(source.spatial):
        raise InputError(
            f"the shifts are along {', '.join(axes)}, and {source.path} has frames along "
            f"{', '.join(source.spatial)}"
        )


def _cut(
    source: StackSpec,
    names: tuple[str, ...],
    sides: dict[str, int],
    how: CorrectSection,
    version: Version,
    interpolation: str,
) -> Cut:
    """Chunks and shards as they are given, or those of the input."""
    shape = {axis: sides.get(axis, source.size(axis)) for axis in names}
    read = dict(zip(source.axes, source.chunks, strict=True))
    chunks = dict(read)
    if how.chunks is not None:
        chunks |= {"t": 1, "c": 1} | _per_axis("correct.chunks", how.chunks, source.spatial)
    chunks = {axis: min(chunks[axis], shape[axis]) for axis in names}
    shards: dict[str, int] | None = None
    if how.shards is not None:
        shards = chunks | _per_axis("correct.shards", how.shards, source.spatial)
    elif how.chunks is None and version == "0.5" and (taken := shards_of(source)) is not None:
        shards = dict(zip(source.axes, taken, strict=True))
    if shards is not None and version == "0.4":
        raise InputError("correct.shards: OME-Zarr 0.4 knows no shards: set correct.format to 0.5")
    if shards is not None:
        for axis in names:
            shards[axis] = min(shards[axis], -(-shape[axis] // chunks[axis]) * chunks[axis])
            if how.shards is not None and shards[axis] % chunks[axis]:
                raise InputError(
                    f"correct.shards: {shards[axis]} along {axis} is no multiple of the chunk's "
                    f"{chunks[axis]}"
                )
            shards[axis] = max(shards[axis] // chunks[axis], 1) * chunks[axis]
    return Cut(
        axes=names,
        shape=tuple(shape[axis] for axis in names),
        itemsize=np.dtype(source.dtype).itemsize,
        chunks=tuple(chunks[axis] for axis in names),
        shards=None if shards is None else tuple(shards[axis] for axis in names),
        read=tuple(read[axis] for axis in names),
        interpolation=interpolation,
        pyramid=how.levels != 1 and (how.levels is not None or max(sides.values()) > COARSEST),
    )


def _per_axis(key: str, given: int | tuple[int, ...], axes: Sequence[str]) -> dict[str, int]:
    values = (given,) * len(axes) if isinstance(given, int) else given
    if len(values) != len(axes):
        raise InputError(f"{key} has {len(values)} values for the axes {', '.join(axes)}")
    return dict(zip(axes, values, strict=True))


def _digest(
    source: StackSpec, how: CorrectSection, invalid: Invalid, shift: NDArray[np.float64], box: Box
) -> str:
    """A short hash of all that the pixels follow from."""
    told = {
        "method": METHOD_VERSION,
        "source": [source.digest, source.missing_chunks],
        "how": how.model_dump(mode="json"),
        "invalid": [
            *([mask.digest for mask in invalid.masks], invalid.border, invalid.values),
            invalid.saturation,
            *(invalid.valid_range, invalid.channel),
        ],
        "box": asdict(box),
    }
    text = json.dumps(told, sort_keys=True).encode()
    return hashlib.sha256(text + np.ascontiguousarray(shift).tobytes()).hexdigest()[:16]


def _about(
    source: StackSpec,
    how: CorrectSection,
    target: PyramidSpec,
    work: Work,
    moved: Movements,
    axes: Sequence[str],
    shape: tuple[int, ...],
) -> dict[str, Any]:
    """What the store tells of itself beside the image's metadata."""
    common = common_box(moved.shift[moved.good], shape)
    laid = [work.regions.sides, [asdict(level) for level in target.levels]]
    return {
        "digest": target.digest,
        "layout": hashlib.sha256(json.dumps(laid).encode()).hexdigest()[:16],
        "source": source.path,
        "settings": how.model_dump(mode="json"),
        "axes": list(axes),
        "box": asdict(work.box),
        "common": asdict(common) if common else None,
        "blank": np.flatnonzero(np.isnan(moved.shift).any(axis=1)).tolist(),
        # OME-Zarr knows evenly spaced frames alone.
        **({"time": list(source.time)} if source.time and not _even(source.time[0]) else {}),
    }


def _even(times: Sequence[float]) -> bool:
    steps = np.diff(times)
    return bool(np.allclose(steps, steps[:1], rtol=1e-6))


State = Literal["new", "begun", "done"]


def state_of(path: str, digest: str, layout: str, overwrite: bool) -> State:
    """What there is of a corrected stack.

    Raises InputError if its path, or that of what was begun, holds something else.
    """
    settle(path)
    there = digest_at(path)
    if there == digest and not overwrite:
        return "done"
    if there is not None and not overwrite:
        goes = "it goes away at once" if is_remote(path) else "it stays until the new one is whole"
        raise InputError(
            f"{path} was made with other shifts or settings: `steadystack correct --overwrite` "
            f"makes it anew ({goes}), or give another output.corrected"
        )
    begun = begun_at(path)
    if begun is None or overwrite:
        return "new"
    if begun[0] != digest:
        raise InputError(
            f"{writing_path(path)} was begun with other shifts or settings: "
            "`steadystack correct --overwrite` starts anew"
        )
    return "begun" if begun[1] == layout else "new"


def write_corrected(
    stack: Corrected,
    client: Engine,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write what is not written yet, and put the stack in its place.

    Raises
    ------
    InputError
        If the path holds something else; nothing is touched then.
    OutputError
        If it cannot be written; what is there is kept, and the next call goes on from it.
    """
    path, work = stack.path, stack.work
    digest, layout = (str(stack.attributes[OWN][key]) for key in ("digest", "layout"))
    state = state_of(path, digest, layout, overwrite)
    if state == "done":
        tidy(path)
        return
    if state == "new":
        codecs = codecs_of(work.source, work.target.version)
        with writing(path), beginning(path, digest, layout):
            create_pyramid(work.target, stack.attributes, codecs)
    with Record(path) as record:
        done = record.read()
        left = ((number, number) for number in range(stack.tasks) if number not in done)
        for number, counts in run_tasks(client, correct_region, left, share(client, work)):
            if isinstance(counts, Failure):
                raise OutputError(f"{path}: {counts.reason}")
            with writing(path):
                record.add(number, counts)
            done[number] = counts
            if progress is not None:
                progress(len(done), stack.tasks)
    with writing(path):
        write_fractions(work.target, _fractions(work, done))
        put_in_place(path)


def _fractions(work: Work, done: dict[int, list[int]]) -> NDArray[np.float64]:
    """(frames, channels): the known part of what is shown."""
    target = work.target
    channels = target.shape[target.axes.index("c")] if "c" in target.axes else 1
    total = np.zeros((work.source.frame_count, channels))
    for number, counts in done.items():
        side = dict(zip(target.axes, work.regions.at(number), strict=True))
        some = total[side["t"], side.get("c", slice(None))]
        some += np.reshape(counts, some.shape)
    return total / math.prod(work.box.shape)
