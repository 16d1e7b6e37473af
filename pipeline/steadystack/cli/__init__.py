"""The stages under the same names for the shell.

`commands` has their words, options and help, `first_steps` those of the commands that need no
settings, `follow_command` those of the one that waits for frames, `view_command` those of the one
that opens a window, `join_command` those of the one that takes many runs; `options` are what
several have; `outcomes` says what became of them, in plain lines and exit codes.
"""

from steadystack.cli.commands import main

__all__ = ["main"]
