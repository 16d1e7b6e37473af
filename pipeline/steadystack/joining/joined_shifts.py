"""Make one dataset of all frames of several series, in a common frame, and one for each series."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.cluster import Engine
from steadystack.common_frame import move_by_fits
from steadystack.dataset import RUN, add_digests
from steadystack.joining.finished import SolvedSeries
from steadystack.joining.mean_graph import MeanGraph, measure_means
from steadystack.model import (
    JOINED,
    NO_COMPONENT,
    SHIFT_CONVENTION,
    Finding,
    FrameStatus,
    OutsideOutcome,
    Reason,
    Trust,
    Verdict,
)
from steadystack.run_log import collect_versions
from steadystack.solve import interpolate_missing
from steadystack.stages import make_run_dataset

# Variables on frames that are taken from the datasets of runs.
OF_FRAMES = (
    "frame_shift", "frame_shift_std", "frame_stated_std", "frame_part_std", "frame_status",
    "frame_read_status", "component", "pair_count", "frame_ncc",
)  # fmt: skip
# Variables on pairs that are taken from the dataset of the means.
OF_PAIRS = (
    "pair_reference", "pair_moving", "pair_shift", "pair_shift_std", "pair_residual", "pair_ncc",
    "pair_overlap", "pair_weight", "pair_status",
)  # fmt: skip
# Findings about the means that concern the joining; others are about series in time.
OF_MEANS = (
    Reason.STILL_PARTS, Reason.PARTS_LEFT_OUT, Reason.PARTS_NOT_USED, Reason.TURNING,
    Reason.MOVING_PARTS, Reason.ONE_PART, Reason.DETAIL, Reason.COARSE_DETAIL,
    Reason.REJECTED_PAIRS, Reason.CONTRADICTIONS, Reason.LARGE_ERRORS,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class JoinedSeries:
    """Several series in one frame.

    Attributes
    ----------
    dataset : all frames of all series
    each : the shifts dataset of every series that was joined, in the common frame, by its name
    """

    dataset: xr.Dataset
    each: dict[str, xr.Dataset]


def join_solved(
    series: Sequence[SolvedSeries], path: str = "", client: Engine = None
) -> JoinedSeries:
    """Join series that are solved, each in itself; reads frames for their means, writes nothing.

    `path` is where the joined dataset is to lie, for those of the series to name it.
    """
    graph = measure_means(series, client)
    moved = {
        one.name: _move(one, graph.make_outcome(number, path)) for number, one in enumerate(series)
    }
    has_place = set(graph.series[_is_joined(graph)].tolist())
    each = {one.name: moved[one.name] for n, one in enumerate(series) if n in has_place}
    return JoinedSeries(_make_dataset(series, graph, moved), each)


def _is_joined(graph: MeanGraph) -> NDArray[np.bool_]:
    """Which means have a known place in the common frame (means,)."""
    return np.asarray(np.isfinite(graph.offset).all(axis=1))


def _move(series: SolvedSeries, outcome: OutsideOutcome) -> xr.Dataset:
    """The shifts dataset of a series, with its parts moved into the common frame."""
    frames = move_by_fits(series.pairs, replace(series.frames, outside=outcome), series.members)
    way = series.setup.config.solve.interpolate
    if way is not None:
        frames = interpolate_missing(frames, way)
    return make_run_dataset(series.setup, series.pairs, frames, series.known)


def _make_dataset(
    series: Sequence[SolvedSeries], graph: MeanGraph, moved: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """The dataset of all frames, with the means, their offsets and their pairs."""
    placed = [_place(moved[one.name], graph, number) for number, one in enumerate(series)]
    first = next(iter(moved.values()))
    axes = first["axis"]
    variables: dict[str, Any] = {
        name: (first[name].dims, np.concatenate([one[name] for one in placed]), first[name].attrs)
        for name in OF_FRAMES
    }
    variables |= {
        name: (graph.solved[name].dims, graph.solved[name].to_numpy(), graph.solved[name].attrs)
        for name in OF_PAIRS
    }
    for name, meaning in (
        ("pair_reference", "index of the mean that stays in place"),
        ("pair_moving", "index of the mean that is moved"),
    ):
        variables[name] = (*variables[name][:2], label(meaning))
    variables["pixel_size"] = first["pixel_size"].variable
    status = graph.solved["frame_status"].attrs
    about: dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]] = {
        "mean_component": (("mean",), graph.component, label("connected part of its series")),
        "mean_frames": (("mean",), graph.frames, label("number of frames in the mean")),
        "mean_status": (("mean",), graph.status, status),
        "mean_offset": (("mean", "axis"), graph.offset, label(
            "offset added to the shifts of the part; NaN: it was not joined", "pixel")),
        "mean_offset_std": (("mean", "axis"), graph.std, label(
            "standard deviation of the offset, relative to the mean of the part that keeps its "
            "shifts; included in frame_shift_std", "pixel")),
        "mean_offset_covariance": (("mean", "of_mean", "axis"), graph.covariance, label(
            "covariance of the offsets of two parts", "pixel2")),
    }  # fmt: skip
    names = [one.name for one in series]
    counts = [len(moved[name]["frame"]) for name in names]
    coordinates: dict[str, Any] = {
        "axis": axes.variable,
        "frame": ("frame", np.concatenate([moved[name]["frame"].to_numpy() for name in names]),
                  first["frame"].attrs),
        "series": ("frame", np.repeat(np.array(names), counts), label("name of its series")),
        "mean_series": ("mean", np.array(names)[graph.series], label("name of its series")),
    }  # fmt: skip
    time = _join_times([moved[name] for name in names], counts)
    if time is not None:
        coordinates["time"] = ("frame", *time)
    attributes = {
        "title": JOINED,
        "convention": SHIFT_CONVENTION,
        "frame_shape": json.dumps(series[0].setup.series.source.frame_shape),
        "series": json.dumps([describe_run(one, moved[one.name]) for one in series]),
        "versions": json.dumps(collect_versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **Verdict.of(_judge(series, graph, moved)).attributes(),
    }
    return add_digests(xr.Dataset(variables | about, coordinates, attributes))


def label(meaning: str, unit: str = "") -> dict[str, str]:
    """The attributes of a variable."""
    return {"long_name": meaning} | ({"units": unit} if unit else {})


def _place(dataset: xr.Dataset, graph: MeanGraph, number: int) -> dict[str, NDArray[Any]]:
    """Make the columns of a series' frames, with component 0 for all that were joined.

    Others have no shift; if they had one before, their status becomes disconnected.
    """
    columns = {name: dataset[name].to_numpy().copy() for name in OF_FRAMES}
    is_joined = bool(_is_joined(graph)[graph.series == number].any())
    inside = (columns["component"] == 0) & is_joined
    had_shift = np.isfinite(columns["frame_shift"]).all(axis=1)
    for name in ("frame_shift", "frame_shift_std", "frame_stated_std", "frame_part_std"):
        columns[name][~inside] = np.nan
    columns["frame_status"][had_shift & ~inside] = FrameStatus.DISCONNECTED.code
    columns["component"] = np.where(inside, 0, NO_COMPONENT)
    return columns


def _join_times(
    datasets: Sequence[xr.Dataset], counts: Sequence[int]
) -> tuple[NDArray[Any], dict[str, Any]] | None:
    """The times of all frames, not known (NaN, NaT) of some; None where they cannot be compared.

    They are dates, with any reference, or numbers in one unit, as in the stacks.
    """
    datasets = [xr.decode_cf(one[[name for name in ("time",) if name in one]]) for one in datasets]
    known = [one["time"] for one in datasets if "time" in one.coords]
    kinds = {(time.dtype.kind, time.attrs.get("unit")) for time in known}
    if len(kinds) != 1:
        return None
    unknown = np.datetime64("NaT", "ns") if known[0].dtype.kind == "M" else np.nan
    values = [
        dataset["time"].to_numpy()
        if "time" in dataset.coords
        else np.full(count, unknown, known[0].dtype)
        for dataset, count in zip(datasets, counts, strict=True)
    ]
    return np.concatenate(values), dict(known[0].attrs)


def describe_run(series: SolvedSeries, dataset: xr.Dataset) -> dict[str, Any]:
    """Describe which run a series is."""
    return {
        "name": series.name,
        "input": dataset.attrs["input"],
        "shifts": series.setup.config.output.shifts,
        "run": dataset.attrs.get(RUN, ""),
        "fingerprint": dataset.attrs["fingerprint"],
        "verdict": dataset.attrs["verdict"],
    }


def _judge(
    series: Sequence[SolvedSeries], graph: MeanGraph, moved: Mapping[str, xr.Dataset]
) -> Iterator[Finding]:
    """Find what speaks against the joined shifts: in series, their means, or lost parts."""
    joined = _is_joined(graph)
    for number, one in enumerate(series):
        for finding in Verdict.read(moved[one.name].attrs).findings:
            if finding.code is not Reason.REFERENCE_NOT_FOUND:
                yield replace(finding, words=f"{one.name}: {finding.words}")
        mine = graph.series == number
        if not joined[mine].all():
            trust = Trust.CHECK if len(set(graph.series[joined])) > 1 else Trust.UNRELIABLE
            yield Finding(trust, Reason.SERIES_NOT_JOINED, _describe_lost(one, graph, number))
    turning = list(_report_turning(series, graph))
    for finding in Verdict.read(graph.solved.attrs).findings:
        if finding.code in OF_MEANS and not (turning and finding.code is Reason.TURNING):
            yield replace(finding, words=f"between the means of the series: {finding.words}")
    yield from turning


def _report_turning(series: Sequence[SolvedSeries], graph: MeanGraph) -> Iterator[Finding]:
    """Report series that rotate or stretch relative to each other, and are joined by shifts."""
    if not graph.turning:
        return
    (one, other), motion = max(graph.turning.items(), key=lambda each: each[1].size)
    names = " and ".join(series[graph.series[mean]].name for mean in (one, other))
    yield Finding(
        Trust.CHECK,
        Reason.TURNING,
        f"between the means of the series: {names} rotate or stretch: parts of them differ from "
        f"the shift of the whole by up to {motion.size:.1f} px, so that an offset is only the best "
        "translation",
    )


def _describe_lost(series: SolvedSeries, graph: MeanGraph, number: int) -> str:
    """Describe which part of a series was not found in the others, and why."""
    fits = graph.make_outcome(number, "").fits
    lost = [fit.status for fit in fits if not fit.is_known]
    part = "" if len(fits) == 1 else f"{len(lost)} of its {len(fits)} connected parts: "
    return (
        f"{series.name}: {part}not found in the other series ({lost[0]}), so its frames have no "
        "shift relative to them: leave it out, or add a series that shows some of both"
    )
