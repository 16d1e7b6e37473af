"""Runs over signed URLs: they work and go on, and nothing that they leave holds the signature."""

from __future__ import annotations

import re
import threading
from http.server import ThreadingHTTPServer

import pytest

from steadystack.dataset import load_shifts
from support.runs import write_settings
from support.servers import Quiet
from support.shell import shell

SIGNATURE = "nobody-else-knows-0a1b2c"


@pytest.fixture
def signed_web(folder):
    """A web server of the folder that wants a signature; gives what makes a signed URL."""

    class Signed(Quiet):
        def __init__(self, *words):
            super().__init__(*words, directory=str(folder))

        def send_head(self):
            path, _, query = self.path.partition("?")
            if query != f"X-Amz-Signature={SIGNATURE}":
                self.send_error(403)
                return None
            self.path = path
            return super().send_head()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Signed)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield (
            lambda name, signature=SIGNATURE: (
                f"http://127.0.0.1:{server.server_port}/{name}?X-Amz-Signature={signature}"
            )
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_signed(folder, signed_web, **sections):
    return write_settings(
        folder,
        input={"path": signed_web("stack.zarr")},
        mask={"path": signed_web("mask.zarr")},
        output={"report": "report.html", "shifts": "shifts.zarr"},
        **sections,
    )


def test_a_run_over_signed_urls_leaves_no_signature(folder, signed_web, hurried):
    done = shell("run", write_signed(folder, signed_web))
    assert done.exit_code == 0, done.output
    attributes = load_shifts(str(folder / "shifts.zarr")).attrs
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/stack\.zarr", attributes["input"])
    again = shell("run", write_signed(folder, signed_web))
    assert again.exit_code == 0, again.output
    assert "pairs: " not in (folder / "run.log").read_text().split("run is done")[1]
    refused = shell("run", write_signed(folder, signed_web, register={"max_shift": 9}))
    assert refused.exit_code == 2
    assert "(register.max_shift 10 -> 9)" in refused.output
    written = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".yaml"]
    texts = {path: path.read_bytes() for path in written}
    assert {"run.log", "report.html", ".zattrs"} <= {path.name for path in written}
    assert not [path for path, text in texts.items() if SIGNATURE.encode() in text]
    assert not [told for told in (done, again, refused) if SIGNATURE in told.output]


@pytest.mark.parametrize("command", ["run", "check", "plan", "measure"])
def test_errors_show_no_signature(folder, signed_web, command):
    for name in ("none.zarr", "stack.zarr"):
        url = signed_web(name, SIGNATURE if name == "none.zarr" else "wrong-6a7b8c")
        told = shell(command, write_settings(folder, input={"path": url}))
        assert told.exit_code in (1, 2)
        assert f"/{name}" in told.output
        for secret in (SIGNATURE, "wrong-6a7b8c", "X-Amz"):
            assert secret not in told.output
