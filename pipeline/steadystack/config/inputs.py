"""The sections of the settings that say what is read: the stack, and what is valid in it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steadystack.config.base import Count, Index, Listed, Path_, Section, SomeListed
from steadystack.model import InputError

Size = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=False)]
Length = float | str  # pixels, or a text with a unit
Corner = Annotated[tuple[Length, Length], Field(strict=False)]
Spatial = Field(strict=False, min_length=2, max_length=3)


class EllipseSection(Section):
    """An ellipse, or an ellipsoid."""

    centre: Annotated[tuple[Length, ...], Spatial] = Field(
        description="[y, x] of its centre, or [z, y, x]: pixels, or texts such as '3 um'"
    )
    radii: Annotated[tuple[Length, ...], Spatial] = Field(
        description="half its width along each axis, likewise"
    )

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.centre) != len(self.radii):
            raise ValueError(f"centre {self.centre} and radii {self.radii} have not as many axes")
        return self


class ShapeSection(Section):
    """A part of the frame, by its outline: one of ellipse and polygon."""

    ellipse: EllipseSection | None = Field(None, description="by centre and radii")
    polygon: Annotated[tuple[Corner, ...], Field(strict=False, min_length=3)] | None = Field(
        None, description="[y, x] of every corner: pixels, or texts such as '3 um'"
    )
    valid: Literal["inside", "outside"] = Field("inside", description="inside or outside")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.ellipse is None) == (self.polygon is None):
            raise ValueError("a shape is one of ellipse and polygon")
        return self


class InputSection(Section):
    """The stack."""

    path: Path_ | Annotated[tuple[Path_, ...], SomeListed] = Field(
        description="OME-Zarr 0.4 or 0.5 image, plate or collection, Zarr v2 or v3 array, xarray "
        "group, TIFF file, folder or pattern of TIFF files, .npy; local, s3:// or https://; a list "
        "or another pattern such as 'plate.zarr/*/*/0' for several"
    )
    position: str | None = Field(
        None,
        description="image of a plate, such as B/03/0; needed if several; all: every image of a "
        "plate or a collection, each an input by itself",
    )
    series: Index | None = Field(
        None, description="image of a collection or of a TIFF file; needed if several"
    )
    channel: Index | str | None = Field(None, description="number or name; needed if several")
    level: Index = Field(0, description="pyramid level; 0: full resolution")
    axes: str | None = Field(
        None,
        pattern="^[tczyx]+$",
        description="a letter per array dimension, where the store does not tell",
    )
    variable: str | None = Field(None, description="array of an xarray group; needed if several")
    pixel_size: Size | Annotated[tuple[Size, ...], SomeListed] | None = Field(
        None,
        description="micrometers, where the store does not tell or errs; one for all axes or one "
        "per axis",
    )
    missing_chunks: Literal["invalid", "fill"] = Field(
        "invalid",
        description="invalid: pixels of a missing chunk are not valid; fill: they are the fill "
        "value, because the store leaves out empty chunks on purpose",
    )

    @property
    def one_path(self) -> str:
        """The path of the only input."""
        if not isinstance(self.path, str):
            raise InputError(f"input.path is {len(self.path)} inputs: run_all takes several")
        return self.path


class MaskSection(Section):
    """What is valid: every cause given here takes pixels away."""

    path: str | None = Field(
        None, description="Zarr, TIFF or .npy mask, not 0 = valid; static or per frame"
    )
    labels: Annotated[tuple[Count, ...], SomeListed] | None = Field(
        None, description="of a label image: those that are valid; null: all but 0"
    )
    invert: bool = Field(False, description="path: valid is what it says is not")
    shapes: Annotated[tuple[ShapeSection, ...], Listed] = Field(
        (), description="ellipses and polygons; valid is what lies inside, or outside, of every one"
    )
    invalid_values: tuple[float, ...] = Field((), strict=False, description="values: no data")
    saturation: float | Literal["auto"] | None = Field(
        None,
        description="from this value on pixels are not valid; auto: the largest of the data type, "
        "or of a camera of fewer bits if frames stop there",
    )
    valid_range: tuple[float | None, float | None] | None = Field(
        None, strict=False, description="lowest and highest valid value; null: no limit"
    )

    @model_validator(mode="after")
    def _low_before_high(self) -> Self:
        low, high = self.valid_range or (None, None)
        if low is not None and high is not None and low > high:
            raise ValueError(
                f"valid_range [{low:g}, {high:g}] has its lowest value above its highest"
            )
        return self

    @model_validator(mode="after")
    def _of_a_path(self) -> Self:
        given = [key for key in ("labels", "invert") if getattr(self, key)]
        if given and self.path is None:
            raise ValueError(f"{given[0]} says how to read mask.path, which is not set")
        return self

    border: Index | Annotated[tuple[Index, ...], Listed] = Field(
        0, description="pixels along each side that are not valid; a number or one per axis"
    )
