"""Real clusters for tests, on this machine alone: batch systems, and hosts as network namespaces.

Both need root. What they start they end; nothing listens but on loopback and between namespaces.
Where one cannot start, the tests that want it are skipped with the reason that it gives itself.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SLURM = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "munged")
GRID_ENGINE = ("sge_qmaster", "sge_execd", "qconf", "qsub", "qstat", "qdel")
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


@contextmanager
def skipping_what_cannot_start(bed: BatchSystem | Hosts) -> Iterator[None]:
    """A command or daemon of a bed that fails ends the bed, and skips the test with its words."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        reason = f"{' '.join(error.cmd)}: {last_words(error.stderr) or f'exit {error.returncode}'}"
    except (subprocess.TimeoutExpired, TimeoutError) as error:
        reason = str(error)
    else:
        return
    bed.stop()
    pytest.skip(f"{bed.what} cannot start here: {reason}")


def last_words(text: str) -> str:
    """What the end of a log or of stderr says, in a line; the last line may say no cause."""
    lines = [line.partition("] ")[2] or line for line in text.strip().splitlines()]
    told = [line for line in lines if "error:" in line.lower() or "fatal:" in line.lower()]
    return "; ".join(line.strip() for line in (told or lines)[-3:])


class BatchSystem:
    """Daemons that stay children of this process, which can tell what became of them and ends them.

    What they keep lies in a folder of their own, which goes with them.
    """

    what = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="steadystack-batch-", dir="/run"))
        self.folder.chmod(0o755)
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = dict(os.environ)

    def _daemon(self, *words: str) -> None:
        """Start one; what it says beside its log, or instead, is kept."""
        name = f"{words[0]}.{words[-1]}" if "-N" in words else words[0]
        with (self.folder / f"{name}.out").open("wb") as out:
            self.daemons[name] = subprocess.Popen(
                words, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    def _once(self, condition: Callable[[], object], what: str) -> None:
        """Wait for it; an error with the words of a daemon that ends before."""

        def there() -> object:
            for name, daemon in self.daemons.items():
                if (code := daemon.poll()) is not None:
                    words = self._said(name)
                    raise subprocess.CalledProcessError(code, [name], stderr=words)
            return condition()

        try:
            wait_for(there)
        except TimeoutError:
            words = "; ".join(f"{name}: {last_words(self._said(name))}" for name in self.daemons)
            raise TimeoutError(f"{what} did not come up: {words}") from None

    def _said(self, name: str) -> str:
        """What a daemon logged, or wrote where it could not log."""
        for ending in ("log", "out"):
            with suppress(OSError):
                if text := (self.folder / f"{name}.{ending}").read_text(errors="replace"):
                    return text
        return ""

    def __call__(self, *words: object) -> str:
        """The output of a command of the batch system."""
        return run(*words, env=self.environment)

    def stop(self) -> None:
        try:
            self.cancel_all()
        finally:
            for daemon in reversed(self.daemons.values()):
                end(daemon)
            self.daemons.clear()
            shutil.rmtree(self.folder, ignore_errors=True)

    def cancel_all(self) -> None:
        """End all jobs, if there is a daemon that can be asked to."""
        raise NotImplementedError


class Slurm(BatchSystem):
    """A controller and two nodes on this host, without accounting, cgroups or an init system."""

    what = "Slurm"

    def __init__(self, nodes: int = 2, cpus: int = 4) -> None:
        super().__init__()
        self.nodes = [f"node{number}" for number in range(1, nodes + 1)]
        self.conf = self.folder / "slurm.conf"
        (self.folder / "state").mkdir()
        self.conf.write_text(self._configuration(cpus))
        # Nothing of it uses cgroups; but a slurmd that is told no kind looks for what is mounted on
        # /sys/fs/cgroup and gives up where nothing is. This kind asks for nothing until it is used.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self.environment["SLURM_CONF"] = str(self.conf)

    def _configuration(self, cpus: int) -> str:
        host, folder = socket.gethostname().split(".")[0], self.folder
        ports = free_ports(len(self.nodes) + 1)
        self.port = ports[0]
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
        with skipping_what_cannot_start(self):
            key, folder = self.folder / "munge.key", self.folder
            key.write_bytes(os.urandom(128))
            key.chmod(0o600)
            self._daemon(
                "munged", "--foreground", f"--key-file={key}", f"--socket={folder}/munge.sock",
                f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                f"--seed-file={folder}/munged.seed",
            )  # fmt: skip
            self._once((folder / "munge.sock").exists, "the socket of munged")
            self._daemon("slurmctld", "-D", "-c")
            self._once(lambda: accepts(self.port), "the port of slurmctld")
            for name in self.nodes:
                (folder / f"spool.{name}").mkdir()
                self._daemon("slurmd", "-D", "-N", name)
            self._once(lambda: self._idle() == len(self.nodes), "the nodes")
        return self

    def _idle(self) -> int:
        try:
            return self("sinfo", "-h", "-N", "-o", "%T").split().count("idle")
        except subprocess.CalledProcessError:
            return 0

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

    def cancel_all(self) -> None:
        if self._answers():
            for job in self.jobs():
                self("scancel", job)
            wait_for(lambda: not self.jobs(), what="the end of jobs")

    def _answers(self) -> bool:
        """Whether there is a controller that can be asked for jobs."""
        daemon = self.daemons.get("slurmctld")
        return daemon is not None and daemon.poll() is None and accepts(self.port)


def write_slurm_of_one(folder: Path) -> Path:
    """Commands of Slurm that run a job at once, where it is submitted, and without tasks.

    The tasks of an array from 1 on run one after the other.

    Returns the folder, which is for the front of the PATH. A job is over when `sbatch` returns.
    """
    folder.mkdir()
    submit = """#!/usr/bin/env bash
tasks=
while [[ $1 == --* ]]; do
    [[ $1 == --array=* ]] && tasks=${1#--array=1-}
    shift
done
[ -n "$tasks" ] && export SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_COUNT=$tasks
number=0
for task in $(seq "${tasks:-1}"); do
    [ -n "$tasks" ] && export SLURM_ARRAY_TASK_ID=$task
    number=$((number + 1))
    while [ -e "steadystack-$number.log" ]; do number=$((number + 1)); done
    [ "$task" -eq 1 ] && echo "$number"
    SLURM_JOB_ID=$number bash "$@" > "steadystack-$number.log" 2>&1 || failed=$?
done
exit "${failed:-0}"
"""
    for name, text in (("sbatch", submit), ("squeue", "#!/bin/sh\n"), ("scancel", "#!/bin/sh\n")):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


class Hosts:
    """Hosts as network namespaces with a switch between them and this machine."""

    what = "hosts as network namespaces"

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.own = names, f"ss{os.getpid() % 100000}"
        net = f"10.{77 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
        self.here = f"{net}.1"
        self.address = {name: f"{net}.{number}" for number, name in enumerate(names, start=11)}

    def start(self) -> Hosts:
        with skipping_what_cannot_start(self):
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
            self._try("ip", "netns", "del", f"{self.own}-{name}")
        self._try("ip", "link", "del", self.own)

    def _try(self, *words: str) -> None:
        """A command that may have nothing to do."""
        subprocess.run(words, check=False, capture_output=True)


def dask(*words: object) -> list[object]:
    """A command of Dask's, by this Python."""
    return [sys.executable, "-m", "dask", *words]


def end(daemon: subprocess.Popen[bytes]) -> None:
    """End a process, if need be by force."""
    daemon.terminate()
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    found = [socket.socket() for _ in range(count)]
    for one in found:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in found]
    for one in found:
        one.close()
    return ports
