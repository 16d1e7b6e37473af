"""Explain in the user's terms why a remote store does not answer.

The errors of obstore's clients are for programmers: a line about the failed request, then the error
as printed by Rust, containing the server's answer.
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
from typing import Any, TypeVar
from urllib.parse import urlsplit

from steadystack.durable.files import expand_user
from steadystack.model import InputError, UnreachableError

Answer = TypeVar("Answer")

S3 = ("s3://", "s3a://")
# How long a silent server is not reported, and how long the reason is investigated, seconds.
SILENCE_S, PROBE_TIMEOUT_S = 3.0, 2.0
CREDENTIALS = (
    "credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
    "AWS_ENDPOINT_URL, or the like; a public bucket needs AWS_SKIP_SIGNATURE=true"
)
# Variables that indicate credentials: keys, a profile, a role of a machine or a pod.
CREDENTIAL_VARIABLES = (
    "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip
METADATA = "169.254."  # the address that tells a machine in a cloud its role

log = logging.getLogger(__name__)


class _RetrievedElsewhere(logging.Filter):
    """Drops asyncio's reports of requests whose error was not retrieved.

    If several requests fail together, the first error is raised anyway.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        is_obstore = kind is not None and kind.__module__.split(".")[0] == "obstore"
        return not (is_obstore and "exception was never retrieved" in record.getMessage())


logging.getLogger("asyncio").addFilter(_RetrievedElsewhere())


def describe_reason(error: BaseException) -> str:
    """Describe what went wrong with a request, in a line."""
    text = str(error)
    if METADATA in text and not _are_credentials_given():
        return "no credentials are set"
    request = re.search(r"Error performing \w+ (\w+://[^/\s?]+)", text)
    server = f"{request[1]}: " if request else ""
    if code := _find_error_code(text):
        message = re.search(r"<Message>([^<]*)</Message>", text)
        return f"{server}{code}" + (f" ({message[1].strip().rstrip('.')})" if message else "")
    if status := re.search(r"status code: (\d+ [A-Z][A-Za-z ]*)", text):
        return f"{server}{status[1].strip()}"
    if "TimedOut" in text or "kind: Timeout" in text:
        return f"{server}no answer in time"
    if "InvalidContentType" in text:
        return f"{server}it does not use TLS: its address begins with http://, not https://"
    quoted = re.findall(r'"([^"]+)"', text.partition("HttpError {")[2])
    if quoted:
        return f"{server}{quoted[-1]}"
    return text.split("\n")[0]


def suggest_way_out(error: BaseException) -> str:
    """Suggest, in parentheses, what helps against an error of a store; "" if nothing is known."""
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
    """Turn errors of the connection to a store into `UnreachableError`; others pass."""
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
    """Describe a bucket that does not exist, in a line."""
    bucket = path.split("://", 1)[1].split("/")[0]
    server = (
        f"at {get_endpoint()}" if get_endpoint() else "at Amazon (another server: AWS_ENDPOINT_URL)"
    )
    return f"{path}: there is no bucket {bucket!r} {server}"


def is_bucket_missing(error: BaseException) -> bool:
    """Whether an error says that the bucket does not exist."""
    return _find_error_code(str(error)) == "NoSuchBucket"


def get_endpoint() -> str:
    """Get the S3 server that the environment names; "" for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def get_region() -> str:
    """Get the S3 region that the environment names, or else the one that most servers accept."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def await_answer(path: str, work: Callable[[], Answer], patience: timedelta) -> Answer:
    """Call `work`, which asks a remote store, and return its result; warn if it takes long.

    `work` runs in a thread of its own, as clients ignore Ctrl-C while they wait; this thread reacts
    to it, and abandons them. `patience` is how long `work` tries, stated in the warning.
    """
    answer = _run_aside(work)
    if not wait([answer], SILENCE_S).done:
        reason = _run_aside(lambda: _explain_silence(path))
        has_reason = wait([reason], PROBE_TIMEOUT_S).done
        hint = f" ({reason.result()})" if has_reason and reason.result() else ""
        if not wait([answer], 0).done:
            log.warning(
                "%s does not answer yet%s: trying for up to %.0f s (Ctrl-C stops)",
                *(path, hint, patience.total_seconds()),
            )
    return answer.result()


def _run_aside(work: Callable[[], Answer]) -> Future[Answer]:
    """Call `work` in a thread that the end of the process does not wait for."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _explain_silence(path: str) -> str:
    """Explain why a server may be silent; "" if nothing is known."""
    if path.startswith(S3) and not _are_credentials_given():
        return "no credentials are set: asking this machine for a role"
    address = urlsplit(_get_address(path))
    if address.hostname is None or urllib.request.getproxies().get(address.scheme):
        return ""
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        with socket.create_connection((address.hostname, port), timeout=PROBE_TIMEOUT_S):
            return f"{address.hostname}:{port} accepts connections, but does not answer"
    except OSError as error:
        is_timeout = isinstance(error, TimeoutError)
        reason = "no connection" if is_timeout else error.strerror or str(error)
        return f"{address.hostname}:{port}: {reason}"


def _get_address(path: str) -> str:
    """Get the URL of the server behind a path; "" for clients that find it themselves."""
    if path.startswith("http"):
        return path
    if path.startswith(S3):
        return get_endpoint() or f"https://s3.{get_region()}.amazonaws.com"
    return ""


def _are_credentials_given() -> bool:
    profile = expand_user("~/.aws/credentials")
    return any(name in os.environ for name in CREDENTIAL_VARIABLES) or profile.exists()


def _find_error_code(text: str) -> str | None:
    """Find the error code in an answer of S3; None if there is none."""
    match: Any = re.search(r"<Code>(\w+)</Code>", text)
    return None if match is None else str(match[1])


# The pauses between tries, seconds.
PAUSES_S = (0.2, 1.0, 3.0)
# System errors that are permanent.
PERMANENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
# Libraries that access stores over a network; their errors count as temporary, too.
NETWORK = ("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "obstore", "s3fs")


def retry_read(read: Callable[[], Answer]) -> Answer:
    """Call `read` and return its result; retry a few times after an error that may be temporary."""
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
    """Whether an error of the system or the network may be temporary."""
    if isinstance(error, PERMANENT):
        return False
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in NETWORK
