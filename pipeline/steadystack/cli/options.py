"""Arguments and options that several commands share, and how they are applied."""

from __future__ import annotations

from collections.abc import Mapping

import click

from steadystack.config import Config

config_argument = click.argument("config", type=click.Path())
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Start over, even if the output exists."
)

scheduler_option = click.option(
    "--scheduler-file",
    type=click.Path(dir_okay=False),
    help="Use the Dask scheduler that wrote this file instead of the section `cluster`.",
)


def get_only_input(inputs: Mapping[str, Config]) -> Config:
    """The settings of the first input, for a command that has only one."""
    return next(iter(inputs.values()))


def override_cluster(settings: Config, scheduler_file: str | None) -> Config:
    """Put the cluster of a scheduler file into the settings, if there is such a file."""
    if scheduler_file is None:
        return settings
    update = {"kind": "scheduler-file", "scheduler_file": scheduler_file, "address": None}
    if settings.cluster.security == "temporary":
        update["security"] = None
    return settings.model_copy(update={"cluster": settings.cluster.model_copy(update=update)})
