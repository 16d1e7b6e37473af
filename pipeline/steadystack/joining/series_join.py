"""Align the series of finished runs, given by their settings, and write the result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from steadystack.cluster import Engine, get_current_client
from steadystack.config import Config
from steadystack.dataset import check_holds_no_more, check_replaceable, read_attributes, save_shifts
from steadystack.durable import get_place, make_absolute, paths_overlap
from steadystack.joining.finished import open_finished, solve_again
from steadystack.joining.joined_shifts import join_solved
from steadystack.joining.shared_dataset import join_shared_drift
from steadystack.measure import check_camera_image, get_camera_image_path
from steadystack.model import JOINED, SHARED_DRIFT, FrameStatus, InputError, OutsideOutcome
from steadystack.planning import Setup
from steadystack.stages import copy_camera_images, list_estimated_images


def join_series(
    configs: Sequence[Config],
    *,
    shared_drift: bool = False,
    output: str | Path | None = None,
    each: str | None = None,
    overwrite: bool = False,
    client: Engine = None,
) -> xr.Dataset:
    """Align series of one specimen, such as sessions, with each other; each is a finished run.

    The mean of the aligned frames of each series is measured against those of all others, and one
    solve gives each series an offset, which is added to all of its shifts, so that frames of all
    series are aligned. The first series keeps its shifts, if another one was found in it.

    Parameters
    ----------
    configs : settings of the runs, as `load_config` returns them; each may have several inputs
    shared_drift : the series are positions that drift alike, such as the fields of a plate,
        recorded together on one stage: their means are not compared, and all get one set of shifts,
        from the shifts of all
    output : where to write the dataset as well: .zarr, or .nc for NetCDF; None: nowhere
    each : a folder for the shifts of every series as well, as `NAME.zarr`; use them as
        `output.shifts` in the otherwise unchanged settings of the run, for `steadystack correct`;
        None: nowhere
    overwrite : whether to replace existing datasets
    client : a Dask client; None: the current one, or this process if there is none

    Returns
    -------
    Dataset
        ``frame_shift`` (frame, axis) of all frames of all series, with the coordinates ``series``
        and ``frame`` (its number in its stack); standard deviations are relative to the mean of the
        series that keeps its shifts. Frames of a series that was not found in the others are NaN,
        with the status disconnected. For a shared drift, ``frame_shift`` is common to all series,
        once per frame, and ``series_residual`` (series, frame, axis) is the difference of each.

    Raises
    ------
    InputError
        For fewer than two series, unfinished runs, different frame shapes or pixel sizes, and if
        something else exists at `output`. With a shared drift, shapes may differ, but not the
        number of frames and their times.
    """
    if output is not None:
        output = make_absolute(str(output), Path.cwd())
    found = open_finished(configs, by_means=not shared_drift)
    targets = _choose_targets(found, output, each, overwrite)
    engine = client or get_current_client()
    solved = [solve_again(name, *run, engine) for name, run in found.items()]
    path = output or each or ""
    joined = join_shared_drift(solved, path) if shared_drift else join_solved(solved, path, engine)
    if output is not None:
        _save(joined.dataset, output)
    for name, path in targets.items():
        if name in joined.each:
            _save(joined.each[name], path)
            copy_camera_images(found[name][0].config.output.shifts, path)
        else:
            get_place(path).discard()  # from an earlier call, in an obsolete frame
    return joined.dataset


def describe_means(joined: xr.Dataset) -> Iterator[str]:
    """Describe where each series lies, a line for each of its connected parts."""
    parts = joined["mean_series"].to_numpy().tolist()
    for mean, name in enumerate(parts):
        part = f", part {joined['mean_component'].values[mean]}" if parts.count(name) > 1 else ""
        offset, std = (joined[key].values[mean] for key in ("mean_offset", "mean_offset_std"))
        if np.isfinite(offset).all():
            pairs = zip(offset.tolist(), std.tolist(), strict=True)
            where = ", ".join(f"{value:.3f} ± {error:.3f}" for value, error in pairs) + " px"
        else:
            where = f"not joined ({FrameStatus.from_code(joined['mean_status'].values[mean])})"
        count = int(joined["mean_frames"].values[mean])
        yield f"{name}{part}: {where} (mean of {count} frames)"


def _choose_targets(
    found: Mapping[str, tuple[Setup, xr.Dataset]],
    output: str | None,
    each: str | None,
    overwrite: bool,
) -> dict[str, str]:
    """Choose where the shifts of each series go; refuses to replace anything else."""
    folder = None if each is None else get_place(each)
    targets = (
        {} if folder is None else {name: folder.get_child(f"{name}.zarr").path for name in found}
    )
    if output is not None and each is not None and paths_overlap(output, each):
        raise InputError(f"{output} and the folder {each} overlap: choose another path")
    for path in [*targets.values(), *([] if output is None else [output])]:
        for name, (setup, _) in found.items():
            own = {
                "output.shifts": setup.config.output.shifts,
                "input.path": setup.config.input.one_path,
            }
            for key, other in own.items():
                if paths_overlap(path, other):
                    raise InputError(f"{path} would overwrite the {key} of {name}: choose another")
        where = get_place(path)
        where.check_writable()
        check_replaceable(path)
        if where.exists():
            _check_joined(path)
            if not overwrite:
                raise InputError(
                    f"{path} exists: choose another path, or replace it with --overwrite"
                )
            check_holds_no_more(path, way_out="choose another path")
    for name, path in targets.items():
        for image in list_estimated_images(found[name][0]):
            check_camera_image(get_camera_image_path(path, image))
    return targets


def _check_joined(path: str) -> None:
    """Refuse to replace what no earlier call wrote, such as the shifts of a run."""
    attributes = read_attributes(path)
    if attributes.get("title") == JOINED or SHARED_DRIFT in attributes:
        return
    moved = OutsideOutcome.of(attributes)
    settings = json.loads(attributes.get("configuration", "{}"))
    outside = settings.get("external_reference", {}).get("path")
    if moved is None or not moved.path or outside is not None:
        raise InputError(
            f"{path} holds the shifts of a run, not joined ones: it will not be overwritten"
        )


def _save(dataset: xr.Dataset, path: str) -> None:
    with get_place(path).holding_lock():
        check_replaceable(path)
        save_shifts(dataset, path)
