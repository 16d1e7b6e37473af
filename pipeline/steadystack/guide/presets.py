"""Settings to start from for a kind of microscope: the files of `data/presets`."""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib import resources
from typing import Any

import yaml

from steadystack.model import InputError


def list_presets() -> dict[str, str]:
    """List the names of all presets, in order, each with a sentence on its purpose and reasons."""
    folder = resources.files("steadystack").joinpath("data", "presets")
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    return {
        name.removesuffix(".yaml"): " ".join(re.findall(r"^# (.*)$", text, re.MULTILINE))
        for name, text in sorted(texts.items())
    }


def check_preset(name: str) -> None:
    """Raise InputError if there is no preset of this name."""
    known = list_presets()
    if name not in known:
        close = get_close_matches(name, known, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f"--like {name}: the kinds are {', '.join(known)}{meant}")


def read_preset(name: str) -> dict[str, Any]:
    """Read the sections of a preset."""
    path = resources.files("steadystack").joinpath("data", "presets", f"{name}.yaml")
    sections: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return sections


def merge_preset(draft: str, name: str) -> str:
    """Put the keys of a preset into drafted settings, as YAML text.

    Sections in the preset lose the keys set in the draft; comments stay, with the results of the
    pairs that were tried.
    """
    path = resources.files("steadystack").joinpath("data", "presets", f"{name}.yaml")
    head, *sections = re.split(r"^(?=\w+:$)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for section in sections:
        title, _, keys = section.partition("\n")
        draft = _put_keys(draft, title, keys)
    first, _, rest = draft.partition("\n")
    return f"{first}\n# Like {name}:\n{head}{rest}"


def _put_keys(draft: str, title: str, keys: str) -> str:
    """Put `keys`, lines of text, in place of those of a section; a new one before the outputs."""
    found = re.search(rf"^{title}.*\n((?: .*\n)*)", draft, re.MULTILINE)
    if found is None:
        return re.sub(r"^(?=output:)", lambda _: f"{title}\n{keys}\n", draft, flags=re.MULTILINE)
    start, end = found.span(1)
    kept = re.sub(r"^  \w.*\n", "", draft[start:end], flags=re.MULTILINE)
    return draft[:start] + keys + kept + draft[end:]
