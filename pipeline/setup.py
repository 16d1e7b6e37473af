"""From settings to an opened run: everything that is known before the first frame is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.measure import BatchSize, Method
from pipeline.model import FrameSource, InputError
from pipeline.pairs import batch_pairs, select_pairs
from pipeline.preprocess import Conditioning
from pipeline.register import Search, checked_max_shift
from pipeline.solve import check_anchor
from pipeline.store.masks import MaskedFrames, content_digest, locate_mask, read_image
from pipeline.store.stacks import StackFrames, StackSpec, locate
from pipeline.units import parse_bytes, shift_bounds

DEFAULT_TASK_BYTES = 512 * 2**20


@dataclass(frozen=True, eq=False)
class Series:
    """A series of frames and what its store tells of it."""

    source: FrameSource
    frame_bytes: int
    pixel_size: tuple[float, ...]
    unit: str
    time: tuple[tuple[float, ...], str] | None
    digest: str


@dataclass(frozen=True, eq=False)
class Setup:
    """A run that is ready to start."""

    config: Config
    series: Series
    pairs: NDArray[np.int64]
    method: Method
    size: BatchSize


@dataclass(frozen=True)
class Plan:
    """What a run will do: numbers of frames, pairs and tasks, bytes to read and bytes per task."""

    frames: int
    frame_shape: tuple[int, ...]
    fft_shape: tuple[int, ...]
    max_shift: tuple[int, ...]
    pairs: int
    tasks: int
    frames_per_task: int
    pairs_per_task: int
    read_bytes: int
    task_bytes: int


def open_series(config: Config) -> tuple[Series, StackSpec]:
    """Find the stack and its mask; reads no frame."""
    spec = locate(**config.input.model_dump())
    _check_outputs(config)
    source: FrameSource = StackFrames(spec)
    digests = [spec.digest]
    if config.mask.path is not None:
        with _naming("mask.path"):
            mask = locate_mask(config.mask.path, spec.frame_count, spec.frame_shape)
        source = MaskedFrames(source, mask)
        digests.append(mask.digest)
        if not mask.per_frame and not mask.read(0, spec.frame_shape).any():
            raise InputError(
                f"the mask {config.mask.path} has no valid pixel: True (not 0) means valid"
            )
    flat_field = config.preprocess.flat_field
    if flat_field is not None and flat_field != "median":
        with _naming("preprocess.flat_field (an image, or 'median')"):
            digests.append(content_digest(read_image(flat_field, spec.frame_shape)))
    digest = "-".join(digests)
    return Series(source, spec.frame_bytes, spec.pixel_size, spec.unit, spec.time, digest), spec


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """What is wrong with a path in here names the key of the settings that it stands under."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{key}: {error}") from error


def _check_outputs(config: Config) -> None:
    """Refuse outputs that would lie on, in or around an input."""
    given = (config.input.path, config.mask.path, config.preprocess.flat_field)
    for source in (Path(path) for path in given if path and "://" not in path):
        for target in (Path(path) for path in (config.output.shifts, config.output.report) if path):
            if target == source or source in target.parents or target in source.parents:
                raise InputError(f"the output {target} and the input {source} lie in each other")


def set_up(config: Config, series: Series) -> Setup:
    """Check the settings against the series and lay out the work."""
    count, shape = series.source.frame_count, series.source.frame_shape
    pairs = select_pairs(count, **config.pairs.model_dump())
    check_anchor(config.solve.anchor, count)
    method = _method(config, series)
    size = _batch_size(config.cluster.task_memory, shape, method.search)
    return Setup(config, series, pairs, method, size)


def _batch_size(given: str | None, shape: tuple[int, ...], search: Search) -> BatchSize:
    """What a task takes on within `cluster.task_memory`."""
    memory = parse_bytes(given) if given is not None else None
    size = BatchSize.within(memory or DEFAULT_TASK_BYTES, shape, search)
    least = 2 * size.frame_bytes + size.working_bytes
    if memory is not None and memory < least:
        raise InputError(
            f"cluster.task_memory {given!r} is less than the {math.ceil(least / 2**20)} MiB that "
            "one pair of frames needs: raise it, or lower register.max_shift"
        )
    return size


def plan_of(setup: Setup) -> Plan:
    """The work in numbers, from integers alone."""
    search, size = setup.method.search, setup.size
    batches = batch_pairs(setup.pairs, size.frames, size.pairs)
    frames_read = [len(np.unique(setup.pairs[batch])) for batch in batches]
    return Plan(
        frames=setup.series.source.frame_count,
        frame_shape=setup.series.source.frame_shape,
        fft_shape=search.fft_shape,
        max_shift=tuple(
            last - after for last, (_, after) in zip(search.window.last, search.margin, strict=True)
        ),
        pairs=len(setup.pairs),
        tasks=len(batches),
        frames_per_task=max(frames_read),
        pairs_per_task=max(len(batch) for batch in batches),
        read_bytes=sum(frames_read) * setup.series.frame_bytes,
        task_bytes=max(size.bytes_for(setup.pairs[batch]) for batch in batches),
    )


def _method(config: Config, series: Series) -> Method:
    shape, given = series.source.frame_shape, config.register_
    bounds = shift_bounds(given.max_shift, series.pixel_size, series.unit)
    try:
        max_shift = checked_max_shift(bounds, [size - 1 for size in shape])
    except ValueError as error:
        raise InputError(f"register.{error}") from error
    flat_field = config.preprocess.flat_field
    return Method(
        search=Search.over(shape, shape, max_shift, given.min_overlap, given.subpixel),
        conditioning=Conditioning(
            invalid_values=config.mask.invalid_values,
            valid_range=config.mask.valid_range,
            border=_border(config.mask.border, shape),
            logarithm=config.preprocess.logarithm,
            high_pass=config.preprocess.high_pass,
        ),
        flat_field=None if flat_field == "median" else flat_field,
    )


def _border(border: int | Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """`mask.border` per axis, checked to leave something."""
    widths = (border,) * len(shape) if isinstance(border, int) else tuple(border)
    if len(widths) != len(shape):
        raise InputError(f"mask.border has {len(widths)} values for {len(shape)} axes")
    if any(2 * width >= size for width, size in zip(widths, shape, strict=True)):
        raise InputError(f"mask.border {border} leaves nothing of frames of {tuple(shape)} pixels")
    return widths


def settings_that_differ(
    before: Mapping[str, Any], now: Mapping[str, Any], sections: Sequence[str]
) -> list[str]:
    """The keys of these sections whose values differ, with both values."""
    return [
        f"{section}.{key} {before.get(section, {}).get(key)!r} -> {value!r}"
        for section in sections
        for key, value in now[section].items()
        if before.get(section, {}).get(key) != value
    ]
