"""The types of the settings, and the sections of the input and the cluster."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from steadystack.config.values import refuse_number
from steadystack.model import InputError
from steadystack.units import parse_bytes, parse_layout, parse_micrometers, parse_slice

AUTO: Final = "auto"  # a setting that a pilot decides on

Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Path_ = Annotated[str, Field(min_length=1)]
Listed = Field(strict=False)  # YAML has lists where the settings have tuples
SomeListed = Field(strict=False, min_length=1)


class Section(BaseModel):
    """A section of the settings: unknown keys and wrong types are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


# The units of numbers, for the schema of the settings.
PIXEL, UM, SECOND = ({"unit": unit} for unit in ("pixels", "micrometers", "seconds"))
Pixels = Annotated[int, Field(ge=0, json_schema_extra=PIXEL)]
Size = Annotated[
    float,
    BeforeValidator(parse_micrometers),
    Field(gt=0, allow_inf_nan=False, strict=False),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0} | UM, {"type": "string"}]}),
]
WithUnit = Annotated[str, AfterValidator(refuse_number)]  # a length, such as '3 um'
Length = Annotated[float, Field(allow_inf_nan=False, json_schema_extra=PIXEL)] | WithUnit
Corner = Annotated[tuple[Length, Length], Field(strict=False)]
Side = Annotated[tuple[Length, Length], Field(strict=False)] | None
Finite = Annotated[float, Field(allow_inf_nan=False)]
Spatial = Field(strict=False, min_length=2, max_length=3)


Channels = Annotated[tuple[Index | str, ...], Field(strict=False, min_length=1, max_length=6)]


