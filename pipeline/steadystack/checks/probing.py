"""Measure pairs again: without some of the frame, or by another method than the run's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steadystack.checks.sampling import (
    MOST_FRAMES,
    CoarseFrames,
    crop_to_middle,
    find_known,
    select_farthest,
    select_probe_pairs,
)
from steadystack.cluster import Engine, Failure, run_tasks
from steadystack.measure import (
    Method,
    find_cheapest_cell,
    find_pair_centres,
    measure_pairs,
    prepare_block,
    read_camera_images,
    read_common_mask,
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
from steadystack.survey import average_boxes
from steadystack.validity import BoxMask, Validity

FEWEST_OF_SEPARATION = 3  # pairs with a result
LEAST_ERROR = 0.01  # px, added to stated errors in quadrature
# Pairs in which linear motion of frames is measured, and pixels left of frames for that.
LINEAR_PAIRS, LINEAR_PIXELS = 8, 2**16
LEAST_SHARE = 1 / 8  # of the series: pairs of smaller separation show little of a slow motion
SHORTEST = 24  # side that averaging leaves, at least, pixels
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
        if not evaluate_parts and (
            self.part_weight is None or not np.isfinite(self.part_weight).any()
        ):
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
        source, blocks = self.setup.series.source, self.method.search.blocks
        if source.in_memory or source.frame_count > MOST_FRAMES or len(blocks) > 1:
            return [_measure_way(way, pairs, self) for way in ways]
        there = replace(self, client=None, setup=replace(self.setup, pairs=self.setup.pairs[:0]))
        found = dict(run_tasks(self.client, _measure_way, enumerate(ways), pairs, there))
        tables = []
        for _, table in sorted(found.items()):
            if isinstance(table, Failure):
                raise RunError(f"pairs cannot be measured: {table.reason}") from table.error
            tables.append(table)
        return tables


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
    coarse, box = _read_coarsely(source, frames.tolist(), method)
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


def _read_coarsely(
    source: FrameSource, frames: Sequence[int], method: Method
) -> tuple[CoarseFrames, Ints]:
    """Read frames as a method prepares them, averaged over boxes of their planes; also the boxes.

    Boxes are as small as `LINEAR_PIXELS` allow. A frame that cannot be used has no valid pixel.
    """
    *planes, rows, columns = method.search.shape
    step = math.ceil(math.sqrt(math.prod(method.search.shape) / LINEAR_PIXELS))
    step = max(min(step, rows // SHORTEST, columns // SHORTEST), 1)
    box = np.array([1] * len(planes) + [step, step])
    sides = method.search.shape // box
    camera_images = read_camera_images(method, source.frame_shape, 0)
    masks = [read_common_mask(source, 0, method)]
    kept = []
    for frame in frames:
        ready, _ = prepare_block(source, frame, 0, method, camera_images, masks)
        image, valid = np.zeros(sides), np.zeros(sides, bool)
        if ready is not None:
            image, valid = average_boxes(ready.values, ready.mask.pixels, box.tolist())
        kept.append(Frame(image.astype(np.float32), valid))
    return CoarseFrames(tuple(kept), source.axes), box
