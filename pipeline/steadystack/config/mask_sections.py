"""The section of the mask, and the outlines in it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steadystack.config.sections import (
    AUTO,
    Corner,
    Count,
    Finite,
    Length,
    Listed,
    Pixels,
    Section,
    SomeListed,
    Spatial,
)


class EllipseSection(Section):
    """An ellipse, or an ellipsoid."""

    centre: Annotated[tuple[Length, ...], Spatial] = Field(
        description="its centre, [y, x] or [z, y, x]: pixels, or lengths such as '3 um'"
    )
    radii: Annotated[tuple[Length, ...], Spatial] = Field(
        description="half its width along each axis: pixels, or lengths such as '3 um'"
    )

    @model_validator(mode="after")
    def _check_axis_counts(self) -> Self:
        if len(self.centre) != len(self.radii):
            raise ValueError(
                f"centre {self.centre} and radii {self.radii} differ in their number of axes"
            )
        return self


class RoiSection(Section):
    """A region of the frame, given by its outline: either an ellipse or a polygon."""

    ellipse: EllipseSection | None = Field(None, description="by centre and radii")
    polygon: Annotated[tuple[Corner, ...], Field(strict=False, min_length=3)] | None = Field(
        None, description="[y, x] of every corner: pixels, or lengths such as '3 um'"
    )
    valid: Literal["inside", "outside"] = Field(
        "inside", description="the side that is valid: inside or outside"
    )

    @model_validator(mode="after")
    def _check_one_outline(self) -> Self:
        if (self.ellipse is None) == (self.polygon is None):
            raise ValueError("give exactly one of ellipse and polygon")
        return self


class MaskSection(Section):
    """Which pixels are valid: every key that is set here excludes pixels."""

    path: str | None = Field(
        None,
        description=(
            "mask in any supported stack format, nonzero = valid; one for all frames, or one "
            "per frame"
        ),
    )
    labels: Annotated[tuple[Count, ...], SomeListed] | None = Field(
        None, description="labels that are valid, if the mask is a label image; null: all but 0"
    )
    invert: bool = Field(False, description="swap valid and invalid in the mask at path")
    rois: Annotated[tuple[RoiSection, ...], Listed] = Field(
        (),
        description=(
            "ellipses and polygons; a pixel is valid if it is on the valid side of every one"
        ),
    )
    invalid_values: tuple[float, ...] = Field(
        (), strict=False, description='values that mean "no data"'
    )
    saturation: Finite | Literal["auto"] | None = Field(
        None,
        description=(
            "pixels at or above this value are not valid; auto: the largest value of the data "
            "type, or of a camera with fewer bits if the values of the frames end there"
        ),
    )
    valid_range: tuple[Finite | None, Finite | None] | None = Field(
        None, strict=False, description="lowest and highest valid value; null: no limit"
    )
    defects: Literal["auto"] | None = Field(
        AUTO,
        description=(
            "exclude hot and dead pixels of the camera from measuring, and subtract offsets of "
            "its rows and columns; auto: find them in the stack, if it moves; null: do not look "
            "for them"
        ),
    )
    field_of_view: Literal["auto"] | None = Field(
        AUTO,
        description=(
            "exclude pixels along the border that show no scene (outside a round field of view, a "
            "stop, planes of a volume with a single value) from measuring; auto: find them on some "
            "frames, and exclude them if that makes the shifts more precise; null: do not look for "
            "them"
        ),
    )
    parts: Literal["auto"] | None = Field(
        AUTO,
        description=(
            "exclude parts of the frame that go their own way (an object, a label) from "
            "measuring; auto: find them on some frames, and exclude them if that makes the shifts "
            "more precise; null: do not look for them"
        ),
    )

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        low, high = self.valid_range or (None, None)
        if low is not None and high is not None and low > high:
            raise ValueError(
                f"valid_range [{low:g}, {high:g}]: the lowest value is above the highest"
            )
        return self

    @model_validator(mode="after")
    def _check_path_keys(self) -> Self:
        given = [key for key in ("labels", "invert") if getattr(self, key)]
        if given and self.path is None:
            raise ValueError(f"{given[0]} applies to mask.path, which is not set")
        return self

    border: Pixels | Annotated[tuple[Pixels, ...], Listed] = Field(
        0,
        description=(
            "width in pixels along each side that is not valid; one number, or one per axis"
        ),
    )
