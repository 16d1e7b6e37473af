"""Every second of a run stands in its log."""

from __future__ import annotations

import re

import numpy as np
import pytest

import steadystack
from steadystack.outputs import write_stack
from support.scenes import Scene
from support.settings import window_config


@pytest.mark.parametrize("command", ["run", "measure"])
def test_the_durations_that_are_stated_add_up_to_that_of_the_run(tmp_path, command):
    rng, scene = np.random.default_rng(5), Scene(5)
    path = np.cumsum(rng.normal(0, 1, (12, 2)), axis=0)
    frames = np.stack([1000 + 200 * scene.view((64, 72), shift) for shift in path])
    write_stack(tmp_path / "stack.zarr", frames.astype("u2"))
    output = {"shifts": "shifts.zarr", "corrected": "moved.zarr", "report": "page.html"}
    getattr(steadystack.stages, command)(window_config(tmp_path, output=output))
    log = (tmp_path / "run.log").read_text()
    told = dict(re.findall(r" INFO ([a-z ]+): ([\d.]+) s$", log, re.MULTILINE))
    stages = {"opening", "deciding on settings", "beginning", "measuring", "quality checks"}
    if command == "run":
        stages |= {"solving", "report", "correcting"}
    assert stages <= set(told)
    every = [float(one) for one in re.findall(r" INFO [a-z ]+: ([\d.]+) s$", log, re.MULTILINE)]
    total = float(re.search(rf"{command} is done after ([\d.]+) s", log)[1])
    assert abs(sum(every) - total) < 0.03 * total + 0.005 * (len(every) + 1)
