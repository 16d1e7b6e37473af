"""The stages under the same names for the shell."""

from pipeline.cli.commands import main

__all__ = ["main"]
