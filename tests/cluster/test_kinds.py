"""Clusters that are started or found: workers, certificates, and who may listen."""

from __future__ import annotations

import http.client
import json
import os
import re
import stat
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster, Security

from steadystack.cluster import connect, kinds, run_tasks
from steadystack.cluster.jobs import write_certificates
from steadystack.config import ClusterSection
from steadystack.model import InputError, RunError
from support.members import slow_but


def test_a_scheduler_without_workers_is_reported(monkeypatch):
    monkeypatch.setattr("steadystack.cluster.kinds.WORKER_TIMEOUT_S", 1.0)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        pytest.raises(RunError, match="no worker was connected"),
        connect(ClusterSection(kind="address", address=cluster.scheduler_address)),
    ):
        pass


# The pages of Dask's schedulers and workers: a cluster that is open takes them from its own.
ROUTES = {key: dask.config.get(key) for key in
          ("distributed.scheduler.http.routes", "distributed.worker.http.routes")}  # fmt: skip


@contextmanager
def connect_noting(**settings):
    """A cluster of one worker, and what it told when it started."""
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds.log, "info", lambda text, *words: told.append(text % words))
        with dask.config.set(ROUTES), connect(ClusterSection(workers=1, **settings)) as cluster:
            patch.undo()
            yield cluster, told


@pytest.fixture(scope="module")
def usual():
    """A cluster as it is by default: it, what its processes listen on, and what it told."""
    at_rest = set(listening(os.getpid()))
    with connect_noting() as (cluster, told):
        yield cluster, list_sockets(cluster, at_rest), told


@pytest.fixture
def bare():
    """The same without certificates."""
    at_rest = set(listening(os.getpid()))
    with connect_noting(security="none") as (cluster, told):
        yield cluster, list_sockets(cluster, at_rest), told


def test_without_the_certificate_nobody_gets_in(usual):
    cluster, *_ = usual
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


def test_certificates_that_do_not_fit_are_reported(tmp_path):
    made = [Security.temporary().get_tls_config_for_role("worker") for _ in range(2)]
    paths = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    settings = ClusterSection(workers=1, security=paths)
    (tmp_path / "ca.pem").write_text(made[0]["ca_file"])
    (tmp_path / "cert.pem").write_text(made[0]["cert"])
    for key in (made[1]["key"], "no key"):
        (tmp_path / "key.pem").write_text(key)
        with (
            pytest.raises(InputError, match=r"cluster\.security: ca .* its authority and its key"),
            connect(settings),
        ):
            pass


def test_keys_are_written_for_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        write_certificates(Security.temporary(), str(tmp_path))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"ca.pem": 0o600, "cert.pem": 0o600, "key.pem": 0o600}


@pytest.mark.parametrize(
    ("address", "security", "words"),
    [
        ("tls://127.0.0.1:1", None, r"tls://127\.0\.0\.1:1\)? uses TLS.*\{ca: ca"),
        ("tcp://127.0.0.1:1", "files", r"does not use TLS.*begins with tls://"),
        ("127.0.0.1:1", "files", r"does not use TLS.*begins with tls://"),
        (
            "xyz://127.0.0.1:1",
            None,
            r"xyz://127\.0\.0\.1:1\)? does not answer: unknown address scheme",
        ),
    ],
)
def test_an_address_and_certificates_that_do_not_go_together_are_reported(
    tmp_path, address, security, words
):
    if security:
        write_certificates(Security.temporary(), str(tmp_path))
        security = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    settings = ClusterSection(kind="address", address=address, security=security)
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": address}))
    beside = ClusterSection(kind="scheduler-file", scheduler_file=str(file), security=security)
    for wrong, setting in ((settings, "cluster.address"), (beside, "cluster.scheduler_file")):
        with pytest.raises(InputError) as raised, connect(wrong):
            pass
        assert str(raised.value).startswith(f"{setting} ")
        assert re.search(words, str(raised.value))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [b'{"type": "Scheduler", "addr', b"\xff\xfe\x00", b"[]", b"3", b'{"address": null}', b"{}"],
)
def test_a_torn_scheduler_file_is_reported(tmp_path, monkeypatch, content):
    monkeypatch.setattr(kinds, "COMPLETION_TIMEOUT_S", 0.0)
    file = tmp_path / "scheduler.json"
    file.write_bytes(content)
    with (
        pytest.raises(
            InputError, match=r"^cluster\.scheduler_file .*does not hold complete JSON.*start `dask"
        ),
        connect(ClusterSection(kind="scheduler-file", scheduler_file=str(file))),
    ):
        pass


