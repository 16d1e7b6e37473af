"""Between the tables of a run and the dataset that it leaves: new, found again, judged."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import uuid4

import xarray as xr

from steadystack.dataset import load_shifts, read_frames, read_pairs, replay, shifts_dataset
from steadystack.durable import place
from steadystack.measure import own_stills
from steadystack.model import (
    FrameTable,
    InputError,
    LocalMotion,
    MaskSeen,
    PairTable,
    StaticEffect,
    Verdict,
)
from steadystack.planning import Setup, settings_that_differ
from steadystack.quality import Asked, judge, local_motion, mask_seen, static_effect

MEASURING_SECTIONS = ("input", "mask", "preprocess", "register", "initial_shifts", "pairs")
# The attributes that hold what was looked for beside the shifts.
STATIC_EFFECT, LOCAL_MOTION, MASK = LOOKED_FOR = "static_effect", "local_motion", "mask_seen"
RUN = "run"  # the attribute that holds the dataset's name, which its journal bears, too
PACKAGES = ("steadystack", "dask", "distributed", "numpy", "scipy", "xarray", "zarr")


def verdict(shifts: xr.Dataset) -> Verdict:
    """How far to trust a solved shifts dataset."""
    return judged(read_pairs(shifts), read_frames(shifts), shifts.attrs)


def new_table(setup: Setup) -> PairTable:
    source = setup.series.source
    return PairTable.unmeasured(setup.pairs, source.frame_count, len(source.frame_shape))


def own_shifts(setup: Setup) -> xr.Dataset:
    """What an earlier run of the same settings left, with what its journal holds.

    Raises InputError if there is nothing, or if it was measured with other settings.
    """
    path = setup.config.output.shifts
    found = load_shifts(path)
    if found.attrs.get("fingerprint") == setup.config.fingerprint(setup.series.digest):
        table = read_pairs(found)
        if replay(path, owner_of(found), table):
            return dataset(setup, table, known=kept(found))
        return found
    before = json.loads(found.attrs.get("configuration", "{}"))
    changed = settings_that_differ(before, setup.config.dump(), MEASURING_SECTIONS)
    changed = [line for line in changed if not line.startswith("pairs.extra ")]  # adds to the rows
    count, now = found.sizes["frame"], setup.series.source.frame_count
    if count != now:
        changed.append(f"the stack has {now} frames now, and had {count}")
    what = "; ".join(changed) or "the input's metadata, or what a path holds"
    raise InputError(
        f"{path} was measured with other settings ({what}): use --overwrite to start anew, or "
        "another output.shifts"
    )


def new_name() -> dict[str, str]:
    """An attribute that tells a dataset from all others."""
    return {RUN: uuid4().hex}


def owner_of(found: xr.Dataset) -> str:
    """What the journal of a dataset bears."""
    return str(found.attrs.get(RUN, found.attrs.get("fingerprint")))


def kept(found: xr.Dataset) -> dict[str, str]:
    """The attributes that stay as they are, whatever stage writes the dataset anew."""
    return {name: found.attrs[name] for name in (RUN, *LOOKED_FOR) if name in found.attrs}


def with_stills(setup: Setup, keep_at: str | None = None, again: bool = False) -> Setup:
    """The same run with what the settings want to be made of the stack itself."""
    asked = setup.config.preprocess
    wanted = {
        "flat_field": asked.flat_field == "median",
        "static": asked.fixed_pattern == "estimate",
    }
    source, method = setup.series.source, setup.method
    return replace(
        setup, method=own_stills(source, method, setup.size, keep_at, again=again, **wanted)
    )


def discard_stills(path: str) -> None:
    """Delete what an earlier dataset at that path had made of its stack: it may be another one."""
    for name in ("flat_field", "static"):
        place(f"{path.rstrip('/')}.{name}.zarr").discard()


def look_for_effect(setup: Setup, table: PairTable) -> dict[str, str]:
    """What could be wrong with the shifts of a measured table, as attributes of the dataset."""
    source, method = setup.series.source, setup.method
    found = {
        STATIC_EFFECT: static_effect(source, method, setup.size, table),
        LOCAL_MOTION: local_motion(source, method, table),
        MASK: mask_seen(source, table),
    }
    return {name: json.dumps(asdict(one) if one else None) for name, one in found.items()}


def judged(table: PairTable, frames: FrameTable, attributes: Mapping[Any, Any]) -> Verdict:
    """The verdict on solved tables; the attributes hold the settings and what was looked for.

    What nobody looked for, or could tell, is None.
    """
    settings = json.loads(attributes["configuration"])
    static, motion, mask = (json.loads(attributes.get(name, "null")) for name in LOOKED_FOR)
    seen = MaskSeen(**mask) if mask else None
    return judge(
        table,
        frames,
        settings["solve"]["anchor"],
        asked=_asked(settings, seen),
        static=StaticEffect(**static) if static else None,
        motion=LocalMotion(**motion) if motion else None,
        mask=seen,
    )


def _asked(settings: Mapping[str, Any], mask: MaskSeen | None) -> Asked:
    """What advice depends on; arrays (a mask, a prior) are not in the settings."""
    register, preprocess, pairs = (
        settings.get(name, {}) for name in ("register", "preprocess", "pairs")
    )
    given = {name: pairs[name] for name in ("strategy", "width", "extra") if name in pairs}
    return Asked(
        max_shift=register.get("max_shift"),
        min_overlap=register.get("min_overlap"),
        high_pass=preprocess.get("high_pass"),
        static=preprocess.get("fixed_pattern") is not None,
        masked=mask is not None and mask.valid < 1,
        prior=settings.get("initial_shifts", {}).get("path") is not None,
        separations=tuple(pairs.get("separations", ())),
        **given,
    )


def dataset(
    setup: Setup,
    table: PairTable,
    frames: FrameTable | None = None,
    known: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """The shifts dataset of a run, with what is known from before as further attributes."""
    series, config = setup.series, setup.config
    attributes = {
        "configuration": json.dumps(config.dump()),
        "fingerprint": config.fingerprint(series.digest),
        "input": config.input.one_path,
        "input_digest": series.digest,
        "frame_shape": json.dumps(series.source.frame_shape),
        "versions": json.dumps(versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **(known or {}),
    }
    if frames is not None:
        attributes |= judged(table, frames, attributes).attributes()
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


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
