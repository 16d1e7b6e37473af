"""Choose the motion model: the simplest that explains what shifts leave unexplained in pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.cluster import Engine
from steadystack.measure import Method
from steadystack.model import (
    NO_COMPONENT,
    Bools,
    Floats,
    FrameSource,
    FrameTable,
    LocalMotion,
    PairTable,
)
from steadystack.motion.generators import count_turns
from steadystack.motion.local_motion import measure_boxes_once
from steadystack.motion.local_pairs import BoxGrid
from steadystack.motion.local_prior import TINY, BoxShifts, Prior, find_fields
from steadystack.motion.series_motion import measure_linear_once
from steadystack.parts import compute_jackknife_std
from steadystack.solve import GraphFit

UNKNOWN = "how parts of the frame move cannot be determined"
MOTION_CHOICE = "motion_choice"  # the dataset's attribute with the choice
# A kind of motion is significant if it differs between frames by this much, px, root mean square
# over the pixels of a frame, and by this many of its standard deviations.
LEAST_PX, LEAST_STD = 0.1, 5.0
# ... and if it is this share of the strongest: a large turn looks a little like a scale.
LEAST_SHARE = 0.05
# An object that moves by itself looks a little like every kind of motion: a model is rejected if a
# kind it lacks is at least this share of the strongest kind it has, and above its own error.
MOST_LEFT = 0.5
FEWEST_FRAMES = 4
# What a model leaves of other kinds is reported above this, px, and `LEAST_STD`.
UNMODELLED_PX = 0.05
# Motion is local and smooth if, beyond linear motion, this share of the boxes moves like the boxes
# around it (and by at least this share, of squares, of the box that moves most), and if what boxes
# move individually is at most this share of that. An object moves few boxes; features that come and
# go move boxes individually.
MOST_FOLLOW, LEAST_OF_MOST, MOST_ALONE = 0.5, 0.04, 0.6
BOXES_PER_TERM = 3  # fewest known boxes, per term of a linear motion along an axis
# Local motion is not measured in frames with more linear motion than this, root mean square.
MOST_LINEAR = 0.015
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
    """The `strengths` of the kinds of linear motion that the model of solved frames lacks."""

    strengths: Mapping[str, Strength]

    @classmethod
    def of(cls, fields: Mapping[str, Any] | None) -> UnmodelledMotion | None:
        """Read it from an attribute of the dataset, as JSON; None: not measured."""
        if fields is None:
            return None
        return cls({kind: Strength(**each) for kind, each in fields["strengths"].items()})

    @property
    def seen(self) -> dict[str, Strength]:
        """The kinds that are significant."""
        return {
            kind: each
            for kind, each in self.strengths.items()
            if each.size > UNMODELLED_PX and each.size > LEAST_STD * each.std
        }

    @property
    def suits(self) -> str:
        """The simplest model with all of these; "": there is none."""
        return max((MODELS[kind] for kind in self.seen), key=LINEAR_MODELS.index, default="")


@dataclass(frozen=True)
class LocalStrength:
    """How strong the motion of boxes is beyond linear motion.

    Attributes
    ----------
    size : of the motion that boxes share with those around them: by how much it differs between
        frames, pixels, root mean square
    alone : of the individual motion of boxes, beyond noise, likewise
    following : share of the boxes in which the shared motion is the stronger one
    """

    size: float
    alone: float
    following: float

    @property
    def is_seen(self) -> bool:
        """Whether it is a smooth motion of most of the frame."""
        is_smooth = self.alone <= MOST_ALONE * self.size and self.following >= MOST_FOLLOW
        return is_smooth and self.size > LEAST_PX


@dataclass(frozen=True)
class ModelChoice:
    """The model that was chosen with `motion.model: auto`.

    Attributes
    ----------
    model : "translation", "rigid", "similarity", "affine" or "local"
    strengths : by kind of linear motion ("turn", "scale", "shear"); {}: not measured
    reason : why nothing was measured, or why the model is translation in spite of it; "": none
    local : strength of the motion beyond linear motion; None: not measured
    """

    model: str
    strengths: Mapping[str, Strength]
    reason: str = ""
    local: LocalStrength | None = None

    @classmethod
    def in_force(cls, attributes: Mapping[Any, Any]) -> ModelChoice | None:
        """Read the choice that a dataset was solved with; None: solved with another model."""
        choice = cls.of(attributes)
        motion = json.loads(attributes["configuration"]).get("motion", {})
        return choice if choice and choice.model == motion.get("model", "translation") else None

    @property
    def is_unknown(self) -> bool:
        """Whether the model could not be chosen, as the motion of parts is not known."""
        return not self.strengths and self.reason == UNKNOWN

    def dump(self) -> str:
        """Write the choice as JSON, for the attribute of the dataset."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, attributes: Mapping[Any, Any]) -> ModelChoice | None:
        """Read the choice from the attributes of a dataset; None: none was made."""
        if MOTION_CHOICE not in attributes:
            return None
        told = json.loads(attributes[MOTION_CHOICE])
        strengths = {kind: Strength(**each) for kind, each in told["strengths"].items()}
        local = LocalStrength(**told["local"]) if told.get("local") else None
        return cls(told["model"], strengths, told["reason"], local)

    def describe(self) -> str:
        """Describe what was chosen, and why."""
        if not self.strengths:
            return f"{self.model}: {self.reason}"
        but = f"; {self.reason}" if self.reason else ""
        seen = ", ".join(
            f"{kind} {each.size:.2g} ± {each.std:.1g} px" for kind, each in self.strengths.items()
        )
        beside = ""
        if self.local is not None and self.local.size:
            beside = (
                f", and their parts smoothly by {self.local.size:.2g} px, individually by "
                f"{self.local.alone:.2g} px"
            )
        return (
            f"{self.model}: frames differ by {seen} (root mean square of their pixels){beside}{but}"
        )


