"""Convert a run's tables to the dataset it leaves; find, judge, save and replace that dataset."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any
from uuid import uuid4

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.checks import CHECKED, FAILED_CHECKS
from steadystack.dataset import (
    RUN,
    check_holds_no_more,
    check_journal,
    check_replaceable,
    discard_journal,
    get_journal_owner,
    load_shifts,
    make_dataset,
    read_attributes,
    read_pairs,
    replay_journal,
    save_shifts,
)
from steadystack.durable import get_place
from steadystack.measure import (
    CAMERA_IMAGES,
    check_camera_image,
    discard_camera_images,
    estimate_camera_images,
    find_part_centres,
    get_camera_image_path,
)
from steadystack.model import (
    CODEC_STD,
    EXTERNAL,
    FRAME_CHECKSUMS,
    GROWN,
    PILOT,
    STACK_FRAMES,
    FrameStatus,
    FrameTable,
    InputError,
    PairTable,
)
from steadystack.motion import MOTION_CHOICE, ModelChoice
from steadystack.object_windows import ObjectWindows
from steadystack.planning import Setup, list_changed_settings
from steadystack.quality import judge_stored, widen_errors
from steadystack.run_log import collect_versions, log_stage
from steadystack.survey import FrameSums
from steadystack.warp import find_middle

# Largest error, px, of the position of a mask that follows an object.
OFF_WINDOW = 2.0

log = logging.getLogger(__name__)

MEASURING_SECTIONS = [
    "input",
    "mask",
    "object",
    "preprocess",
    "register",
    "initial_shifts",
    "pairs",
]
MOTION = "motion"  # the attribute naming the model that was solved for


def make_table(setup: Setup) -> PairTable:
    source = setup.series.source
    return PairTable.of_frames(setup.pairs, source)


def load_own_shifts(setup: Setup) -> xr.Dataset:
    """Load what an earlier run with the same settings left, including its journal.

    Raises InputError if there is nothing, or if it was measured with other settings.
    """
    path = setup.shifts_path
    dataset = load_shifts(path)
    if dataset.attrs.get("fingerprint") == setup.config.fingerprint(setup.series.digest):
        table = read_pairs(dataset)
        if replay_journal(path, get_journal_owner(dataset), table):
            return make_run_dataset(setup, table, known=get_lasting_attributes(dataset))
        return dataset
    before = json.loads(dataset.attrs.get("configuration", "{}"))
    changed = list_changed_settings(before, setup.config.dump(), MEASURING_SECTIONS)
    changed = [line for line in changed if not line.startswith("pairs.extra ")]  # it only adds rows
    if setup.config.object_.is_followed:  # its mask belongs to the anchor
        of_solve = list_changed_settings(before, setup.config.dump(), ("solve",))
        changed += [line for line in of_solve if line.startswith("solve.anchor ")]
    count, now = dataset.sizes["frame"], setup.series.source.frame_count
    if setup.growth is not None:
        raise InputError(
            f"{setup.growth.describe(now)}, since {path} was measured: `steadystack run` measures "
            "the pairs of the new frames and keeps the others"
        )
    if count != now:
        frames = f"the stack now has {now} frames instead of {count}"
        if count < now and not changed:
            frames += f", and the first {count} are not those that were measured"
        changed.append(frames)
    changed = changed or setup.series.list_changed(dataset.attrs.get("input_digest", ""))
    difference = "; ".join(changed) or "the input's metadata, or the contents of a file"
    back = "restore the frames that are gone, " if count > now else ""
    raise InputError(
        f"{path} was measured with other settings ({difference}): {back}use `steadystack run "
        "--overwrite` to start over, or another output.shifts"
    )


def make_first_attributes(setup: Setup) -> dict[str, str]:
    """Attributes of a new dataset: its name, and checksums of some frames."""
    return {RUN: uuid4().hex, **open_sums(setup).take({})}


def open_sums(setup: Setup) -> FrameSums:
    """Open the frame checksums of a run, to be computed or compared."""
    return FrameSums(setup.series.whole_frames, setup.series.frame_numbers)


def check_same_frames(setup: Setup) -> None:
    """Refuse a stack if some of its frames differ from those in this run's dataset.

    Does nothing if there is no dataset, or one of other settings, which other stages report.
    """
    path = setup.shifts_path
    if not get_place(path).exists():
        return
    attributes = read_attributes(path)
    if attributes.get("fingerprint") == setup.config.fingerprint(setup.series.digest):
        open_sums(setup).check(attributes, path)


def sum_frames_measured(setup: Setup, table: PairTable, known: Mapping[str, str]) -> dict[str, str]:
    """Checksums of some of the measured frames; known ones are kept."""
    there = np.flatnonzero(table.frame_read_status == FrameStatus.OK.code)
    return open_sums(setup).take(known, there.tolist())


def get_lasting_attributes(dataset: xr.Dataset, *, is_settled: bool = True) -> dict[str, str]:
    """The attributes that are kept whichever stage rewrites the dataset.

    A failed choice of `motion.model` is not kept while the pairs are not final.
    """
    lasting, attributes = (RUN, GROWN, FRAME_CHECKSUMS, *CHECKED, FAILED_CHECKS), dataset.attrs
    choice = recall_choice(attributes)
    if is_settled and MOTION_CHOICE in attributes:
        choice = {MOTION_CHOICE: attributes[MOTION_CHOICE]}
    return choice | {name: attributes[name] for name in lasting if name in attributes}


def recall_choice(attributes: Mapping[str, str]) -> dict[str, str]:
    """The choice of `motion.model` among attributes; {} if it failed, as it may succeed now."""
    choice = ModelChoice.of(attributes)
    is_made = choice is not None and choice.strengths
    return {MOTION_CHOICE: attributes[MOTION_CHOICE]} if is_made else {}


def list_estimated_images(setup: Setup) -> list[str]:
    """The camera images that the settings want to be estimated from the stack itself."""
    preprocess = setup.config.preprocess
    wanted = {
        "flat_field": preprocess.flat_field == "median",
        "fixed_pattern": preprocess.fixed_pattern == "estimate",
    }
    return [name for name in CAMERA_IMAGES if wanted[name]]


def add_camera_images(setup: Setup, keep_at: str | None = None, again: bool = False) -> Setup:
    """The same run with the camera images that are to be estimated from the stack itself."""
    estimated = {name: name in list_estimated_images(setup) for name in CAMERA_IMAGES}
    source, method = setup.series.source, setup.method
    return replace(
        setup,
        method=estimate_camera_images(
            source, method, setup.size, keep_at, again=again, **estimated
        ),
    )


def make_run_dataset(
    setup: Setup,
    table: PairTable,
    frames: FrameTable | None = None,
    known: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """The shifts dataset of a run; `known` attributes from before are added."""
    series, config = setup.series, setup.config
    attributes: dict[str, Any] = {
        "configuration": json.dumps(config.dump()),
        "fingerprint": config.fingerprint(series.digest),
        "input": config.input.one_path,
        "input_digest": series.digest,
        "frame_shape": json.dumps(series.whole_frames.frame_shape),
        "versions": json.dumps(collect_versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **(known or {}),
    }
    if config.input.frames is not None:
        attributes[STACK_FRAMES] = json.dumps(series.stack_frames)
    if setup.pilot is not None:
        attributes[PILOT] = setup.pilot.dump()
    if series.codec_std:
        attributes[CODEC_STD] = series.codec_std
    if frames is not None:
        middle = find_middle(series.whole_frames.frame_shape).tolist()
        attributes[MOTION] = json.dumps({"model": config.motion.model, "centre": middle})
        if frames.outside is not None:
            attributes[EXTERNAL] = frames.outside.dump()
        frames = widen_errors(frames, attributes)
        attributes |= judge_stored(table, frames, attributes).attributes()
        attributes["anchors"] = json.dumps(frames.anchors)
        frames = _place_object(setup, frames)
    return make_dataset(
        table,
        frames,
        axes=series.source.axes,
        pixel_size=series.pixel_size,
        unit=series.unit,
        time=series.time,
        part_centres=_find_part_centres(setup),
        frame_numbers=series.frame_numbers,
        channels=config.input.channel_labels[: table.channel_weight.shape[1]],
        attributes=attributes,
    )


def _place_object(setup: Setup, frames: FrameTable) -> FrameTable:
    """Add the object's position to solved frames, if one is followed; warns of misplaced masks."""
    windows, anchor = setup.series.source, setup.config.solve.anchor
    if not isinstance(windows, ObjectWindows) or frames.anchors[:1] != (anchor,):
        return frames
    frames = replace(frames, object_middle=windows.find_middle(anchor))
    at = np.array([windows.find_middle(frame) for frame in range(windows.frame_count)])
    off = np.abs(frames.object_position - at).max(axis=1)
    if (wrong := np.flatnonzero(off > OFF_WINDOW)).size:
        log.warning(
            "object: the mask is off by up to %.1f px in %d frames, the first of them %d",
            *(off[wrong].max(), len(wrong), setup.series.frame_numbers[wrong[0]]),
        )
    return frames


