"""Measure pairs again: without some of the frame, or by another method than the run's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.checks.sampling import (
    MOST_FRAMES,
    choose_coarseness,
    crop_to_middle,
    find_known,
    read_coarsely,
    select_farthest,
    select_probe_pairs,
)
from steadystack.cluster import Engine, Failure, run_tasks
from steadystack.measure import (
    Method,
    find_cheapest_cell,
    find_pair_centres,
    measure_pairs,
)
from steadystack.model import (
    Bools,
    ChangedFrames,
    Frame,
    FrameSource,
    FrameTable,
    Ints,
    PairTable,
    ProbeCheck,
    RunError,
    Slices,
    find_finite_pixels,
)
from steadystack.motion import UnmodelledMotion, compare_pairs, measure_pair_strengths
from steadystack.pairs import spread_evenly
from steadystack.parts import PartGrid, compute_jackknife_std
from steadystack.planning import Setup
from steadystack.readers import ValidFrames
from steadystack.register import Search
from steadystack.run_log import StageMeter
from steadystack.solve import weigh_parts
from steadystack.validity import BoxMask, Validity

FEWEST_OF_SEPARATION = 3  # pairs with a result
LEAST_ERROR = 0.01  # px, added to stated errors in quadrature
LINEAR_PAIRS = 8  # in which linear motion of frames is measured
LEAST_SHARE = 1 / 8  # of the series: pairs of smaller separation show little of a slow motion
# Linear motion between frames that are only shifted is reported from this size on, px, root mean
# square over the pixels: in the corners of a square frame that is 1.7 times as much.
LEAST_LINEAR_PX = 0.15


@dataclass(frozen=True)
class Probe:
    """Measures pairs again.

    Attributes
    ----------
    setup : of the run
    method : the run's, with searches centred on solved shifts if there are any
    client : runs the tasks; None: here
    part_weight : weights of the parts in the frames' shifts (frames, parts); None: all equal
    """

    setup: Setup
    method: Method
    client: Engine
    part_weight: NDArray[np.float32] | None = None

    @property
    def region(self) -> Slices:
        """The region of the frame that is correlated."""
        return self.method.whole_region

    @property
    def grid(self) -> PartGrid:
        """The parts of this region."""
        return make_grid(self.region)

    @property
    def is_weighed(self) -> bool:
        """Whether the parts have weights."""
        return self.part_weight is not None and bool(np.isfinite(self.part_weight).any())

    def mask(self, boxes: Sequence[Slices]) -> FrameSource:
        """Exclude some boxes from all frames."""
        mask = BoxMask(tuple(tuple((side.start, side.stop) for side in box) for box in boxes))
        return ValidFrames(self.setup.series.source, Validity((mask,)))

    def measure(
        self,
        pairs: Ints,
        *,
        source: FrameSource | None = None,
        method: Method | None = None,
        evaluate_parts: bool = True,
    ) -> PairTable:
        """Measure pairs (pairs, 2) of frames, from other frames or by another method if given.

        Without `evaluate_parts`, parts are only evaluated if their weights in the shifts differ.
        """
        method = replace(method or self.method, may_lack_box=source is not None)
        source = source or self.setup.series.source
        if not evaluate_parts and not self.is_weighed:
            method = replace(method, evaluates_parts=False)
        if method.initial_shifts is not None:
            centres = find_pair_centres(method, pairs)
            assert centres is not None
            method = replace(method, cell=find_cheapest_cell(centres, pairs, method.search))
        table, before = PairTable.of_frames(pairs, source), self.setup.before
        if before is not None:
            before.fill_in(table, source, method)
        client = None if source.in_memory else self.client  # else workers would get copies of it
        meter = StageMeter("measuring", "pairs")
        for _, done in measure_pairs(source, table, method, self.setup.size, client=client):
            meter(done, len(pairs))
        if before is not None:
            before.add(source, method, table)
        return self.weigh(table)

    def weigh(self, table: PairTable) -> PairTable:
        """Weight the parts of the pairs of a table as in the frames' shifts."""
        if self.part_weight is None:
            return table
        pairs = np.stack([table.reference, table.moving], axis=1)
        weighed = weigh_parts(table.shift, table.part_step, pairs, self.part_weight)
        return replace(table, shift=weighed)

    def measure_each(
        self, pairs: Ints, ways: Sequence[tuple[FrameSource, Method]]
    ) -> list[PairTable]:
        """Measure pairs (pairs, 2) from each source by its method, without their parts.

        Each of the `ways` is a task, unless frames are measured in blocks, which are tasks.

        Raises
        ------
        RunError
            If pairs cannot be measured in one of the ways.
        """
        if len(self.method.search.blocks) > 1:
            return [_measure_way(way, pairs, self) for way in ways]
        return self._run(_measure_way, ways, pairs)

    def measure_averaged(self, pairs: Ints, boxes: Sequence[Slices]) -> list[PairTable]:
        """Measure pairs (pairs, 2) of averaged frames: with all of them, and without each box.

        Parts of the frame are not evaluated. Empty if frames are too small to be averaged, are
        measured in blocks, or have channels, or if their parts have weights.

        Raises
        ------
        RunError
            If pairs cannot be measured.
        """
        is_one = len(self.method.search.blocks) == 1 and not self.setup.series.source.channels
        if self.is_weighed or not is_one or choose_coarseness(self.method).max() == 1:
            return []
        return list(*self._run(_measure_averaged, [boxes], pairs))

    def _run(self, task: Callable[..., Any], inputs: Sequence[Any], pairs: Ints) -> list[Any]:
        """Run a task for every input, on workers if it can read its frames there."""
        source = self.setup.series.source
        if source.in_memory or source.frame_count > MOST_FRAMES:
            return [task(one, pairs, self) for one in inputs]
        there = replace(self, client=None, setup=replace(self.setup, pairs=self.setup.pairs[:0]))
        found = dict(run_tasks(self.client, task, enumerate(inputs), pairs, there))
        for result in found.values():
            if isinstance(result, Failure):
                raise RunError(f"pairs cannot be measured: {result.reason}") from result.error
        return [result for _, result in sorted(found.items())]


