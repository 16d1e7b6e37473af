"""Lay out the work of a run, from its settings and an opened series: pairs, method, task sizes."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dask.system import CPU_COUNT
from numpy.typing import NDArray

from steadystack.cluster import PYTHON_BYTES, read_available_memory
from steadystack.conditioning import Conditioning
from steadystack.config import ClusterSection, Config, RegisterSection
from steadystack.csv_files import read_pair_list
from steadystack.measure import (
    BatchSize,
    MeasuredBefore,
    Method,
    find_cheapest_cell,
    find_pair_centres,
    list_searches,
)
from steadystack.model import InputError, Pilot, Reach, Slices, hide_in_values
from steadystack.pairs import select_pairs
from steadystack.planning.masking import expand_per_axis, naming_key
from steadystack.planning.outside_image import check_one_block
from steadystack.planning.series import Growth, Series, follow_path, leave_out, level
from steadystack.register import Search, check_max_shift
from steadystack.solve import check_anchor
from steadystack.units import parse_bytes, parse_shift_bounds


@dataclass(frozen=True, eq=False)
class Setup:
    """A run that is ready to start.

    Attributes
    ----------
    config, series : the settings, and the opened series
    pairs : (pairs, 2), frame indices of reference and moving
    method : how pairs are measured
    size : number of frames and pairs per task
    draft : where its dataset lies until it is complete, beside an older one; "": in its final place
    pilot : decisions on settings that were "auto"; None: none were, or they are not yet made
    growth : what was measured of its first frames, to be continued; None: nothing
    before : where a pilot records the pairs that it measures; None: nowhere
    """

    config: Config
    series: Series
    pairs: NDArray[np.int64]
    method: Method
    size: BatchSize
    draft: str = ""
    pilot: Pilot | None = None
    growth: Growth | None = None
    before: MeasuredBefore | None = None

    @property
    def shifts_path(self) -> str:
        """Where its dataset lies."""
        return self.draft or self.config.output.shifts

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing for a pilot to decide, or it has been decided."""
        return self.config.is_decided or self.pilot is not None


def set_up(config: Config, series: Series, before: MeasuredBefore | None = None) -> Setup:
    """Check the settings against the series and lay out the work."""
    pairs = _select_pairs(config, series.source.frame_count)
    check_anchor(config.solve.anchor, series.source.frame_count)
    method = _add_initial_shifts(_make_method(config, series), series, pairs)
    size = max(
        (_choose_batch_size(config, series, search) for search in list_searches(method, pairs)),
        key=lambda batch_size: batch_size.least_bytes,
    )
    if method.widen:
        again = _choose_batch_size(config, series, method.search.widen())
        size = replace(size, again_bytes=again.least_bytes)
    method = replace(method, keep=size.keep, places=series.places)
    return Setup(config, series, pairs, method, size, before=before)


def decide(setup: Setup, pilot: Pilot) -> Setup:
    """The same run with its "auto" settings as decided by a pilot."""
    config, chosen = setup.config, pilot.outcome
    series = _leave_out_found(config, follow_path(setup.series, pilot.path), pilot)
    preprocess = config.preprocess.decide(chosen.low_pass, chosen.high_pass)
    register = _decide_search(config, pilot.reach)
    config = config.model_copy(update={"preprocess": preprocess, "register_": register})
    return replace(_set_up_again(setup, config, series), pilot=pilot)


def bound_search(setup: Setup, reach: Reach | None) -> Setup:
    """The same run with `register.max_shift`, if it is "auto", set to what was found."""
    register = _decide_search(setup.config, reach)
    if register == setup.config.register_:
        return setup
    config = setup.config.model_copy(update={"register_": register})
    return _set_up_again(setup, config, setup.series)


def _decide_search(config: Config, reach: Reach | None) -> RegisterSection:
    reach = reach or Reach(0, 0)
    return config.register_.decide(reach.bounds, reach.widen)


def _leave_out_found(config: Config, series: Series, pilot: Pilot) -> Series:
    """Exclude what a pilot found from the series, as far as the settings ask for it."""
    mask = config.mask
    if mask.defects is not None and pilot.defects is not None:
        series = leave_out(series, pixels=pilot.defects.pixels)
    if mask.field_of_view is not None and pilot.field_of_view is not None:
        series = leave_out(series, boxes=pilot.field_of_view.boxes)
    if mask.parts is not None and pilot.parts is not None:
        series = leave_out(series, boxes=pilot.parts.boxes)
    if mask.defects is not None and pilot.lines is not None:
        series = level(series, pilot.lines.rows, pilot.lines.columns)
    return series