def _find_part_centres(setup: Setup) -> NDArray[np.float64]:
    """The middle of every part (places, axes), pixels; for windows, in the anchor's window."""
    centres, places = find_part_centres(setup.method), setup.series.places
    return centres if places is None else centres + places[setup.config.solve.anchor]


def settle_neighbours(path: str) -> None:
    """Finish or undo what a dead process was changing: the dataset, its draft, images."""
    for dataset_path in (path, get_draft_path(path)):
        get_place(dataset_path).settle()
        for name in CAMERA_IMAGES:
            get_place(get_camera_image_path(dataset_path, name)).settle()


def check_neighbours(setup: Setup) -> None:
    """Raise InputError if a foreign file is where a run keeps something beside its dataset."""
    path = setup.config.output.shifts
    check_replaceable(path)
    check_journal(path)
    check_replaceable(get_draft_path(path))
    check_journal(get_draft_path(path))
    for name in list_estimated_images(setup):
        check_camera_image(get_camera_image_path(path, name))


def get_draft_path(path: str) -> str:
    """Where a dataset that is to replace the one at `path` lies until it is complete."""
    whole = PurePath(path)
    return get_place(path).get_sibling(f".{whole.stem}.draft{whole.suffix}").path


def choose_draft(setup: Setup, overwrite: bool) -> Setup:
    """The run, writing a draft if its dataset is to replace an existing one.

    The files there have passed `check_neighbours`. An earlier draft of the same settings is
    continued, unless `overwrite` asks for a new one.
    """
    path = setup.config.output.shifts
    draft = get_draft_path(path)
    if overwrite:
        discard_draft(path)
        return replace(setup, draft=draft) if get_place(path).is_occupied() else setup
    if not get_place(draft).exists():
        return setup
    fingerprint = load_shifts(draft, any_format=True).attrs.get("fingerprint")
    if fingerprint != setup.config.fingerprint(setup.series.digest):
        way_out = "`steadystack run --overwrite` starts over"
        log.warning("%s was started with other settings, and stays: %s", draft, way_out)
        return setup
    return replace(setup, draft=draft)