@dataclass(frozen=True)
class EqualPlanes(ChangedFrames):
    """The frames of a source of volumes, with all planes scaled to mean 0 and contrast 1."""

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        pixels = self.frames.read(frame, region)
        image = np.zeros(pixels.image.shape, np.float32)
        valid = pixels.valid & find_finite_pixels(pixels.image)
        for plane, values, seen in zip(image, pixels.image, valid, strict=True):
            contrast = values[seen].std(dtype=np.float64) if seen.any() else 0.0
            if contrast:
                plane[seen] = (values[seen] - values[seen].mean(dtype=np.float64)) / contrast
        return replace(pixels, image=image, valid=valid)


def _measure_way(way: tuple[FrameSource, Method], pairs: Ints, probe: Probe) -> PairTable:
    """A task: measure pairs from frames by a method."""
    source, method = way
    return probe.measure(pairs, source=source, method=method, evaluate_parts=False)


def _measure_averaged(boxes: Sequence[Slices], pairs: Ints, probe: Probe) -> list[PairTable]:
    """A task: measure pairs of averaged frames, with all of them and without each of the boxes."""
    setup, search = probe.setup, probe.method.search
    frames, numbers = np.unique(pairs, return_inverse=True)
    coarse, box = read_coarsely(setup.series.source, frames.tolist(), probe.method)
    sides, initial = coarse.frame_shape, probe.method.initial_shifts
    most = None if search.max_shift is None else np.ceil(search.max_shift / box).astype(int)
    method = Method(
        Search.make(
            sides, sides, None if most is None else most.tolist(), search.min_overlap,
            search.subpixel, allow_inverted=search.allow_inverted, region=sides,
        ),
        initial_shifts=None if initial is None else initial[frames] / box,
        evaluates_parts=False,
    )  # fmt: skip
    setup = replace(setup, series=replace(setup.series, source=coarse), before=None)
    few, numbers = Probe(setup, method, None), numbers.reshape(pairs.shape)
    tables, begin = [few.measure(numbers)], [[side.start] for side in probe.region]
    for inside in boxes:
        corners = np.array([[side.start, side.stop] for side in inside])
        corners = np.rint((corners - begin) / box[:, None]).astype(int)
        averaged = tuple(slice(*side) for side in corners.tolist())
        tables.append(few.measure(numbers, source=few.mask([averaged])))
    return [
        replace(table, shift=table.shift * box, shift_std=table.shift_std * box) for table in tables
    ]


def make_grid(region: Slices) -> PartGrid:
    """Cut a region of the frame into parts."""
    return PartGrid.make([side.stop - side.start for side in region])


