"""All settings of a run, and the sections for the outputs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from steadystack.config.mask_sections import MaskSection
from steadystack.config.motion_section import MotionSection
from steadystack.config.object_section import ObjectSection
from steadystack.config.pair_sections import (
    InitialShiftsSection,
    PairsSection,
    PreprocessSection,
    RegisterSection,
    SolveSection,
)
from steadystack.config.sections import (
    PIXEL,
    ClusterSection,
    InputSection,
    Section,
    SomeListed,
)
from steadystack.durable import get_place

# Increased whenever the same settings give different measurements than before.
METHOD_VERSION = 10

REPORTS = (".html", ".png", ".svg", ".pdf")

ChunkSide = Annotated[int, Field(ge=1, json_schema_extra=PIXEL)]


class ExternalReferenceSection(Section):
    """An image from outside the stack; if it is found, all shifts are relative to it."""

    path: str | None = Field(
        None,
        description=(
            "an image in any supported stack format, such as one from another session, or the "
            "mean of another run; null: shifts are relative to the anchor; reads the frames"
        ),
    )
    mask: str | None = Field(
        None, description="its mask, nonzero = valid; NaN and infinity are never valid"
    )

    @model_validator(mode="after")
    def _check_mask(self) -> Self:
        if self.mask is not None and self.path is None:
            raise ValueError("mask applies to the image at the key 'path', which is not set")
        return self


class CorrectSection(Section):
    """How the corrected stack is made; it is written if `output.corrected` is set."""

    stack: str | None = Field(
        None,
        description=(
            "another stack of the same frames to correct instead; null: the input, with all "
            "channels and planes"
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
        description="same: the frames' shape; crop: only what every good frame shows; expand: "
        "everything that any frame shows",
    )
    fill_value: float | None = Field(
        None, description="value of pixels where nothing is known; null: NaN, or 0 for integers"
    )
    invalid: Literal["blank", "keep", "fill"] = Field(
        "blank",
        description=(
            "invalid pixels: blank; keep: keep their values, moved by whole pixels; fill: fill in "
            "defects that were found, and small holes, from the valid pixels around them, and "
            "leave the rest blank"
        ),
    )
    interpolated: Literal["moved", "unmoved", "blank"] = Field(
        "moved",
        description="frames whose shift comes from solve.interpolate: moved, unmoved or blank",
    )
    unusable: Literal["unmoved", "blank"] = Field(
        "blank", description="frames without a shift: unmoved or blank"
    )
    write_valid: bool = Field(True, description="also write which pixels are known, as IMAGE/valid")
    format: Literal["0.4", "0.5"] | None = Field(
        None,
        description="version of OME-Zarr: '0.4' or '0.5'; null: the one that matches the input",
    )
    levels: Annotated[int, Field(ge=1, le=32)] | None = Field(
        None,
        description="number of pyramid levels, full resolution included; null: down to 512 pixels",
    )
    chunks: ChunkSide | Annotated[tuple[ChunkSide, ...], SomeListed] | None = Field(
        None, description="chunk size along each axis of a frame, pixels; null: the input's"
    )
    shards: ChunkSide | Annotated[tuple[ChunkSide, ...], SomeListed] | None = Field(
        None,
        description=(
            "shard size along each axis of a frame, pixels; null: the input's, if chunks is null"
        ),
    )

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.labels and self.invalid == "fill":
            raise ValueError("labels have no mean to fill holes with: set invalid to blank or keep")
        return self


class MeanSection(Section):
    """How frames are weighted in the mean of the corrected series, if `output.mean` is set."""

    weights: Literal["none", "precision", "column"] = Field(
        "none",
        description=(
            "none: all frames have the same weight; precision: by 1 / (1 + 12 s^2), where s is "
            "the standard deviation of the frame's shift in pixels, root mean square over the "
            "axes; column: by a column of a CSV file"
        ),
    )
    path: str | None = Field(
        None,
        description=(
            "column: a CSV file with a header and one line per frame, for example of doses; a "
            "column named frame gives the frame of each line"
        ),
    )
    column: str | None = Field(
        None,
        min_length=1,
        description="column: the name of the column that holds the weights, numbers of 0 or more",
    )

    @model_validator(mode="after")
    def _check_column(self) -> Self:
        given = self.path is not None, self.column is not None
        if given != (self.weights == "column",) * 2:
            raise ValueError(
                "weights 'column' needs the keys 'path' and 'column', and no other weights take "
                "them"
            )
        return self


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
    mean: str | None = Field(
        None,
        description=(
            "the mean of the corrected series, over all frames that are ok: OME-Zarr (.zarr) or "
            "OME-TIFF (.ome.tif), which also hold sum, standard deviation, count and maximum, or "
            ".npy; null: none"
        ),
    )
    movie: str | None = Field(
        None,
        description=(
            "a movie of the series as recorded beside the corrected one: .mp4 (H.264), frames at "
            "most 512 pixels a side, volumes as their mean along z; null: none; extras: video, "
            "pictures"
        ),
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
        if self.mean is not None and not self.mean.rstrip("/").endswith((*suffixes, ".npy")):
            raise ValueError(f"mean {self.mean!r} must end in .zarr, .ome.tif or .npy")
        if self.movie is not None and Path(self.movie).suffix != ".mp4":
            raise ValueError(f"movie {self.movie!r} must end in .mp4")
        performance_report = self.performance_report
        if performance_report is not None and Path(performance_report).suffix != ".html":
            raise ValueError(f"performance_report {performance_report!r} must end in .html")
        written = self.shifts, self.corrected, self.mean, self.report, self.summary
        for path in (*written, self.movie, performance_report):
            if path is not None:
                get_place(path).check_name()
        return self


class Config(Section):
    """A whole run."""

    input: InputSection
    mask: MaskSection = MaskSection()
    object_: ObjectSection = Field(ObjectSection(), alias="object")
    preprocess: PreprocessSection = PreprocessSection()
    register_: RegisterSection = Field(RegisterSection(), alias="register")
    initial_shifts: InitialShiftsSection = InitialShiftsSection()
    pairs: PairsSection = PairsSection()
    motion: MotionSection = MotionSection()
    solve: SolveSection = SolveSection()
    external_reference: ExternalReferenceSection = ExternalReferenceSection()
    correct: CorrectSection = CorrectSection()
    mean: MeanSection = MeanSection()
    output: OutputSection = OutputSection()
    cluster: ClusterSection = ClusterSection()

    _settings_path: str = PrivateAttr("")

    @model_validator(mode="after")
    def _check_motion(self) -> Self:
        if self.motion.is_more_than_shift and self.solve.refine:
            raise ValueError(
                f"motion.model {self.motion.model} already measures the frames again: set "
                f"solve.refine {self.solve.refine} to 0"
            )
        if self.motion.is_more_than_shift and self.external_reference.path is not None:
            raise ValueError(
                "external_reference is for shifts alone, but with motion.model "
                f"{self.motion.model} frames may turn, too: set motion.model to translation"
            )
        moves_frames = self.output.corrected is not None or self.output.mean is not None
        by_phase = self.correct.interpolation == "fourier" and not self.correct.labels
        if self.motion.is_more_than_shift and moves_frames and by_phase:
            raise ValueError(
                "correct.interpolation 'fourier' is for shifts alone, but with motion.model "
                f"{self.motion.model} frames may turn, too: set it to cubic, linear or nearest"
            )
        return self

    @model_validator(mode="after")
    def _check_alone(self) -> Self:
        self.object_.check_settings(self)
        self.input.check_channels(self)
        return self

    @property
    def solve_reads_frames(self) -> bool:
        """Whether the solve reads frames."""
        return (
            bool(self.solve.refine)
            or self.motion.is_more_than_shift
            or self.external_reference.path is not None
            or self.solve.channel_offsets
        )

    @property
    def settings_path(self) -> str:
        """The path that the settings were read from; "" if they were made in Python."""
        return self._settings_path

    def dump(self) -> dict[str, Any]:
        """Dump the settings as plain values, as in a file."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def is_decided(self) -> bool:
        """Whether there is nothing for a pilot to decide."""
        mask = self.mask
        asked = mask.defects, mask.field_of_view, mask.parts, self.object_.mask
        sections = self.preprocess, self.register_
        return asked == (None,) * 4 and all(section.is_decided for section in sections)

    def fingerprint(self, digest: str) -> str:
        """Hash everything that affects the measurements of pairs to 16 hexadecimal digits.

        `digest` is that of the input's metadata and of the contents of paths. Solve, outputs and
        cluster are left out: they do not affect measurements.
        """
        # defaults are left out, so that keys added by later versions do not change the hash
        values = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        settings: dict[str, Any] = {
            name: values[name]
            for name in ("mask", "object", "preprocess", "register", "initial_shifts", "pairs")
            if name in values
        }
        if self.object_.is_followed:  # its mask is drawn on the anchor
            settings["object"] = {"anchor": self.solve.anchor}  # the mask is in the digest
        settings.get("pairs", {}).pop("extra", None)  # the first round is the same without it
        preprocess = settings.get("preprocess", {})
        for name in ("low_pass", "high_pass"):  # off is the same from a pilot or a user
            if preprocess.get(name, "") is None:
                del preprocess[name]
        settings = {name: section for name, section in settings.items() if section}
        input_values = values["input"]
        del input_values["path"]  # its content is in the digest
        settings |= {"input": input_values, "digest": digest, "method": METHOD_VERSION}
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
