"""Why a store that is far away gives nothing, in the words of a user.

The clients of obstore say it for programmers: a first line of a request that failed, and below it
the error as Rust prints it, with the server's answer in it.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from steadystack.model import InputError, UnreachableError

Answer = TypeVar("Answer")

S3 = ("s3://", "s3a://")
# After so many seconds without an answer it is said, and so long is asked for the reason.
SILENT_S, ASKED_S = 3.0, 2.0
CREDENTIALS = (
    "credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
    "AWS_ENDPOINT_URL, or the like; a public bucket needs AWS_SKIP_SIGNATURE=true"
)
# What tells that there are credentials: keys, a profile, or a role of a machine or a pod.
GIVEN_BY = (
    "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip
METADATA = "169.254."  # where a machine in a cloud is asked for its role

log = logging.getLogger(__name__)


class _RetrievedElsewhere(logging.Filter):
    """Of several requests at a time the first error is told; asyncio reports the others again."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        ours = kind is not None and kind.__module__.split(".")[0] == "obstore"
        return not (ours and "exception was never retrieved" in record.getMessage())


logging.getLogger("asyncio").addFilter(_RetrievedElsewhere())


def describe_reason(error: BaseException) -> str:
    """What went wrong, in a line."""
    text = str(error)
    if METADATA in text and not _are_credentials_given():
        return "no credentials are set"
    asked = re.search(r"Error performing \w+ (\w+://[^/\s?]+)", text)
    server = f"{asked[1]}: " if asked else ""
    if code := _find_error_code(text):
        told = re.search(r"<Message>([^<]*)</Message>", text)
        return f"{server}{code}" + (f" ({told[1].strip().rstrip('.')})" if told else "")
    if status := re.search(r"status code: (\d+ [A-Z][A-Za-z ]*)", text):
        return f"{server}{status[1].strip()}"
    if "TimedOut" in text or "kind: Timeout" in text:
        return f"{server}no answer in time"
    if "InvalidContentType" in text:
        return f"{server}it does not speak TLS: its address begins with http://, not https://"
    inner = re.findall(r'"([^"]+)"', text.partition("HttpError {")[2])
    if inner:
        return f"{server}{inner[-1]}"
    return text.split("\n")[0]


def suggest_way_out(error: BaseException) -> str:
    """What helps where credentials are missing or refused, or a server knows too little."""
    text = str(error)
    if type(error).__name__ == "NotSupportedError":
        return " (parts of shards and of large TIFF files need a server that supports byte ranges)"
    if _find_error_code(text) in (
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocation",
    ):
        return " (the bucket is in another region: set AWS_REGION)"
    refused = type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError")
    if refused or METADATA in text or "redential" in text:
        return f" ({CREDENTIALS})"
    return ""


@contextmanager
def explaining_outages(path: str) -> Iterator[None]:
    """Errors of the way to a store, and not of what lies there, become `UnreachableError`."""
    try:
        yield
    except UnreachableError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not _is_outage(cause):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        if is_bucket_missing(cause):
            raise InputError(describe_missing_bucket(path)) from error
        raise UnreachableError(
            f"{path} cannot be reached: {describe_reason(cause)}{suggest_way_out(cause)}"
        ) from error


def _is_outage(error: BaseException) -> bool:
    module = type(error).__module__.split(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or module in ("obstore", "aiohttp")


def describe_missing_bucket(path: str) -> str:
    """The line for a bucket that is not there."""
    bucket = path.split("://", 1)[1].split("/")[0]
    where = (
        f"at {get_endpoint()}" if get_endpoint() else "at Amazon (another server: AWS_ENDPOINT_URL)"
    )
    return f"{path}: there is no bucket {bucket!r} {where}"


def is_bucket_missing(error: BaseException) -> bool:
    """Whether it is the bucket that is not there."""
    return _find_error_code(str(error)) == "NoSuchBucket"


def get_endpoint() -> str:
    """The S3 server that the environment names; "" for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def get_region() -> str:
    """The region of S3 that the environment names, or the one that other servers take as well."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def await_answer(path: str, work: Callable[[], Answer], patience: timedelta) -> Answer:
    """What `work` gives, which asks a remote store; said if there is no answer for seconds.

    It runs in a thread of its own, as the clients do not hear Ctrl-C while they wait: this thread
    does, and leaves them.
    """
    found = _run_aside(work)
    if not wait([found], SILENT_S).done:
        reason = _run_aside(lambda: _explain_silence(path))
        known = wait([reason], ASKED_S).done
        why = f" ({reason.result()})" if known and reason.result() else ""
        if not wait([found], 0).done:
            log.warning(
                "%s does not answer yet%s: trying for up to %.0f s (Ctrl-C stops)",
                *(path, why, patience.total_seconds()),
            )
    return found.result()


def _run_aside(work: Callable[[], Answer]) -> Future[Answer]:
    """`work` in a thread that nobody waits for when the process ends."""
    found: Future[Answer] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found


def _explain_silence(path: str) -> str:
    """Why a server may be silent; "" if nothing is known."""
    if path.startswith(S3) and not _are_credentials_given():
        return "no credentials are set: this machine is asked for a role"
    address = urlsplit(_get_address(path))
    if address.hostname is None or urllib.request.getproxies().get(address.scheme):
        return ""
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        with socket.create_connection((address.hostname, port), timeout=ASKED_S):
            return f"{address.hostname}:{port} accepts connections, but does not answer"
    except OSError as error:
        why = "no connection" if isinstance(error, TimeoutError) else error.strerror or str(error)
        return f"{address.hostname}:{port}: {why}"


def _get_address(path: str) -> str:
    """The address of the server behind a path; "" where that is the client's affair."""
    if path.startswith("http"):
        return path
    if path.startswith(S3):
        return get_endpoint() or f"https://s3.{get_region()}.amazonaws.com"
    return ""


def _are_credentials_given() -> bool:
    profile = Path("~/.aws/credentials").expanduser()
    return any(name in os.environ for name in GIVEN_BY) or profile.exists()


def _find_error_code(text: str) -> str | None:
    """The error code in an answer of S3."""
    found: Any = re.search(r"<Code>(\w+)</Code>", text)
    return None if found is None else str(found[1])


# Seconds between one try and the next.
PAUSES_S = (0.2, 1.0, 3.0)
# Errors of the system that are no accident: the same is said the next time.
LASTING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
# Libraries that reach stores over a network; not all of their errors are the system's.
NETWORK = ("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "obstore", "s3fs")


def retry_read(read: Callable[[], Answer]) -> Answer:
    """What `read` gives; tried again a few times where it fails for what may pass."""
    for pause in PAUSES_S:
        try:
            return read()
        except Exception as error:
            if not is_transient(error):
                raise
            log.info("retrying the read in %g s: %s: %s", pause, type(error).__name__, error)
        time.sleep(pause)
    return read()


def is_transient(error: BaseException) -> bool:
    """Whether an error may be gone the next time: of system or network, not of what was read."""
    if isinstance(error, LASTING):
        return False
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in NETWORK
