"""Choose the motion model: the simplest that explains what shifts leave unexplained in pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from steadystack.cluster import Engine
from steadystack.measure import Method
from steadystack.model import (
    FrameSource,
    FrameTable,
    LocalMotion,
    PairTable,
)
from steadystack.motion.local_motion import measure_boxes_once
from steadystack.motion.strengths import (
    FEWEST_FRAMES,
    KINDS,
    LINEAR_MODELS,
    MODELS,
    LocalStrength,
    Strength,
    UnmodelledMotion,
    measure_linear_strengths,
    measure_local_strength,
)

UNKNOWN = "how parts of the frame move cannot be determined"
BUT = "but"  # begins a reason against a model that motion suggests
INDEPENDENT = f"{BUT} parts of the frame move independently"  # reported by another finding
MOTION_CHOICE = "motion_choice"  # the dataset's attribute with the choice
# A kind of motion counts if it is this share of the strongest: a large turn looks a little like a
# scale.
LEAST_SHARE = 0.05
# An object that moves by itself looks a little like every kind of motion: a model is rejected if a
# kind it lacks is at least this share of the strongest kind it has, and above its own error.
MOST_LEFT = 0.5
# Local motion is not measured in frames with more linear motion than this, root mean square.
MOST_LINEAR = 0.015


@dataclass(frozen=True)
class ModelChoice:
    """The model that was chosen with `motion.model: auto`.

    Attributes
    ----------
    model : "translation", "rigid", "similarity", "affine" or "local"
    strengths : by kind of linear motion ("turn", "scale", "shear"); {}: not measured
    reason : why nothing was measured, why the model is translation in spite of it, or what was left
        when frames were solved with a simpler model; "": none
    local : strength of the motion beyond linear motion; None: not measured
    is_used : False if the settings name a model; kept in case they leave it open again
    """

    model: str
    strengths: Mapping[str, Strength]
    reason: str = ""
    local: LocalStrength | None = None
    is_used: bool = True

    @classmethod
    def in_force(cls, attributes: Mapping[Any, Any]) -> ModelChoice | None:
        """Read the choice that a dataset was solved with; None: solved with another model."""
        choice = cls.of(attributes)
        motion = json.loads(attributes["configuration"]).get("motion", {})
        in_force = choice and choice.is_used and choice.model == motion.get("model", "translation")
        return choice if in_force else None

    @property
    def doubt(self) -> str:
        """Why frames may move otherwise than the model allows; "": nothing suggests it.

        The motion of their parts is not known, or motion was seen that the model does not have.
        """
        if self.reason == UNKNOWN:
            return f"as {UNKNOWN}"
        if self.reason.startswith(BUT) and self.reason != INDEPENDENT:
            return self.reason
        # where much of the motion is linear, that of boxes beyond it is not measured well
        local = self.local if self.model == "translation" else None
        if local is not None and not local.is_known:
            return "as too few parts of the frame are seen to tell whether it deforms"
        if local is not None and local.is_doubtful:
            return (
                f"but most parts of the frame also move by {local.size:.2g} px with those around "
                f"them, and by {local.alone:.2g} px individually"
            )
        return ""

    @property
    def unmodelled(self) -> UnmodelledMotion | None:
        """What frames may do beyond a translation that nothing spoke against; None: not known."""
        is_plain = self.model == "translation" and not self.reason
        return UnmodelledMotion(self.strengths) if is_plain else None

    def extend(self, left: UnmodelledMotion | None) -> ModelChoice | None:
        """Choose the simplest model that also has the significant motion that this one left.

        None: nothing significant is left.
        """
        kinds = [kind for kind, each in left.strengths.items() if each.is_seen] if left else []
        if left is None or not kinds or self.model not in LINEAR_MODELS:
            return None
        rest = " and ".join(f"{kind} {_write(left.strengths[kind])}" for kind in kinds)
        reason = f"as {self.model} leaves {rest}"
        return replace(self, model=MODELS[kinds[-1]], reason=reason)

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
        return cls(told["model"], strengths, told["reason"], local, told.get("is_used", True))

    def describe(self) -> str:
        """Describe what was chosen, and why."""
        if not self.strengths:
            return f"{self.model}: {self.reason}"
        but = f"; {self.reason}" if self.reason else ""
        seen = ", ".join(f"{kind} {_write(each)}" for kind, each in self.strengths.items())
        beside = ""
        if self.local is not None and self.local.size:
            beside = (
                f", and their parts smoothly by {self.local.size:.2g} px, individually by "
                f"{self.local.alone:.2g} px"
            )
        return (
            f"{self.model}: frames differ by {seen} (root mean square of their pixels){beside}{but}"
        )


def _write(strength: Strength) -> str:
    return f"{strength.size:.2g} ± {strength.std:.1g} px"


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
    strengths = measure_linear_strengths(
        source, pairs, frames, method, pixel_size=pixel_size, **how
    )
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
        return ModelChoice("translation", strengths, INDEPENDENT)
    kinds = list(KINDS)
    taken = kinds[: kinds.index(seen_kinds[-1]) + 1]
    most = MOST_LEFT * max(strengths[kind].size for kind in taken)
    left = [kind for kind in kinds if kind not in taken and strengths[kind].size > most]
    if any(strengths[kind].size > strengths[kind].std for kind in left):
        reason = f"{BUT} {MODELS[taken[-1]]} leaves much {' and '.join(left)} unexplained"
        return ModelChoice("translation", strengths, reason)
    return ModelChoice(MODELS[taken[-1]], strengths)
