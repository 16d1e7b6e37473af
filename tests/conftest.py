"""What several test modules need: the folder of real series, and a client."""

from __future__ import annotations

from pathlib import Path

import pytest
from distributed import Client, LocalCluster

DATA = Path(__file__).parents[2] / "shared" / "data"


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
def s3(tmp_path_factory):
    """An S3 server of this process of tests."""
    from servers import S3Server

    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        yield server.start().up()
    finally:
        server.stop()


@pytest.fixture
def credentials(monkeypatch, s3):
    """As a shell would have them; nothing of it stands in the settings."""
    from servers import KEY, SECRET
    from steadystack.durable import remote

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    remote._object_store.cache_clear()
    yield
    remote._object_store.cache_clear()


@pytest.fixture
def hurried(monkeypatch):
    """Runs do not look for a static image, which is most of their time; other tests do."""
    from steadystack.quality import fixed_pattern_check

    monkeypatch.setattr(fixed_pattern_check, "CHECK_FRAMES", 8)  # too few to tell