def leave_out_found(setup: Setup, pilot: Pilot) -> Setup:
    """The same run without what a pilot found in the frames; "auto" settings stay "auto"."""
    series = _leave_out_found(setup.config, setup.series, pilot)
    return _set_up_again(setup, setup.config, series) if series is not setup.series else setup


def _set_up_again(setup: Setup, config: Config, series: Series) -> Setup:
    """The same run, with the same pairs, but other settings or pixels."""
    again = set_up(config, series, setup.before)
    return replace(again, pairs=setup.pairs, draft=setup.draft, pilot=setup.pilot)


def _add_initial_shifts(method: Method, series: Series, pairs: NDArray[np.int64]) -> Method:
    """Centre the method's searches on the initial shifts of the series, if it has any."""
    if series.initial_shifts is None:
        return method
    if method.search.max_shift is None:
        raise InputError("initial_shifts needs register.max_shift: how far they may be off, pixels")
    method = replace(method, initial_shifts=series.initial_shifts)
    centres = find_pair_centres(method, pairs)
    assert centres is not None
    if not any(method.search.touches(centre) for centre in np.unique(centres, axis=0).tolist()):
        largest = np.abs(centres).max(axis=0).tolist()
        raise InputError(
            f"initial_shifts puts the frames of every pair so far apart ({largest} px at most) "
            f"that frames of {method.search.shape} pixels do not overlap: check "
            "initial_shifts.unit and initial_shifts.scale"
        )
    return replace(method, cell=find_cheapest_cell(centres, pairs, method.search))


def _select_pairs(config: Config, frame_count: int) -> NDArray[np.int64]:
    """Select the pairs to measure in the first round: (pairs, 2), frame indices."""
    options = config.pairs.model_dump()
    listed, path = options.pop("list"), options.pop("path")
    del options["extra"]  # extra pairs are chosen after these are measured
    if config.pairs.strategy != "list":
        return select_pairs(frame_count, **options)
    with naming_key("pairs.path" if path else "pairs.list"):
        return select_pairs(frame_count, **options, listed=read_pair_list(path) if path else listed)


def _choose_batch_size(config: Config, series: Series, search: Search) -> BatchSize:
    """Choose the number of frames and pairs per task within `cluster.task_memory`."""
    task_memory = config.cluster.task_memory
    memory = parse_bytes(task_memory) if task_memory is not None else None
    section = config.preprocess
    by_value = series.validity.by_value or section.logarithm or section.square_root
    available = _find_bytes_per_task(config.cluster)
    size = BatchSize.within(
        memory or get_default_task_bytes(config.cluster),
        search,
        series.pixel_bytes,
        chunk_bytes=series.chunk_bytes,
        one_mask=series.one_mask and not by_value,
        conditioned=section.changes_frames,
    )
    least = math.ceil(size.least_bytes / 2**20)
    if memory is not None and memory < size.least_bytes:
        raise InputError(
            f"cluster.task_memory {task_memory!r} is less than the {least} MiB that one pair of "
            "frames needs: raise it, or lower register.max_shift"
        )
    if max(memory or 0, size.least_bytes) > available:
        needs = f"one pair of frames needs {least} MiB,"
        demand = f"cluster.task_memory {task_memory}" if task_memory else needs
        raise InputError(
            f"{demand} and a worker of cluster.worker_memory {config.cluster.worker_memory} has "
            f"{max(available, 0) // 2**20} MiB for a task: raise it, or lower "
            + ("cluster.task_memory" if task_memory else "register.max_shift")
        )
    return size


def _find_bytes_per_task(section: ClusterSection) -> int:
    """Find the memory of a task in a worker, bytes; `sys.maxsize` if the settings do not say."""
    if section.worker_memory is None:
        return sys.maxsize
    return (parse_bytes(section.worker_memory) or 0) // section.threads_per_worker - PYTHON_BYTES


def _make_method(config: Config, series: Series) -> Method:
    """Make the method of the settings, and check that it fits the frames."""
    preprocess, region = config.preprocess, _choose_region(config, series)
    search = _make_search(config, series, region)
    widen = config.register_.widen and search.max_shift is not None
    _check_search(config, search, widen)
    config.motion.check_frames(search.shape, len(search.blocks), config.register_.subpixel)
    check_one_block(series.outside, search.shape, len(search.blocks))
    flat_field, fixed_pattern = preprocess.flat_field, preprocess.fixed_pattern
    return Method(
        search=search,
        widen=widen,
        conditioning=Conditioning(
            logarithm=preprocess.logarithm,
            square_root=preprocess.square_root,
            low_pass=_get_sigma(preprocess.low_pass),
            high_pass=_get_sigma(preprocess.high_pass),
        ),
        flat_field=None if flat_field == "median" else series.locate_image(flat_field),
        fixed_pattern=None if fixed_pattern == "estimate" else series.locate_image(fixed_pattern),
        region=region,
    )


