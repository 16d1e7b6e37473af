"""Between the tables of a run and the dataset that it leaves: new, found again, judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import xarray as xr

from steadystack.dataset import load_shifts, make_dataset, read_pairs, replay_journal
from steadystack.durable import get_place
from steadystack.measure import estimate_camera_images
from steadystack.model import (
    FrameTable,
    InputError,
    PairTable,
)
from steadystack.planning import Setup, list_changed_settings
from steadystack.quality import (
    CHECKED,
    judge_stored,
)
from steadystack.run_log import collect_versions

MEASURING_SECTIONS = ("input", "mask", "preprocess", "register", "initial_shifts", "pairs")
RUN = "run"  # the attribute that holds the dataset's name, which its journal bears, too


def make_table(setup: Setup) -> PairTable:
    source = setup.series.source
    return PairTable.unmeasured(setup.pairs, source.frame_count, len(source.frame_shape))


def load_own_shifts(setup: Setup) -> xr.Dataset:
    """What an earlier run of the same settings left, with what its journal holds.

    Raises InputError if there is nothing, or if it was measured with other settings.
    """
    path = setup.config.output.shifts
    dataset = load_shifts(path)
    if dataset.attrs.get("fingerprint") == setup.config.fingerprint(setup.series.digest):
        table = read_pairs(dataset)
        if replay_journal(path, get_journal_owner(dataset), table):
            return make_run_dataset(setup, table, known=get_lasting_attributes(dataset))
        return dataset
    before = json.loads(dataset.attrs.get("configuration", "{}"))
    changed = list_changed_settings(before, setup.config.dump(), MEASURING_SECTIONS)
    changed = [line for line in changed if not line.startswith("pairs.extra ")]  # adds to the rows
    count, now = dataset.sizes["frame"], setup.series.source.frame_count
    if count != now:
        changed.append(f"the stack now has {now} frames instead of {count}")
    difference = "; ".join(changed) or "the input's metadata, or the content of a file"
    raise InputError(
        f"{path} was measured with other settings ({difference}): use --overwrite to start "
        "over, or another output.shifts"
    )


def make_run_id() -> dict[str, str]:
    """An attribute that tells a dataset from all others."""
    return {RUN: uuid4().hex}


def get_journal_owner(dataset: xr.Dataset) -> str:
    """What the journal of a dataset bears."""
    return str(dataset.attrs.get(RUN, dataset.attrs.get("fingerprint")))


def get_lasting_attributes(dataset: xr.Dataset) -> dict[str, str]:
    """The attributes that stay as they are, whatever stage writes the dataset anew."""
    return {name: dataset.attrs[name] for name in (RUN, *CHECKED) if name in dataset.attrs}


def add_camera_images(setup: Setup, keep_at: str | None = None, again: bool = False) -> Setup:
    """The same run with what the settings want to be made of the stack itself."""
    preprocess = setup.config.preprocess
    estimated = {
        "flat_field": preprocess.flat_field == "median",
        "fixed_pattern": preprocess.fixed_pattern == "estimate",
    }
    source, method = setup.series.source, setup.method
    return replace(
        setup,
        method=estimate_camera_images(
            source, method, setup.size, keep_at, again=again, **estimated
        ),
    )


def discard_camera_images(path: str) -> None:
    """Delete what an earlier dataset at that path had made of its stack: it may be another one."""
    for name in ("flat_field", "fixed_pattern"):
        get_place(f"{path.rstrip('/')}.{name}.zarr").discard()


def make_run_dataset(
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
        "versions": json.dumps(collect_versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **(known or {}),
    }
    if frames is not None:
        attributes |= judge_stored(table, frames, attributes).attributes()
        attributes["anchors"] = json.dumps(frames.anchors)
    return make_dataset(
        table,
        frames,
        axes=series.source.axes,
        pixel_size=series.pixel_size,
        unit=series.unit,
        time=series.time,
        attributes=attributes,
    )
