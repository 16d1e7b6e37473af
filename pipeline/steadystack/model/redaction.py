"""Passwords and signatures in URLs, hidden from whatever is shown, logged or stored."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
PACKAGE = __name__.partition(".")[0]
# What ends a URL in running text: a space, a quote, a bracket of a page; and what may follow it.
_IN_URL = r"[^\s\"<>]"
_AFTER = r"['`).,:;\]}]*(?=[\s\"<>]|$)"
_BEHIND = rf"(?P<behind>{_AFTER})"
_PASSWORD = re.compile(r"(?P<user>://[^\s\"<>/@:]*):[^\s\"<>/]*@")
# On a web server what stands before @ without a password may be a token; elsewhere it is a name.
_TOKEN = re.compile(r"(?P<scheme>\bhttps?://)[^\s\"<>/@:]+@")
# The query, and the fragment, of a web address; elsewhere "?" may be the wildcard of a pattern. One
# that ends the address, such as that of a question, begins no query.
_QUERIES = (
    re.compile(
        rf"(?P<url>\bhttps?://[^\s\"<>?#]*?)(?:[?#]|%3[Ff]|%23)(?!{_AFTER}){_IN_URL}*?{_BEHIND}"
    ),
    re.compile(rf"(?P<url>://[^\s\"<>?#]*)[?#](?=[\w.%-]+=){_IN_URL}*?{_BEHIND}"),
)
# name=value where the name says that it is secret, such as in what a server answers.
_NAMED = re.compile(
    r"(?P<name>[\w-]*(?:secret|passw(?:or)?d|token|signature|credential|api_?key|access_?key)"
    r"[\w-]*|(?<=[?&])sig)=(?!(?:true|false)\b)[^\s\"'<>&;,]+",
    re.IGNORECASE,
)


def hide_secrets(text: str) -> str:
    """Hide what is secret in the URLs of a text: ``user:***@host``, and queries are cut.

    >>> hide_secrets("https://user:secret@host/stack.zarr?X-Amz-Signature=0a1b: no answer")
    'https://user:***@host/stack.zarr: no answer'
    """
    if "://" in text:
        text = _PASSWORD.sub(rf"\g<user>:{HIDDEN}@", text)
        text = _TOKEN.sub(rf"\g<scheme>{HIDDEN}@", text)
        for query in _QUERIES:
            text = query.sub(r"\g<url>\g<behind>", text)
    return _NAMED.sub(rf"\g<name>={HIDDEN}", text) if "=" in text else text


def hide_in_values(value: Any) -> Any:
    """Hide what is secret in all texts of plain values, such as those of the settings."""
    if isinstance(value, str):
        return hide_secrets(value)
    if isinstance(value, Mapping):
        return {key: hide_in_values(inner) for key, inner in value.items()}
    return [hide_in_values(inner) for inner in value] if isinstance(value, list | tuple) else value


_make_plain_record = logging.getLogRecordFactory()


def _make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Make the record of a log; those of this package, and their tracebacks, hold no secrets."""
    record = _make_plain_record(*args, **kwargs)
    if (record.name or "").partition(".")[0] == PACKAGE:  # Python makes records without a name
        message = record.getMessage()
        if (hidden := hide_secrets(message)) != message:
            record.msg, record.args = hidden, ()
        if record.exc_info:
            record.exc_text = hide_secrets(logging.Formatter().formatException(record.exc_info))
    return record


# The only place that all loggers of a package pass on their way to whatever handlers there are.
logging.setLogRecordFactory(_make_record)
