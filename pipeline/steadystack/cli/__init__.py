"""The shell commands, with the same names as the stages.

- `commands`: the commands, with their options and help
- `first_steps`: those that need no settings
- `follow_command`: the one that waits for frames
- `view_command`: the one that opens a window
- `join_command`: the one that takes many runs
- `options`: options that several commands share
- `outcomes`: results as plain lines and exit codes
"""

from steadystack.cli.commands import main

__all__ = ["main"]
