"""Choose the model of motion: the simplest that what pairs leave beside their shifts allows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from steadystack.cluster import Engine
from steadystack.measure import Method
from steadystack.model import LONE, FrameSource, FrameTable, LocalMotion, PairTable
from steadystack.motion.generators import count_turns
from steadystack.motion.series_motion import look_once
from steadystack.parts import compute_jackknife_std
from steadystack.solve import GraphFit

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
KINDS = ("turn", "scale", "shear")
MODELS = {"turn": "rigid", "scale": "similarity", "shear": "affine"}


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
class ModelChoice:
    """The model that was chosen where `motion.model` is auto.

    Attributes
    ----------
    model : "translation", "rigid", "similarity" or "affine"
    strengths : by kind of motion; {}: it was not looked for
    reason : why not, or why the model is translation all the same
    """

    model: str
    strengths: Mapping[str, Strength]
    reason: str = ""

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
        return cls(told["model"], strengths, told["reason"])

    def describe(self) -> str:
        """What was chosen and why, in words."""
        if not self.strengths:
            return f"{self.model}: {self.reason}"
        but = f"; {self.reason}" if self.reason else ""
        seen = ", ".join(
            f"{kind} {each.size:.2g} ± {each.std:.1g} px" for kind, each in self.strengths.items()
        )
        return f"{self.model}: frames differ by {seen} (root mean square of their pixels){but}"


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
    """Choose the simplest model that leaves no turn, scale or shear that frames have.

    That of most of a frame is no motion of all of it: where parts move by themselves, and not as
    they would if the frame turned or stretched, frames are shifted alone.

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
        why = "how parts of the frame move cannot be determined"
    if why or parts is None:
        return ModelChoice("translation", {}, why)
    seen = look_once(
        source, pairs, frames, method, "affine",
        pixel_size=pixel_size, anchor=anchor, robust=robust, client=client,
    )  # fmt: skip
    strengths = measure_strengths(seen, len(source.frame_shape))
    if not strengths:
        return ModelChoice("translation", {}, f"fewer than {FEWEST_FRAMES} frames can be compared")
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
        reason = f"but {MODELS[taken[-1]]} leaves nearly as much {' and '.join(left)} unexplained"
        return ModelChoice("translation", strengths, reason)
    return ModelChoice(MODELS[taken[-1]], strengths)


def measure_strengths(seen: GraphFit, ndim: int) -> dict[str, Strength]:
    """Measure how much of each kind of motion frames of so many axes have; {}: too few are known.

    By how far frames are from their mean, not from the anchor, which alone is not interpolated.
    What would be so by chance follows from groups of cells, left out one by one: what only an
    object does, its groups do not agree on.
    """
    known = np.isfinite(seen.value).all(axis=1) & (seen.component != LONE)
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
