"""Choose the model of motion: the simplest that what pairs leave beside their shifts allows."""

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
from steadystack.motion.local_motion import look_at_boxes
from steadystack.motion.local_pairs import BoxGrid
from steadystack.motion.local_prior import TINY, BoxShifts, Prior, find_fields
from steadystack.motion.series_motion import look_once
from steadystack.parts import compute_jackknife_std
from steadystack.solve import GraphFit

UNKNOWN = "how parts of the frame move cannot be determined"
MOTION_CHOICE = "motion_choice"  # the attribute of the dataset that holds it
# A motion counts that differs between frames by this much, px, root mean square of the pixels of
# a frame, and by so many of its deviations.
LEAST_PX, LEAST_STD = 0.1, 5.0
# ... and if it is this share of the strongest: a large turn looks a little like a scale.
LEAST_SHARE = 0.05
# An object that moves by itself looks a little like every kind: a model is not taken that leaves
# this share of what it takes away of another kind, if that is more than its deviation.
MOST_LEFT = 0.5
FEWEST_FRAMES = 4
# What a simpler model leaves is told from here, px, and from `LEAST_STD` on.
UNMODELLED_PX = 0.05
# Parts of frames move by themselves, smoothly, if boxes do that much beside turning and stretching
# that those around them do, too; if so many of the boxes do, and do this share (of squares) of the
# one that does most; and if what each does alone is no more than so much of it. An object moves few
# boxes, features that come and go each alone.
MOST_FOLLOW, LEAST_OF_MOST, MOST_ALONE = 0.5, 0.04, 0.6
BOXES_PER_TERM = 3  # of a linear motion, along each axis: fewer do not tell what goes beyond it
# Local motion is not measured in frames that turn or stretch by more, root mean square.
MOST_LINEAR = 0.015
LINEAR_STEPS = 12
KINDS = ("turn", "scale", "shear")
LINEAR_MODELS = ("rigid", "similarity", "affine")  # simple ones first
MODELS = dict(zip(KINDS, LINEAR_MODELS, strict=True))


@dataclass(frozen=True)
class Strength:
    """How much of a kind of motion frames have.

    Attributes
    ----------
    size : by how much it differs between frames: pixels, root mean square
    std : what noise, and what goes its own way, would make of it
    """

    size: float
    std: float

    @property
    def is_seen(self) -> bool:
        """Whether it is more than that."""
        return self.size > LEAST_PX and self.size > LEAST_STD * self.std


@dataclass(frozen=True)
class UnmodelledMotion:
    """What frames do beside the linear motion that they were solved for.

    Attributes
    ----------
    strengths : by kind of linear motion that the model does not have
    """

    strengths: Mapping[str, Strength]

    @classmethod
    def of(cls, fields: Mapping[str, Any] | None) -> UnmodelledMotion | None:
        """From its fields, as an attribute of the dataset holds them; None: not looked for."""
        if fields is None:
            return None
        return cls({kind: Strength(**each) for kind, each in fields["strengths"].items()})

    @property
    def seen(self) -> dict[str, Strength]:
        """The kinds that are more than noise."""
        return {
            kind: each
            for kind, each in self.strengths.items()
            if each.size > UNMODELLED_PX and each.size > LEAST_STD * each.std
        }

    @property
    def suits(self) -> str:
        """The simplest model that has all of these; "": there is none."""
        return max((MODELS[kind] for kind in self.seen), key=LINEAR_MODELS.index, default="")


