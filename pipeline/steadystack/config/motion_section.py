"""The settings for motion beyond a shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steadystack.config.sections import Listed, Section
from steadystack.model import InputError

# Most nodes of local motion along an axis, and their smallest distance, pixels.
MOST_NODES, SMALLEST_BOX = 65, 12
# Smallest side of frames and volumes, pixels, that determines how they turn.
SMALLEST_SIDE = 8
# Most nodes along an axis if the settings do not give them, by number of axes; and the most boxes
# between the nodes of a volume if they do.
CHOSEN_NODES, MOST_BOXES = {1: 13, 2: 13, 3: 8}, 1000
NodeCount = Annotated[int, Field(ge=2, le=MOST_NODES)]


class MotionSection(Section):
    """Motion of the frames beyond a shift."""

    model: Literal["auto", "translation", "rigid", "similarity", "affine", "local"] = Field(
        "translation",
        description=(
            "translation; rigid: with rotation; similarity: with rotation and scale; affine: with "
            "shear, too; local: parts of the frame move on their own, smoothly; auto: the "
            "simplest that fits the measured pairs, chosen once; all but translation read the "
            "frames again to solve"
        ),
    )
    grid: Annotated[tuple[NodeCount, ...], Listed, Field(min_length=2, max_length=3)] | None = (
        Field(
            None,
            description=(
                "local: numbers of nodes along y and x, or along z, y and x for volumes, evenly "
                "spaced from the first to the last pixel; null: as many as the data support; the "
                "log states them"
            ),
        )
    )

    smooth_in_time: bool = Field(
        False,
        description=(
            "local: neighbouring frames are assumed to deform similarly, as far as the data "
            "support it; the log states how much"
        ),
    )

    @model_validator(mode="after")
    def _check_what_is_local(self) -> Self:
        if self.smooth_in_time and not self.may_be_local:
            raise ValueError(
                f"smooth_in_time is for local motion, but model is {self.model}: leave it out, or "
                "set model to local or auto"
            )
        if self.grid is not None and self.model != "local":
            raise ValueError(
                f"grid {self.grid} is for local motion, but model is {self.model}: leave grid "
                "out, or set model to local"
            )
        return self

    def count_most_nodes(self, ndim: int) -> tuple[int, ...]:
        """The most nodes along each axis; 1 if there is no local motion."""
        if not self.may_be_local:
            return (1,) * ndim
        return self.grid or (CHOSEN_NODES[ndim],) * ndim

    @property
    def may_be_local(self) -> bool:
        """Whether the model is local, or may be chosen to be."""
        return self.model in ("local", "auto")

    @property
    def is_local(self) -> bool:
        """Whether parts of frames may move by themselves."""
        return self.model == "local"

    def check_frames(self, shape: Sequence[int], blocks: int, subpixel: bool) -> None:
        """Check that frames can have such a motion: shape, blocks and nodes.

        Parameters
        ----------
        shape : of a frame, pixels
        blocks : number of blocks that a frame is measured in
        subpixel : `register.subpixel`

        Raises
        ------
        InputError
            If they cannot.
        """
        if self.model in ("auto", "translation"):
            return
        if len(shape) not in (2, 3) or min(shape) < SMALLEST_SIDE:
            raise InputError(
                f"motion.model {self.model} is for frames of at least {SMALLEST_SIDE} pixels along "
                f"each of two or three axes, but these have {tuple(shape)}: set it to translation"
            )
        if blocks > 1:
            raise InputError(
                f"motion.model {self.model} needs frames that fit into one block, but "
                f"{tuple(shape)} pixels take {blocks}: set it to translation, or use a coarser "
                "input.level"
            )
        if not subpixel:
            raise InputError(
                f"motion.model {self.model} needs register.subpixel: true: set it to translation, "
                "or change that"
            )
        if self.grid is not None and len(self.grid) != len(shape):
            raise InputError(
                f"motion.grid {list(self.grid)} has {len(self.grid)} values, but frames have "
                f"{len(shape)} axes, {tuple(shape)} pixels: give one value for each, or null"
            )
        boxes = math.prod(count - 1 for count in self.grid or ())
        if len(shape) == 3 and boxes > MOST_BOXES:
            raise InputError(
                f"motion.grid {list(self.grid or ())} has {boxes} boxes between its nodes, but at "
                f"most {MOST_BOXES} are allowed: use fewer nodes, or null"
            )
        for axis, count, size in zip("zyx"[-len(shape) :], self.grid or (), shape, strict=False):
            most = size // SMALLEST_BOX + 1
            if count > most:
                raise InputError(
                    f"motion.grid has {count} nodes along {axis}, but frames of {size} pixels "
                    f"allow at most {most}, {SMALLEST_BOX} pixels apart: use fewer, or null"
                )

    @property
    def is_more_than_shift(self) -> bool:
        """Whether frames have more than a shift, or may have."""
        return self.model != "translation"

    def decide(self, model: str) -> Self:
        """Replace "auto" with the model that was chosen."""
        return self.model_copy(update={"model": model}) if self.model == "auto" else self
