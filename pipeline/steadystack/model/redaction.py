"""Hide passwords and signatures in URLs from whatever is shown, logged or stored."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
PACKAGE = __name__.partition(".")[0]
# Characters that end a URL in running text (space, quote, HTML bracket), or may follow it.
_IN_URL = r"[^\s\"<>]"
_AFTER = r"['`).,:;\]}]*(?=[\s\"<>]|$)"
_BEHIND = rf"(?P<behind>{_AFTER})"
_PASSWORD = re.compile(r"(?P<user>://[^\s\"<>/@:]*):[^\s\"<>/]*@")
# On a web server, text before @ without a password may be a token; elsewhere it is a user name.
_TOKEN = re.compile(r"(?P<scheme>\bhttps?://)[^\s\"<>/@:]+@")
# The query, and the fragment, of a web address; elsewhere "?" may be the wildcard of a pattern. A
# "?" at the end of the address, as in a question, does not begin a query.
_QUERIES = (
    re.compile(
        rf"(?P<url>\bhttps?://[^\s\"<>?#]*?)(?:[?#]|%3[Ff]|%23)(?!{_AFTER}){_IN_URL}*?{_BEHIND}"
    ),
    re.compile(rf"(?P<url>://[^\s\"<>?#]*)[?#](?=[\w.%-]+=){_IN_URL}*?{_BEHIND}"),
)
# name=value where the name says that it is secret, as in a server's answer.
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
    """Make a log record, with secrets hidden in those of this package and their tracebacks."""
    record = _make_plain_record(*args, **kwargs)
    if (record.name or "").partition(".")[0] == PACKAGE:  # Python also makes records without a name
        message = record.getMessage()
        if (hidden := hide_secrets(message)) != message:
            record.msg, record.args = hidden, ()
        if record.exc_info:
            record.exc_text = hide_secrets(logging.Formatter().formatException(record.exc_info))
    return record


# The only place that all log records of a package pass, whatever the handlers.
logging.setLogRecordFactory(_make_record)
