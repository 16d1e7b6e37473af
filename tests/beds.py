"""Real clusters for tests, on this machine alone: Slurm, and hosts as network namespaces.

Both need root. What they start they end; nothing listens but on loopback and between namespaces.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SLURM = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "munged")
NETNS = ("ip", "nsenter")


def lacking(commands: tuple[str, ...]) -> str:
    """Why these commands cannot be used here; "" if they can."""
    missing = [name for name in commands if shutil.which(name) is None]
    if os.geteuid() != 0:
        return "only root can start it"
    return f"{', '.join(missing)} not installed: see scripts/packages" if missing else ""


def wait_for(condition: Callable[[], object], seconds: float = 60.0, what: str = "") -> object:
    """What the condition gives as soon as it is true; an error after so many seconds."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > until:
            raise TimeoutError(what or str(condition))
        time.sleep(0.1)
    return found


def run(*words: object, **options: object) -> str:
    command = [str(word) for word in words]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60, **options
    )
    return done.stdout.strip()


def ended(process: int) -> bool:
    """Whether a process is gone; one that nobody has reaped counts as such."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return True


class Slurm:
    """A controller and two nodes on this host, without accounting, cgroups or an init system."""

    def __init__(self, nodes: int = 2, cpus: int = 4) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="steadystack-slurm-", dir="/run"))
        self.folder.chmod(0o755)
        self.nodes = [f"node{number}" for number in range(1, nodes + 1)]
        self.conf = self.folder / "slurm.conf"
        (self.folder / "state").mkdir()
        self.conf.write_text(self._configuration(cpus))
        self.environment = os.environ | {"SLURM_CONF": str(self.conf)}

    def _configuration(self, cpus: int) -> str:
        host, folder = socket.gethostname().split(".")[0], self.folder
        ports = free_ports(len(self.nodes) + 1)
        nodes = "\n".join(
            f"NodeName={name} NodeAddr=127.0.0.1 NodeHostname={host} Port={port} CPUs={cpus} "
            "RealMemory=8000"
            for name, port in zip(self.nodes, ports[1:], strict=True)
        )
        return f"""ClusterName=steadystack
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=5,sched_min_interval=0,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=2
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=01:00:00 State=UP
"""

    def start(self) -> Slurm:
        key, folder = self.folder / "munge.key", self.folder
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        run(
            "munged", f"--key-file={key}", f"--socket={folder}/munge.sock",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/munged.seed",
        )  # fmt: skip
        run("slurmctld", "-c", env=self.environment)
        for name in self.nodes:
            (folder / f"spool.{name}").mkdir()
            run("slurmd", "-N", name, env=self.environment)
        wait_for(lambda: self._idle() == len(self.nodes), what="nodes of Slurm")
        return self

    def _idle(self) -> int:
        try:
            return self("sinfo", "-h", "-N", "-o", "%T").split().count("idle")
        except subprocess.CalledProcessError:
            return 0

    def __call__(self, *words: object) -> str:
        """The output of a command of Slurm."""
        return run(*words, env=self.environment)

    def jobs(self, state: str = "all") -> set[str]:
        """The jobs that are in the queue, or in that state."""
        return set(self("squeue", "-h", "-t", state, "-o", "%A").split()) - self.over()

    def over(self) -> set[str]:
        states = "completed,cancelled,failed,timeout,node_fail,preempted,out_of_memory"
        return set(self("squeue", "-h", "-t", states, "-o", "%A").split())

    def state(self, job: str) -> str:
        """The state of a job as Slurm knows it."""
        shown = self("scontrol", "-o", "show", "job", job)
        return shown.split("JobState=")[1].split()[0]

    def stop(self) -> None:
        for job in self.jobs():
            self("scancel", job)
        wait_for(lambda: not self.jobs(), what="the end of jobs")
        pids = [int(path.read_text()) for path in self.folder.glob("*.pid")]
        for pid in pids:
            os.kill(pid, 15)
        wait_for(lambda: all(ended(pid) for pid in pids), what="the end of Slurm")
        shutil.rmtree(self.folder)


class Hosts:
    """Hosts as network namespaces with a switch between them and this machine."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.own = names, f"ss{os.getpid() % 100000}"
        net = f"10.{77 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
        self.here = f"{net}.1"
        self.address = {name: f"{net}.{number}" for number, name in enumerate(names, start=11)}

    def start(self) -> Hosts:
        own, switch = self.own, f"{self.own}-sw"
        run("ip", "netns", "add", switch)
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        for name, address in self.address.items():
            space = f"{own}-{name}"
            run("ip", "netns", "add", space)
            run(*f"ip link add eth0 netns {space} type veth peer name v-{name} netns".split(),
                switch)  # fmt: skip
            run("ip", "-n", switch, "link", "set", f"v-{name}", "master", "br0", "up")
            run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            for link in ("eth0", "lo"):
                run("ip", "-n", space, "link", "set", link, "up")
        run(*f"ip link add {own} type veth peer name v-root netns {switch}".split())
        run("ip", "-n", switch, "link", "set", "v-root", "master", "br0", "up")
        run("ip", "addr", "add", f"{self.here}/24", "dev", own)
        run("ip", "link", "set", own, "up")
        return self

    def popen(self, host: str, *words: object, **options: object) -> subprocess.Popen[bytes]:
        """A process on a host; on this machine for the host ""."""
        inside = ["nsenter", f"--net=/run/netns/{self.own}-{host}"] if host else []
        return subprocess.Popen([*inside, *map(str, words)], start_new_session=True, **options)

    def cut(self, host: str) -> None:
        """Pull the cable of a host."""
        run("ip", "-n", f"{self.own}-sw", "link", "set", f"v-{host}", "down")

    def stop(self) -> None:
        for name in (*self.names, "sw"):
            subprocess.run(["ip", "netns", "del", f"{self.own}-{name}"], check=False)
        subprocess.run(["ip", "link", "del", self.own], check=False, capture_output=True)


def dask(*words: object) -> list[object]:
    """A command of Dask's, by this Python."""
    return [sys.executable, "-m", "dask", *words]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    found = [socket.socket() for _ in range(count)]
    for one in found:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in found]
    for one in found:
        one.close()
    return ports
