"""The section of the settings that says where a run is computed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steadystack.config.base import Count, Index, Section
from steadystack.units import parse_bytes

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
