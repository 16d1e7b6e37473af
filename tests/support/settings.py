"""Settings of runs: of `stack.zarr` in a folder and in this process, if nothing else is said."""

from __future__ import annotations

import yaml

from steadystack.config import make_config

USUAL = {"input": {"path": "stack.zarr"}, "cluster": {"kind": "in-process"}}


def config_of(folder, **sections):
    """The settings with these sections; one that is given is taken as it is."""
    return make_config({**USUAL, **sections}, folder)


def window_config(folder, **sections):
    """The same with searches within 32 px, of pairs up to three frames apart."""
    usual = {
        "register": {"max_shift": 32},
        "pairs": {"strategy": "window", "width": 3},
        "output": {"shifts": "shifts.zarr"},
    }
    return config_of(folder, **usual | sections)


def write_run(folder, name="run", **sections):
    """The same as a file; its path."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**USUAL, **sections}))
    return path
