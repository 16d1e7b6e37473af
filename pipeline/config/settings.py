"""The sections of the settings. Every default stands here, and the cluster's in its own module."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.base import Count, Index, Section
from pipeline.config.cluster import ClusterSection
from pipeline.model import InputError
from pipeline.units import PIXELS, UNITS_UM

# Raised whenever the same settings measure other numbers than before.
METHOD_VERSION = 3

REPORTS = (".html", ".png", ".svg", ".pdf")

Path_ = Annotated[str, Field(min_length=1)]
Factor = Annotated[float, Field(allow_inf_nan=False)]
TileSide = Annotated[int, Field(ge=16)]  # smaller ones are all overhead
Size = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=False)]
Length = float | str  # pixels, or a text with a unit
Corner = Annotated[tuple[Length, Length], Field(strict=False)]
Spatial = Field(strict=False, min_length=2, max_length=3)
FramePair = Annotated[tuple[Index, Index], Field(strict=False)]
Listed = Field(strict=False)  # YAML has lists where the settings have tuples
SomeListed = Field(strict=False, min_length=1)


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
        "or a pattern such as 'plate.zarr/*/*/0' for several"
    )
    position: str | None = Field(
        None, description="image of a plate, such as B/03/0; needed if several"
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


class PreprocessSection(Section):
    """What frames need before they are correlated; all of it knows the mask."""

    flat_field: str | None = Field(
        None, description="divide by it: an image, or 'median' for the stack's own median"
    )
    logarithm: bool = Field(False, description="correlate the logarithm; needs positive pixels")
    static: str | None = Field(
        None,
        description="subtract it: an image of what stands still in the camera, or 'estimate' "
        "to tell it apart from the moving scene",
    )
    high_pass: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="subtract the local mean over a Gaussian of this sigma, pixels"
    )


class RegisterSection(Section):
    """How a pair is measured."""

    max_shift: Index | str | Annotated[tuple[Index | str, ...], SomeListed] | None = Field(
        None,
        description="largest shift between the frames of a pair: pixels, or a text such as '3 um'; "
        "one for all axes or one per axis; null: every shift at which frames touch",
    )
    min_overlap: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="hard limit on the overlapping fraction of valid pixels; null: none"
    )
    tile: TileSide | Annotated[tuple[TileSide, ...], SomeListed] | None = Field(
        None,
        description="pixels along each side of what shares a transform; a number or one per axis; "
        "null: the cheapest",
    )
    subpixel: bool = Field(True, description="measure between the pixels")
    contrast: Literal["same", "either"] = Field(
        "same", description="either: a frame may be the negative of another, as at another focus"
    )


class PriorSection(Section):
    """What is known of the frames' shifts before: searches are centred on it."""

    path: str | None = Field(
        None,
        description="a CSV file with a heading and a line per frame, or the shifts dataset of an "
        "earlier run (.zarr, .nc); register.max_shift is around it; null: nothing is known",
    )
    columns: Annotated[tuple[str | None, ...], SomeListed] | None = Field(
        None,
        description="headings of the CSV file for (z,) y, x; null for an axis: 0; null: the names "
        "of the axes; a column 'frame' says which frame a line is of",
    )
    kind: Literal["shift", "drift"] = Field(
        "shift",
        description="shift: what lays a frame on another, such as the position of the field of "
        "view over the specimen; drift: its negative, such as the position of the specimen",
    )
    unit: str = Field("px", description="of the CSV file: px, or a length such as um")
    scale: Factor | Annotated[tuple[Factor, ...], SomeListed] = Field(
        1.0,
        description="the values are multiplied by it; a number or one per axis: -1 where an axis "
        "of the stage runs against that of the image",
    )
    missing: Literal["error", "interpolate"] = Field(
        "error", description="frames without a value: error, or interpolate in between"
    )

    @model_validator(mode="after")
    def _known_unit(self) -> Self:
        if self.unit not in PIXELS and self.unit not in UNITS_UM:
            raise ValueError(f"unit {self.unit!r} is neither px nor one of {', '.join(UNITS_UM)}")
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        if 0 in scales:
            raise ValueError(f"scale {self.scale} leaves nothing of the values")
        return self


