"""How strong each kind of motion of the frames is, and how significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.measure import Method
from steadystack.model import NO_COMPONENT, Bools, Floats, FrameSource, FrameTable, Ints, PairTable
from steadystack.motion.fit_tasks import PairsToFit, fit_all, share_with_tasks
from steadystack.motion.generators import count_turns, make_generators
from steadystack.motion.local_pairs import BoxGrid
from steadystack.motion.local_prior import TINY, BoxShifts, Prior, find_fields
from steadystack.motion.series_motion import measure_linear_once
from steadystack.parts import compute_jackknife_std
from steadystack.solve import GraphFit

# A kind of motion is significant if it differs between frames by this much, px, root mean square
# over the pixels of a frame, and by this many of its standard deviations.
LEAST_PX, LEAST_STD = 0.05, 5.0
FEWEST_FRAMES, FEWEST_PAIRS = 4, 4
# Motion that a model lacks is reported from so many of its standard deviations on. (Of 90 series
# that had none, only some with large objects, which were not good anyway, had more than 2.1.)
REPORTED_STD = 3.5
# Motion is local and smooth if, beyond linear motion, this share of the boxes moves like the boxes
# around it (and by at least this share, of squares, of the box that moves most), if what boxes move
# individually is at most this share of that, and if it is this much, px. An object moves few boxes;
# features that come and go move boxes individually.
MOST_FOLLOW, LEAST_OF_MOST, MOST_ALONE = 0.5, 0.04, 0.6
LEAST_LOCAL_PX = 0.1
BOXES_PER_TERM = 3  # fewest known boxes, per term of a linear motion along an axis
LINEAR_STEPS = 12
KINDS = ("turn", "scale", "shear")
LINEAR_MODELS = ("rigid", "similarity", "affine")  # simple ones first
MODELS = dict(zip(KINDS, LINEAR_MODELS, strict=True))


@dataclass(frozen=True)
class Strength:
    """How strong a kind of linear motion is.

    Attributes
    ----------
    size : by how much it differs between frames, pixels, root mean square
    std : its error from noise and independently moving parts, pixels
    """

    size: float
    std: float

    @property
    def is_seen(self) -> bool:
        """Whether it is significant."""
        return self.size > LEAST_PX and self.size > LEAST_STD * self.std


@dataclass(frozen=True)
class UnmodelledMotion:
    """The linear motion that the model of solved frames lacks.

    Attributes
    ----------
    strengths : of the kinds of linear motion
    least : from this size on, px, a kind is reported
    """

    strengths: Mapping[str, Strength]
    least: float = LEAST_PX

    @classmethod
    def of(cls, fields: Mapping[str, Any] | None) -> UnmodelledMotion | None:
        """Read it from an attribute of the dataset, as JSON; None: not measured."""
        if fields is None:
            return None
        strengths = {kind: Strength(**each) for kind, each in fields["strengths"].items()}
        return cls(strengths, fields["least"])

    @property
    def reported(self) -> dict[str, Strength]:
        """The kinds that are strong enough to be reported."""
        return {
            kind: each
            for kind, each in self.strengths.items()
            if each.size > self.least and each.size > REPORTED_STD * each.std
        }

    @property
    def suits(self) -> str:
        """The simplest model with all reported kinds; "": there are none."""
        return max((MODELS[kind] for kind in self.reported), key=LINEAR_MODELS.index, default="")


@dataclass(frozen=True)
class LocalStrength:
    """How strong the motion of boxes is beyond linear motion.

    Attributes
    ----------
    size : of the motion that boxes share with those around them: by how much it differs between
        frames, pixels, root mean square
    alone : of the individual motion of boxes, beyond noise, likewise
    following : share of the boxes in which the shared motion is the stronger one
    is_known : False if too few boxes are known, though boxes seem to share motion; the others are 0
    """

    size: float
    alone: float
    following: float
    is_known: bool = True

    @property
    def is_seen(self) -> bool:
        """Whether it is a smooth motion of most of the frame."""
        is_smooth = self.alone <= MOST_ALONE * self.size and self.following >= MOST_FOLLOW
        return is_smooth and self.size > LEAST_LOCAL_PX

    @property
    def is_doubtful(self) -> bool:
        """Whether it may be: most boxes share motion, and more than they move individually."""
        is_shared = self.following >= MOST_FOLLOW and self.alone < self.size
        return not self.is_seen and is_shared and self.size > LEAST_LOCAL_PX


def measure_linear_strengths(
    source: FrameSource, pairs: PairTable, frames: FrameTable, method: Method, **how: Any
) -> dict[str, Strength]:
    """Measure each kind of linear motion beyond the known one; {}: too few frames are known.

    Parameters are as in `measure_linear_once`, whose model is the one that has all kinds.
    """
    fit = measure_linear_once(source, pairs, frames, method, LINEAR_MODELS[-1], **how)
    return measure_strengths(fit, len(source.frame_shape))


def measure_strengths(fit: GraphFit, ndim: int) -> dict[str, Strength]:
    """Measure the strength of each kind of linear motion; {}: too few frames are known.

    Sizes are relative to the mean of the frames, not to the anchor, which alone is not
    interpolated. Errors follow from the jackknife over groups of cells: these disagree on a motion
    that only an object makes.
    """
    known = np.isfinite(fit.value).all(axis=1) & (fit.component != NO_COMPONENT)
    known &= fit.component == (np.bincount(fit.component[known]).argmax() if known.any() else 0)
    if known.sum() < FEWEST_FRAMES:
        return {}
    value, moves = fit.value[known], fit.part_step[known]
    off = value - value.mean(axis=0)
    std = compute_jackknife_std(moves - moves.mean(axis=0))
    std = np.maximum(std, np.nan_to_num(fit.stated_std[known]))
    strengths = {}
    for kind, columns in _list_columns(ndim, fit.value.shape[1]):
        size, noise = (
            float(np.sqrt((values[:, columns] ** 2).sum(axis=1).mean())) for values in (off, std)
        )
        strengths[kind] = Strength(size, noise)
    return strengths


def measure_pair_strengths(
    source: FrameSource,
    ends: Ints,
    shift: Floats,
    method: Method,
    shape: Sequence[int],
    box: Sequence[int],
    *,
    pixel_size: Sequence[float] | None = None,
) -> dict[str, Strength]:
    """Measure each kind of linear motion between frames that are only shifted, pair by pair.

    Unlike `measure_linear_strengths`, it does not solve for the motion of frames, so a few pairs
    are enough. Sizes are medians over the pairs; {}: too few of them can be measured.

    Parameters
    ----------
    source : frames whose pixels are the means of boxes of pixels, from the middle of the frames
    ends : (pairs, 2)
    shift : (frames, axes), pixels of `source`, known
    method : for the frames of `source`
    shape, box : sides of the full frames, and of the boxes, along each axis, pixels
    pixel_size : of `source`, as in `make_generators`
    """
    coarse, box_sides = source.frame_shape, np.asarray(box, np.float64)
    generators = make_generators(LINEAR_MODELS[-1], coarse, pixel_size)
    linear = np.tile(np.eye(len(coarse)), (len(shift), 1, 1))
    task = PairsToFit.make(ends, linear, np.asarray(shift), coarse, generators)
    fitted = fit_all(task, source, None, share_with_tasks(source, method, None))
    # in pixels of the full frames, root mean square over these
    spread = (np.asarray(shape) ** 2 - 1) / 12
    full = generators * box_sides[:, None] / box_sides
    gain = np.sqrt(np.einsum("gij,j->g", full**2, spread))
    step = fitted.step[:, : len(gain)] * gain
    std = compute_jackknife_std(fitted.group_step)[:, : len(gain)] * gain
    known = np.isfinite(step).all(axis=1) & np.isfinite(std).all(axis=1)
    if known.sum() < FEWEST_PAIRS:
        return {}
    return {
        kind: Strength(
            *(float(np.median(np.linalg.norm(each[known, at], axis=1))) for each in (step, std))
        )
        for kind, at in _list_columns(len(coarse), len(gain))
    }


def _list_columns(ndim: int, count: int) -> list[tuple[str, slice]]:
    """List the kinds of linear motion, and which of `count` coefficients are theirs."""
    turns = count_turns(ndim)
    bounds = pairwise((0, turns, turns + 1, count))
    return [(kind, slice(*ends)) for kind, ends in zip(KINDS, bounds, strict=True)]


def measure_local_strength(grid: BoxGrid, boxes: BoxShifts, prior: Prior) -> LocalStrength:
    """Measure the motion of boxes beyond linear motion, and how much of it neighbours share.

    The motion of a box is predicted from the boxes of the other colour of a chessboard. The
    prediction does not contain the box's own noise, so its product with the box's motion measures
    the shared motion.
    """
    known = boxes.known
    seen = known.sum(axis=0) >= max(FEWEST_FRAMES, len(known) / 2)
    told = (known & seen).sum(axis=1) >= BOXES_PER_TERM * (len(grid.shape) + 1)
    if prior.is_flat or told.sum() < FEWEST_FRAMES:
        is_known = prior.is_flat or len(known) < FEWEST_FRAMES  # few frames are reported otherwise
        return LocalStrength(0.0, 0.0, 0.0, is_known)
    boxes, prior = boxes.select(np.flatnonzero(told)), replace(prior, size=prior.size[told])
    colour, predicted = np.indices(grid.counts).sum(axis=0).ravel() % 2, np.zeros_like(boxes.off)
    for some in (colour == 0, colour == 1):
        others = BoxShifts(
            boxes.places[~some], boxes.off[:, ~some], boxes.variance[:, ~some], boxes.common
        )
        predicted[:, some] = find_fields(others, prior, boxes.places[some])[0]
    known = (boxes.known & seen)[..., None]
    count = np.maximum(known.sum(axis=0), 1)  # known frames of each box
    # half of the variance comes from the anchor's noise
    noise = (np.where(known, boxes.variance / 2, 0).sum(axis=0) / count).sum(axis=1)
    beside = []
    for moves in (boxes.off, predicted):
        # relative to the mean of the frames: they all share the anchor's noise
        left = np.where(known, _subtract_linear(moves, boxes, known[..., 0]), 0)
        beside.append(np.where(known, left - left.sum(axis=0) / count, 0))
    own, shared = ((beside[0] * moves).sum(axis=(0, 2)) / count[:, 0] for moves in beside)
    alone = own - noise - shared
    follow = shared > np.maximum(max(LEAST_LOCAL_PX**2, LEAST_OF_MOST * shared.max()), alone)
    size, left = (max(float(power[seen].mean()), 0.0) ** 0.5 for power in (shared, alone))
    return LocalStrength(size, left, float(follow[seen].mean()))


def _subtract_linear(moves: Floats, boxes: BoxShifts, known: Bools) -> NDArray[np.float64]:
    """Subtract from the moves of boxes (frames, boxes, axes) a fit linear in their places.

    NaN for boxes that are not `known` (frames, boxes).
    """
    left = np.full_like(boxes.off, np.nan)
    terms = np.column_stack([np.ones(len(boxes.places)), boxes.places - boxes.places.mean(axis=0)])
    for frame, told in enumerate(known):
        for axis in range(left.shape[2]):
            deviation = np.sqrt(boxes.variance[frame, told, axis] + TINY)
            of_frame, root = moves[frame, told, axis], 1 / deviation
            for _ in range(LINEAR_STEPS):  # least absolute deviations: ignores objects
                weighted = terms[told] * root[:, None]
                found = np.linalg.lstsq(weighted, of_frame * root, rcond=None)[0]
                off = of_frame - terms[told] @ found
                root = 1 / np.sqrt(deviation * np.maximum(np.abs(off), deviation))
            left[frame, told, axis] = off
    return left