def choose_model(
    source: FrameSource,
    pairs: PairTable,
    frames: FrameTable,
    method: Method,
    parts: LocalMotion | None,
    *,
    pixel_size: Sequence[float] | None = None,
    anchor: int = 0,
    robust: bool = True,
    client: Engine = None,
) -> ModelChoice:
    """Choose the simplest model that leaves no significant motion of the frames unexplained.

    If parts of the frame move independently, rather than as in a turn, scale or shear of the whole
    frame, the model is "translation"; if most boxes then move like the boxes around them, it is
    "local".

    Parameters
    ----------
    frames : as returned by `solve_shifts`, of any number of axes
    parts : how parts move relative to the shifts; None: not known
    method, pixel_size, anchor, robust, client : as in `solve_motion`

    Raises
    ------
    RunError
        If a task fails.
    """
    why = ""
    if len(source.frame_shape) == 1:
        why = "frames with one axis can only be shifted"
    elif len(method.search.blocks) > 1:
        why = "frames of several blocks can only be shifted"
    elif not method.search.subpixel:
        why = "without register.subpixel, frames can only be shifted"
    elif parts is None:
        why = UNKNOWN
    if why or parts is None:
        return ModelChoice("translation", {}, why)
    how: dict[str, Any] = {"anchor": anchor, "robust": robust, "client": client}
    seen = measure_linear_once(
        source, pairs, frames, method, "affine", pixel_size=pixel_size, **how
    )
    strengths = measure_strengths(seen, len(source.frame_shape))
    if not strengths:
        return ModelChoice("translation", {}, f"fewer than {FEWEST_FRAMES} frames can be compared")
    linear = _choose_linear(strengths, parts)
    local = measure_local_strength(*measure_boxes_once(source, pairs, frames, method, **how))
    explained = 0.0
    if linear.model != "translation":
        explained = max(
            strengths[kind].size for kind in KINDS[: LINEAR_MODELS.index(linear.model) + 1]
        )
    radius = float(np.linalg.norm(source.frame_shape)) / np.sqrt(12)  # of gyration
    can_follow = explained < max(MOST_LINEAR * radius, local.size / MOST_LEFT)
    if local.is_seen and can_follow:
        return ModelChoice("local", strengths, "", local)
    return replace(linear, local=local)


def _choose_linear(strengths: Mapping[str, Strength], parts: LocalMotion) -> ModelChoice:
    """Choose the simplest model that leaves no significant turn, scale or shear."""
    least = LEAST_SHARE * max(each.size for each in strengths.values())
    seen_kinds = [kind for kind, each in strengths.items() if each.is_seen and each.size > least]
    if not seen_kinds:
        return ModelChoice("translation", strengths)
    if parts.moving and not parts.linear:
        return ModelChoice("translation", strengths, "but parts of the frame move independently")
    kinds = list(KINDS)
    taken = kinds[: kinds.index(seen_kinds[-1]) + 1]
    most = MOST_LEFT * max(strengths[kind].size for kind in taken)
    left = [kind for kind in kinds if kind not in taken and strengths[kind].size > most]
    if any(strengths[kind].size > strengths[kind].std for kind in left):
        reason = f"but {MODELS[taken[-1]]} leaves much {' and '.join(left)} unexplained"
        return ModelChoice("translation", strengths, reason)
    return ModelChoice(MODELS[taken[-1]], strengths)


def measure_strengths(seen: GraphFit, ndim: int) -> dict[str, Strength]:
    """Measure the strength of each kind of linear motion; {}: too few frames are known.

    Sizes are relative to the mean of the frames, not to the anchor, which alone is not
    interpolated. Errors follow from the jackknife over groups of cells: these disagree on a motion
    that only an object makes.
    """
    known = np.isfinite(seen.value).all(axis=1) & (seen.component != NO_COMPONENT)
    known &= seen.component == (np.bincount(seen.component[known]).argmax() if known.any() else 0)
    if known.sum() < FEWEST_FRAMES:
        return {}
    value, moves = seen.value[known], seen.part_step[known]
    off = value - value.mean(axis=0)
    std = compute_jackknife_std(moves - moves.mean(axis=0))
    std = np.maximum(std, np.nan_to_num(seen.stated_std[known]))
    strengths, turns = {}, count_turns(ndim)
    bounds = pairwise((0, turns, turns + 1, seen.value.shape[1]))
    for kind, columns in zip(KINDS, (slice(*each) for each in bounds), strict=True):
        size, noise = (
            float(np.sqrt((values[:, columns] ** 2).sum(axis=1).mean())) for values in (off, std)
        )
        strengths[kind] = Strength(size, noise)
    return strengths


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
        return LocalStrength(0.0, 0.0, 0.0)
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
    follow = shared > np.maximum(max(LEAST_PX**2, LEAST_OF_MOST * shared.max()), alone)
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