@dataclass(frozen=True)
class LocalStrength:
    """How much boxes of frames do beside turning and stretching.

    Attributes
    ----------
    size : by how much it differs between frames, as far as boxes do what those around them do:
        pixels, root mean square
    alone : what each does alone, beyond noise, likewise
    following : share of the boxes that do more of the first
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
    """The model that was chosen where `motion.model` is auto.

    Attributes
    ----------
    model : "translation", "rigid", "similarity", "affine" or "local"
    strengths : by kind of linear motion; {}: it was not looked for
    reason : why not, or why the model is translation all the same
    local : how much parts of frames do beside it; None: that was not looked for
    """

    model: str
    strengths: Mapping[str, Strength]
    reason: str = ""
    local: LocalStrength | None = None

    @classmethod
    def in_force(cls, attributes: Mapping[Any, Any]) -> ModelChoice | None:
        """The choice of the model that a dataset was solved by; None: it was another, or none."""
        choice = cls.of(attributes)
        motion = json.loads(attributes["configuration"]).get("motion", {})
        return choice if choice and choice.model == motion.get("model", "translation") else None

    @property
    def is_unknown(self) -> bool:
        """Whether nothing was seen of how parts of the frame move."""
        return not self.strengths and self.reason == UNKNOWN

    def dump(self) -> str:
        """As JSON, for the attribute of the dataset."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, attributes: Mapping[Any, Any]) -> ModelChoice | None:
        """The choice among the attributes of a dataset; None: none was made."""
        if MOTION_CHOICE not in attributes:
            return None
        told = json.loads(attributes[MOTION_CHOICE])
        strengths = {kind: Strength(**each) for kind, each in told["strengths"].items()}
        local = LocalStrength(**told["local"]) if told.get("local") else None
        return cls(told["model"], strengths, told["reason"], local)

    def describe(self) -> str:
        """What was chosen and why, in words."""
        if not self.strengths:
            return f"{self.model}: {self.reason}"
        but = f"; {self.reason}" if self.reason else ""
        seen = ", ".join(
            f"{kind} {each.size:.2g} ± {each.std:.1g} px" for kind, each in self.strengths.items()
        )
        beside = ""
        if self.local is not None and self.local.size:
            beside = (
                f", and their parts smoothly by {self.local.size:.2g} px, each alone by "
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
    """Choose the simplest model that leaves no motion that frames have.

    A turn, scale or shear of most of a frame is no motion of all of it: where parts move by
    themselves, and not as they would if the frame turned or stretched, frames are shifted alone;
    unless most boxes go where those around them do: that is local motion.

    Parameters
    ----------
    frames : as `solve_shifts` gives them, of any number of axes
    parts : what was found of how parts move against shifts; None: that cannot be told
    method, pixel_size, anchor, robust, client : as in `solve_motion`
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
    seen = look_once(source, pairs, frames, method, "affine", pixel_size=pixel_size, **how)
    strengths = measure_strengths(seen, len(source.frame_shape))
    if not strengths:
        return ModelChoice("translation", {}, f"fewer than {FEWEST_FRAMES} frames can be compared")
    linear = _choose_linear(strengths, parts)
    local = measure_local_strength(*look_at_boxes(source, pairs, frames, method, **how))
    explained = 0.0
    if linear.model != "translation":
        explained = max(
            strengths[kind].size for kind in KINDS[: LINEAR_MODELS.index(linear.model) + 1]
        )
    radius = float(np.linalg.norm(source.frame_shape)) / np.sqrt(12)  # of pixels, about their mean
    can_follow = explained < max(MOST_LINEAR * radius, local.size / MOST_LEFT)
    if local.is_seen and can_follow:
        return ModelChoice("local", strengths, "", local)
    return replace(linear, local=local)


def _choose_linear(strengths: Mapping[str, Strength], parts: LocalMotion) -> ModelChoice:
    """Choose the simplest model that leaves no turn, scale or shear."""
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
    """Measure how much of each kind of motion frames of so many axes have; {}: too few are known.

    By how far frames are from their mean, not from the anchor, which alone is not interpolated.
    What would be so by chance follows from groups of cells, left out one by one: what only an
    object does, its groups do not agree on.
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
    """Measure how much boxes do beside turning and stretching, and whether those around do it, too.

    What a box does is predicted from those of the other colour, as on a chessboard: its noise is
    not in that, so that their product is of what they share.
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
    count = np.maximum(known.sum(axis=0), 1)  # frames that know a box
    # half of what is told is the anchor's
    noise = (np.where(known, boxes.variance / 2, 0).sum(axis=0) / count).sum(axis=1)
    beside = []
    for moves in (boxes.off, predicted):
        # by how far frames are from their mean: the anchor's noise is in all of them alike
        left = np.where(known, _take_linear_away(moves, boxes, known[..., 0]), 0)
        beside.append(np.where(known, left - left.sum(axis=0) / count, 0))
    own, shared = ((beside[0] * moves).sum(axis=(0, 2)) / count[:, 0] for moves in beside)
    alone = own - noise - shared
    follow = shared > np.maximum(max(LEAST_PX**2, LEAST_OF_MOST * shared.max()), alone)
    size, left = (max(float(power[seen].mean()), 0.0) ** 0.5 for power in (shared, alone))
    return LocalStrength(size, left, float(follow[seen].mean()))


def _take_linear_away(moves: Floats, boxes: BoxShifts, known: Bools) -> NDArray[np.float64]:
    """What is not linear in places, of moves of boxes (frames, boxes, axes) of which some count."""
    left = np.full_like(boxes.off, np.nan)
    terms = np.column_stack([np.ones(len(boxes.places)), boxes.places - boxes.places.mean(axis=0)])
    for frame, told in enumerate(known):
        for axis in range(left.shape[2]):
            deviation = np.sqrt(boxes.variance[frame, told, axis] + TINY)
            of_frame, root = moves[frame, told, axis], 1 / deviation
            for _ in range(LINEAR_STEPS):  # the sum of absolute values: an object is left whole
                weighted = terms[told] * root[:, None]
                found = np.linalg.lstsq(weighted, of_frame * root, rcond=None)[0]
                off = of_frame - terms[told] @ found
                root = 1 / np.sqrt(deviation * np.maximum(np.abs(off), deviation))
            left[frame, told, axis] = off
    return left
