"""Secrets of URLs: in texts, errors, logs."""

from __future__ import annotations

import io
import json
import logging
import pickle

import pytest

from steadystack.model import InputError, RunError, UnreachableError, hide_in_values, hide_secrets

SIGNED = "https://host/a/stack.zarr?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=0a1b#x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host/a.zarr", "https://user:***@host/a.zarr"),
        ("https://user:p@ss:w'rd@host:8080/a", "https://user:***@host:8080/a"),
        ("s3://key:secret@bucket/a", "s3://key:***@bucket/a"),
        ("https://ghp_0123@host/a", "https://***@host/a"),
        (SIGNED, "https://host/a/stack.zarr"),
        (f"{SIGNED}: no answer", "https://host/a/stack.zarr: no answer"),
        (f"({SIGNED}), '{SIGNED}'.", "(https://host/a/stack.zarr), 'https://host/a/stack.zarr'."),
        ("http://host/x.npy%3Ftoken=abc not found", "http://host/x.npy not found"),
        ("az://box/a?sv=1&sig=ab%3D", "az://box/a"),
        ("no object x.npy?token=abc here", "no object x.npy?token=*** here"),
        ("x.npy?sv=1&sig=abc", "x.npy?sv=1&sig=***"),
        ("export AWS_SECRET_ACCESS_KEY=abc; run", "export AWS_SECRET_ACCESS_KEY=***; run"),
        (json.dumps({"a": SIGNED, "b": 1}), '{"a": "https://host/a/stack.zarr", "b": 1}'),
    ],
)  # fmt: skip
def test_what_is_secret_is_hidden(text, shown):
    assert hide_secrets(text) == shown
    assert hide_secrets(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/frames/t?.tif", "s3://bucket/t???.tif: nothing matches", "frames/a=b?.tif",
        "abfss://container@account.dfs.core.windows.net/a", "user:word@host", "C:\\a?b",
        "tcp://10.0.0.5:8786", "https://host:8080/a.zarr, someone@host", "tls://127.0.0.1:8786",
        "a public bucket needs AWS_SKIP_SIGNATURE=true", "input.path: is it https://host/a?",
        '["http://host:80/a","me@host"]', "https://host/a.zarr: 404 (not found)",
        "did you mean http://host/a.npy? supported are s3", "(https://host/a?), https://host/b#.",
    ],
)  # fmt: skip
def test_what_is_not_secret_stays(text):
    assert hide_secrets(text) == text


def test_texts_in_values_are_hidden():
    values = {"path": [SIGNED, "a.zarr"], "n": 1, "inner": {"path": None, "url": SIGNED}}
    shown = "https://host/a/stack.zarr"
    assert hide_in_values(values) == {
        "path": [shown, "a.zarr"],
        "n": 1,
        "inner": {"path": None, "url": shown},
    }


@pytest.mark.parametrize("kind", [InputError, RunError, UnreachableError])
def test_errors_hold_no_secrets(kind):
    error = kind(f"{SIGNED} does not exist")
    for same in (error, pickle.loads(pickle.dumps(error))):
        assert type(same) is kind
        assert str(same) == "https://host/a/stack.zarr does not exist"
        assert "0a1b" not in repr(same)


@pytest.mark.parametrize("name", ["steadystack.model.any", "steadystack"])
def test_logs_and_their_tracebacks_hold_no_secrets(name):
    stream, log = io.StringIO(), logging.getLogger(name)
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        log.warning("%s, try %d", SIGNED, 2)
        log.warning("try %d of 3", 2)
        try:
            raise ValueError(SIGNED)
        except ValueError:
            log.warning("it ends", exc_info=True)
    finally:
        logging.getLogger().removeHandler(handler)
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["https://host/a/stack.zarr, try 2", "try 2 of 3", "it ends"]
    assert lines[-1] == "ValueError: https://host/a/stack.zarr"
    assert "0a1b" not in stream.getvalue()


def test_logs_of_others_stay_as_they_are(caplog):
    logging.getLogger("another").warning("%s", SIGNED)
    assert caplog.records[0].args == (SIGNED,)
