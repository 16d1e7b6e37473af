"""The stages of a run, settings in and files out: plan, measure, solve, report, and all of them.

Each stage goes on from what the one before left on disk, so that each can be run by itself, and a
run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import xarray as xr

from pipeline.cluster import Engine, connect, current_client
from pipeline.config import Config, make_config
from pipeline.correct import mean_before_and_after
from pipeline.measure import measure_pairs, own_stills, solve_series, static_effect
from pipeline.model import (
    FrameTable,
    InputError,
    PairStatus,
    PairTable,
    StaticEffect,
    as_stack,
)
from pipeline.report import prepare_figure, save_figure, series_figure
from pipeline.setup import (
    Plan,
    Setup,
    in_memory,
    open_series,
    plan_of,
    set_up,
    settings_that_differ,
)
from pipeline.store.arrays import ArrayFrames, lazy_stack
from pipeline.store.shifts import (
    exists,
    load_shifts,
    read_frames,
    read_pairs,
    remove,
    save_shifts,
    shifts_dataset,
)
from pipeline.store.stacks import Missing, locate
from pipeline.verdict import Verdict, judge

Progress = Callable[[int, int], None]  # rows measured so far, rows in all

CHECKPOINT_S = 5.0
MEASURING_SECTIONS = ("input", "mask", "preprocess", "register", "pairs")
STATIC_EFFECT = "static_effect"  # the attribute that holds it
PACKAGES = ("steadystack", "dask", "distributed", "numpy", "scipy", "xarray", "zarr")


def plan(config: Config) -> Plan:
    """What a run of these settings will do; opens no pixel of the stack."""
    return plan_of(_open(config))


def run(config: Config, *, overwrite: bool = False, progress: Progress | None = None) -> xr.Dataset:
    """Measure, solve and report: the whole run. Returns the shifts dataset, which is also on disk.

    Raises
    ------
    InputError
        Where the settings, the stack or the mask cannot be worked with; before any frame is read.
    """
    if config.output.report is not None:
        prepare_figure(config.output.report)
    setup = _open(config)
    _measure(setup, overwrite, progress)
    solved = _solve(setup)
    if config.output.report is not None:
        _report(setup, solved, config.output.report)
    return solved


def measure(
    config: Config, *, overwrite: bool = False, progress: Progress | None = None
) -> xr.Dataset:
    """Measure the pairs that are not measured yet.

    The rows are saved every few seconds, and in the end, however it comes.
    """
    return _measure(_open(config), overwrite, progress)


def solve(config: Config) -> xr.Dataset:
    """Solve for the frames' shifts from the measured pairs; only `solve.polish` reads frames."""
    return _solve(_open(config))


def report(config: Config) -> str:
    """Draw the result; returns the path of the picture."""
    path = config.output.report
    if path is None:
        raise InputError("output.report is not set: give it the path of a .png, .svg or .pdf")
    setup = _open(config)
    _report(setup, _own_shifts(setup), path)
    return path


def verdict(shifts: xr.Dataset) -> Verdict:
    """How far to trust a solved shifts dataset."""
    asked = json.loads(shifts.attrs["configuration"])["solve"]["anchor"]
    return judge(read_pairs(shifts), read_frames(shifts), asked, _effect_in(shifts.attrs))


def open_stack(
    source: str,
    *,
    channel: int | str | None = None,
    level: int = 0,
    axes: str | None = None,
    variable: str | None = None,
    missing_chunks: Missing = "invalid",
) -> xr.DataArray:
    """A stack on disk as a lazy DataArray with the dims t and (z,) y, x.

    The parameters are the keys of the `input` section of the settings. Spatial coordinates are in
    the unit of the pixel size; where chunks are missing in the store, a lazy boolean coordinate
    ``valid`` says which pixels are there.
    """
    return lazy_stack(
        locate(
            str(source),
            channel=channel,
            level=level,
            axes=axes,
            variable=variable,
            missing_chunks=missing_chunks,
        )
    )


def estimate_shifts(
    stack: xr.DataArray | np.ndarray[Any, Any],
    *,
    mask: Any = None,
    max_shift: int | str | Sequence[int | str] | None = None,
    min_overlap: float | None = None,
    preprocess: Mapping[str, Any] | None = None,
    pairs: Mapping[str, Any] | None = None,
    solve: Mapping[str, Any] | None = None,
    client: Engine = None,
) -> xr.Dataset:
    """The shift of every frame of a stack, with everything that led to it.

    Parameters
    ----------
    stack : DataArray with the dims t and (z,) y, x, in memory or lazy; or an array (t, [z,] y, x)
    mask : bool array, True = valid; of the shape of a frame, or of all frames
    max_shift, min_overlap : as in the `register` section of the settings
    preprocess, pairs, solve : as the sections of the settings, such as
        ``pairs={"strategy": "window", "width": 5}``
    client : a Dask client; None: the current one, in this process if there is none

    Returns
    -------
    Dataset
        ``shift`` (frame, axis) in pixels is what ``scipy.ndimage.shift(frame, shift)`` needs to lay
        a frame on the anchor; the README lists the other variables.

    Raises
    ------
    InputError
        For settings, shapes and dims that cannot be worked with.
    """
    sections = {"preprocess": preprocess, "pairs": pairs, "solve": solve}
    config = make_config(
        {
            "input": {"path": "memory"},
            "register": {"max_shift": max_shift, "min_overlap": min_overlap},
            **{name: given for name, given in sections.items() if given is not None},
        }
    )
    source = ArrayFrames.checked(as_stack(stack), mask)
    setup = _with_stills(set_up(config, in_memory(source)))
    client = client or current_client()
    rounds = measure_pairs(source, _new_table(setup), setup.method, setup.size, client=client)
    *_, (table, _) = rounds
    frames = solve_series(source, table, setup.method, client=client, **config.solve.model_dump())
    return _dataset(setup, table, frames, _look_for_effect(setup, table))