class InputSection(Section):
    """The stack."""

    path: Path_ | Annotated[tuple[Path_, ...], SomeListed] = Field(
        description="OME-Zarr 0.4 or 0.5 image, plate or collection, Zarr v2 or v3 array, xarray "
        "group, TIFF file, folder or pattern of TIFF files or pictures, HDF5 file, folder or "
        "pattern of HDF5 files such as 'f_*.h5:/entry/data', MRC file, video, CZI, LIF, ND2, "
        ".npy; local, s3:// or https://; for several stacks, a list or another pattern such as "
        "'plate.zarr/*/*/0'"
    )
    position: str | None = Field(
        None,
        description="image of a plate, such as B/03/0; needed if there are several; all: every "
        "image of a plate or collection, each as a separate input",
    )
    series: Index | None = Field(
        None,
        description="number of the image in a collection, TIFF or LIF file, of the scene in a "
        "CZI, of the position in an ND2 file; needed if there are several",
    )
    channel: Index | str | Channels | None = Field(
        None,
        description="number or name; needed if there are several; a list of up to 6: pairs are "
        "measured in each of them and combined into one shift, weighted by their "
        "errors; everything else uses the first of them",
    )
    level: Index = Field(0, description="pyramid level; 0 is full resolution")
    axes: str | None = Field(
        None,
        pattern="^[tczyx]+$",
        description="one letter of tczyx per array dimension, if the store does not name its axes",
    )
    variable: str | None = Field(
        None,
        description="array in an xarray group or an HDF5 file; needed if there are several",
    )
    reader: Path_ | None = Field(
        None,
        description="file.py:function or package:function, for other formats; called with the "
        "path, it returns the array",
    )
    raw: str | None = Field(
        None,
        description="type and shape of a frame in a file that does not state them, such as "
        "'uint16 512 x 640' (rows x columns; little-endian, '>uint16': big-endian); "
        "optionally with 'offset N' and 'gap N', the number of bytes before the first "
        "frame and before each frame, and 'count N', the number of frames, if other "
        "data follow them; the file is then read this way whatever its name",
    )
    pixel_size: Size | Annotated[tuple[Size, ...], SomeListed] | None = Field(
        None,
        description="in micrometers, or with a unit such as '0.5 nm', if the store gives none or "
        "a wrong one; one for all axes or one per axis",
    )
    missing_chunks: Literal["invalid", "fill"] = Field(
        "invalid",
        description="invalid: pixels of a missing chunk are not valid; fill: they have the fill "
        "value, for stores that leave out empty chunks on purpose",
    )

    frames: str | None = Field(
        None,
        description="the frames to use, 'start:stop:step' as in Python, such as '155:245:3', "
        "counted from 0, stop not included; null: all. Values per frame in files and masks refer "
        "to the whole stack; frame numbers in the settings count the frames that are used",
    )
    region: Annotated[tuple[Side, ...], Spatial] | None = Field(
        None,
        description="the box of every frame to use, [first, stop] along each of (z,) y, x: "
        "pixels, stop not included, or lengths such as '3 um' (to the nearest pixel); "
        "null: the whole axis, or the whole frame. Masks and camera images are of the "
        "whole frame; mask.border counts from the sides of the box",
    )

    @field_validator("frames")
    @classmethod
    def _check_frames(cls, frames: str | None) -> str | None:
        if frames is not None:
            parse_slice("frames", frames)
        return frames

    @field_validator("raw")
    @classmethod
    def _check_raw(cls, raw: str | None) -> str | None:
        if raw is not None:
            parse_layout("raw", raw)
        return raw

    @model_validator(mode="after")
    def _check_ways(self) -> Self:
        if self.raw is not None and self.reader is not None:
            raise ValueError("reader and raw are two ways to read one file: leave one of them out")
        return self

    def list_channels(self) -> tuple[int | str | None, ...]:
        """List the channels that pairs are measured in; None: the only one that there is."""
        return self.channel if isinstance(self.channel, tuple) else (self.channel,)

    def check_channels(self, config: Any) -> None:
        """Refuse settings, of the type Config, that do not suit the number of channels."""
        if config.solve.channel_offsets and len(self.list_channels()) < 2:
            raise ValueError(
                "solve.channel_offsets: there is only one channel, and no other to align it with: "
                "make input.channel a list of two or more, or leave it out"
            )
        others = {
            "preprocess.flat_field": config.preprocess.flat_field,
            "preprocess.fixed_pattern": config.preprocess.fixed_pattern,
            "solve.refine": config.solve.refine,
            "register.subpixel: false": not config.register_.subpixel,
            "mask.saturation: auto": config.mask.saturation == "auto",
            f"motion.model {config.motion.model}": config.motion.is_more_than_shift,
        }
        for key, is_set in others.items():
            if is_set and len(channels := self.list_channels()) > 1:
                raise ValueError(
                    f"input.channel {list(channels)} cannot be combined with {key}, which is for "
                    "one channel: leave it out, or choose one of the channels"
                )

    @property
    def channel_labels(self) -> tuple[str, ...]:
        """The names or numbers of the channels that pairs are measured in; "": the only one."""
        return tuple("" if one is None else str(one) for one in self.list_channels())

    @property
    def one_path(self) -> str:
        """The path of the only input; raises InputError if there are several."""
        if not isinstance(self.path, str):
            raise InputError(
                f"input.path gives {len(self.path)} inputs, but this takes one: use run_all"
            )
        return self.path


Kind = Literal["in-process", "local", "address", "scheduler-file", "slurm", "pbs", "sge", "lsf"]
OWN, JOBS = ("local", "slurm", "pbs", "sge", "lsf"), ("slurm", "pbs", "sge", "lsf")

# The smallest value that distributed accepts, seconds: ten probes a second apart, plus one.
LEAST_LOST_AFTER = 11
Silence = Annotated[float, Field(ge=LEAST_LOST_AFTER, le=600, json_schema_extra=SECOND)]


class Certificates(Section):
    """PEM files: a certificate authority, and a certificate signed by it with its key."""

    ca: str = Field(min_length=1, description="certificate of the authority, a PEM file")
    cert: str = Field(min_length=1, description="certificate of scheduler, workers and client")
    key: str = Field(min_length=1, description="its private key")


