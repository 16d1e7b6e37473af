"""Tasks on an engine: bounded in number, small, and honest about failures."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from distributed import LocalCluster

from helpers import rough
from steadystack.cluster import Cluster, Failure, connect, run_tasks, run_trees
from steadystack.cluster.tries import TASKS_PER_THREAD
from steadystack.config import ClusterSection, make_config
from steadystack.measure import BatchResult, measure_batch
from steadystack.model import InputError, RunError
from steadystack.outputs import write_image, write_stack
from steadystack.planning import open_series, set_up


def double(item, offset):
    return 2 * item + offset


def numbered(count):
    return ((item, item) for item in range(count))


def fail_at_five(item):
    if item == 5:
        raise RuntimeError("five")
    return item


def wrong_use(item):
    raise InputError("wrong")


@pytest.mark.parametrize("here", [True, False])
def test_every_item_has_its_result(client, here):
    found = dict(run_tasks(None if here else client, double, numbered(40), 100))
    assert found == {item: 2 * item + 100 for item in range(40)}


def test_the_scheduler_never_knows_more_than_a_few_tasks(client):
    drawn, most = 0, 0

    def items():
        nonlocal drawn
        for item in range(60):
            drawn += 1
            yield item, item

    for done, _ in enumerate(run_tasks(client, double, items(), 0), start=1):
        most = max(most, drawn - done)
    assert drawn == 60
    assert most <= TASKS_PER_THREAD * 2


def bracket(item, mark):
    return f"{item}{mark}"


def join(one, other):
    return f"({one} {other})"


def close(joined, mark):
    return f"{joined}{mark}"


@pytest.mark.parametrize("here", [True, False])
def test_trees_are_the_same_wherever_they_grow(client, here):
    trees = {count: list(range(count)) for count in (1, 2, 5, 16)}
    engine = None if here else client
    found = dict(run_trees(engine, bracket, join, close, trees.items(), "!"))
    assert found[1] == "0!!"
    assert found[5] == "((0! 1!) (2! (3! 4!)))!"
    assert sorted(found) == sorted(trees)


@pytest.mark.parametrize("here", [True, False])
def test_what_a_task_raises_is_its_failure_after_all_tries(client, here):
    engine = Cluster(None if here else client, retries=2)
    found = dict(run_tasks(engine, fail_at_five, numbered(20)))
    failure = found.pop(5)
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.tries) == ("RuntimeError: five", 3)
    assert found == {item: item for item in range(20) if item != 5}


@pytest.mark.parametrize("here", [True, False])
def test_wrong_use_is_raised_as_it_is(client, here):
    with pytest.raises(InputError, match="wrong"):
        list(run_tasks(Cluster(None if here else client, retries=2), wrong_use, numbered(3)))
    assert dict(run_tasks(client, double, numbered(3), 0)) == {0: 0, 1: 2, 2: 4}


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


def test_a_scheduler_without_workers_is_told(monkeypatch):
    monkeypatch.setattr("steadystack.cluster.kinds.WORKER_TIMEOUT_S", 1.0)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        pytest.raises(RunError, match="no worker was there"),
        connect(ClusterSection(kind="address", address=cluster.scheduler_address)),
    ):
        pass
