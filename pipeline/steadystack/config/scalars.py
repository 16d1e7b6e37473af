"""Write single values as YAML, for settings that are written with comments."""

from __future__ import annotations

import math
from typing import Any

import yaml


def format_scalar(value: Any, *, quoted: bool = False) -> str:
    """Write a value, or a list of them, as YAML on one line, in quotes if needed or if `quoted`.

    Reading it gives the same value, whatever characters a text contains.
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(format_scalar(entry, quoted=quoted) for entry in value)}]"
    if isinstance(value, str) and not value.isprintable():
        quoted = True  # line breaks and the like are escaped in double quotes only
    style = '"' if quoted else None
    text: str = yaml.safe_dump(value, default_style=style, allow_unicode=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")