def test_a_scheduler_file_that_is_none_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "CONNECT_TIMEOUT_S", 0.0)
    for path, words in ((tmp_path / "none", "does not exist"), (tmp_path, "Is a directory")):
        with (
            pytest.raises(InputError, match=rf"^cluster\.scheduler_file .*{words}"),
            connect(ClusterSection(kind="scheduler-file", scheduler_file=str(path))),
        ):
            pass


def test_a_scheduler_file_may_still_be_written(tmp_path, monkeypatch):
    file = tmp_path / "scheduler.json"
    file.write_text('{"addr')
    whole = '{"address": "tcp://127.0.0.1:1"}'
    monkeypatch.setattr(kinds.time, "sleep", lambda seconds: file.write_text(whole))
    assert kinds._read_scheduler_address(file, "x") == "tcp://127.0.0.1:1"


def test_nothing_listens_but_on_loopback(usual):
    _, sockets, _ = usual
    assert {socket.split(":")[0] for socket in sockets} == {"0100007F"}  # 127.0.0.1


def test_a_dashboard_is_there_only_if_it_is_wanted(usual):
    pytest.importorskip("bokeh", reason="Dask draws its dashboard with bokeh")
    cluster, _, told = usual
    assert set(read_dashboard(cluster).values()) == {404}
    assert not told
    with connect_noting(dashboard=True) as (cluster, told):
        assert set(read_dashboard(cluster).values()) == {200}
    assert told[0].startswith("dashboard: http://127.0.0.1:")


def test_a_dashboard_needs_bokeh(monkeypatch):
    monkeypatch.setattr(kinds, "find_spec", lambda name: None)
    with (
        pytest.raises(
            InputError, match=r"cluster\.dashboard needs bokeh: install steadystack\[dash"
        ),
        kinds.open_cluster_on_demand(ClusterSection(dashboard=True)),
    ):
        pass


# What another user of the machine may try; what was imported may not be readable to that user.
STRANGER = """
import asyncio, json, os, ssl, sys
from distributed import Security
from distributed.comm import connect
ports = json.loads(sys.argv[1])
own = Security.temporary().get_connection_args("client")["ssl_context"]
own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
bare = ssl._create_unverified_context()
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)

async def ask(address, **options):
    comm = await connect(address, timeout=4, **options)
    await comm.write({"op": "identity", "reply": True})
    return (await comm.read())["type"]

async def tell(port, name, scheme, options):
    try:
        answer = await asyncio.wait_for(ask(f"{scheme}://127.0.0.1:{port}", **options), 4)
    except Exception as error:
        answer = "refused"
    print(json.dumps([os.getuid(), port, name, answer]), flush=True)

async def main():
    ways = (
        ("plain", "tcp", {}), ("own", "tls", {"ssl_context": own}),
        ("bare", "tls", {"ssl_context": bare}),
    )
    await asyncio.gather(*(tell(port, *way) for port in ports for way in ways))
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user of the machine")
@pytest.mark.parametrize("security", slow_but([None], [None, "none"]))
def test_another_user_of_the_machine_is_refused(request, security):
    """By scheduler, workers and their nannies; without certificates all of them would answer."""
    cluster, sockets, _ = request.getfixturevalue("bare" if security else "usual")
    ports = sorted({int(socket.split(":")[1], 16) for socket in sockets})
    words = [sys.executable, "-c", STRANGER, json.dumps(ports)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    pages = {port: read_pages(port) for port in ports}
    assert dict(run_tasks(cluster, abs, [(1, -1)])) == {1: 1}
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 3 * len(ports) >= 9
    assert {uid for uid, *_ in answers} == {65534}
    types = {answer for *_, answer in answers} - {"refused"}
    assert types == ({"Scheduler", "Worker", "Nanny"} if security else set())
    assert {code for codes in pages.values() for code in codes.values()} <= {404, None}


def read_dashboard(cluster):
    return read_pages(cluster.client.scheduler_info()["services"]["dashboard"])


def read_pages(port):
    """The status of what Dask serves at a port by HTTP, by its path; None: no answer."""
    statuses: dict[str, int | None] = {}
    for path in ("/status", "/info/main/workers.html", "/json/counts.json", "/metrics", "/health"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            statuses[path] = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            statuses[path] = None
        finally:
            connection.close()
    return statuses


def list_sockets(cluster, at_rest):
    """The addresses and ports that the processes of a cluster listen on."""
    running = [os.getpid(), *cluster.client.run(os.getpid).values()]
    return {socket for pid in running for socket in listening(pid)} - at_rest


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
