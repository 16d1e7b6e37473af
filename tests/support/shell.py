"""The command of the shell, in this process."""

from __future__ import annotations

from click.testing import CliRunner

from steadystack.cli import main


def shell(*words):
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