class PairsSection(Section):
    """Which pairs are measured."""

    strategy: Literal["consecutive", "reference", "window", "lags", "strides", "all", "list"] = (
        Field("window", description="consecutive, reference, window, lags, strides, all or list")
    )
    width: Count = Field(
        5, description="window: pairs up to so many frames apart; strides: so many of a stride"
    )
    lags: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (1, 2, 4, 8), strict=False, description="lags: pairs so many frames apart"
    )
    reach: Count | None = Field(
        None, description="strides: no pair is more frames apart; null: no limit"
    )
    reference: Index = Field(0, description="reference: the frame that all others are laid on")
    list: Annotated[tuple[FramePair, ...], SomeListed] | None = Field(
        None, description="list: [reference, moving] of every pair"
    )
    path: str | None = Field(
        None, description="list: a CSV file with reference and moving in each line, instead"
    )

    extra: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0,
        description="a second round of at most so many times as many pairs, where the first one "
        "left parts that broke off, or frames that few pairs speak for; 0: none",
    )

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        given = [key for key in ("list", "path") if getattr(self, key) is not None]
        if self.strategy == "list" and len(given) != 1:
            raise ValueError("strategy list takes its pairs from one of the keys list and path")
        if self.strategy != "list" and given:
            raise ValueError(f"{given[0]} goes with strategy list, not {self.strategy}")
        return self


class SolveSection(Section):
    """How pair shifts become frame shifts."""

    anchor: Index = Field(0, description="the frame whose shift is 0")
    robust: bool = Field(True, description="reject pairs that contradict the rest")
    interpolate: Literal["linear", "spline"] | None = Field(
        None, description="linear or spline: shifts for frames that have none; null: NaN"
    )
    polish: Index = Field(
        0,
        description="rounds in which every frame is measured anew against the mean of the frames "
        "around it; 0: none; 1 or 2 where noise is as strong as the scene; reads the frames",
    )


class OutputSection(Section):
    """What is written."""

    shifts: str = Field(
        "shifts.zarr",
        description="the shifts dataset; .nc makes it NetCDF; {name} stands for that of an input",
    )
    report: str | None = Field(
        None, description="the result to look at: a page (.html) or a picture (.png, .svg or .pdf)"
    )
    summary: str = Field("summary.csv", description="several inputs: a line for each of them")
    performance_report: str | None = Field(
        None, description="Dask's performance report of the cluster: .html; null: none"
    )

    @model_validator(mode="after")
    def _known_suffix(self) -> Self:
        if self.report is not None and Path(self.report).suffix not in REPORTS:
            raise ValueError(f"report {self.report!r} must end in .html, .png, .svg or .pdf")
        if Path(self.shifts).suffix not in (".zarr", ".nc"):
            raise ValueError(f"shifts {self.shifts!r} must end in .zarr, or in .nc for NetCDF")
        made = self.performance_report
        if made is not None and Path(made).suffix != ".html":
            raise ValueError(f"performance_report {made!r} must end in .html")
        outputs = (self.shifts, self.report, self.summary, made)
        remote = [path for path in outputs if path and "://" in path]
        if remote:
            raise ValueError(f"{remote[0]} is remote: outputs are written to local paths")
        return self


class Config(Section):
    """A whole run."""

    input: InputSection
    mask: MaskSection = MaskSection()
    preprocess: PreprocessSection = PreprocessSection()
    register_: RegisterSection = Field(RegisterSection(), alias="register")
    prior: PriorSection = PriorSection()
    pairs: PairsSection = PairsSection()
    solve: SolveSection = SolveSection()
    output: OutputSection = OutputSection()
    cluster: ClusterSection = ClusterSection()

    def dump(self) -> dict[str, Any]:
        """The settings as plain values, as they would stand in a file."""
        return self.model_dump(mode="json", by_alias=True)

    def fingerprint(self, digest: str) -> str:
        """A short hash of everything that affects the measuring of pairs.

        `digest` is that of the input's metadata and of what paths hold. The solve, the
        outputs and the cluster are left out: rows measured under another of those are as good.
        """
        settings = {
            name: value
            for name, value in self.dump().items()
            if name in ("mask", "preprocess", "register", "prior", "pairs")
        }
        del settings["pairs"]["extra"]  # the pairs of the first round are the same without it
        reading = self.dump()["input"]
        del reading["path"]  # the digest knows what is there
        settings |= {"input": reading, "digest": digest, "method": METHOD_VERSION}
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
