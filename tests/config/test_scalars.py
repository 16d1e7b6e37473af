"""Single values as YAML."""

from __future__ import annotations

import pytest
import yaml

from steadystack.config import format_scalar

TEXTS = ("plain", "a: b", "img #1", "*a", "@x", "%a", "`x`", "{a}", "[a]", "- x", "true", "1", "",
         "~", "'", '"q"', "\\", "two\nlines", " x ", "😀 µ", "\x07", "\u2028", "\udcff", "x" * 999,
         "word " * 200)  # fmt: skip


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("value", [*TEXTS, 3, 0.5, None, True])
def test_a_value_is_read_again_as_it_was_written(value, quoted):
    if quoted and not isinstance(value, str):
        return
    line = f"key: {format_scalar(value, quoted=quoted)}  # a comment"
    assert len(line.splitlines()) == 1
    assert yaml.safe_load(line) == {"key": value}
