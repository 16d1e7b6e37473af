"""Plan and write the mean of a steady series on disk, summed up in batches of frames."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.cluster import Engine, Failure, run_trees, share
from steadystack.config import CorrectSection
from steadystack.correction.chunks import (
    ChunkLayout,
    MeanLayout,
    Regions,
    choose_chunks,
    cut_into_regions,
    make_levels,
)
from steadystack.correction.corrected import check_shifts_fit, compute_digest, spread_offsets
from steadystack.correction.moments import (
    IMAGES,
    MOMENT_BYTES,
    WEIGHTED_BYTES,
    MeanWork,
    SteadyMean,
    add_up_frames,
    get_images,
    is_weighted,
    join_parts,
    list_images,
    write_box,
)
from steadystack.correction.movements import (
    Weights,
    add_channel_offsets,
    choose_canvas,
    find_movements,
    find_weights,
    spread_over_axes,
)
from steadystack.correction.regions import CorrectionPlan, make_attributes, place_canvas
from steadystack.correction.writing import Steps, write_in_steps
from steadystack.durable import get_place
from steadystack.model import InputError, OutputError, Slices, hide_in_values, hide_secrets
from steadystack.outputs import (
    LISTED,
    MEAN,
    OWN,
    Origin,
    PyramidSpec,
    check_own_file,
    check_own_tiff,
    check_tiff,
    create_pyramid,
    explaining_write_errors,
    read_origin,
    replacing_own_file,
    write_ome_tiff,
)
from steadystack.readers import StackSpec, choose_ome_version
from steadystack.validity import Validity
from steadystack.warp import AnyMotion, Box, choose_work_dtype

# Batches of frames per box of pixels, if it is the whole frame or not; fewest frames per batch.
BATCHES, FEW_BATCHES, LEAST_FRAMES = 64, 8, 8
# Longest side of a chunk of the mean, pixels, so that tasks can work on parts of large frames.
LONGEST_CHUNK = 1024


def plan_mean(
    path: str,
    source: StackSpec,
    shifts: xr.Dataset,
    section: CorrectSection,
    validity: Validity,
    channel: int | None,
    memory: int,
    weights: Weights = None,
) -> SteadyMean:
    """Plan the mean of a steady series from everything that is known before a pixel is read.

    Parameters
    ----------
    path : where it will be
    source, shifts, section, validity, channel, memory : see `plan_corrected`
    weights : see `find_weights`

    Raises
    ------
    InputError
        Where stack, shifts, weights and settings do not go together.
    """
    if section.labels:
        raise InputError("correct.labels: labels have no mean: leave output.mean out")
    movements = find_movements(shifts, interpolated=section.interpolated, unusable=section.unusable)
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    check_shifts_fit(source, movements, axes, section)
    movements = add_channel_offsets(movements, shifts, source.several, source.size("c"))
    canvas = choose_canvas(movements, [source.size(axis) for axis in axes], section.border)
    frame_weights = find_weights(shifts, weights)
    shift = spread_over_axes(movements.shift, axes, source.spatial)
    shift[frame_weights == 0] = np.nan
    layout, regions, batches = _choose_boxes(source, section, axes, canvas, memory, frame_weights,
                                              movements.linear)  # fmt: skip
    target = _make_target(path, source, section, layout, regions)
    digest = compute_digest(source, section, (validity, channel), movements, shift, canvas)
    digest = hashlib.sha256(digest.encode() + frame_weights.tobytes()).hexdigest()[:16]
    target = replace(target, digest=digest)
    moving = CorrectionPlan(
        source=source,
        target=replace(target, axes=layout.axes, levels=(), fill_value=0.0),
        regions=regions,
        shift=shift,
        linear=movements.linear,
        box=place_canvas(canvas, axes, source),
        interpolation=layout.interpolation,
        labels=False,
        invalid="blank",
        validity=validity,
        channel=channel,
        offsets=spread_offsets(movements.offsets, axes, source.spatial),
    )
    boxes = Regions(target.shape, regions.sides[1:])
    work = MeanWork(moving, target, boxes, batches, frame_weights)
    attributes = make_attributes(path, target, source, canvas, axes)
    of_run = {"fingerprint": shifts.attrs.get("fingerprint", "")}
    attributes |= {OWN: _describe_mean(work, section, weights) | of_run}
    return SteadyMean(path, work, attributes, layout.estimate_bytes(regions.sides))


def _choose_boxes(
    source: StackSpec,
    section: CorrectSection,
    axes: Sequence[str],
    canvas: Box,
    memory: int,
    weights: NDArray[np.float64],
    motion: AnyMotion | None,
) -> tuple[MeanLayout, Regions, tuple[range, ...]]:
    """Choose boxes of pixels whose moments fit into `memory` bytes, and batches of frames.

    Returns the layout, the regions (frames of a box) that are read at a time, and the batches.
    """
    dtype = np.dtype(source.dtype)
    array_axes = tuple(axis for axis in "tczyx" if axis in source.axes)
    chunks = dict(zip(source.axes, source.chunks, strict=True))
    if section.chunks is None:
        own = tuple(min(chunks[axis], LONGEST_CHUNK) for axis in source.spatial)
        section = section.model_copy(update={"chunks": own})
    chosen = choose_chunks(
        source, array_axes, dict(zip(axes, canvas.shape, strict=True)), section,
        section.format or choose_ome_version(source),
        "nearest" if dtype.kind == "b" else section.interpolation, motion,
    )  # fmt: skip
    pixel_bytes = WEIGHTED_BYTES if is_weighted(weights) else MOMENT_BYTES
    for most in (BATCHES, FEW_BATCHES):
        layout = MeanLayout(
            **{field.name: getattr(chosen, field.name) for field in fields(ChunkLayout)}
            | {
                "itemsize": choose_work_dtype(dtype).itemsize,
                "chunks": (min(chunks["t"], source.frame_count), *chosen.chunks[1:]),
                "shards": chosen.shards and (chunks["t"], *chosen.shards[1:]),
            },
            # Its own moments and those waiting to be joined, one on every level of the tree.
            moment_bytes=pixel_bytes * (math.ceil(math.log2(most)) + 2),
        )
        whole = [
            size if axis in "zyx" else chunk
            for axis, size, chunk in zip(layout.axes, layout.shape, layout.chunks, strict=True)
        ]
        if layout.estimate_bytes(whole) <= memory:
            break
    regions = cut_into_regions(layout, memory)
    count = int(np.clip(source.frame_count // LEAST_FRAMES, 1, most))
    step = regions.sides[0] * -(-regions.counts[0] // count)
    batches = tuple(
        range(start, min(start + step, source.frame_count))
        for start in range(0, source.frame_count, step)
    )
    return layout, regions, batches


def _make_target(
    path: str, source: StackSpec, section: CorrectSection, layout: ChunkLayout, regions: Regions
) -> PyramidSpec:
    """Make the image to be written, without its digest: it has the axes of the stack except t."""
    image_layout = ChunkLayout(
        axes=layout.axes[1:],
        shape=layout.shape[1:],
        itemsize=layout.itemsize,
        chunks=layout.chunks[1:],
        shards=layout.shards and layout.shards[1:],
        read=layout.read[1:],
        interpolation=layout.interpolation,
        pyramid=layout.pyramid,
    )
    dtype = choose_work_dtype(np.dtype(source.dtype)).str
    named = {} if path.endswith(".npy") else IMAGES
    return PyramidSpec(
        path=get_place(path).open_build().path,
        axes=image_layout.axes,
        dtype=dtype,
        version=section.format or choose_ome_version(source),
        levels=make_levels(image_layout, Regions(image_layout.shape, regions.sides[1:]),
                           section.levels),
        valid=None,
        fill_value=np.nan,
        digest="",
        others=tuple((name, kind or dtype) for name, kind in named.items() if name != "mean"),
    )  # fmt: skip


def _describe_mean(work: MeanWork, section: CorrectSection, weights: Weights) -> dict[str, Any]:
    """Describe the mean by attributes that are stored beside the image's metadata."""
    source, target = work.moving.source, work.target
    layout = [work.boxes.sides, [asdict(level) for level in target.levels]]
    return {
        "digest": target.digest,
        "layout": hashlib.sha256(json.dumps(layout).encode()).hexdigest()[:16],
        LISTED: list(IMAGES),
        "source": hide_secrets(source.path),
        "settings": hide_in_values(section.model_dump(mode="json")),
        "weights": weights if isinstance(weights, str) else "given" if weights is not None else "",
        "box": asdict(work.moving.box),
        "frames": int(np.count_nonzero(work.weights)),
        "left_out": np.flatnonzero(work.weights == 0).tolist(),
    }


