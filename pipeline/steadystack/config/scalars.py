"""Write single values as YAML, for texts of settings that are put together with comments."""

from __future__ import annotations

import math
from typing import Any

import yaml


def format_scalar(value: Any, *, quoted: bool = False) -> str:
    """Write a value, or a list of them, as YAML on one line, in quotes where needed or if `quoted`.

    Reading it gives the same value, whatever letters a text has.
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(format_scalar(entry, quoted=quoted) for entry in value)}]"
    if isinstance(value, str) and not value.isprintable():
        quoted = True  # line breaks and the like are escaped in double quotes alone
    style = '"' if quoted else None
    text: str = yaml.safe_dump(value, default_style=style, allow_unicode=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")
