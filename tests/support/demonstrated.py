"""The demo as a command, whole or on a smaller series."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from steadystack.cli import main
from steadystack.example import make_drifting_series
from steadystack.guide import example_run
from steadystack.register import register_translation

make_smaller_series = partial(make_drifting_series, frame_count=20, size=144)


def demonstrate(folder: Path) -> tuple[Path, str]:
    """The folder that the demo filled, and what it told."""
    done = CliRunner().invoke(main, ["demo", str(folder)])
    assert done.exit_code == 0, done.output
    return folder, done.output


@contextmanager
def made_smaller() -> Iterator[None]:
    """Demos have half as many frames, smaller ones, and search their pairs not as far."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(example_run, "make_drifting_series", make_smaller_series)
        near = partial(register_translation, max_shift=32)
        patch.setattr(example_run, "register_translation", near)
        yield
