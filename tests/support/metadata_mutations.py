"""Metadata that went wrong: small changes of JSON and of bytes, each from a seeded generator."""

from __future__ import annotations

import copy
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

# What stands where something else should.
ODD_VALUES = (
    None, True, False, 0, -1, 1, 3, 2**31, 10**30, 0.5, -0.0, 1e-320, float("nan"), float("inf"),
    "", "0", "1", "abc", "µm", "../0", "é" * 40, [], [[]], [1], [0, 0, 0], ["a"],
    [None, None, None], {}, {"path": "0"}, {"name": "x"}, [{}],
)  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """A change: where it was made, as the keys down to it or as a name, and in words."""

    keys: tuple[Any, ...]
    words: str

    def touches(self, *names: Any) -> bool:
        return any(key in names for key in self.keys)


def list_keys(node: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the keys down to every entry of nested dicts and lists."""
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    listed = []
    for key, value in entries:
        listed.append((*above, key))
        if isinstance(value, dict | list):
            listed += list_keys(value, (*above, key))
    return listed


def mutate_json(random: np.random.Generator, document: Any) -> tuple[Any, Mutation]:
    """Change one entry: another value, or none, or twice, or under another name."""
    changed = copy.deepcopy(document)
    choices = list_keys(changed)
    keys = choices[random.integers(len(choices))]
    parent = changed
    for key in keys[:-1]:
        parent = parent[key]
    last, how = keys[-1], ("replace", "replace", "replace", "delete", "double")[random.integers(5)]
    if how == "delete":
        del parent[last]
    elif how == "double" and isinstance(parent, list):
        parent.insert(last, copy.deepcopy(parent[last]))
    elif how == "double":
        parent[f"{last}_"] = parent.pop(last)
    else:
        value = copy.deepcopy(ODD_VALUES[random.integers(len(ODD_VALUES))])
        parent[last] = value
        how = f"replace by {value!r}"
    return changed, Mutation(keys, f"{'.'.join(map(str, keys))}: {how}")


def mutate_bytes(
    random: np.random.Generator, content: bytes, places: list[tuple[str, int, int]]
) -> tuple[bytes, Mutation]:
    """Change a few bytes of one of the named places (name, start, stop), or zero or repeat it."""
    name, start, stop = places[random.integers(len(places))]
    changed, how = bytearray(content), ("bytes", "zero", "ones", "small")[random.integers(4)]
    if how == "bytes":
        for _ in range(random.integers(1, 4)):
            changed[random.integers(start, stop)] = random.integers(256)
    elif how == "small":
        changed[random.integers(start, stop)] ^= 1 << random.integers(8)
    else:
        changed[start:stop] = bytes([0 if how == "zero" else 255]) * (stop - start)
    return bytes(changed), Mutation((name,), f"{name}: {how}")


def mutate_text(
    random: np.random.Generator, content: bytes, start: int, stop: int, letters: bytes
) -> tuple[bytes, Mutation]:
    """Put another of `letters` in the place of one of them."""
    places = [place for place in range(start, stop) if content[place] in letters]
    place, letter = random.choice(places), letters[random.integers(len(letters))]
    changed = content[:place] + bytes([letter]) + content[place + 1 :]
    return changed, Mutation(("header",), f"byte {place}: {chr(letter)!r}")


def list_tiff_places(content: bytes) -> list[tuple[str, int, int]]:
    """List where the entries of every page of a little-endian TIFF file stand, by their tags."""
    places = [("header", 0, 8)]
    page = struct.unpack_from("<I", content, 4)[0]
    while page:
        count = struct.unpack_from("<H", content, page)[0]
        places.append(("count", page, page + 2))
        for entry in range(page + 2, page + 2 + 12 * count, 12):
            tag, kind, length, value = struct.unpack_from("<HHII", content, entry)
            places += [(str(tag), entry + 2, entry + 12), (str(tag), entry + 8, entry + 12)]
            if kind in (2, 5) and length * (1 if kind == 2 else 8) > 4:
                places.append((str(tag), value, value + length * (1 if kind == 2 else 8)))
        end = page + 2 + 12 * count
        places.append(("next", end, end + 4))
        page = struct.unpack_from("<I", content, end)[0]
    return places