class ClusterSection(Section):
    """Where the run takes place; the results do not depend on it."""

    kind: Kind = Field(
        "local",
        description="in-process, local (worker processes on this machine), address or "
        "scheduler-file (a running Dask scheduler), slurm, pbs, sge or lsf (workers "
        "as batch jobs)",
    )
    workers: Count | None = Field(
        None,
        description="largest number of worker processes; null: one per core of this machine, or "
        "as many as one batch job has",
    )
    minimum: Index | None = Field(
        None,
        description="smallest number of workers, kept while there is little to do; null: always "
        "keep all",
    )
    threads_per_worker: Count = Field(1, description="threads per worker")
    worker_memory: str | None = Field(
        None,
        description="memory limit of a worker, such as '4 GiB'; a worker that exceeds it is "
        "killed; null: its share of this machine's memory (kind local)",
    )
    workers_per_job: Count = Field(1, description="batch jobs: workers per job")
    walltime: str | None = Field(None, description="batch jobs: time limit, such as '01:00:00'")
    queue: str | None = Field(None, description="batch jobs: queue or partition")
    account: str | None = Field(None, description="batch jobs: account or project")
    directives: tuple[str, ...] = Field(
        (),
        strict=False,
        description="batch jobs: further options of the batch system, one per entry",
    )
    prologue: tuple[str, ...] = Field(
        (), strict=False, description="batch jobs: shell commands to run before a worker starts"
    )
    interface: str | None = Field(
        None, description="batch jobs: network interface through which jobs reach this machine"
    )
    job_folder: str = Field(
        "steadystack-jobs",
        min_length=1,
        description="batch jobs: folder for their logs and certificates, which the jobs must be "
        "able to see",
    )
    address: str | None = Field(
        None, description="address: that of a running Dask scheduler, such as tcp://10.0.0.5:8786"
    )
    scheduler_file: str | None = Field(
        None, description="scheduler-file: the file that `dask scheduler --scheduler-file` wrote"
    )
    security: Literal["none", "temporary"] | Certificates | None = Field(
        None,
        description="none: anyone who can reach the scheduler can run code as you; temporary: "
        "certificates made for this run; or your own files: ca, cert, key; null: temporary, "
        "or none for a cluster that is already running",
    )
    dashboard: bool = Field(
        False,
        description="print the link of Dask's dashboard; a cluster that the run starts serves it "
        "on 127.0.0.1, where anyone on that machine can read it (extra: dashboard)",
    )
    retries: Index = Field(
        3, description="how often a task is retried after an error or the death of its worker"
    )
    max_failed: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="fraction of the pairs that may fail for good before the run stops"
    )
    lost_after: Silence = Field(
        15.0,
        description="seconds without contact after which the tasks of a host go to other workers",
    )
    worker_timeout: (
        Annotated[float, Field(gt=0, allow_inf_nan=False, json_schema_extra=SECOND)] | None
    ) = Field(
        None,
        description="seconds that a run waits while there is no worker; null: 60, or forever for "
        "batch jobs, which may queue for a long time",
    )
    task_memory: str | None = Field(
        None,
        description="memory that one task may use, such as '512 MiB'; null: 512 MiB, less if this "
        "machine is short of memory, more if a single pair of frames needs it",
    )

    @property
    def uses_batch_jobs(self) -> bool:
        """Whether workers are batch jobs."""
        return self.kind in JOBS

    @property
    def starts_cluster(self) -> bool:
        """Whether the run starts its own scheduler and workers."""
        return self.kind in OWN

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        for kind, key in (("address", "address"), ("scheduler-file", "scheduler_file")):
            if (self.kind == kind) != (getattr(self, key) is not None):
                raise ValueError(f"kind '{kind}' needs the key '{key}', and no other kind takes it")
        for key in ("task_memory", "worker_memory"):
            size = getattr(self, key)
            if size is not None and not parse_bytes(size):
                raise ValueError(f"{key} {size!r} is not a size such as '512 MiB'")
        if self.minimum is not None and (self.workers is None or self.minimum > self.workers):
            raise ValueError(
                f"minimum {self.minimum} needs the key 'workers', set to at least that many"
            )
        if self.security == "temporary" and not self.starts_cluster:
            raise ValueError(
                "security 'temporary' is for clusters that the run starts, but one of kind "
                f"'{self.kind}' is already running: give its certificates, {{ca: ..., cert: ..., "
                "key: ...}"
            )
        return self._check_job() if self.uses_batch_jobs else self

    def _check_job(self) -> Self:
        for key, meaning in (
            ("worker_memory", "the memory of a worker, such as '4 GiB'"),
            (
                "interface",
                "the network interface through which jobs reach this machine, such as 'ib0' or "
                "'eth0' (`ip -brief address` lists them)",
            ),
        ):
            if getattr(self, key) is None:
                raise ValueError(f"kind '{self.kind}' needs the key '{key}': {meaning}")
        if self.workers is not None and self.workers % self.workers_per_job:
            raise ValueError(
                f"workers {self.workers} is not a multiple of workers_per_job "
                f"{self.workers_per_job}"
            )
        return self