def _choose_region(config: Config, series: Series) -> Slices:
    """Choose the region that is correlated: the bounds of the mask, less a border."""
    shape = series.source.frame_shape
    border = series.border or (0,) * len(shape)
    region = tuple(
        slice(max(side.start, width), min(side.stop, size - width))
        for side, width, size in zip(series.bounds, border, shape, strict=True)
    )
    if any(side.start >= side.stop for side in region):
        raise InputError(f"mask.border {config.mask.border} leaves no valid pixel of the mask")
    return region


def _make_search(config: Config, series: Series, region: Slices) -> Search:
    """Make the search of the settings in a region of the frames."""
    shape, section = series.source.frame_shape, config.register_
    asked = series.bound_search(section.max_shift if section.is_decided else None)  # None: all
    bounds = parse_shift_bounds(asked, series.pixel_size, series.unit)
    try:
        max_shift = check_max_shift(bounds, [size - 1 for size in shape])
    except ValueError as error:
        raise InputError(f"register.{error}") from error
    tile = section.fft_tile
    return Search.make(
        shape,
        shape,
        max_shift,
        section.min_overlap,
        section.subpixel,
        allow_inverted=section.allow_inverted,
        region=[side.stop - side.start for side in region],
        tile=None if tile is None else expand_per_axis("register.fft_tile", tile, shape),
        chunks=series.chunks,
    )


def _get_sigma(setting: float | str | None) -> float | None:
    """The sigma of a filter; None if it is off or not yet decided."""
    return None if isinstance(setting, str) else setting


def _check_search(config: Config, search: Search, widen: bool) -> None:
    """Refuse settings that need frames of one block, and refining of what cannot be refined."""
    section = config.register_
    rounds, blocks = config.solve.refine, len(search.blocks)
    if rounds and blocks > 1:
        raise InputError(
            f"solve.refine {rounds} needs frames that fit into one block, but {search.shape} "
            f"pixels take {blocks}: set it to 0, or use a coarser input.level"
        )
    if rounds and (section.allow_inverted or not section.subpixel):
        raise InputError(
            f"solve.refine {rounds} needs register.allow_inverted: false and register.subpixel: "
            "true: set it to 0, or change these"
        )
    if config.preprocess.fixed_pattern == "estimate" and blocks > 1:
        raise InputError(
            "preprocess.fixed_pattern 'estimate' needs frames that fit into one block, but "
            f"{search.shape} pixels take {blocks}: give the path of an image, or use a coarser "
            "input.level"
        )
    if widen and len(search.widen().blocks) > 1:
        raise InputError(
            "register.widen needs frames that fit into one block at every shift, but "
            f"{search.shape} pixels do not: raise register.max_shift instead"
        )


def list_changed_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], sections: Sequence[str]
) -> list[str]:
    """List the keys of some sections whose values differ, each with both values.

    Secrets in URLs are ignored: stored settings do not contain them.
    """
    before, now = hide_in_values(before), hide_in_values(now)
    return [
        f"{section}.{key} {before.get(section, {}).get(key)!r} -> {value!r}"
        for section in sections
        for key, value in now[section].items()
        if before.get(section, {}).get(key) != value
    ]


MIB = 2**20
# Memory of Python and its libraries: in a worker, and in this process with its scheduler.
WORKER_BYTES, OWN_BYTES = PYTHON_BYTES, 250 * MIB
# Bytes per row of the pair table while it is solved and written: 1.6e6 pairs of 2e5 frames took at
# most 930 bytes a pair, including the columns of their parts.
ROW_BYTES = 1000
# Largest share of its memory that a worker may fill.
SHARE = 0.8
DEFAULT_TASK_BYTES = 512 * MIB


def count_wanted_workers(section: ClusterSection) -> int:
    """Count the local worker processes asked for, whether or not they fit."""
    return section.workers or max(1, CPU_COUNT // section.threads_per_worker)


def get_default_task_bytes(section: ClusterSection) -> int:
    """Default memory of a task, bytes, if the settings do not say: less on small machines."""
    if section.worker_memory is not None:
        per_thread = (parse_bytes(section.worker_memory) or 0) // section.threads_per_worker
        return max(min(DEFAULT_TASK_BYTES, per_thread - WORKER_BYTES), 1)
    if section.kind != "local":
        return DEFAULT_TASK_BYTES
    share = (
        int(SHARE * (read_available_memory() - OWN_BYTES)) // count_wanted_workers(section)
        - WORKER_BYTES
    )
    return max(min(DEFAULT_TASK_BYTES, share // section.threads_per_worker), 1)