def write_mean(
    mean: SteadyMean,
    client: Engine,
    *,
    overwrite: bool = False,
    may_replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a mean: OME-Zarr box by box, where an earlier call is continued, or a file in one go.

    Parameters
    ----------
    mean : what is to be written; files are OME-TIFF with a series for every image, or .npy of the
        mean alone
    client : what runs the tasks
    overwrite : whether to write again what was made with other shifts or settings
    may_replace : whether it may replace such a mean without being started over
    progress : called with the numbers of done and of all boxes

    Raises
    ------
    InputError
        If the path holds something else; nothing is touched then.
    OutputError
        If it cannot be written.
    """
    if not mean.path.rstrip("/").endswith(".zarr"):
        _write_file(mean, client, overwrite or may_replace, progress)
        return
    work = mean.work

    def take_boxes(remaining: Iterable[int]) -> Iterator[tuple[int, list[int] | Failure]]:
        trees = ((number, _list_leaves(number, work)) for number in remaining)
        return run_trees(client, add_up_frames, join_parts, write_box, trees, share(client, work))

    write_in_steps(
        Steps(
            mean.path,
            MEAN,
            mean.attributes,
            len(work.boxes),
            begin=lambda: create_pyramid(work.target, mean.attributes, {}),
            work=take_boxes,
            end=lambda done: None,
        ),
        overwrite=overwrite,
        may_replace=may_replace,
        progress=progress,
    )


def _list_leaves(number: int, work: MeanWork) -> list[tuple[int, range]]:
    return [(number, batch) for batch in work.batches]


def check_own_mean(path: str) -> None:
    """Raise InputError if there is a foreign file at the path of a mean."""
    if path.endswith(".npy"):
        check_own_file(path, MEAN)
    else:
        check_own_tiff(path, MEAN)


def _write_file(
    mean: SteadyMean,
    client: Engine,
    replace_old: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write one file; until then images are kept on disk, in the folder of temporary files."""
    path, work, digest = mean.path, mean.work, mean.work.target.digest
    is_array = path.endswith(".npy")
    if not is_array:
        check_tiff(path, np.dtype(work.target.dtype), MEAN)
    check_own_mean(path)
    if get_place(path).exists() and not replace_old:
        found = read_origin(path)
        if found is not None and found.digest == digest:
            return
        raise InputError(
            f"{path} exists, but does not belong to these shifts and settings: write it again with "
            f"`steadystack correct --overwrite`, or set another {MEAN}"
        )
    with explaining_write_errors(path), TemporaryDirectory(prefix="steadystack-") as folder:
        images: dict[str, NDArray[Any]] = {
            name: np.lib.format.open_memmap(
                Path(folder, name), mode="w+", dtype=dtype, shape=work.target.shape
            )
            for name, dtype in list_images(work)
        }
        trees = ((number, _list_leaves(number, work)) for number in range(len(work.boxes)))
        done = run_trees(client, add_up_frames, join_parts, get_images, trees, share(client, work))
        for count, (number, parts) in enumerate(done, start=1):
            if isinstance(parts, Failure):
                raise OutputError(f"{path}: {parts.reason}")
            box: Slices = work.boxes.get_slices(number)
            for image, part in zip(images.values(), parts, strict=True):
                image[box] = part.reshape([side.stop - side.start for side in box])
            if progress is not None:
                progress(count, len(work.boxes))
        first = images.pop("mean")
        if is_array:
            own = mean.attributes[OWN]
            origin = Origin(digest, own["fingerprint"], own.get("run", ""))
            with replacing_own_file(path, MEAN, origin) as new, new.open("wb") as file:
                np.save(file, first)
            return
        planes = iter(first.reshape(-1, *first.shape[-2:]))
        with get_place(path).replacing() as new:
            write_ome_tiff(str(new), planes, work.target, mean.attributes, digest, images)
            check_own_tiff(path, MEAN)
