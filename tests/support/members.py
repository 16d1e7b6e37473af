"""Parameters of tests: what is tried always, and what only by `scripts/test --all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def slow_but(usual: Iterable[Any], everything: Iterable[Any]) -> list[Any]:
    """Everything, marked as slow but for what is usual; a tuple is the values of several names."""
    usual, everything = list(usual), list(everything)
    unknown = [one for one in usual if one not in everything]
    assert not unknown, f"{unknown} are none of the parameters"
    return [
        one
        if one in usual
        else pytest.param(*(one if isinstance(one, tuple) else [one]), marks=pytest.mark.slow)
        for one in everything
    ]
