"""Make the settings of each input from one file of settings for many inputs."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from glob import has_magic
from pathlib import PurePath

from steadystack.config import Config
from steadystack.durable import explaining_unreadable, get_place
from steadystack.file_formats import PICTURE_SUFFIXES, TIFF_SUFFIXES, split_hdf_path
from steadystack.model import InputError, hide_secrets
from steadystack.readers import INPUT_SUFFIXES, Positions, list_positions

# Placeholder for the name of an input in the paths of the settings.
PLACEHOLDER = "{name}"
# `input.position` for every image of a plate or a collection.
ALL = "all"
WILDCARDS = re.compile(r"\[[^]]*\]|[*?[]")

log = logging.getLogger(__name__)


def resolve_inputs(config: Config) -> dict[str, Config]:
    """Make the settings of every single input, by its name.

    `input.path` may be a list, or a pattern of local paths; `input.position` may be "all" images of
    a plate or a collection. The name of an input is the text that a pattern's wildcards match (so
    it does not change when more inputs match), or the parts in which a listed path differs from the
    others, plus the position, such as B-03-0. It replaces ``{name}`` in the output section and in
    the paths of mask, flat field, fixed pattern, initial shifts, pairs, weights and the other stack
    to correct.

    Raises InputError where nothing matches, inputs have the same name, or would share an output.
    """
    setting = config.input.path
    paths = (setting,) if isinstance(setting, str) else setting
    inputs: list[tuple[str, str]] = []
    plain_paths = [path for path in paths if not _is_pattern(path)]
    inputs += zip(_name_series(plain_paths), plain_paths, strict=True)
    for pattern in paths:
        if _is_pattern(pattern):
            inputs += [(_find_wild_part(pattern, path), path) for path in _list_matching(pattern)]
    if config.input.position == ALL:
        alone = len(inputs) == 1
        inputs = [image for name, path in inputs for image in _list_images(name, path, alone)]
    for noun, values in zip(("name", "path"), zip(*inputs, strict=True), strict=True):
        duplicates = [value for value, count in Counter(values).items() if count > 1]
        if duplicates:
            raise InputError(f"input.path: two inputs have the {noun} {duplicates[0]!r}")
    if len(inputs) > 1:
        _check_placeholders(config, len(inputs))
    configs = {name: _make_single(config, path, name) for name, path in inputs}
    for single in configs.values():
        _check_patterns(single, paths)
    return configs


def resolve_only_input(config: Config) -> Config:
    """Make the settings of a run of one input; raises InputError if there are several."""
    configs = resolve_inputs(config)
    if len(configs) > 1:
        raise InputError(f"input.path gives {len(configs)} inputs, but this takes one: use run_all")
    return next(iter(configs.values()))


def name_inputs(paths: Sequence[str]) -> list[str]:
    """Name each path by the folders and files in which it differs; a single one by its last."""
    split_paths = [PurePath(_strip_suffix(hide_secrets(path))).parts for path in paths]
    if len(split_paths) < 2:
        return [names[-1] for names in split_paths]
    before = _count_alike(split_paths)
    after = _count_alike([names[before:][::-1] for names in split_paths])
    return ["-".join(names[before : len(names) - after]) or names[-1] for names in split_paths]


def _count_alike(split_paths: Sequence[Sequence[str]]) -> int:
    """Count the names, from the first on, that all of the paths have in common."""
    is_common = [len(set(names)) == 1 for names in zip(*split_paths, strict=False)]
    return is_common.index(False) if False in is_common else len(is_common)


def _is_pattern(path: str) -> bool:
    """Whether a path stands for many inputs, rather than for the frames of one."""
    inside = split_hdf_path(path)  # HDF5 files with a named dataset are frames
    is_series = path.lower().endswith((*TIFF_SUFFIXES, *PICTURE_SUFFIXES)) or (inside and inside[1])
    return not is_series and get_place(path).has_wildcards


def _list_matching(pattern: str) -> list[str]:
    """The paths that match a pattern; raises InputError if there are none."""
    paths = get_place(pattern).list_matching()
    if not paths:
        raise InputError(f"input.path: nothing matches {pattern}")
    return paths


def _name_series(paths: Sequence[str]) -> list[str]:
    """Name inputs without their wildcards; those that are alike then have their place, too."""
    names = name_inputs(paths)
    plain = [_drop_wildcards(name, path) for name, path in zip(names, paths, strict=True)]
    return [
        f"{name}-{number}" if plain.count(name) > 1 and name != wild else name
        for number, (name, wild) in enumerate(zip(plain, names, strict=True), start=1)
    ]


def _drop_wildcards(name: str, path: str) -> str:
    """The name of a series of files without its pattern's wildcards, as no output may have them.

    If nothing else is left, the folder's name. A path that exists keeps its name.
    """
    if not (has_magic(name) and get_place(path).has_wildcards):
        return name
    plain = WILDCARDS.sub("", name).strip(" -_.")
    return plain or WILDCARDS.sub("", PurePath(path).parent.name) or "series"


def _find_wild_part(pattern: str, path: str) -> str:
    """The parts of a path that match those of a pattern from its first wildcard to its last."""
    literal, rest = get_place(pattern).split_pattern()
    is_wild = [False] * len(literal) + [has_magic(name) for name in rest]
    before, after = is_wild.index(True), is_wild[::-1].index(True)
    names = PurePath(path).parts
    return _strip_suffix("-".join(names[before : len(names) - after]))


def list_images(path: str) -> Positions:
    """List the images of a plate or a collection; logs a warning about missing wells.

    Raises InputError if the path is neither.
    """
    with explaining_unreadable(path):
        positions = list_positions(path)
    if positions is None:
        raise InputError(
            f"input.position all: {path} is neither a plate nor a collection of images"
        )
    if positions.missing:
        missing = ", ".join(positions.missing)
        log.warning("%s lists wells that it does not contain: %s", path, missing)
    return positions


def _list_images(name: str, path: str, alone: bool) -> list[tuple[str, str]]:
    """Name and path of every image in a plate or a collection.

    `name` is that of the plate; it is left out of the images' names if the plate is `alone`.
    """
    positions = list_images(path)
    labels = [position.replace("/", "-") for position in positions.names]
    names = labels if alone else [f"{name}-{label}" for label in labels]
    return list(zip(names, positions.paths(), strict=True))


def _strip_suffix(path: str) -> str:
    """The path without a trailing slash and without the suffix of an input."""
    path = path.rstrip("/")
    ends = [suffix for suffix in INPUT_SUFFIXES if path.lower().endswith(suffix)]
    return path[: -len(ends[0])] if ends else path


def _check_placeholders(config: Config, count: int) -> None:
    """Refuse an output path that several inputs would share."""
    for key in ("shifts", "corrected", "mean", "movie", "report"):
        path = getattr(config.output, key)
        if path is not None and PLACEHOLDER not in _split_template(path)[1]:
            example = PurePath(path).with_stem(f"{PurePath(path).stem}-{PLACEHOLDER}").name
            raise InputError(
                f"output.{key} {path} is one path for {count} inputs: put {PLACEHOLDER} into it, "
                f"such as {example}"
            )


def _split_template(path: str) -> tuple[str, str]:
    """Split a path into the folders that exist, whose names hold no placeholder, and the rest.

    The folders are "" if nothing in their names looks like one.
    """
    literal, rest = get_place(path).split_pattern()
    parts = [*literal, *rest]
    count = min(len(literal), len(parts) - 1)
    folders = str(PurePath(*parts[:count]))
    return (f"{folders}/", "/".join(parts[count:])) if PLACEHOLDER in folders else ("", path)


def _check_patterns(config: Config, paths: Sequence[str]) -> None:
    """Refuse an output that would be an input of the next run, or of another share."""
    for key in ("shifts", "corrected", "mean", "movie", "report"):
        output = getattr(config.output, key)
        for pattern in paths:
            if output is not None and _is_pattern(pattern) and get_place(output).matches(pattern):
                raise InputError(
                    f"output.{key} {output} would be matched by input.path {pattern}: write it "
                    "elsewhere"
                )


def _make_single(config: Config, path: str, name: str) -> Config:
    """The settings of one input, with its name filled into the paths."""

    def fill_in(value: object) -> object:
        """Replace the placeholder in a text, but not in names of folders that exist."""
        if not isinstance(value, str) or PLACEHOLDER not in value:
            return value
        literal, rest = _split_template(value)
        return literal + rest.replace(PLACEHOLDER, name)

    sections = {
        key: getattr(config, key).model_copy(
            update={field: fill_in(value) for field, value in getattr(config, key)}
        )
        for key in (
            *("mask", "object_", "preprocess", "initial_shifts", "pairs"),
            *("correct", "mean", "output"),
        )
    }
    update: dict[str, object] = {"path": path}
    if config.input.position == ALL:
        update["position"] = None  # the path is that of the image
    return config.model_copy(update={**sections, "input": config.input.model_copy(update=update)})
