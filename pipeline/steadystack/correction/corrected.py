"""A whole corrected stack, laid out: everything about it that is known before a pixel is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.config import CorrectSection
from steadystack.correction.chunks import (
    COARSEST,
    Cut,
    cut_into_regions,
    make_levels,
    make_valid_level,
)
from steadystack.correction.movements import (
    Movements,
    choose_canvas,
    choose_fill_value,
    find_movements,
)
from steadystack.correction.regions import CorrectionPlan
from steadystack.durable import get_place
from steadystack.model import InputError
from steadystack.ome import OmeVersion, make_image_attributes
from steadystack.outputs import OWN, PyramidSpec
from steadystack.readers import StackSpec, choose_ome_version, get_coordinates
from steadystack.validity import Validity
from steadystack.warp import Box, find_common_box

# Raised whenever the same settings write other pixels than before.
METHOD_VERSION = 1


@dataclass(frozen=True, eq=False)
class Corrected:
    """A corrected stack that is laid out: what the tasks need, and what the store will tell.

    `path` is where it will be; the tasks write to that of `work.target`. `task_bytes` is the memory
    of a task.
    """

    path: str
    work: CorrectionPlan
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


def plan_corrected(
    path: str,
    source: StackSpec,
    shifts: xr.Dataset,
    how: CorrectSection,
    validity: Validity,
    channel: int | None,
    memory: int,
) -> Corrected:
    """Everything about a corrected stack that is known before a pixel is read.

    Parameters
    ----------
    path : where it will be
    source : the stack to be moved, of which all channels and planes are
    shifts : the solved dataset of shifts
    validity, channel : see `CorrectionPlan`
    memory : bytes that a task may use

    Raises
    ------
    InputError
        Where stack, shifts and settings do not go together.
    """
    moved = find_movements(shifts, interpolated=how.interpolated, unusable=how.unusable)
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    _check(source, moved, axes)
    shape = tuple(source.size(axis) for axis in axes)
    box = choose_canvas(moved, shape, how.border)
    sides = dict(zip(axes, box.shape, strict=True))
    first = dict(zip(axes, box.first, strict=True))
    spatial, names = source.spatial, tuple(a for a in "tczyx" if a in source.axes)
    shift = np.zeros((len(moved.shift), len(spatial)))
    shift[:, [spatial.index(axis) for axis in axes]] = moved.shift
    boolean = np.dtype(source.dtype).kind == "b"
    version: OmeVersion = how.format or choose_ome_version(source)
    cut = _choose_cut(
        source,
        names,
        sides,
        how,
        version,
        "nearest" if how.labels or boolean else how.interpolation,
    )
    region = cut_into_regions(cut, memory)
    target = PyramidSpec(
        path=get_place(path).open_build().path,
        axes=names,
        dtype=np.dtype(source.dtype).newbyteorder("=").str,
        version=version,
        levels=make_levels(cut, region, how.levels),
        valid=make_valid_level(cut, region) if how.write_valid else None,
        fill_value=choose_fill_value(how.fill_value, np.dtype(source.dtype)),
        digest=_compute_digest(source, how, (validity, channel), shift, box),
    )
    work = CorrectionPlan(
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
        validity=validity,
        channel=channel,
    )
    about = _describe(source, how, target, work, moved, axes, shape)
    attributes = make_image_attributes(
        names,
        [(level.name, level.factors) for level in target.levels],
        get_coordinates(source),
        name=get_place(path).name.split(".")[0],
        version=version,
        first=first,
    )
    attributes |= {OWN: about}
    return Corrected(path, work, attributes, cut.bytes_for(region.sides), moved)


def _check(source: StackSpec, moved: Movements, axes: Sequence[str]) -> None:
    if source.frame_count != len(moved.shift):
        raise InputError(
            f"{source.path} has {source.frame_count} frames, but there are shifts for "
            f"{len(moved.shift)}"
        )
    if not set(axes) <= set(source.spatial):
        raise InputError(
            f"the shifts are along {', '.join(axes)}, but {source.path} has frames along "
            f"{', '.join(source.spatial)}"
        )


def _choose_cut(
    source: StackSpec,
    names: tuple[str, ...],
    sides: dict[str, int],
    how: CorrectSection,
    version: OmeVersion,
    interpolation: str,
) -> Cut:
    """Chunks and shards as they are given, or those of the input."""
    shape = {axis: sides.get(axis, source.size(axis)) for axis in names}
    read = dict(zip(source.axes, source.chunks, strict=True))
    chunks = dict(read)
    if how.chunks is not None:
        chunks |= {"t": 1, "c": 1} | _expand_per_axis("correct.chunks", how.chunks, source.spatial)
    chunks = {axis: min(chunks[axis], shape[axis]) for axis in names}
    shards: dict[str, int] | None = None
    if how.shards is not None:
        shards = chunks | _expand_per_axis("correct.shards", how.shards, source.spatial)
    elif how.chunks is None and version == "0.5" and source.shards is not None:
        shards = dict(zip(source.axes, source.shards, strict=True))
    if shards is not None and version == "0.4":
        raise InputError("correct.shards: OME-Zarr 0.4 has no shards: set correct.format to 0.5")
    if shards is not None:
        for axis in names:
            shards[axis] = min(shards[axis], -(-shape[axis] // chunks[axis]) * chunks[axis])
            if how.shards is not None and shards[axis] % chunks[axis]:
                raise InputError(
                    f"correct.shards: {shards[axis]} along {axis} is not a multiple of the "
                    f"chunk's {chunks[axis]}"
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


def _expand_per_axis(key: str, given: int | tuple[int, ...], axes: Sequence[str]) -> dict[str, int]:
    values = (given,) * len(axes) if isinstance(given, int) else given
    if len(values) != len(axes):
        raise InputError(f"{key} has {len(values)} values for the axes {', '.join(axes)}")
    return dict(zip(axes, values, strict=True))


def _compute_digest(
    source: StackSpec,
    how: CorrectSection,
    valid: tuple[Validity, int | None],
    shift: NDArray[np.float64],
    box: Box,
) -> str:
    """A short hash of all that the pixels follow from."""
    validity, channel = valid
    here = validity if channel is not None else validity.whatever_the_value()
    told = {
        "method": METHOD_VERSION,
        "source": [source.digest, source.missing_chunks],
        "how": how.model_dump(mode="json"),
        "invalid": [
            *([mask.digest for mask in here.masks], here.border, here.invalid_values),
            here.saturation,
            *(here.valid_range, channel),
        ],
        "box": asdict(box),
    }
    text = json.dumps(told, sort_keys=True).encode()
    return hashlib.sha256(text + np.ascontiguousarray(shift).tobytes()).hexdigest()[:16]


def _describe(
    source: StackSpec,
    how: CorrectSection,
    target: PyramidSpec,
    work: CorrectionPlan,
    moved: Movements,
    axes: Sequence[str],
    shape: tuple[int, ...],
) -> dict[str, Any]:
    """What the store tells of itself beside the image's metadata."""
    common = find_common_box(moved.shift[moved.good], shape)
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
        **({"time": list(source.time)} if source.time and not _is_even(source.time[0]) else {}),
    }


def _is_even(times: Sequence[float]) -> bool:
    steps = np.diff(times)
    return bool(np.allclose(steps, steps[:1], rtol=1e-6))
