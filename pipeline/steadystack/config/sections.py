"""What the sections of the settings are made of."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from steadystack.model import InputError
from steadystack.units import parse_bytes

Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Path_ = Annotated[str, Field(min_length=1)]
Listed = Field(strict=False)  # YAML has lists where the settings have tuples
SomeListed = Field(strict=False, min_length=1)


class Section(BaseModel):
    """A part of the settings: unknown keys and wrong types are errors, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


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


class RoiSection(Section):
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
    rois: Annotated[tuple[RoiSection, ...], Listed] = Field(
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


Kind = Literal["in-process", "local", "address", "scheduler-file", "slurm", "pbs", "sge", "lsf"]
OWN, JOBS = ("local", "slurm", "pbs", "sge", "lsf"), ("slurm", "pbs", "sge", "lsf")

# Below this distributed refuses: ten probes a second apart, and one second.
LEAST_LOST_AFTER = 11


class Certificates(Section):
    """Files of one authority, and of a certificate of its own with its key, in PEM."""

    ca: str = Field(min_length=1, description="certificate of the authority")
    cert: str = Field(min_length=1, description="certificate of scheduler, workers and client")
    key: str = Field(min_length=1, description="its private key")


class ClusterSection(Section):
    """Where it runs; no result depends on it."""

    kind: Kind = Field(
        "local",
        description="in-process, local (worker processes here), address or scheduler-file (of a "
        "scheduler that is running), slurm, pbs, sge or lsf (workers as batch jobs)",
    )
    workers: Count | None = Field(
        None, description="worker processes, at most; null: one per core here, or one batch job's"
    )
    minimum: Index | None = Field(
        None, description="workers kept while there is little to do; null: always all"
    )
    threads_per_worker: Count = Field(1, description="threads of a worker")
    worker_memory: str | None = Field(
        None,
        description="memory of a worker, such as '4 GiB', beyond which it is ended; null: local: "
        "its share of the machine",
    )
    workers_per_job: Count = Field(1, description="batch jobs: workers in one job")
    walltime: str | None = Field(None, description="batch jobs: such as '01:00:00'")
    queue: str | None = Field(None, description="batch jobs: queue or partition")
    account: str | None = Field(None, description="batch jobs: account or project")
    directives: tuple[str, ...] = Field(
        (), strict=False, description="batch jobs: more options of the batch system, one each"
    )
    prologue: tuple[str, ...] = Field(
        (), strict=False, description="batch jobs: shell lines before a worker starts"
    )
    interface: str | None = Field(
        None, description="batch jobs: network interface that jobs reach this machine over"
    )
    job_folder: str = Field(
        "steadystack-jobs",
        min_length=1,
        description="batch jobs: folder that jobs see too, for their logs and certificates",
    )
    address: str | None = Field(None, description="address: of a running Dask scheduler")
    scheduler_file: str | None = Field(
        None, description="scheduler-file: what `dask scheduler --scheduler-file` wrote"
    )
    security: Literal["none", "temporary"] | Certificates | None = Field(
        None,
        description="none; temporary: certificates made for this run; or files: ca, cert, key; "
        "null: temporary for batch jobs, none else",
    )
    retries: Index = Field(
        3, description="how often a task is tried again after an error or its worker's death"
    )
    max_failed: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="fraction of the pairs whose tasks may fail before the run stops"
    )
    lost_after: Annotated[float, Field(ge=LEAST_LOST_AFTER, le=600)] = Field(
        15.0, description="seconds without a sign of a host before its tasks go to others"
    )
    worker_timeout: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="seconds that a run goes on waiting without any worker; null: 60, without end "
        "for batch jobs, which may queue for long",
    )
    task_memory: str | None = Field(
        None,
        description="what one task may use at a time, such as '512 MiB'; null: that, less if there "
        "is little here, more if one pair of frames needs it",
    )

    @property
    def batch(self) -> bool:
        """Whether workers are batch jobs."""
        return self.kind in JOBS

    @property
    def own(self) -> bool:
        """Whether the run starts its own scheduler and workers."""
        return self.kind in OWN

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for kind, key in (("address", "address"), ("scheduler-file", "scheduler_file")):
            if (self.kind == kind) != (getattr(self, key) is not None):
                raise ValueError(f"kind '{kind}' and the key '{key}' go together")
        for key in ("task_memory", "worker_memory"):
            given = getattr(self, key)
            if given is not None and not parse_bytes(given):
                raise ValueError(f"{key} {given!r} is not a size such as '512 MiB'")
        if self.minimum is not None and (self.workers is None or self.minimum > self.workers):
            raise ValueError(f"minimum {self.minimum} needs the key 'workers', at least as many")
        if self.security == "temporary" and not self.own:
            raise ValueError(
                f"security 'temporary' is for clusters that the run starts, and kind '{self.kind}' "
                "is running already: give its certificates, {ca: ..., cert: ..., key: ...}"
            )
        return self._complete_job() if self.batch else self

    def _complete_job(self) -> Self:
        for key, what in (
            ("worker_memory", "the memory of a worker, such as '4 GiB'"),
            (
                "interface",
                "the network interface that jobs reach this machine over, such as 'ib0' or 'eth0' "
                "(`ip -brief address` lists them)",
            ),
        ):
            if getattr(self, key) is None:
                raise ValueError(f"kind '{self.kind}' needs the key '{key}': {what}")
        if self.workers is not None and self.workers % self.workers_per_job:
            raise ValueError(
                f"workers {self.workers} is not a multiple of workers_per_job "
                f"{self.workers_per_job}"
            )
        return self
