"""The stages without files: open a stack on disk as an array, estimate the shifts of an array."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.checks import check_series
from steadystack.cluster import Cluster, Engine, get_current_client
from steadystack.config import Config, make_config, resolve_reader
from steadystack.measure import MeasuredBefore, measure_rounds
from steadystack.model import (
    CODEC_STD,
    Bools,
    Frame,
    FrameStatus,
    InputError,
    PairTable,
    as_settings,
    as_stack,
    check_arrays,
)
from steadystack.ncc import choose_block_sides
from steadystack.planning import (
    Series,
    Setup,
    convert_initial_shifts,
    convert_object_mask,
    convert_outside_image,
    digest_camera_images,
    make_series,
    set_up,
)
from steadystack.readers import (
    ArrayFrames,
    Missing,
    StackFrames,
    StackSpec,
    locate_stack,
    may_lack_chunks,
)
from steadystack.stages.measuring import settle_settings
from steadystack.stages.results import (
    add_camera_images,
    make_run_dataset,
    make_table,
)
from steadystack.stages.solving import settle_and_solve


def open_stack(
    source: str,
    *,
    channel: int | str | None = None,
    level: int = 0,
    axes: str | None = None,
    variable: str | None = None,
    missing_chunks: Missing = "invalid",
    position: str | None = None,
    series: int | None = None,
    pixel_size: float | str | Sequence[float | str] | None = None,
    reader: str | None = None,
    raw: str | None = None,
    frames: str | None = None,
    region: Sequence[Any] | None = None,
) -> xr.DataArray:
    """Open a stack on disk as a lazy DataArray with the dims t and (z,) y, x.

    The parameters are the keys of the `input` section of the settings. Spatial coordinates are in
    the unit of the pixel size. If chunks are missing in the store, a lazy boolean coordinate
    ``valid`` marks the pixels that exist.
    """
    return _make_lazy(
        locate_stack(
            str(source),
            channel=channel,
            level=level,
            axes=axes,
            variable=variable,
            missing_chunks=missing_chunks,
            position=position,
            series=series,
            pixel_size=pixel_size,
            reader=resolve_reader(reader, Path()),
            raw=raw,
            frames=frames,
            region=region,
        )
    )


def _make_lazy(spec: StackSpec) -> xr.DataArray:
    """A stack on disk as a lazy DataArray with the dims t and (z,) y, x.

    A chunk is a frame, or a block of a large frame. The spatial coordinates are in the unit of the
    pixel size, "pixel" if that is not known. If chunks are missing in the store, a lazy boolean
    coordinate ``valid`` says where.
    """
    if spec.several:
        raise InputError(
            f"input.channel {list(spec.several)} names several channels, but an array holds one: "
            "choose one"
        )
    import dask.array as da  # slow to import, and not needed for a stack in memory

    frames = StackFrames(spec)
    dims = ("t", *spec.spatial)
    name = f"{spec.digest}-{spec.channel}-{spec.missing_chunks}"

    sides = choose_block_sides(
        spec.frame_shape, [spec.chunks[spec.axes.index(a)] for a in spec.spatial]
    )
    chunks = da.core.normalize_chunks((1, *sides), (spec.frame_count, *spec.frame_shape))

    def lazy(read: Callable[..., NDArray[Any]], dtype: Any) -> da.Array:
        blocks: da.Array = da.map_blocks(
            read,
            frames,
            sides,
            chunks=chunks,
            dtype=dtype,
            meta=np.empty((0,) * len(dims), dtype),
            name=f"{read.__name__.strip('_')}-{name}",
        )
        return blocks

    coordinates: dict[str, Any] = {
        axis: (axis, (spec.first_pixel[axis] + np.arange(size)) * step, {"units": unit})
        for axis, size, (step, unit) in zip(
            spec.spatial, spec.frame_shape, _choose_steps(spec), strict=True
        )
    }
    if spec.time is not None:
        coordinates["t"] = ("t", np.array(spec.time[0]), {"unit": spec.time[1]})
    if may_lack_chunks(spec):
        valid = lazy(_read_validity, bool)
        coordinates["valid"] = (dims, valid, {"long_name": "pixels of chunks that exist"})
    pixels = lazy(_read_pixels, spec.dtype)
    attributes = {"source": spec.path} | ({CODEC_STD: spec.codec_std} if spec.codec_std else {})
    return xr.DataArray(pixels, coordinates, dims, name="frames", attrs=attributes)


def _choose_steps(spec: StackSpec) -> list[tuple[float, str]]:
    """Choose the step of each spatial coordinate and its unit; pixels where no size is known."""
    return [
        (size, spec.unit or "pixel") if np.isfinite(size) else (1.0, "pixel")
        for size in spec.pixel_size
    ]


def _read_part(frames: StackFrames, sides: tuple[int, ...], block_id: tuple[int, ...]) -> Frame:
    """Read the frame, or block of a frame, that is one chunk of the lazy stack."""
    region = tuple(
        slice(index * side, min((index + 1) * side, size))
        for index, side, size in zip(block_id[1:], sides, frames.frame_shape, strict=True)
    )
    return frames.read(block_id[0], region)


def _read_pixels(
    frames: StackFrames, sides: tuple[int, ...], block_id: tuple[int, ...] = ()
) -> NDArray[Any]:
    frame = _read_part(frames, sides, block_id)
    if frame.status is FrameStatus.UNREADABLE:
        raise OSError(f"frame {block_id[0]} of {frames.spec.path} cannot be decoded")
    return frame.image[None]


def _read_validity(
    frames: StackFrames, sides: tuple[int, ...], block_id: tuple[int, ...] = ()
) -> Bools:
    return _read_part(frames, sides, block_id).valid[None]


def estimate_shifts(
    stack: xr.DataArray | np.ndarray[Any, Any],
    *,
    mask: Any = None,
    max_shift: int | str | Sequence[int | str] | None = "auto",
    min_overlap: float | None = None,
    preprocess: Mapping[str, Any] | None = None,
    pairs: Mapping[str, Any] | None = None,
    motion: Mapping[str, Any] | None = None,
    solve: Mapping[str, Any] | None = None,
    initial_shifts: Any = None,
    external_reference: Any = None,
    object_mask: Any = None,
    defects: Literal["auto"] | None = "auto",
    field_of_view: Literal["auto"] | None = "auto",
    parts: Literal["auto"] | None = "auto",
    client: Engine = None,
) -> xr.Dataset:
    """Estimate the shift of every frame of a stack; returns them with all pairs and statuses.

    Parameters
    ----------
    stack : DataArray with the dims t and (z,) y, x, in memory or lazy; or an array (t, [z,] y, x)
        Pixels masked in a `numpy.ma` array are not valid.
        It must be a single channel: an array with four axes and 2 to 4 entries where planes would
        be is refused, as it is nearly always (t, c, y, x); if they are planes, pass a DataArray
        with the dim z.
    mask : bool array, True = valid; with the shape of a frame, or of all frames
    max_shift, min_overlap : as in the `register` section of the settings; with a `max_shift` of
        "auto" the range is estimated from some pairs of coarse frames, and pairs without a shift in
        this range are searched at every shift; None: every shift at which frames overlap
    preprocess, pairs, motion, solve : as the sections of the settings, such as
        ``pairs={"strategy": "window", "width": 5}``
    initial_shifts : array (frames, axes), or the dataset of an earlier call
        Shifts known beforehand, pixels; the shift of a pair is searched within ± `max_shift`
        around them. If you have drift, or positions of the specimen, pass the negative.
    external_reference : image (axes of a frame), or the result of `steadystack.mean`
        The shifts are relative to it, if the mean of the frames is found in it; it may have another
        size, and positions count from its first pixel. NaN and pixels masked by `numpy.ma` are not
        valid. The attribute ``external_reference`` states the outcome.
    object_mask : bool array with the shape of a frame, True = an object
        The object where it is in the frame ``solve["anchor"]`` (0 if not given). The mask follows
        the object, within `max_shift` from frame to frame, and only what is inside it is measured;
        ``object_position`` is the path of the object. Not with `initial_shifts`,
        `external_reference`, a motion model, refinement or images of the camera.
    defects : "auto": find pixels of the camera that stand out wherever the scene is, and exclude
        them, and subtract offsets of its rows and columns; None: neither
    field_of_view : "auto": find pixels along the border that show no scene, outside a round field
        of view, and exclude them if that makes the shifts more precise; None: do not
    parts : "auto": find parts of the frame that go their own way, an object, a label, and exclude
        them if that makes the shifts more precise; None: do not
    client : a Dask client; None: the current one, or this process if there is none

    Returns
    -------
    Dataset
        ``frame_shift`` (frame, axis), in pixels, is what ``scipy.ndimage.shift(frame, shift)``
        needs to align a frame with the anchor; docs/dataset.md lists the other variables.

    Raises
    ------
    InputError
        For settings, shapes and dims that cannot be used.
    RunError
        If the cluster is lost, or more than a tenth of the pairs fail.
    """
    sections = {"preprocess": preprocess, "pairs": pairs, "motion": motion, "solve": solve}
    settings = {
        "input": {"path": "memory"},
        "mask": {"defects": defects, "field_of_view": field_of_view, "parts": parts},
        "object": {"mask": None if object_mask is None else "memory"},
        "register": {"max_shift": max_shift, "min_overlap": min_overlap},
        **{name: section for name, section in sections.items() if section is not None},
    }
    check_arrays(
        mask=mask,
        initial_shifts=initial_shifts,
        external_reference=external_reference,
        object_mask=object_mask,
    )
    config = make_config(as_settings(settings))
    source = ArrayFrames.checked(as_stack(stack, planes_certain=False), mask)
    digest_camera_images(config, source.frame_shape)
    expected = convert_initial_shifts(
        initial_shifts, source.axes, source.frame_count, *source.pixel_size
    )
    outside = convert_outside_image(external_reference, source.axes, *source.pixel_size)
    drawn = convert_object_mask(
        config, object_mask, source, expected is not None, outside is not None
    )
    series = make_series(source, expected, outside, drawn)
    series = replace(series, codec_std=float(source.stack.attrs.get(CODEC_STD, 0.0)))
    return estimate_series(config, series, client)[1]


def estimate_series(
    config: Config, series: Series, client: Engine = None
) -> tuple[Setup, xr.Dataset]:
    """Estimate the shifts of a series; returns them with the run as measured. Writes nothing.

    `client` is as in `estimate_shifts`.
    """
    setup, table, engine = measure_series(config, series, client)
    return solve_in_memory(setup, table, engine)


def measure_series(
    config: Config, series: Series, client: Engine = None
) -> tuple[Setup, PairTable, Cluster]:
    """Measure the pairs of a series; returns them with the run and its engine."""
    before = MeasuredBefore()  # pairs measured by a pilot are not measured again
    setup = settle_settings(set_up(config, series, before))
    setup = add_camera_images(replace(setup, before=None))
    table = make_table(setup)
    before.fill_in(table, setup.series.source, setup.method)
    limits, engine = setup.config.cluster, client
    if not isinstance(engine, Cluster):
        engine = Cluster(engine or get_current_client(), limits.retries, limits.max_failed)
    rounds = measure_rounds(
        setup.series.source,
        table,
        setup.method,
        setup.size,
        len(setup.pairs),
        setup.config.pairs.extra,
        client=engine,
    )
    for found, _ in rounds:
        table = found
    return setup, table, engine


def solve_in_memory(
    setup: Setup, table: PairTable, engine: Engine = None
) -> tuple[Setup, xr.Dataset]:
    """Solve measured pairs for the shifts; returns them with the run as solved."""
    found = check_series(setup, table)
    setup, frames, found = settle_and_solve(setup, table, found, engine)
    return setup, make_run_dataset(setup, table, frames, found)
