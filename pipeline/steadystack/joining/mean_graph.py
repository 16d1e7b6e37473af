"""Measure the means of several series against each other, and solve for where each lies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.checks import check_moving_parts
from steadystack.cluster import Engine
from steadystack.common_frame import (
    SeriesMean,
    choose_fine_sigma,
    confirm_in_detail,
    make_series_mean,
)
from steadystack.config import Config, make_config
from steadystack.joining.finished import SolvedSeries
from steadystack.measure import Method
from steadystack.model import (
    Bools,
    FrameStatus,
    LocalMotion,
    OutsideFit,
    OutsideOutcome,
    PairStatus,
    PairTable,
    Registration,
)
from steadystack.planning import Setup, make_series
from steadystack.readers import ArrayFrames, digest_content
from steadystack.solve import solve_shifts
from steadystack.stages import measure_series, solve_in_memory

COMPARED = 64  # pairs of means, at most, whose parts are compared
# Position error, px, of a mean relative to the frames averaged in it, due to interpolation and to
# rims that not all frames show; observed where noise is lower.
OF_MOVING = 0.0015


@dataclass(frozen=True, eq=False)
class MeanGraph:
    """Where the means of series lie, one mean for each connected part of a series.

    Attributes
    ----------
    series, component : (means,) the series of a mean, and the connected part of it
    frames : (means,) number of frames averaged
    offset : (means, axes) pixels, what is added to all shifts of the part; NaN: not known
    covariance : (means, means, axes), px²: of the offsets, relative to that of `anchor`
    solved : the shifts dataset of the means, each a frame of it
    anchor : the mean whose part keeps its shifts; None: no two means match
    turning : by pair of means that rotate or stretch relative to each other: how their parts move
    """

    series: NDArray[np.int64]
    component: NDArray[np.int64]
    frames: NDArray[np.int64]
    offset: NDArray[np.float64]
    covariance: NDArray[np.float64]
    solved: xr.Dataset
    anchor: int | None
    turning: Mapping[tuple[int, int], LocalMotion]

    @property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation of the offsets (means, axes), pixels."""
        return np.sqrt(np.diagonal(self.covariance).T)

    @property
    def status(self) -> NDArray[np.int8]:
        """The status of every mean, code of `FrameStatus`: ok, or why it has no offset."""
        status = self.solved["frame_status"].to_numpy().astype(np.int8)
        apart = np.isnan(self.offset).any(axis=1) & (status == FrameStatus.OK.code)
        return np.where(apart, FrameStatus.DISCONNECTED.code, status).astype(np.int8)

    def make_outcome(self, number: int, path: str) -> OutsideOutcome:
        """The outcome for the parts of one series, in the form used for an external reference."""
        fits = [self._make_fit(mean) for mean in np.flatnonzero(self.series == number).tolist()]
        return OutsideOutcome(path, digest_content(self.offset), tuple(fits))

    def _make_fit(self, mean: int) -> OutsideFit:
        pairs = self.solved
        mine = (pairs["pair_reference"].to_numpy() == mean) | (
            pairs["pair_moving"].to_numpy() == mean
        )
        status = [PairStatus.from_code(code) for code in pairs["pair_status"].to_numpy()[mine]]
        count = int(self.frames[mean])
        if np.isnan(self.offset[mean]).any():
            causes = [PairStatus.REJECTED if one is PairStatus.OK else one for one in status]
            return OutsideFit(Counter(causes).most_common(1)[0][0], frames=count)
        used = mine & (pairs["pair_status"].to_numpy() == PairStatus.OK.code)
        return OutsideFit(
            PairStatus.OK,
            tuple(self.offset[mean].tolist()),
            tuple(self.std[mean].tolist()),
            ncc=float(np.median(pairs["pair_ncc"].to_numpy()[used])),
            overlap=float(np.median(pairs["pair_overlap"].to_numpy()[used])),
            frames=count,
        )


