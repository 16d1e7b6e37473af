"""Clusters that are started or found: workers, certificates, and who may listen."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from distributed import Client, LocalCluster, Security

from steadystack.cluster import connect, kinds, run_tasks
from steadystack.config import ClusterSection
from steadystack.model import InputError, RunError


def test_a_scheduler_without_workers_is_told(monkeypatch):
    monkeypatch.setattr("steadystack.cluster.kinds.WORKER_TIMEOUT_S", 1.0)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        pytest.raises(RunError, match="no worker was connected"),
        connect(ClusterSection(kind="address", address=cluster.scheduler_address)),
    ):
        pass


def test_without_the_certificate_nobody_gets_in():
    with connect(ClusterSection(workers=1, security="temporary")) as cluster:
        address = cluster.client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert dict(run_tasks(cluster, abs, [(1, -1)])) == {1: 1}
        for other in (None, Security.temporary()):
            where = address if other else address.replace("tls://", "tcp://")
            with pytest.raises(OSError, match=r"Timed out|handshake|certificate|closed"):
                Client(where, security=other, timeout=2, set_as_default=False)
        assert dict(run_tasks(cluster, abs, [(2, -2)])) == {2: 2}


def test_given_certificates_are_used_by_all(tmp_path):
    made = Security.temporary().get_tls_config_for_role("worker")
    names = {"ca": "ca_file", "cert": "cert", "key": "key"}
    for name, part in names.items():
        (tmp_path / f"{name}.pem").write_text(made[part])
    given = {name: str(tmp_path / f"{name}.pem") for name in names}
    with connect(ClusterSection(workers=1, security=given)) as cluster:
        assert cluster.client.scheduler.address.startswith("tls://")
        other = ClusterSection(
            kind="address", address=cluster.client.scheduler.address, security=given
        )
        with connect(other) as joined:
            assert dict(run_tasks(joined, abs, [(1, -1)])) == {1: 1}
    (tmp_path / "key.pem").unlink()
    with (
        pytest.raises(InputError, match=r"cluster.security.key .*key.pem does not exist"),
        connect(ClusterSection(workers=1, security=given)),
    ):
        pass


def test_nothing_listens_but_on_loopback(monkeypatch):
    monkeypatch.setattr("steadystack.cluster.kinds.find_spec", lambda name: "there")
    before = set(listening(os.getpid()))
    told: list[str] = []
    monkeypatch.setattr(kinds.log, "info", lambda text, *words: told.append(text % words))
    with connect(ClusterSection(workers=1)) as cluster:
        pids = [os.getpid(), *cluster.client.run(os.getpid).values()]
        found = {socket for pid in pids for socket in listening(pid)} - before
    assert {socket.split(":")[0] for socket in found} == {"0100007F"}  # 127.0.0.1
    assert told[0].startswith("dashboard: http://127.0.0.1:")


def listening(pid):
    """The addresses and ports that a process listens on, as the kernel writes them."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            sockets.add(os.readlink(entry))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                yield words[1]
