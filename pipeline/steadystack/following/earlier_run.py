"""Recall what an earlier run found out about the first frames of a series."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from steadystack.dataset import load_shifts, read_pairs
from steadystack.durable import get_place
from steadystack.following.frame_lines import FrameLine
from steadystack.measure import get_camera_image_path
from steadystack.model import UNSOLVED, FrameStatus, OutsideOutcome, PairTable, Pilot
from steadystack.planning import LOOKED_AT_AGAIN, Setup, decide, recall_growth
from steadystack.stages import (
    list_estimated_images,
    load_own_shifts,
    open_sums,
    recall_settings,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class EarlierRun:
    """The dataset of the first frames of a series, if there is one.

    Attributes
    ----------
    pilot : its decisions on "auto" settings; None: none
    table : the pairs that it measured; None: there is no dataset
    attributes : of the dataset
    lines : those of frames that need no second look, by index
    """

    pilot: Pilot | None = None
    table: PairTable | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[int, FrameLine] = field(default_factory=dict)

    def decide(self, setup: Setup) -> Setup:
        """The run with the decisions of this one, and with the camera images that it has made."""
        decided = setup if self.pilot is None else decide(setup, self.pilot)
        for name in list_estimated_images(setup):
            path = get_camera_image_path(setup.config.output.shifts, name)
            if self.table is not None and get_place(path).exists():
                image: dict[str, Any] = {name: path}
                decided = replace(decided, method=replace(decided.method, **image))
        return decided


def recall_earlier(undecided: Setup) -> EarlierRun:
    """Recall what an earlier run of these settings left at their output.

    Raises InputError, as a run does, if that has other settings or cannot be read.
    """
    path = undecided.config.output.shifts
    for name in list_estimated_images(undecided):
        if not get_place(get_camera_image_path(path, name)).exists():
            log.info(
                "preprocess.%s is made from all frames at the end: the first shifts are "
                "measured without it",
                name,
            )
    if not get_place(path).exists():
        return EarlierRun(recall_settings(undecided).pilot)
    setup = recall_growth(recall_settings(undecided), undecided, (path,))
    dataset = load_own_shifts(setup) if setup.growth is None else load_shifts(path)
    open_sums(setup).check(dataset.attrs, path)
    table = read_pairs(dataset) if setup.growth is None else setup.growth.table
    return EarlierRun(setup.pilot, table, dataset.attrs, read_lines(dataset))


def read_lines(dataset: xr.Dataset) -> dict[int, FrameLine]:
    """Read what a dataset says about its frames, by index; {} if it is not solved."""
    if (dataset["component"] == UNSOLVED).all():
        return {}
    numbers, axes = dataset["frame"].values.tolist(), tuple(dataset["axis"].values.tolist())
    anchors = _read_anchors(dataset, numbers)
    status = dataset["frame_status"].values
    read = dataset["frame_read_status"].values  # a frame of one value may not have been written yet
    unsettled = (*LOOKED_AT_AGAIN, FrameStatus.UNMEASURED.code, FrameStatus.FLAT.code)
    settled = ~(np.isin(status, unsettled) | np.isin(read, unsettled))
    return {
        frame: FrameLine(
            frame=numbers[frame],
            axes=axes,
            shift=tuple(dataset["frame_shift"].values[frame].tolist()),
            std=tuple(dataset["frame_shift_std"].values[frame].tolist()),
            status=_get_status(status[frame]),
            anchor=anchors[frame],
            provisional=False,
        )
        for frame in np.flatnonzero(settled).tolist()
    }


def _read_anchors(dataset: xr.Dataset, numbers: list[int]) -> list[int | None]:
    """Read the number of the frame that each frame's shift is relative to; None: no frame."""
    anchors, outside = json.loads(dataset.attrs["anchors"]), OutsideOutcome.of(dataset.attrs)
    is_moved = outside is not None and outside.is_found
    return [
        None if part < 0 or (part == 0 and is_moved) else numbers[anchors[part]]
        for part in dataset["component"].values.tolist()
    ]


def _get_status(code: int) -> FrameStatus:
    status = FrameStatus.from_code(code)
    assert isinstance(status, FrameStatus)
    return status
