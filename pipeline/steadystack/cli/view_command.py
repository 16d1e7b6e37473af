"""The command that shows a run in napari."""

from __future__ import annotations

import click

from steadystack import viewing
from steadystack.cli.options import config_argument
from steadystack.cli.outcomes import echo, reporting_errors
from steadystack.config import load_config


@click.command()
@config_argument
@reporting_errors
def view(config: str) -> None:
    """Look at the stack and the steady one in napari, and draw a region or a mask.

    Frames are read as they are looked at. What is drawn is saved by a button, as NAME.drawn.yaml
    and NAME.mask.npy beside CONFIG, which stays as it is; nothing is replaced. Needs napari and a
    display: pip install 'steadystack[napari]'
    """
    viewing.view(load_config(config), echo)