def measure_means(series: Sequence[SolvedSeries], client: Engine = None) -> MeanGraph:
    """Measure all means of the series against each other, and solve for where each lies.

    Pairs are measured as in a run that searches every shift at which two frames overlap. Where they
    have one, fine detail must confirm it, as shading is the same in all images of a camera. If
    shading outweighs the scene, so that a mean has no place, all are measured again without it. The
    first series keeps its shifts, if another one was found in it.
    """
    nodes = [
        (number, part) for number, one in enumerate(series) for part in range(len(one.members))
    ]
    means = [_make_mean(series[number], part) for number, part in nodes]
    stack = xr.DataArray(_stack_up(means), dims=("t", *series[0].setup.series.source.axes))
    preprocess = series[0].setup.config.preprocess
    found = _solve_means(series[0].setup.config, preprocess.high_pass, stack, means, client)
    if not _find_in_one(found[0]).all() and not isinstance(preprocess.high_pass, float):
        fine = choose_fine_sigma(*(mean.values.shape for mean in means))
        other = _solve_means(series[0].setup.config, fine, stack, means, client)
        found = max(found, other, key=lambda one: int(_find_in_one(one[0]).sum()))
    solved, setup, table = found
    in_one = _find_in_one(solved)
    first = np.array([mean.first for mean in means], np.float64)
    anchor = int(json.loads(solved.attrs["anchors"])[0]) if in_one.any() else None
    offset = np.full(first.shape, np.nan)
    if anchor is not None:
        moved = solved["frame_shift"].to_numpy() - first + first[anchor]
        offset[in_one] = moved[in_one]
    return MeanGraph(
        series=np.array([number for number, _ in nodes]),
        component=np.array([part for _, part in nodes]),
        frames=np.array([len(series[number].members[part]) for number, part in nodes]),
        offset=offset,
        covariance=_compute_covariance(solved, in_one, anchor),
        solved=solved,
        anchor=anchor,
        turning=_find_turning(setup, table),
    )


def _find_in_one(solved: xr.Dataset) -> Bools:
    """Find the means (means,) connected with the first one that is connected with any."""
    return np.asarray(solved["component"].to_numpy() == 0)


def _solve_means(
    config: Config,
    high_pass: float | str | None,
    stack: xr.DataArray,
    means: Sequence[SeriesMean],
    client: Engine,
) -> tuple[xr.Dataset, Setup, PairTable]:
    """Measure the means as frames of a series, under a high-pass, and solve for each.

    Returns their shifts dataset, the run, and the measured pairs.
    """
    series = make_series(ArrayFrames.checked(stack))
    setup, table, engine = measure_series(_make_settings(config, high_pass), series, client)
    _confirm(table, means, setup.method)
    return solve_in_memory(setup, table, engine)[1], setup, table


def _find_turning(setup: Setup, table: PairTable) -> dict[tuple[int, int], LocalMotion]:
    """Find means that rotate or stretch relative to another, in the pairs that overlap most.

    The check of a series needs four pairs, and judges most of them; two or three means have fewer.
    """
    frames = solve_shifts(table)
    used = np.flatnonzero(table.ok & ~frames.rejected)
    most = used[np.argsort(-table.overlap[used], kind="stable")[:COMPARED]]
    turning = {}
    for row in sorted(most.tolist()):
        pair = table.select_pairs(np.array([row]))
        motion = check_moving_parts(setup.series.source, setup.method, pair, frames, fewest=1)
        if motion is not None and motion.moving and motion.linear:
            turning[int(table.reference[row]), int(table.moving[row])] = motion
    return turning


def _make_mean(series: SolvedSeries, component: int) -> SeriesMean:
    """Make the mean of a connected part of a series, unfiltered; no valid pixels if there is none.

    Filters are the same for all means, and are applied when these are measured.
    """
    members, setup = series.members[component], series.setup
    conditioning = replace(setup.method.conditioning, low_pass=None, high_pass=None)
    method = replace(setup.method, keep=(), initial_shifts=None, conditioning=conditioning)
    mean = None
    if len(members):
        mean = make_series_mean(members, series.frames.shift[members], setup.series.source, method)
    if mean is not None:
        return mean
    shape = setup.series.source.frame_shape
    return SeriesMean(np.zeros(shape), np.zeros(shape, bool), np.zeros(len(shape), np.int64))


