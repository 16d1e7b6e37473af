"""One file of settings for many inputs: the settings of each of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from glob import has_magic
from pathlib import PurePath

from steadystack.config import Config
from steadystack.durable import get_place
from steadystack.model import InputError
from steadystack.readers import INPUT_SUFFIXES, TIFF_SUFFIXES, Positions, list_positions

PLACE = "{name}"
# `input.position` for every image of a plate or a collection.
ALL = "all"

log = logging.getLogger(__name__)


def resolve_inputs(config: Config) -> dict[str, Config]:
    """The settings of every single input, by its name.

    `input.path` may be a list, or a pattern of local paths; `input.position` may be "all" images of
    a plate or a collection. A name is what stands in the place of a pattern's wildcards, so that it
    stays when more inputs match, or what tells a listed path from the others, and the position,
    such as B-03-0. It takes the place of ``{name}`` in the output section and in the paths of mask,
    flat field, fixed pattern, initial shifts, pairs and the other stack to correct.

    Raises InputError where nothing matches, names are not told apart, or inputs would share an
    output.
    """
    given = config.input.path
    listed = (given,) if isinstance(given, str) else given
    named: list[tuple[str, str]] = []
    plain = [path for path in listed if not _is_pattern(path)]
    named += zip(name_inputs(plain), plain, strict=True)
    for pattern in listed:
        if _is_pattern(pattern):
            named += [(_find_wild_part(pattern, path), path) for path in _list_matching(pattern)]
    if config.input.position == ALL:
        named = [image for one in named for image in _list_images(*one, alone=len(named) == 1)]
    for what, values in zip(("name", "path"), zip(*named, strict=True), strict=True):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise InputError(f"input.path: two inputs have the {what} {twice[0]!r}")
    if len(named) > 1:
        _check_places(config, len(named))
    found = {name: _make_single(config, path, name) for name, path in named}
    for single in found.values():
        _check_pattern(single.output.shifts, listed)
    return found


def resolve_only_input(config: Config) -> Config:
    """The settings of a run of one input; raises InputError if there are several."""
    found = resolve_inputs(config)
    if len(found) > 1:
        raise InputError(f"input.path is {len(found)} inputs, but this takes one: use run_all")
    return next(iter(found.values()))


def name_inputs(paths: Sequence[str]) -> list[str]:
    """A name for each of the paths, of the parts in which they differ; of one, its last part."""
    parts = [PurePath(_strip_suffix(path)).parts for path in paths]
    if len(parts) < 2:
        return [one[-1] for one in parts]
    before = _count_alike(parts)
    after = _count_alike([one[before:][::-1] for one in parts])
    return ["-".join(one[before : len(one) - after]) or one[-1] for one in parts]


def _count_alike(parts: Sequence[Sequence[str]]) -> int:
    """How many of the first parts all have in common."""
    same = [len(set(column)) == 1 for column in zip(*parts, strict=False)]
    return same.index(False) if False in same else len(same)


def _is_pattern(path: str) -> bool:
    """Whether a path stands for many inputs, and not for the frames of one."""
    return not path.lower().endswith(TIFF_SUFFIXES) and get_place(path).has_wildcards


def _list_matching(pattern: str) -> list[str]:
    found = get_place(pattern).list_matching()
    if not found:
        raise InputError(f"input.path: nothing matches {pattern}")
    return found


def _find_wild_part(pattern: str, path: str) -> str:
    """What stands for the parts of a pattern from its first wildcard to its last."""
    wild = [has_magic(part) for part in PurePath(pattern).parts]
    before, after = wild.index(True), wild[::-1].index(True)
    parts = PurePath(path).parts
    return _strip_suffix("-".join(parts[before : len(parts) - after]))


def list_images(path: str) -> Positions:
    """The images of a plate or a collection; wells that lack are told.

    Raises InputError where it is neither.
    """
    found = list_positions(path)
    if found is None:
        raise InputError(
            f"input.position all: {path} is neither a plate nor a collection of images"
        )
    if found.missing:
        log.warning("%s lists wells that it does not contain: %s", path, ", ".join(found.missing))
    return found


def _list_images(name: str, path: str, alone: bool) -> list[tuple[str, str]]:
    """Name and path of every image in a plate or a collection."""
    found = list_images(path)
    places = [place.replace("/", "-") for place in found.names]
    names = places if alone else [f"{name}-{place}" for place in places]
    return list(zip(names, found.paths(), strict=True))


def _strip_suffix(path: str) -> str:
    path = path.rstrip("/")
    ends = [suffix for suffix in INPUT_SUFFIXES if path.lower().endswith(suffix)]
    return path[: -len(ends[0])] if ends else path


def _check_places(config: Config, count: int) -> None:
    for key in ("shifts", "corrected", "report"):
        path = getattr(config.output, key)
        if path is not None and PLACE not in path:
            example = PurePath(path).with_stem(f"{PurePath(path).stem}-{PLACE}").name
            raise InputError(
                f"output.{key} {path} is one path for {count} inputs: put {PLACE} into it, such as "
                f"{example}"
            )


def _check_pattern(output: str, listed: Sequence[str]) -> None:
    """Refuse an output that would be one of the inputs the next time."""
    for pattern in listed:
        if _is_pattern(pattern) and get_place(output).matches(pattern):
            raise InputError(
                f"output.shifts {output} would be matched by input.path {pattern}: write it "
                "elsewhere"
            )


def _make_single(config: Config, path: str, name: str) -> Config:
    def named(value: object) -> object:
        return value.replace(PLACE, name) if isinstance(value, str) else value

    sections = {
        key: getattr(config, key).model_copy(
            update={field: named(value) for field, value in getattr(config, key)}
        )
        for key in ("mask", "preprocess", "initial_shifts", "pairs", "correct", "output")
    }
    update: dict[str, object] = {"path": path}
    if config.input.position == ALL:
        update["position"] = None  # the path is that of the image
    return config.model_copy(update={**sections, "input": config.input.model_copy(update=update)})
