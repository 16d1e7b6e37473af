"""Reads that fail for what passes: a store that is away for a moment, a network that is busy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

log = logging.getLogger(__name__)

# Seconds between one try and the next.
PAUSES_S = (0.2, 1.0, 3.0)
# Errors of the system that are no accident: the same is said the next time.
LASTING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
# Libraries that reach stores over a network; not all of their errors are the system's.
NETWORK = ("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "obstore", "s3fs")


def patiently(read: Callable[[], Found]) -> Found:
    """What `read` gives; tried again a few times where it fails for what may pass."""
    for pause in PAUSES_S:
        try:
            return read()
        except Exception as error:
            if not may_pass(error):
                raise
            log.info("read again in %g s: %s: %s", pause, type(error).__name__, error)
        time.sleep(pause)
    return read()


def may_pass(error: BaseException) -> bool:
    """Whether an error may be gone the next time: of system or network, not of what was read."""
    if isinstance(error, LASTING):
        return False
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in NETWORK
