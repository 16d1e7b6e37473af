"""A series whose pairs are measured in many small tasks, for what happens between them."""

from __future__ import annotations

import numpy as np

from steadystack.outputs import write_stack
from support.scenes import Scene

MANY_TASKS = "860 KiB"


def write_walk(folder):
    """The stack of a scene that wanders."""
    scene, rng = Scene(3), np.random.default_rng(3)
    walk = np.cumsum(rng.normal(0, 0.5, (16, 2)), axis=0)
    frames = [scene.view((48, 56), origin) + rng.normal(0, 0.05, (48, 56)) for origin in walk]
    write_stack(folder / "stack.zarr", np.stack(frames).astype("f4"))


def sections(name, **cluster):
    """Those of the settings of a run over it."""
    return {
        "register": {"max_shift": 6},
        "pairs": {"strategy": "all"},
        "output": {"shifts": f"{name}.zarr"},
        "cluster": {"task_memory": MANY_TASKS, **cluster},
    }
