"""What is sent to the workers of a run."""

from __future__ import annotations

import pickle

import numpy as np

from steadystack.config import make_config
from steadystack.measure import BatchResult, measure_batch
from steadystack.outputs import write_image, write_stack
from steadystack.planning import open_series, set_up
from support.scenes import rough


def test_what_travels_is_small(tmp_path):
    """A worker is sent a description and brings back numbers; it opens its own frames."""
    frames = np.stack([rough(seed, (96, 96)) for seed in range(8)]).astype("f4")
    write_stack(tmp_path / "stack.zarr", frames)
    write_image(tmp_path / "mask.zarr", np.ones((96, 96), bool))
    config = make_config(
        {
            "input": {"path": "stack.zarr"},
            "mask": {"path": "mask.zarr"},
            "register": {"max_shift": 8},
            "preprocess": {"flat_field": "mask.zarr"},
        },
        tmp_path,
    )
    setup = set_up(config, open_series(config)[0])
    sent = pickle.dumps((setup.series.source, setup.method, setup.pairs[:20]))
    assert len(sent) < 5_000
    result = measure_batch(setup.pairs[:20], setup.series.source, setup.method)
    assert isinstance(result, BatchResult)
    assert len(pickle.dumps(result)) < 20 * 1_000
