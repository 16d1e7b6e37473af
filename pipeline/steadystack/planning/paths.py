"""Refuse outputs that overlap with inputs or with each other, or cannot hold the result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import combinations

import numpy as np

from steadystack.config import Certificates, Config
from steadystack.durable import get_place, paths_overlap
from steadystack.model import InputError
from steadystack.outputs import check_tiff_holds
from steadystack.readers import StackSpec, locate_stack

JOURNAL, LOG = "the journal", "the log"


def check_paths(config: Config, *, with_summary: bool = False) -> None:
    """Refuse outputs on, in or around an input, the settings or another output.

    Links and other spellings of a path count as their target; nothing is read.

    Parameters
    ----------
    with_summary : whether the table of several inputs is written, too, which then must not be an
        input

    Raises
    ------
    InputError
        Naming both keys and paths.
    """
    for key, target in _list_outputs(config, with_summary).items():
        check_target(key, target, _list_inputs(config))
    outputs = _list_outputs(config, with_summary=True)  # among each other, also where none is made
    for (key, target), (other_key, other) in combinations(outputs.items(), 2):
        if paths_overlap(target, other):
            raise InputError(
                f"{key} {target} and {other_key} {other} overlap: neither may lie inside the other"
            )


def check_further(config: Config, key: str, target: str) -> None:
    """Refuse a file, asked for by an option, on or in an input, the settings or an output."""
    path = target if "://" in target else os.path.abspath(target)
    check_target(key, path, _list_inputs(config) | _list_outputs(config, with_summary=True))


def check_target(key: str, target: str, sources: Mapping[str, str]) -> None:
    """Refuse a target on, in or around one of the sources, or one that the next run would read."""
    for other_key, source in sources.items():
        kind = "output" if _is_output(other_key) else "input"
        if paths_overlap(source, target):
            raise InputError(
                f"the output {target} ({key}) and the {kind} {source} ({other_key}) overlap: "
                "neither may lie inside the other"
            )
        if get_place(source).has_wildcards and get_place(target).matches(source):
            raise InputError(
                f"the output {target} ({key}) would match the inputs {source} the next time: "
                "choose another name or folder"
            )


def check_pixels(config: Config, spec: StackSpec) -> None:
    """Refuse a TIFF file for the corrected stack that cannot hold its pixels."""
    path, other = config.output.corrected, config.correct.stack
    if path is None or path.rstrip("/").endswith(".zarr"):
        return
    if other is not None:
        try:
            spec = locate_stack(other, channel=0)
        except InputError:
            return  # reported where it is moved: other commands do not need it
    check_tiff_holds(path, np.dtype(spec.dtype))


def _list_inputs(config: Config) -> dict[str, str]:
    """List what a run reads, by key of the settings."""
    security = config.cluster.security
    paths: dict[str, str | None] = {
        "input.path": config.input.one_path,
        "mask.path": config.mask.path,
        "object.mask": config.object_.mask,
        "preprocess.flat_field": config.preprocess.flat_field,
        "preprocess.fixed_pattern": config.preprocess.fixed_pattern,
        "initial_shifts.path": config.initial_shifts.path,
        "pairs.path": config.pairs.path,
        "external_reference.path": config.external_reference.path,
        "external_reference.mask": config.external_reference.mask,
        "correct.stack": config.correct.stack,
        "mean.path": config.mean.path,
        "cluster.scheduler_file": config.cluster.scheduler_file,
        "the settings": config.settings_path or None,
    }
    if isinstance(security, Certificates):
        paths |= {f"cluster.security.{key}": path for key, path in security.model_dump().items()}
    words = ("median", "estimate")  # words allowed in place of a path
    return {key: path for key, path in paths.items() if path is not None and path not in words}


def _is_output(key: str) -> bool:
    return key.startswith("output.") or key in (JOURNAL, LOG)


def _list_outputs(config: Config, with_summary: bool) -> dict[str, str]:
    """List what a run writes, by key of the settings, with its log and journal."""
    output = config.output
    shifts = output.shifts.rstrip("/")
    paths: Mapping[str, str | None] = {
        "output.shifts": shifts,
        "output.corrected": output.corrected,
        "output.mean": output.mean,
        "output.movie": output.movie,
        "output.report": output.report,
        "output.performance_report": output.performance_report,
        "output.summary": output.summary if with_summary else None,
        JOURNAL: f"{shifts}.journal",
        LOG: get_place(shifts).get_sibling("run.log").path,
    }
    return {key: path for key, path in paths.items() if path is not None}