def _stack_up(means: Sequence[SeriesMean]) -> NDArray[np.float32]:
    """Stack means of different shapes, aligned at their first pixels; NaN elsewhere."""
    shape = np.max([mean.values.shape for mean in means], axis=0)
    stack = np.full((len(means), *shape), np.nan, np.float32)
    for image, mean in zip(stack, means, strict=True):
        inside = tuple(slice(0, size) for size in mean.values.shape)
        image[inside] = np.where(mean.valid, mean.values, np.nan)
    return stack


def _make_settings(config: Config, high_pass: float | str | None) -> Config:
    """Make the settings for measuring means: those of a run that concern pairs."""
    preprocess, register, solve = config.preprocess, config.register_, config.solve
    return make_config(
        {
            "input": {"path": "memory"},
            "mask": {"defects": None, "field_of_view": None, "parts": config.mask.parts},
            "preprocess": {"low_pass": preprocess.low_pass, "high_pass": high_pass},
            "register": {
                "max_shift": None,
                "min_overlap": register.min_overlap,
                "subpixel": register.subpixel,
                "allow_inverted": register.allow_inverted,
            },
            "pairs": {"strategy": "all"},
            "solve": {"robust": solve.robust, "leave_out_parts": solve.leave_out_parts},
        }
    )


def _confirm(pairs: PairTable, means: Sequence[SeriesMean], method: Method) -> None:
    """Remove the shift of pairs of means whose fine detail has another shift, or none."""
    for row in np.flatnonzero(pairs.ok).tolist():
        reference, moving = (means[frame[row]] for frame in (pairs.reference, pairs.moving))
        plain = Registration(
            shift=pairs.shift[row],
            covariance=np.diag(np.nan_to_num(pairs.shift_std[row]) ** 2),
            ncc=float(pairs.ncc[row]),
            second_peak_ratio=float(pairs.second_peak_ratio[row]),
            overlap=float(pairs.overlap[row]),
            status=PairStatus.OK,
        )
        sides = (reference.values, reference.valid), (moving.values, moving.valid)
        found = confirm_in_detail(plain, *sides, method)
        if found.status is not PairStatus.OK:
            pairs.status[row] = PairStatus(found.status).code
            for column in (pairs.shift, pairs.shift_std, pairs.part_step):
                column[row] = np.nan


def _compute_covariance(
    solved: xr.Dataset, in_one: Bools, anchor: int | None
) -> NDArray[np.float64]:
    """Compute the covariance of the shifts of means relative to the anchor (means, means, axes).

    Correlations follow from the graph of pairs and their weights, sizes from the standard
    deviations; the error from moving frames (`OF_MOVING`) is in all pairs of a mean. NaN where a
    mean has no shift.
    """
    std = solved["frame_shift_std"].to_numpy()
    covariance = np.full((len(std), *std.shape), np.nan)
    if anchor is None:
        return covariance
    weight = np.nan_to_num(solved["pair_weight"].to_numpy())
    start, end = solved["pair_reference"].to_numpy(), solved["pair_moving"].to_numpy()
    laplacian = np.zeros((len(std), len(std)))
    np.add.at(laplacian, (start, end), -weight)
    np.add.at(laplacian, (end, start), -weight)
    laplacian -= np.diag(laplacian.sum(axis=0))
    free = np.flatnonzero(in_one & (np.arange(len(std)) != anchor))
    inverse = np.linalg.inv(laplacian[np.ix_(free, free)])
    spread = np.sqrt(np.diag(inverse))
    correlation = inverse / np.multiply.outer(spread, spread)
    known = np.flatnonzero(in_one)
    covariance[np.ix_(known, known)] = 0.0
    of_moving = OF_MOVING**2 * (1 + np.eye(len(free)))  # of the anchor, and of each
    covariance[np.ix_(free, free)] = (
        correlation[..., None] * std[free, None] * std[None, free] + of_moving[..., None]
    )
    return covariance
