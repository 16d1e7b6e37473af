"""Between the tables of a run and the dataset that it leaves: new, found again, judged."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import xarray as xr

from pipeline.measure import own_stills, static_effect
from pipeline.model import FrameTable, InputError, PairTable, StaticEffect
from pipeline.setup import Setup, settings_that_differ
from pipeline.store.shifts import load_shifts, read_frames, read_pairs, shifts_dataset
from pipeline.verdict import Verdict, judge

MEASURING_SECTIONS = ("input", "mask", "preprocess", "register", "pairs")
STATIC_EFFECT = "static_effect"  # the attribute that holds it
PACKAGES = ("steadystack", "dask", "distributed", "numpy", "scipy", "xarray", "zarr")


def verdict(shifts: xr.Dataset) -> Verdict:
    """How far to trust a solved shifts dataset."""
    asked = json.loads(shifts.attrs["configuration"])["solve"]["anchor"]
    return judge(read_pairs(shifts), read_frames(shifts), asked, _effect_in(shifts.attrs))


def new_table(setup: Setup) -> PairTable:
    source = setup.series.source
    return PairTable.unmeasured(setup.pairs, source.frame_count, len(source.frame_shape))


def own_shifts(setup: Setup) -> xr.Dataset:
    """What an earlier run of the same settings left.

    Raises InputError if there is nothing, or if it was measured with other settings.
    """
    path = setup.config.output.shifts
    found = load_shifts(path)
    if found.attrs.get("fingerprint") == setup.config.fingerprint(setup.series.digest):
        return found
    before = json.loads(found.attrs.get("configuration", "{}"))
    changed = settings_that_differ(before, setup.config.dump(), MEASURING_SECTIONS)
    count, now = found.sizes["frame"], setup.series.source.frame_count
    if count != now:
        changed.append(f"the stack has {now} frames now, and had {count}")
    what = "; ".join(changed) or "the input's metadata, or what a path holds"
    raise InputError(
        f"{path} was measured with other settings ({what}): use --overwrite to start anew, or "
        "another output.shifts"
    )


def with_stills(setup: Setup, keep_at: str | None = None, again: bool = False) -> Setup:
    """The same run with what the settings want to be made of the stack itself."""
    asked = setup.config.preprocess
    wanted = {"flat_field": asked.flat_field == "median", "static": asked.static == "estimate"}
    source, method = setup.series.source, setup.method
    return replace(
        setup, method=own_stills(source, method, setup.size, keep_at, again=again, **wanted)
    )


def look_for_effect(setup: Setup, table: PairTable) -> dict[str, str]:
    """What stands still does to the shifts of a measured table, as an attribute of the dataset."""
    found = static_effect(setup.series.source, setup.method, setup.size, table)
    return {STATIC_EFFECT: json.dumps(asdict(found) if found else None)}


def _effect_in(attributes: Mapping[Any, Any]) -> StaticEffect | None:
    """The same, back from the attributes; None if nothing could be told, or nobody looked."""
    found = json.loads(attributes.get(STATIC_EFFECT, "null"))
    return None if found is None else StaticEffect(**found)


def dataset(
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
