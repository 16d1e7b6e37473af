"""The sections of the settings. Every default stands here and nowhere else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.units import parse_bytes

# Raised whenever the same settings measure other numbers than before.
METHOD_VERSION = 3

Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
TileSide = Annotated[int, Field(ge=16)]  # smaller ones are all overhead
FramePair = Annotated[tuple[Index, Index], Field(strict=False)]
Listed = Field(strict=False)  # YAML has lists where the settings have tuples
SomeListed = Field(strict=False, min_length=1)


class Section(BaseModel):
    """A part of the settings: unknown keys and wrong types are errors, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class InputSection(Section):
    """The stack."""

    path: str = Field(
        min_length=1, description="OME-Zarr 0.4 or 0.5 image, Zarr v2 or v3 array, xarray group"
    )
    channel: Index | str | None = Field(None, description="number or name; needed if several")
    level: Index = Field(0, description="pyramid level of an OME-Zarr image; 0: full resolution")
    axes: str | None = Field(
        None,
        pattern="^[tczyx]+$",
        description="a letter per array dimension, where the store does not tell",
    )
    variable: str | None = Field(None, description="array of an xarray group; needed if several")
    missing_chunks: Literal["invalid", "fill"] = Field(
        "invalid",
        description="invalid: pixels of a missing chunk are not valid; fill: they are the fill "
        "value, because the store leaves out empty chunks on purpose",
    )


class MaskSection(Section):
    """What is valid: every cause given here takes pixels away."""

    path: str | None = Field(None, description="Zarr mask, not 0 = valid; static or per frame")
    invalid_values: tuple[float, ...] = Field((), strict=False, description="values: no data")
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

    border: Index | Annotated[tuple[Index, ...], Listed] = Field(
        0, description="pixels along each side that are not valid; a number or one per axis"
    )


class PreprocessSection(Section):
    """What frames need before they are correlated; all of it knows the mask."""

    flat_field: str | None = Field(
        None, description="divide by it: a Zarr image, or 'median' for the stack's own median"
    )
    logarithm: bool = Field(False, description="correlate the logarithm; needs positive pixels")
    static: str | None = Field(
        None,
        description="subtract it: a Zarr image of what stands still in the camera, or 'estimate' "
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


class CorrectSection(Section):
    """How the corrected stack is made; it is written if `output.corrected` is set."""

    stack: str | None = Field(
        None, description="another stack of the same frames to be moved; null: the input, all of it"
    )
    interpolation: Literal["whole", "linear", "cubic", "fourier"] = Field(
        "linear", description="whole (by whole pixels), linear, cubic or fourier"
    )
    labels: bool = Field(False, description="a label image: by whole pixels, no means of labels")
    border: Literal["keep", "crop", "expand"] = Field(
        "keep",
        description="keep: the frames' shape; crop: what is seen in every good frame; expand: "
        "everything that is seen in any frame",
    )
    fill_value: float | None = Field(
        None, description="written where nothing is known; null: NaN, or 0 in integers"
    )
    invalid: Literal["blank", "keep"] = Field(
        "blank",
        description="what is not valid in a frame: blank, or keep its values, by whole pixels",
    )
    interpolated: Literal["moved", "left", "blank"] = Field(
        "moved", description="frames with a shift from solve.interpolate: moved, left or blank"
    )
    unusable: Literal["left", "blank"] = Field(
        "blank", description="frames without a shift: left as they are, or blank"
    )
    valid: bool = Field(True, description="write beside the image which of its pixels are known")
    format: Literal["0.4", "0.5"] | None = Field(
        None, description="of OME-Zarr: '0.4' or '0.5'; null: what goes with the input"
    )
    levels: Count | None = Field(
        None, description="of the pyramid, the full resolution included; null: down to 512 pixels"
    )
    chunks: Count | Annotated[tuple[Count, ...], SomeListed] | None = Field(
        None, description="pixels along each axis of a frame; null: the input's chunks"
    )
    shards: Count | Annotated[tuple[Count, ...], SomeListed] | None = Field(
        None, description="pixels along each axis of a frame; null: as the input, if chunks is null"
    )


class OutputSection(Section):
    """What is written."""

    shifts: str = Field("shifts.zarr", description="the shifts dataset; .nc makes it NetCDF")
    corrected: str | None = Field(
        None, description="the corrected stack: OME-Zarr (.zarr) or OME-TIFF (.ome.tif); null: none"
    )
    report: str | None = Field(
        None, description="picture of the result: .png, .svg or .pdf; null: none"
    )

    @model_validator(mode="after")
    def _known_suffix(self) -> Self:
        if self.report is not None and Path(self.report).suffix not in (".png", ".svg", ".pdf"):
            raise ValueError(f"report {self.report!r} must end in .png, .svg or .pdf")
        if Path(self.shifts).suffix not in (".zarr", ".nc"):
            raise ValueError(f"shifts {self.shifts!r} must end in .zarr, or in .nc for NetCDF")
        endings = (".zarr", ".ome.tif", ".ome.tiff")
        if self.corrected is not None and not self.corrected.rstrip("/").endswith(endings):
            raise ValueError(f"corrected {self.corrected!r} must end in .zarr or .ome.tif")
        given = (self.shifts, self.report, self.corrected)
        remote = [path for path in given if path and "://" in path]
        if remote:
            raise ValueError(f"{remote[0]} is remote: outputs are written to local paths")
        return self


class ClusterSection(Section):
    """Where it runs; no result depends on it."""

    kind: Literal["in-process", "local", "address"] = Field(
        "local", description="in-process, local (worker processes here) or address"
    )
    workers: Count | None = Field(None, description="local: worker processes; null: one per core")
    threads_per_worker: Count = Field(1, description="local: threads of a worker")
    address: str | None = Field(None, description="address: of a running Dask scheduler")
    task_memory: str | None = Field(
        None,
        description="what one task may use at a time, such as '512 MiB'; null: that, or what one "
        "pair of frames needs if it is more",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.kind == "address") != (self.address is not None):
            raise ValueError("kind 'address' and the key 'address' go together")
        if self.task_memory is not None and not parse_bytes(self.task_memory):
            raise ValueError(f"task_memory {self.task_memory!r} is not a size such as '512 MiB'")
        return self


class Config(Section):
    """A whole run."""

    input: InputSection
    mask: MaskSection = MaskSection()
    preprocess: PreprocessSection = PreprocessSection()
    register_: RegisterSection = Field(RegisterSection(), alias="register")
    pairs: PairsSection = PairsSection()
    solve: SolveSection = SolveSection()
    correct: CorrectSection = CorrectSection()
    output: OutputSection = OutputSection()
    cluster: ClusterSection = ClusterSection()

    def dump(self) -> dict[str, Any]:
        """The settings as plain values, as they would stand in a file."""
        return self.model_dump(mode="json", by_alias=True)

    def fingerprint(self, digest: str) -> str:
        """A short hash of everything that affects the measuring of pairs.

        `digest` is that of the input's metadata, the mask and the flat field. The solve, the
        outputs and the cluster are left out: rows measured under another of those are as good.
        """
        settings = {
            name: value
            for name, value in self.dump().items()
            if name in ("mask", "preprocess", "register", "pairs")
        }
        reading = self.dump()["input"]
        del reading["path"]  # the digest knows what is there
        settings |= {"input": reading, "digest": digest, "method": METHOD_VERSION}
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
