"""The sections of the settings. Every default stands here, and the cluster's in its own module."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from steadystack.config.sections import (
    PIXEL,
    ClusterSection,
    Count,
    Finite,
    Index,
    InputSection,
    MaskSection,
    Pixels,
    Section,
    SomeListed,
)
from steadystack.durable import get_place
from steadystack.pairs import STRATEGIES, Strategy
from steadystack.units import LISTED, PIXELS, find_micrometers

# Increased whenever the same settings measure other numbers than before.
METHOD_VERSION = 6

REPORTS = (".html", ".png", ".svg", ".pdf")

TileSide = Annotated[int, Field(ge=16, json_schema_extra=PIXEL)]  # smaller ones are all overhead
Sigma = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False, json_schema_extra=PIXEL)]
ChunkSide = Annotated[int, Field(ge=1, json_schema_extra=PIXEL)]
FramePair = Annotated[tuple[Index, Index], Field(strict=False)]


class PreprocessSection(Section):
    """What frames need before they are correlated; all of it knows the mask."""

    flat_field: str | None = Field(
        None, description="image to divide by, or 'median' for the stack's own median"
    )
    logarithm: bool = Field(
        False, description="correlate the logarithm; pixels that are not positive are not valid"
    )
    square_root: bool = Field(
        False,
        description="correlate the square root, for counts of few photons; negative pixels are not "
        "valid",
    )
    fixed_pattern: str | None = Field(
        None,
        description="image to subtract, of what stands still in the camera; 'estimate' separates "
        "it from the moving scene",
    )
    low_pass: Sigma | None = Field(
        None,
        description="take the local mean over a Gaussian of this sigma, pixels, plane by plane",
    )
    high_pass: Sigma | None = Field(
        None,
        description="subtract the local mean over a Gaussian of this sigma, pixels, plane by "
        "plane; rims of frame and mask, 0.8 sigma, are not valid then",
    )

    @model_validator(mode="after")
    def _check_one_curve(self) -> PreprocessSection:
        if self.logarithm and self.square_root:
            raise ValueError("logarithm and square_root are both set: choose one")
        return self


class RegisterSection(Section):
    """How a pair is measured."""

    max_shift: Pixels | str | Annotated[tuple[Pixels | str, ...], SomeListed] | None = Field(
        None,
        description="largest shift between the frames of a pair: pixels, or a length such as '3 "
        "um'; one for all axes or one per axis; null: every shift at which frames "
        "overlap",
    )
    min_overlap: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="smallest overlapping fraction of the valid pixels, 0..1; null: no limit"
    )
    fft_tile: TileSide | Annotated[tuple[TileSide, ...], SomeListed] | None = Field(
        None,
        description="side of the tiles that are transformed, pixels, at least 16; a number or one "
        "per axis; null: the fastest",
    )
    subpixel: bool = Field(True, description="measure fractions of a pixel")
    allow_inverted: bool = Field(
        False, description="accept frames that are negatives of each other, as at another focus"
    )


class InitialShiftsSection(Section):
    """What is known of the frames' shifts before: searches are centred on it."""

    path: str | None = Field(
        None,
        description="a CSV file with a header and one line per frame, or the shifts dataset of an "
        "earlier run (.zarr, .nc); register.max_shift counts from these shifts; null: "
        "nothing is known",
    )
    columns: Annotated[tuple[str | None, ...], SomeListed] | None = Field(
        None,
        description="CSV columns for (z,) y, x; null for an axis: 0; null: the names of the axes; "
        "a column 'frame' gives the frame of each line",
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
        description="factor for the values; a number or one per axis: -1 where an axis of the "
        "stage runs against that of the image",
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
        "window", description=f"{', '.join(STRATEGIES[:-1])} or {STRATEGIES[-1]}"
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
        None, description="list: a CSV file instead, reference,moving in each line"
    )

    extra: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = Field(
        0.0,
        description="a second round: at most this fraction more pairs, where the first left "
        "disconnected parts, or frames with few usable pairs; 0: none",
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
    robust: bool = Field(True, description="reject pairs that contradict the rest")
    interpolate: Literal["linear", "spline"] | None = Field(
        None,
        description=(
            "linear or spline: fill in shifts for frames that have none; null: they stay NaN"
        ),
    )
    refine: Index = Field(
        0,
        description="rounds that measure every frame again, against the mean of the frames around "
        "it; 0: none; 1 or 2 if noise is as strong as the scene; reads the frames",
    )


class CorrectSection(Section):
    """How the corrected stack is made; it is written if `output.corrected` is set."""

    stack: str | None = Field(
        None,
        description=(
            "another stack of the same frames, corrected instead; null: the input, "
            "with all channels and planes"
        ),
    )
    interpolation: Literal["nearest", "linear", "cubic", "fourier"] = Field(
        "cubic", description="nearest (by whole pixels), linear, cubic or fourier"
    )
    labels: bool = Field(
        False, description="the stack holds labels: move by whole pixels, never average"
    )
    border: Literal["same", "crop", "expand"] = Field(
        "same",
        description="same: the frames' shape; crop: what every good frame shows; expand: "
        "everything that any frame shows",
    )
    fill_value: float | None = Field(
        None, description="value where nothing is known; null: NaN, or 0 for integers"
    )
    invalid: Literal["blank", "keep"] = Field(
        "blank",
        description="invalid pixels: blank, or keep their values, moved by whole pixels",
    )
    interpolated: Literal["moved", "unmoved", "blank"] = Field(
        "moved", description="frames with a shift from solve.interpolate: moved, unmoved or blank"
    )
    unusable: Literal["unmoved", "blank"] = Field(
        "blank", description="frames without a shift: unmoved or blank"
    )
    write_valid: bool = Field(
        True, description="also write which pixels are known, as <image>/valid"
    )
    format: Literal["0.4", "0.5"] | None = Field(
        None,
        description="version of OME-Zarr: '0.4' or '0.5'; null: the one that matches the input",
    )
    levels: Annotated[int, Field(ge=1, le=32)] | None = Field(
        None,
        description=(
            "number of pyramid levels, full resolution included; null: down to 512 pixels"
        ),
    )
    chunks: ChunkSide | Annotated[tuple[ChunkSide, ...], SomeListed] | None = Field(
        None, description="chunk size along each axis of a frame, pixels; null: the input's"
    )
    shards: ChunkSide | Annotated[tuple[ChunkSide, ...], SomeListed] | None = Field(
        None,
        description=(
            "shard size along each axis of a frame, pixels; null: as the input, if chunks is null"
        ),
    )


class OutputSection(Section):
    """What is written, to local paths or to object stores (s3://bucket/...; extra: remote)."""

    shifts: str = Field(
        "shifts.zarr",
        description=(
            "the shifts dataset: .zarr, or .nc for NetCDF; {name} stands for the name of each input"
        ),
    )
    corrected: str | None = Field(
        None, description="the corrected stack: OME-Zarr (.zarr) or OME-TIFF (.ome.tif); null: none"
    )
    report: str | None = Field(
        None, description="the report: a page (.html) or a picture (.png, .svg or .pdf); null: none"
    )
    summary: str = Field(
        "summary.csv", description="several inputs: a table with one line for each"
    )
    performance_report: str | None = Field(
        None, description="Dask's performance report (.html); null: none"
    )

    @model_validator(mode="after")
    def _check_suffixes(self) -> Self:
        if self.report is not None and Path(self.report).suffix not in REPORTS:
            raise ValueError(f"report {self.report!r} must end in .html, .png, .svg or .pdf")
        if Path(self.shifts).suffix not in (".zarr", ".nc"):
            raise ValueError(f"shifts {self.shifts!r} must end in .zarr, or in .nc for NetCDF")
        suffixes = (".zarr", ".ome.tif", ".ome.tiff")
        if self.corrected is not None and not self.corrected.rstrip("/").endswith(suffixes):
            raise ValueError(f"corrected {self.corrected!r} must end in .zarr or .ome.tif")
        performance_report = self.performance_report
        if performance_report is not None and Path(performance_report).suffix != ".html":
            raise ValueError(f"performance_report {performance_report!r} must end in .html")
        for path in (self.shifts, self.corrected, self.report, self.summary, performance_report):
            if path is not None:
                get_place(path).check_name()
        return self


class Config(Section):
    """A whole run."""

    input: InputSection
    mask: MaskSection = MaskSection()
    preprocess: PreprocessSection = PreprocessSection()
    register_: RegisterSection = Field(RegisterSection(), alias="register")
    initial_shifts: InitialShiftsSection = InitialShiftsSection()
    pairs: PairsSection = PairsSection()
    solve: SolveSection = SolveSection()
    correct: CorrectSection = CorrectSection()
    output: OutputSection = OutputSection()
    cluster: ClusterSection = ClusterSection()

    _settings_path: str = PrivateAttr("")

    @property
    def settings_path(self) -> str:
        """Where the settings were read from; "" if they were made in Python."""
        return self._settings_path

    def dump(self) -> dict[str, Any]:
        """Dump the settings as plain values, as a file would hold them."""
        return self.model_dump(mode="json", by_alias=True)

    def fingerprint(self, digest: str) -> str:
        """Hash everything that affects the measuring of pairs to 16 hexadecimal digits.

        `digest` is that of the input's metadata and of the contents of paths. Solve, outputs and
        cluster are left out: they do not change what is measured.
        """
        # Defaults are left out, so that a key that a later version adds changes no hash.
        values = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        settings: dict[str, Any] = {
            name: values[name]
            for name in ("mask", "preprocess", "register", "initial_shifts", "pairs")
            if name in values
        }
        settings.get("pairs", {}).pop("extra", None)  # the first round is the same without it
        settings = {name: section for name, section in settings.items() if section}
        input_values = values["input"]
        del input_values["path"]  # the digest knows what is there
        settings |= {"input": input_values, "digest": digest, "method": METHOD_VERSION}
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