def _open(config: Config) -> Setup:
    return set_up(config, open_series(config)[0])


def _measure(setup: Setup, overwrite: bool, progress: Progress | None) -> xr.Dataset:
    path = setup.config.output.shifts
    if overwrite and exists(path):
        remove(path)
    if exists(path):
        found = _own_shifts(setup)
        table = read_pairs(found)
        if not table.count([PairStatus.UNMEASURED]) and STATIC_EFFECT in found.attrs:
            return found
    else:
        table = _new_table(setup)
        save_shifts(_dataset(setup, table), path)

    setup = _with_stills(setup, keep_at=path.rstrip("/"))
    source, method, size = setup.series.source, setup.method, setup.size
    saved = time.monotonic()
    with connect(**setup.config.cluster.model_dump(exclude={"task_memory"})) as client:
        try:
            for latest, done in measure_pairs(source, table, method, size, client=client):
                table = latest
                if progress is not None:
                    progress(done, len(table.status))
                if time.monotonic() - saved > CHECKPOINT_S:
                    save_shifts(_dataset(setup, table), path)
                    saved = time.monotonic()
        finally:
            save_shifts(_dataset(setup, table), path)
    found = _dataset(setup, table, looked_for=_look_for_effect(setup, table))
    save_shifts(found, path)
    return found


def _solve(setup: Setup) -> xr.Dataset:
    path = setup.config.output.shifts
    measured = _own_shifts(setup)
    table = read_pairs(measured)
    if table.count([PairStatus.UNMEASURED]) == len(table.status):
        raise InputError(f"no pair of {path} is measured yet: run `measure` first")
    asked, engine = setup.config.solve, setup.config.cluster.model_dump(exclude={"task_memory"})
    if asked.polish:
        setup = _with_stills(setup, keep_at=path.rstrip("/"), again=True)
    else:
        engine = {"kind": "in-process"}
    with connect(**engine) as client:
        source, method = setup.series.source, setup.method
        frames = solve_series(source, table, method, client=client, **asked.model_dump())
    looked_for = {name: measured.attrs[name] for name in (STATIC_EFFECT,) if name in measured.attrs}
    result = _dataset(setup, table, frames, looked_for)
    save_shifts(result, path)
    return result


def _report(setup: Setup, shifts: xr.Dataset, path: str) -> None:
    before, after = mean_before_and_after(
        setup.series.source, shifts["shift"].to_numpy(), setup.method.conditioning
    )
    name = setup.config.input.path.rstrip("/").rsplit("/", 1)[-1]
    save_figure(series_figure(shifts, before, after, f"{name}: {verdict(shifts)}"), path)


def _new_table(setup: Setup) -> PairTable:
    source = setup.series.source
    return PairTable.unmeasured(setup.pairs, source.frame_count, len(source.frame_shape))


def _own_shifts(setup: Setup) -> xr.Dataset:
    """What an earlier run of the same settings left.

    Raises InputError if there is nothing, or if it was measured with other settings.
    """
    path = setup.config.output.shifts
    found = load_shifts(path)
    if found.attrs.get("fingerprint") == setup.config.fingerprint(setup.series.digest):
        return found
    before = json.loads(found.attrs.get("configuration", "{}"))
    changed = settings_that_differ(before, setup.config.dump(), MEASURING_SECTIONS)
    what = "; ".join(changed) or "the input's metadata, or what a path holds"
    raise InputError(
        f"{path} was measured with other settings ({what}): use --overwrite to start anew, or "
        "another output.shifts"
    )


def _with_stills(setup: Setup, keep_at: str | None = None, again: bool = False) -> Setup:
    """The same run with what the settings want to be made of the stack itself."""
    asked = setup.config.preprocess
    wanted = {"flat_field": asked.flat_field == "median", "static": asked.static == "estimate"}
    source, method = setup.series.source, setup.method
    return replace(
        setup, method=own_stills(source, method, setup.size, keep_at, again=again, **wanted)
    )


def _look_for_effect(setup: Setup, table: PairTable) -> dict[str, str]:
    """What stands still does to the shifts of a measured table, as an attribute of the dataset."""
    found = static_effect(setup.series.source, setup.method, setup.size, table)
    return {STATIC_EFFECT: json.dumps(asdict(found) if found else None)}


def _effect_in(attributes: Mapping[Any, Any]) -> StaticEffect | None:
    """The same, back from the attributes; None if nothing could be told, or nobody looked."""
    found = json.loads(attributes.get(STATIC_EFFECT, "null"))
    return None if found is None else StaticEffect(**found)


def _dataset(
    setup: Setup,
    table: PairTable,
    frames: FrameTable | None = None,
    looked_for: Mapping[str, str] | None = None,
) -> xr.Dataset:
    series, config = setup.series, setup.config
    attributes = {
        "configuration": json.dumps(config.dump()),
        "fingerprint": config.fingerprint(series.digest),
        "input": config.input.path,
        "input_digest": series.digest,
        "versions": json.dumps(_versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **(looked_for or {}),
    }
    if frames is not None:
        attributes["verdict"] = str(
            judge(table, frames, config.solve.anchor, _effect_in(attributes))
        )
        attributes["anchors"] = json.dumps(frames.anchors)
    return shifts_dataset(
        table,
        frames,
        axes=series.source.axes,
        pixel_size=series.pixel_size,
        unit=series.unit,
        time=series.time,
        attributes=attributes,
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
