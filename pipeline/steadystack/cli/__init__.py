"""The stages under the same names for the shell."""

from steadystack.cli.commands import main

__all__ = ["main"]