def list_boxes(region: Slices, parts: Sequence[int]) -> list[Slices]:
    """List the boxes, in pixels of the frame, of some parts of a region of it."""
    grid = make_grid(region)
    boxes = []
    for part in parts:
        place = np.unravel_index(part, grid.shape)
        boxes.append(
            tuple(
                slice(side.start + edges[at], side.start + edges[at + 1])
                for side, edges, at in zip(region, grid.edges, place, strict=True)
            )
        )
    return boxes


def compute_own_errors(pairs: PairTable) -> NDArray[np.float64]:
    """Compute the errors of pairs, from noise or from their parts, the larger (pairs, axes), px."""
    return np.asarray(np.fmax(pairs.shift_std, compute_jackknife_std(pairs.part_step)))


def compare_separations(
    apart: Ints, measured: Bools, off: NDArray[np.float64], error: NDArray[np.float64]
) -> ProbeCheck:
    """Find the separation whose measured pairs differ most from the solution, in stated errors.

    Parameters
    ----------
    apart, measured : (pairs,) separations, and whether a pair has a result
    off, error : (pairs, axes) pixels, by how much it differs, and what is stated of that
    """
    check = ProbeCheck(pairs=len(apart))
    for separation in np.unique(apart).tolist():
        rows = measured & (apart == separation)
        if rows.sum() >= FEWEST_OF_SEPARATION:
            excess = float(np.sqrt(np.mean((off[rows] / error[rows]) ** 2)))
            if excess > check.excess:
                size = float(np.sqrt(np.mean((off[rows] ** 2).sum(axis=1))))
                check = replace(check, separation=int(separation), off=size, excess=excess)
    return check


def check_far_pairs(
    setup: Setup, table: PairTable, solved: FrameTable, client: Engine
) -> ProbeCheck | None:
    """Compare pairs with larger separations than the run's with the linear motion of frames.

    What stands still in the camera is moved apart with these frames, and pulls them less. None if
    there are no such pairs, or if some images are each other's negatives.
    """
    pairs = select_probe_pairs(table, find_known(solved))
    if not len(pairs) or (table.ncc[table.ok] < 0).any():
        return None
    off, error = compare_pairs(
        setup.series.source,
        pairs,
        solved,
        setup.method,
        setup.config.motion.model,
        pixel_size=setup.series.comparable_sizes,
        client=client,
    )
    known = np.asarray(np.isfinite(off / error).all(axis=1))
    return compare_separations(np.diff(pairs)[:, 0], known, off, np.hypot(error, LEAST_ERROR))


def check_linear_pairs(
    source: FrameSource,
    method: Method,
    table: PairTable,
    solved: FrameTable,
    pixel_size: Sequence[float] | None = None,
) -> UnmodelledMotion | None:
    """Measure how frames that are only shifted rotate, stretch or shear, in a few distant pairs.

    In large frames the middle is measured, and boxes of pixels are averaged. None if it is not
    known: frames with one axis, or that are measured in blocks, too few pairs with enough detail,
    images that are each other's negatives. `pixel_size` is as in `motion.make_generators`.
    """
    known, shape = find_known(solved), method.search.shape
    ends = select_probe_pairs(table, known)
    ends = ends[ends[:, 1] - ends[:, 0] >= LEAST_SHARE * len(known)]
    if len(ends) < LINEAR_PAIRS:
        rows = select_farthest(table, known, LINEAR_PAIRS - len(ends))
        own = np.stack([table.reference, table.moving], axis=1)[rows]
        ends = np.concatenate([ends, own])
    ends = ends[spread_evenly(np.arange(len(ends)), LINEAR_PAIRS)]
    method = crop_to_middle(method)
    is_one_block = len(method.search.blocks) == 1 and len(shape) > 1
    if not is_one_block or not len(ends) or (table.ncc[table.ok] < 0).any():
        return None
    frames, numbers = np.unique(ends, return_inverse=True)
    coarse, box = read_coarsely(source, frames.tolist(), method)
    sides = coarse.frame_shape
    plain = Method(Search.make(sides, sides, [1] * len(sides), region=sides))
    strengths = measure_pair_strengths(
        coarse,
        numbers.reshape(ends.shape),
        solved.shift[frames] / box,
        plain,
        shape,
        box.tolist(),
        pixel_size=None if pixel_size is None else [*map(float, np.multiply(pixel_size, box))],
    )
    return UnmodelledMotion(strengths, LEAST_LINEAR_PX) if strengths else None
