"""Plan a corrected stack: everything about it that is known before a pixel is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.config import CorrectSection
from steadystack.correction.chunks import (
    ChunkLayout,
    Regions,
    choose_chunks,
    cut_into_regions,
    make_levels,
    make_valid_level,
)
from steadystack.correction.movements import (
    Movements,
    add_channel_offsets,
    choose_canvas,
    choose_fill_value,
    find_movements,
    find_shown_box,
    keep_near,
    list_all,
    spread_over_axes,
)
from steadystack.correction.regions import CorrectionPlan, make_attributes, place_canvas
from steadystack.durable import get_place
from steadystack.model import Bools, InputError, hide_in_values, hide_secrets
from steadystack.ome import OmeVersion
from steadystack.outputs import OWN, PyramidSpec, Written
from steadystack.readers import StackSpec, choose_ome_version
from steadystack.validity import Validity
from steadystack.warp import Box, check_linear_interpolation

# Raised whenever the same settings give other pixels than before.
METHOD_VERSION = 2


@dataclass(frozen=True, eq=False)
class Corrected:
    """A planned corrected stack: what the tasks need, and the metadata of the store.

    Attributes
    ----------
    path : where the stack will be; until it is whole, tasks write to the path of `work.target`
    work : what the tasks need
    attributes : of the group in the store
    task_bytes : memory of a task
    frames : how every frame is moved
    before, stays : the existing stack (None: all frames are written), and which of its frames stay
        (frames,)
    """

    path: str
    work: CorrectionPlan
    attributes: dict[str, Any]
    task_bytes: int
    frames: Movements
    before: Written | None
    stays: Bools

    @property
    def source(self) -> StackSpec:
        """The stack whose frames are moved."""
        return self.work.source

    @property
    def blank(self) -> int:
        """How many frames stay blank."""
        return int(np.isnan(self.frames.shift).any(axis=1).sum())

    @property
    def tasks(self) -> int:
        """How many tasks write the stack."""
        return len(self.work.regions)


def plan_corrected(
    path: str,
    source: StackSpec,
    shifts: xr.Dataset,
    section: CorrectSection,
    validity: Validity,
    channel: int | None,
    memory: int,
    before: Written | None = None,
) -> Corrected:
    """Plan a corrected stack from everything that is known before a pixel is read.

    Parameters
    ----------
    path : where the stack will be
    source : the stack whose channels and planes are all moved
    shifts : the solved dataset of shifts
    section : the settings of the correction
    validity, channel : see `CorrectionPlan`
    memory : bytes that a task may use
    before : a corrected stack of the first frames of the same series, of which frames are to stay

    Raises
    ------
    InputError
        Where stack, shifts and settings do not go together.
    """
    movements = find_movements(shifts, interpolated=section.interpolated, unusable=section.unusable)
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    check_shifts_fit(source, movements, axes, section)
    spatial, stays = source.spatial, np.zeros(len(movements.shift), bool)
    if before is not None:
        shape = [source.size(axis) for axis in axes]
        movements, stays = keep_near(movements, before.shift, before.linear, shape)
    shift = spread_over_axes(movements.shift, axes, spatial)
    movements = add_channel_offsets(movements, shifts, source.several, source.size("c"))
    canvas, layout, regions, target = _choose_canvas_and_target(
        path, source, section, movements, axes, memory, before.sides if before else None
    )
    digest = compute_digest(source, section, (validity, channel), movements, shift, canvas)
    target = replace(target, digest=digest)
    plan = CorrectionPlan(
        source=source,
        target=target,
        regions=regions,
        shift=shift,
        linear=movements.linear,
        box=place_canvas(canvas, axes, source),
        interpolation=layout.interpolation,
        labels=section.labels,
        invalid=section.invalid,
        validity=validity,
        channel=channel,
        offsets=spread_offsets(movements.offsets, axes, spatial),
    )
    attributes = make_attributes(path, target, source, canvas, axes)
    how = {
        "how": hash_correct_settings(section, channel),
        "fingerprint": shifts.attrs.get("fingerprint", ""),
    }
    attributes |= {OWN: _describe(plan, section, movements, axes) | how}
    task_bytes = layout.estimate_bytes(regions.sides)
    return Corrected(path, plan, attributes, task_bytes, movements, before, stays)


def _choose_canvas_and_target(
    path: str,
    source: StackSpec,
    section: CorrectSection,
    movements: Movements,
    axes: Sequence[str],
    memory: int,
    sides: Sequence[int] | None = None,
) -> tuple[Box, ChunkLayout, Regions, PyramidSpec]:
    """Choose which pixels a corrected stack shows, and how they are written.

    Parameters
    ----------
    path : where the stack will be
    source : the stack that is moved
    section : the settings of the correction
    movements : how every frame is moved, along `axes`
    memory : bytes that a task may use
    sides : preferred sides of the tasks' regions; None: chosen here

    Returns
    -------
    canvas : the pixels that are shown, along `axes`
    layout : chunks and shards
    regions : the regions that tasks write
    target : the image that is written, without its digest
    """
    canvas = choose_canvas(movements, [source.size(axis) for axis in axes], section.border)
    dtype = np.dtype(source.dtype)
    version: OmeVersion = section.format or choose_ome_version(source)
    layout = choose_chunks(
        source,
        tuple(axis for axis in "tczyx" if axis in source.axes),
        dict(zip(axes, canvas.shape, strict=True)),
        section,
        version,
        "nearest" if section.labels or dtype.kind == "b" else section.interpolation,
        movements.linear,
    )
    regions = cut_into_regions(layout, memory, sides)
    target = PyramidSpec(
        path=get_place(path).open_build().path,
        axes=layout.axes,
        dtype=dtype.newbyteorder("=").str,
        version=version,
        levels=make_levels(layout, regions, section.levels),
        valid=make_valid_level(layout, regions) if section.write_valid else None,
        fill_value=choose_fill_value(section.fill_value, dtype),
        digest="",
    )
    return canvas, layout, regions, target


def _check_linear(
    movements: Movements, spatial: Sequence[str], axes: Sequence[str], section: CorrectSection
) -> None:
    """Refuse settings that cannot be combined with a linear motion, if there is one."""
    if movements.linear is None:
        return
    if list(spatial)[-len(axes) :] != list(axes):
        raise InputError(
            f"frame_linear is along {', '.join(axes)}, but the stack has frames along "
            f"{', '.join(spatial)}: their last {len(axes)} axes must be these"
        )
    if not section.labels:
        try:
            check_linear_interpolation(section.interpolation)
        except InputError as error:
            raise InputError(f"correct.{error}") from error


def check_shifts_fit(
    source: StackSpec, movements: Movements, axes: Sequence[str], section: CorrectSection
) -> None:
    """Refuse a motion of another number of frames, or along axes that the stack lacks."""
    _check_linear(movements, source.spatial, axes, section)
    if source.frame_count != len(movements.shift):
        raise InputError(
            f"{source.path} has {source.frame_count} frames, but there are shifts for "
            f"{len(movements.shift)}"
        )
    if not set(axes) <= set(source.spatial):
        raise InputError(
            f"the shifts are along {', '.join(axes)}, but {source.path} has frames along "
            f"{', '.join(source.spatial)}"
        )


def spread_offsets(
    offsets: NDArray[np.float64] | None, axes: Sequence[str], spatial: Sequence[str]
) -> NDArray[np.float64] | None:
    """Spread offsets of channels as `spread_over_axes` does shifts, if there are any."""
    return None if offsets is None else spread_over_axes(offsets, axes, spatial)


def compute_digest(
    source: StackSpec,
    section: CorrectSection,
    valid: tuple[Validity, int | None],
    movements: Movements,
    shift: NDArray[np.float64],
    canvas: Box,
) -> str:
    """Compute a short hash of everything that determines the pixels.

    `shift` (frames, spatial axes) are pixels, the linear motion, and offsets of channels, are those
    of `movements`, `canvas` the box of pixels that is shown.
    """
    validity, channel = valid
    relevant = validity if channel is not None else validity.drop_value_causes()
    content = {
        "method": METHOD_VERSION,
        "source": [source.digest, source.missing_chunks],
        "how": section.model_dump(mode="json"),
        "invalid": [
            *([mask.digest for mask in relevant.masks], relevant.border, relevant.invalid_values),
            relevant.saturation,
            *(relevant.valid_range, channel),
        ],
        "box": asdict(canvas),
    }
    text = json.dumps(content, sort_keys=True).encode() + np.ascontiguousarray(shift).tobytes()
    if movements.linear is not None:
        text += np.ascontiguousarray(movements.linear).tobytes()
    if movements.offsets is not None:
        text += np.ascontiguousarray(movements.offsets).tobytes()
    return hashlib.sha256(text).hexdigest()[:16]


def hash_correct_settings(section: CorrectSection, channel: int | None) -> str:
    """Compute a short hash of the settings of a corrected stack."""
    content = [METHOD_VERSION, section.model_dump(mode="json"), channel]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _describe(
    plan: CorrectionPlan, section: CorrectSection, movements: Movements, axes: Sequence[str]
) -> dict[str, Any]:
    """Describe the stack by attributes that are stored beside the image's metadata."""
    source, target, everywhere = plan.source, plan.target, list_all(movements)
    shape = [source.size(axis) for axis in axes]
    good, linear = everywhere.good, everywhere.linear
    common = find_shown_box(everywhere.shift[good], None if linear is None else linear[good], shape)
    layout = [plan.regions.sides, [asdict(level) for level in target.levels]]
    return {
        "digest": target.digest,
        "sides": list(plan.regions.sides),
        "layout": hashlib.sha256(json.dumps(layout).encode()).hexdigest()[:16],
        "source": hide_secrets(source.path),
        "settings": hide_in_values(section.model_dump(mode="json")),
        "axes": list(axes),
        "box": asdict(plan.box),
        "common": asdict(common) if common else None,
        "blank": np.flatnonzero(np.isnan(movements.shift).any(axis=1)).tolist(),
        **_describe_times(source.time),
    }


def _describe_times(time: tuple[Sequence[float], str] | None) -> dict[str, Any]:
    """The times of unevenly spaced frames, which OME-Zarr cannot store; None: unknown."""
    if time is None or _is_even(time[0]):
        return {}
    return {"time": [[each if np.isfinite(each) else None for each in time[0]], time[1]]}


def _is_even(times: Sequence[float]) -> bool:
    """Whether frames are evenly spaced in time."""
    steps = np.diff(times)
    return bool(np.allclose(steps, steps[:1], rtol=1e-6))