def discard_draft(path: str) -> None:
    """Delete the draft of an output, if there is one, with its journal and images."""
    draft = get_draft_path(path)
    check_replaceable(draft)
    discard_journal(draft)
    discard_camera_images(draft)
    get_place(draft).discard()


def save_over_journal(dataset: xr.Dataset, path: str) -> None:
    """Save a dataset that contains everything in its journal, and delete the journal."""
    with log_stage("saving"):
        save_shifts(dataset, path)
        discard_journal(path)


def save_on_stop(dataset: xr.Dataset, path: str) -> None:
    """Save a dataset but keep its journal, which holds as much; not over foreign files."""
    try:
        save_shifts(dataset, path)
    except InputError as error:
        log.warning("what is new stays in the journal: %s", error)


def publish_draft(setup: Setup, dataset: xr.Dataset) -> xr.Dataset:
    """Replace the older dataset by the complete draft."""
    path, draft = setup.config.output.shifts, setup.draft
    if not draft:
        return dataset
    check_holds_no_more(path)
    copy_camera_images(draft, path)
    save_shifts(dataset, path)
    discard_journal(path)
    discard_draft(path)
    return dataset


def copy_camera_images(path: str, other: str) -> None:
    """Copy the images estimated from the stack, which lie beside one dataset, to another one."""
    for name in CAMERA_IMAGES:
        image = get_camera_image_path(path, name)
        if get_place(image).exists():
            with get_place(image).fetching() as local:
                get_place(get_camera_image_path(other, name)).put(local)
