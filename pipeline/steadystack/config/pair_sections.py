"""The sections of the settings for preparing, measuring, choosing and solving pairs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steadystack.config.sections import (
    AUTO,
    PIXEL,
    Count,
    Finite,
    Index,
    Pixels,
    Section,
    SomeListed,
    WithUnit,
)
from steadystack.model import MOST_SIGMA
from steadystack.pairs import LONG, STRATEGIES, Strategy
from steadystack.units import LISTED, PIXELS, find_micrometers

TileSide = Annotated[int, Field(ge=16, json_schema_extra=PIXEL)]  # smaller ones cost too much
Sigma = Annotated[float, Field(gt=0, le=MOST_SIGMA, allow_inf_nan=False, json_schema_extra=PIXEL)]
Bound = Pixels | WithUnit
FramePair = Annotated[tuple[Index, Index], Field(strict=False)]


class PreprocessSection(Section):
    """What is done to frames before they are correlated; every step respects the mask."""

    flat_field: str | None = Field(
        None, description="image to divide by, or 'median' for the stack's own median"
    )
    logarithm: bool = Field(
        False, description="correlate the logarithm; zero and negative pixels are not valid"
    )
    square_root: bool = Field(
        False,
        description=(
            "correlate the square root, for low photon counts; negative pixels are not valid"
        ),
    )
    fixed_pattern: str | None = Field(
        None,
        description="image of what stands still in the camera, to be subtracted; 'estimate': "
        "separate it from the moving scene",
    )
    low_pass: Sigma | Literal["auto"] | None = Field(
        AUTO,
        description=(
            "Gaussian blur of this sigma, pixels, plane by plane; null: off; auto: off, unless "
            "over a quarter of the pairs tried have no shift without it"
        ),
    )
    high_pass: Sigma | Literal["auto"] | None = Field(
        AUTO,
        description=(
            "subtract a Gaussian blur of this sigma, pixels, plane by plane; pixels within 0.8 "
            "sigma of the edges of frame and mask are then not valid; null: off; auto: off, "
            "unless over a quarter of the pairs tried have no shift without it"
        ),
    )

    @property
    def changes_frames(self) -> bool:
        """Whether frames are changed before they are correlated; undecided filters count as off."""
        off = PreprocessSection(low_pass=None, high_pass=None)
        return self.decide(None, None) != off

    @property
    def is_decided(self) -> bool:
        """Whether there is nothing for a pilot to decide."""
        return AUTO not in (self.low_pass, self.high_pass)

    def decide(self, low_pass: float | None, high_pass: float | None) -> Self:
        """Replace filters that are "auto" with these sigmas, pixels; None: off."""
        decided = {"low_pass": low_pass, "high_pass": high_pass}
        return self.model_copy(
            update={name: value for name, value in decided.items() if getattr(self, name) == AUTO}
        )

    @model_validator(mode="after")
    def _check_one_curve(self) -> PreprocessSection:
        if self.logarithm and self.square_root:
            raise ValueError("logarithm and square_root are both set: choose one")
        return self


class RegisterSection(Section):
    """How a pair is measured."""

    max_shift: Bound | Annotated[tuple[Bound, ...], SomeListed] | None = Field(
        AUTO,
        description=(
            "largest shift between the frames of a pair: pixels, or a length such as '3 um'; one "
            "for all axes or one per axis; null: every shift at which the frames overlap; auto: "
            "estimated from some pairs of coarse frames, and widen is switched on"
        ),
    )
    widen: bool = Field(
        False,
        description=(
            "for pairs that have no shift within max_shift, search again at every shift at which"
            " the frames overlap"
        ),
    )
    min_overlap: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="smallest overlapping fraction of the valid pixels, 0..1; null: no limit"
    )
    fft_tile: TileSide | Annotated[tuple[TileSide, ...], SomeListed] | None = Field(
        None,
        description=(
            "side of the tiles for the Fourier transforms, pixels, at least 16; one number, or "
            "one per axis; null: the fastest"
        ),
    )
    subpixel: bool = Field(True, description="measure fractions of a pixel")
    allow_inverted: bool = Field(
        False,
        description=(
            "accept pairs of frames whose contrast is inverted relative to each other, for "
            "example by a change of focus"
        ),
    )

    @property
    def is_decided(self) -> bool:
        """Whether there is nothing for a pilot to decide."""
        return self.max_shift != AUTO

    def decide(self, max_shift: tuple[int, ...] | None, widen: bool) -> Self:
        """Replace "auto" with these bounds, pixels per axis; None: every shift."""
        if self.is_decided:
            return self
        return self.model_copy(update={"max_shift": max_shift, "widen": widen})


class InitialShiftsSection(Section):
    """Shifts of the frames that are known beforehand; searches are centred on them."""

    path: str | None = Field(
        None,
        description="a CSV file with a header and one line per frame, or the shifts dataset of an "
        "earlier run (.zarr, .nc); register.max_shift counts from these shifts; null: "
        "nothing is known",
    )
    columns: Annotated[tuple[str | None, ...], SomeListed] | None = Field(
        None,
        description=(
            "CSV columns for (z,) y, x, with null for an axis without shifts; null: columns named "
            "like the axes; a column named frame gives the frame of each line"
        ),
    )
    kind: Literal["shift", "drift"] = Field(
        "shift",
        description="shift: what aligns a frame with the others, such as the position of the "
        "field of view over the specimen; drift: its negative, such as the position "
        "of the specimen",
    )
    unit: str = Field("px", description="unit of the CSV file: px, or a unit of length such as um")
    scale: Finite | Annotated[tuple[Finite, ...], SomeListed] = Field(
        1.0,
        description=(
            "factor to multiply the values by; one number, or one per axis: -1 where an axis of "
            "the stage runs opposite to that of the image"
        ),
    )
    missing: Literal["error", "interpolate"] = Field(
        "error", description="frames without a value: error, or interpolate between the others"
    )

    @model_validator(mode="after")
    def _check_unit(self) -> Self:
        if self.unit not in PIXELS and find_micrometers(self.unit) is None:
            raise ValueError(f"unit {self.unit!r} is neither px nor one of {LISTED}")
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        if 0 in scales:
            raise ValueError(f"scale {self.scale} must not be 0")
        return self


class PairsSection(Section):
    """Which pairs are measured."""

    strategy: Strategy = Field(
        "auto",
        description=f"{', '.join(STRATEGIES[:-1])} or {STRATEGIES[-1]}; auto: window, or "
        f"multiscale from {LONG} frames on",
    )
    width: Count = Field(
        5,
        description=(
            "window: pairs up to this many frames apart; multiscale: this many "
            "neighbours at every stride"
        ),
    )
    separations: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (1, 2, 4, 8), strict=False, description="separations: pairs exactly this many frames apart"
    )
    max_separation: Count | None = Field(
        None, description="multiscale: largest separation of a pair, frames; null: no limit"
    )
    reference: Index = Field(0, description="reference: the frame that all others are paired with")
    list: Annotated[tuple[FramePair, ...], SomeListed] | None = Field(
        None, description="list: [reference, moving] of every pair"
    )
    path: str | None = Field(
        None, description="list: a CSV file instead, with 'reference,moving' in each line"
    )

    extra: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = Field(
        0.0,
        description=(
            "a second round: measure up to this fraction of additional pairs where the first "
            "round left disconnected parts, or frames with few usable pairs; 0: none"
        ),
    )

    @model_validator(mode="after")
    def _check_one_list(self) -> Self:
        given = [key for key in ("list", "path") if getattr(self, key) is not None]
        if self.strategy == "list" and len(given) != 1:
            raise ValueError("strategy list needs exactly one of the keys list and path")
        if self.strategy != "list" and given:
            raise ValueError(f"{given[0]} is for strategy list, not {self.strategy}")
        return self


class SolveSection(Section):
    """How pair shifts become frame shifts."""

    anchor: Index = Field(0, description="the frame whose shift is 0")
    robust: bool = Field(True, description="reject pairs that contradict the others")
    leave_out_parts: bool = Field(
        True,
        description=(
            "leave out parts of the frame that go their own way, such as an object, if most "
            "parts move together; not with refine, which measures whole frames"
        ),
    )
    interpolate: Literal["linear", "spline"] | None = Field(
        None,
        description=(
            "linear or spline: fill in shifts for frames that have none; null: they stay NaN"
        ),
    )
    refine: Index = Field(
        0,
        description=(
            "number of rounds in which every frame is measured again, against the mean of the "
            "frames around it; 0: none; use 1 or 2 if noise is as strong as the scene; reads the "
            "frames"
        ),
    )
    channel_offsets: bool = Field(
        False,
        description=(
            "if input.channel is a list: measure a constant offset of each further channel from "
            "the first; `correct` applies it as well; reads some frames"
        ),
    )

    @property
    def may_leave_out_parts(self) -> bool:
        """Whether parts of the frame are left out if pairs without them agree."""
        return self.leave_out_parts and not self.refine
