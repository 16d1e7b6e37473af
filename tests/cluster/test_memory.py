"""The memory that there is, where a batch system gives less than the machine has."""

from __future__ import annotations

import resource
import sys

from distributed.system import MEMORY_LIMIT

from steadystack.cluster import memory
from steadystack.cluster.memory import read_cgroup_limit


def test_the_limit_of_a_batch_job_is_that_of_its_group_or_one_above(tmp_path):
    groups, mount = tmp_path / "cgroup", tmp_path / "mount"
    for place, limit in (
        ("slurm/job_1/step_2", "max"), ("slurm/job_1", "700"), ("slurm", "900"),
        ("memory/job/step", "650"), ("cpu/job", "3"),
    ):  # fmt: skip
        (mount / place).mkdir(parents=True, exist_ok=True)
        for name in ("memory.max", "memory.limit_in_bytes"):
            (mount / place / name).write_text(limit + "\n")
    for lines, limit in (
        ("0::/slurm/job_1/step_2", 700),
        ("5:cpu:/job\n4:memory:/job/step\n0::/", 650),
        ("4:cpu,memory:/somewhere/else", sys.maxsize),
        ("0::/slurm", 900),
    ):
        groups.write_text(lines + "\n")
        assert read_cgroup_limit(groups, mount) == limit
    assert read_cgroup_limit(tmp_path / "none", mount) == sys.maxsize


def test_the_memory_of_the_machine_is_what_dask_finds(tmp_path, monkeypatch):
    for machine in (memory.MACHINE, tmp_path / "none"):
        monkeypatch.setattr(memory, "MACHINE", machine)
        assert memory.read_available_memory() == min(MEMORY_LIMIT, read_cgroup_limit())


def test_without_any_limit_it_is_all_of_the_machine(tmp_path, monkeypatch):
    machine = tmp_path / "meminfo"
    machine.write_text("MemTotal:  2048 kB\nMemFree: 7 kB\n")
    monkeypatch.setattr(memory, "MACHINE", machine)
    monkeypatch.setattr(memory, "MOUNT", tmp_path)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (-1, -1))
    monkeypatch.setattr(memory, "read_cgroup_limit", lambda: sys.maxsize)
    assert memory.read_available_memory() == 2048 * 1024
