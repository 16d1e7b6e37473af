"""The demo as a command, whole or on a smaller series."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from steadystack.cli import main
from steadystack.cluster import connect
from steadystack.example import make_drifting_series
from steadystack.guide import example_run
from steadystack.register import register_translation

make_smaller_series = partial(make_drifting_series, frame_count=16, size=128)


def demonstrate(folder: Path) -> tuple[Path, str]:
    """The folder that the demo filled, and what it told."""
    done = CliRunner().invoke(main, ["demo", str(folder)])
    assert done.exit_code == 0, done.output
    return folder, done.output


def stay_in_process(patch: pytest.MonkeyPatch) -> None:
    """Let no run start worker processes, which take most of the time of short ones."""

    def connect_here(settings, **limits):
        return connect(settings.model_copy(update={"kind": "in-process"}), **limits)

    patch.setattr("steadystack.cluster.kinds.connect", connect_here)


@contextmanager
def made_smaller() -> Iterator[None]:
    """Demos have fewer frames, smaller ones, search their pairs not as far, and start no workers.

    Whole ones are tried by `scripts/test --all`, with the workers of each command.
    """
    with pytest.MonkeyPatch.context() as patch:
        stay_in_process(patch)
        patch.setattr(example_run, "make_drifting_series", make_smaller_series)
        near = partial(register_translation, max_shift=32)
        patch.setattr(example_run, "register_translation", near)
        yield
