"""What several test modules need: the folder of real series, a client, stores."""

from __future__ import annotations

import signal
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from support import ROOT, runs

DATA = ROOT.parent / "shared" / "data"

# A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def real_data():
    """A folder of real series beside the project; the test is skipped where it is missing."""

    def find(name: str) -> Path:
        folder = DATA / name
        if not folder.exists():
            pytest.skip(f"the real series {name} is not here")
        return folder

    return find


@pytest.fixture(scope="session")
def client():
    """A client of a small cluster in this process, for what needs no worker process."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def workers():
    """The settings of a cluster that runs already: one worker, a process of its own."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield {"kind": "address", "address": cluster.scheduler_address}


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """An S3 server of this process of tests."""
    from support.servers import S3Server

    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        yield server.start().up()
    finally:
        server.stop()


@pytest.fixture
def credentials(monkeypatch, s3):
    """As a shell would have them; nothing of it stands in the settings."""
    from steadystack.durable import remote
    from support.servers import KEY, SECRET

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    remote._open_object_store.cache_clear()
    yield
    remote._open_object_store.cache_clear()


@pytest.fixture(scope="session")
def report_folder(tmp_path_factory):
    """A run with a report, made once for all tests that look at it."""
    from support.reported import reported

    return reported(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory):
    """The folder of a smaller demo, run once for all tests that look at it, and what it told."""
    from support.demonstrated import demonstrate, made_smaller

    with made_smaller():
        return demonstrate(tmp_path_factory.mktemp("demo") / "steadystack-demo")


# The series of support.runs, for files that have none of their own under these names.


@pytest.fixture(scope="module")
def truth():
    return runs.walk()


@pytest.fixture(scope="module")
def frames(truth):
    return runs.counts(truth)


@pytest.fixture
def folder(tmp_path, frames):
    return runs.write_inputs(tmp_path, frames)


@pytest.fixture
def store(monkeypatch):
    """Every bucket is this one, in memory."""
    from obstore.store import MemoryStore

    from steadystack.durable import objects, remote

    found = MemoryStore()
    monkeypatch.setattr(remote, "open_object_store", lambda url: found)
    monkeypatch.setattr(objects, "PAUSE_S", 0.0)
    monkeypatch.setattr(remote, "PATIENCE", timedelta(seconds=2))
    return found


@pytest.fixture
def no_look_at_what_stands_still(monkeypatch):
    """Nor at pairs far apart: it would take most of the time, and has tests of its own."""
    runs.leave_out_checks(
        monkeypatch, ("fixed_pattern", "probe_pairs", "linear_pairs", "sharpness")
    )


@pytest.fixture
def hurried(monkeypatch):
    """Runs do not look for a static image, nor at pairs far apart: other tests do."""
    from steadystack.checks import fixed_pattern_check

    monkeypatch.setattr(fixed_pattern_check, "CHECK_FRAMES", 8)  # too few to tell
    runs.leave_out_checks(monkeypatch, ("probe_pairs", "linear_pairs", "sharpness"))


@pytest.fixture
def unchecked(monkeypatch):
    """Runs look for nothing that may be wrong beside the shifts: it is half of the time of some."""
    runs.leave_out_checks(monkeypatch)


@pytest.fixture
def no_figures(monkeypatch):
    """Pages have none, which take most of the time."""
    monkeypatch.setattr("steadystack.report.page.draw_figures", lambda *_: iter(()))


@pytest.fixture
def small_disk(request, tmp_path):
    """A disk of half a MiB, or of the size given as its parameter."""
    size = getattr(request, "param", "512k")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
