"""What is appended to a store while nobody waits for it."""

from __future__ import annotations

import threading

import pytest

from steadystack.durable.appender import Appender
from steadystack.model import UnreachableError


@pytest.mark.usefixtures("store")
def test_what_is_appended_is_sent_in_order_and_nobody_waits():
    sent, may = [], threading.Event()

    def send(content):
        may.wait()
        sent.append(content)

    with Appender(send, 0.0) as appender:
        appender.append(b"1")
        appender.append(b"2")
        assert not sent
        may.set()
        appender.flush()
        assert b"".join(sent) == b"12"
        appender.append(b"3")
    assert b"".join(sent) == b"123"


@pytest.mark.usefixtures("store")
def test_what_cannot_be_sent_is_reported():
    def send(content):
        raise UnreachableError("away")

    appender = Appender(send, 0.0)
    appender.append(b"1")
    with pytest.raises(UnreachableError):
        appender.flush()
    with pytest.raises(UnreachableError):
        appender.append(b"2")
    with pytest.raises(UnreachableError):
        appender.close()
    # What happened before is raised, and not what comes of it.
    with pytest.raises(ZeroDivisionError), Appender(send, 0.0) as appender:
        appender.append(bytes([1 // 0]))
    appender = Appender(send, 0.0)
    appender.append(b"1")
    appender.__exit__(UnreachableError, None, None)
