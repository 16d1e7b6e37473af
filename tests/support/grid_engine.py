"""A real Grid Engine for tests, on this machine alone."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from support import beds

SHARED = Path("/usr/share/gridengine")
TOOLS = Path("/usr/lib/gridengine")
# What is not as in Debian's own configuration: root may run jobs, and nothing waits for long.
CONFIGURATION = {"min_uid": "0", "min_gid": "0", "load_report_time": "00:00:01"}
SCHEDULING = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}
HOST = {
    "hostname": "localhost", "load_scaling": "NONE", "complex_values": "NONE",
    "user_lists": "NONE", "xuser_lists": "NONE", "projects": "NONE", "xprojects": "NONE",
    "usage_scaling": "NONE", "report_variables": "NONE",
}  # fmt: skip
QUEUE = {
    "qname": "main", "hostlist": "localhost", "seq_no": "0", "load_thresholds": "NONE",
    "suspend_thresholds": "NONE", "nsuspend": "1", "suspend_interval": "00:05:00",
    "priority": "0", "min_cpu_interval": "00:05:00", "processors": "UNDEFINED",
    "qtype": "BATCH", "rerun": "FALSE", "slots": "8", "tmpdir": "/tmp", "shell": "/bin/bash",
    "shell_start_mode": "posix_compliant", "notify": "00:00:60", "initial_state": "default",
    **dict.fromkeys((
        "ckpt_list", "pe_list", "prolog", "epilog", "starter_method", "suspend_method",
        "resume_method", "terminate_method", "owner_list", "user_lists", "xuser_lists",
        "subordinate_list", "complex_values", "projects", "xprojects", "calendar",
    ), "NONE"),
    **{
        f"{limit}_{name}": "INFINITY"
        for name in ("rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem")
        for limit in "sh"
    },
}  # fmt: skip


class GridEngine(beds.BatchSystem):
    """A master and a host that runs jobs, both this one."""

    what = "Grid Engine"

    def __init__(self) -> None:
        super().__init__()
        self.root = self.folder / "root"
        self.port, execution_port = beds.free_ports(2)
        self.environment |= {
            "SGE_ROOT": str(self.root),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(self.port),
            "SGE_EXECD_PORT": str(execution_port),
            "SGE_ND": "1",  # daemons stay in the foreground
        }

    def start(self) -> GridEngine:
        with beds.skipping_what_cannot_start(self):
            self._lay_out()
            self._daemon("sge_qmaster")
            self._once(self._is_there, "the master")
            self("qconf", "-as", "localhost")
            self("qconf", "-Ae", self._write("host", HOST))
            self("qconf", "-Aq", self._write("queue", QUEUE))
            self("qconf", "-Msconf", self._change(self("qconf", "-ssconf"), "sched", SCHEDULING))
            self._daemon("sge_execd")
            self._once(lambda: "lx-" in self("qstat", "-f"), "the host")
        return self

    def _lay_out(self) -> None:
        """Make the folders and the database of a cell."""
        common = self.root / "default" / "common"
        spool = self.folder / "spool"
        for folder in (common, spool, self.folder / "master" / "job_scripts"):
            folder.mkdir(parents=True)
        for name in ("bin", "lib", "util", "utilbin"):
            (self.root / name).symlink_to(Path("/var/lib/gridengine") / name)
        places = f"{self.folder}/master;{spool}"
        bootstrap = {
            "admin_user": "none",
            "ignore_fqdn": "true",
            "spooling_method": "classic",
            "spooling_lib": "libspoolc",
            "spooling_params": places,
            "qmaster_spool_dir": f"{self.folder}/master",
        }
        self._change((SHARED / "default-bootstrap").read_text(), common / "bootstrap", bootstrap)
        (common / "act_qmaster").write_text("localhost\n")
        (common / "host_aliases").write_text(f"localhost {socket.gethostname()}\n")
        settings = CONFIGURATION | {"execd_spool_dir": f"{self.folder}/execution"}
        text = (SHARED / "default-configuration").read_text()
        configuration = self._change(text, "configuration", settings)
        resources = SHARED / "util" / "resources"
        self(TOOLS / "spoolinit", "classic", "libspoolc", places, "init")
        for kind, content in (
            ("configuration", configuration),
            ("complexes", resources / "centry"),
            ("usersets", resources / "usersets"),
            ("managers", "root"),
        ):
            self(TOOLS / "spooldefaults", kind, content)

    def _write(self, name: str, values: dict[str, str]) -> Path:
        path = self.folder / name
        path.write_text("".join(f"{key} {value}\n" for key, value in values.items()))
        return path

    def _change(self, text: str, name: str | Path, values: dict[str, str]) -> Path:
        """Write a text of keys and values with other values; its path."""
        lines = [line.split(None, 1) for line in text.splitlines() if line and line[0] != "#"]
        path = self.folder / name
        path.write_text("".join(f"{key} {values.get(key, value)}\n" for key, value in lines))
        return path

    def _is_there(self) -> bool:
        with suppress(subprocess.CalledProcessError):
            return bool(self("qconf", "-sh"))
        return False

    def jobs(self, state: str = "a") -> set[str]:
        """The jobs in the queue: all, running ("r"), pending ("p")."""
        lines = self("qstat", "-u", "*", "-s", state).splitlines()[2:]
        return {line.split()[0] for line in lines}

    def cancel_all(self) -> None:
        if "sge_qmaster" in self.daemons and beds.accepts(self.port):
            with suppress(subprocess.CalledProcessError):
                for job in self.jobs():
                    self("qdel", job)
                beds.wait_for(lambda: not self.jobs(), what="the end of jobs")


def use(bed: GridEngine, monkeypatch) -> None:
    """Let this process submit its jobs to the bed."""
    for name, value in bed.environment.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)
