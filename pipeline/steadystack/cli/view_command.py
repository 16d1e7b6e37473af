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
    """Show a run in napari, and draw a region or a mask.

    Shows the stack and the corrected stack. Frames are read when they are shown. A button saves
    what you draw, as NAME.drawn.yaml and NAME.mask.npy beside CONFIG, which is not changed;
    existing files are not replaced. Needs napari and a display: pip install 'steadystack[napari]'
    """
    viewing.view(load_config(config), echo)
