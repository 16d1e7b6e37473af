"""Tasks on an engine: bounded in number, small, and honest about failures."""

from __future__ import annotations

import threading

import pytest
from distributed import SchedulerPlugin

from steadystack.cluster import Cluster, Failure, connect, run_tasks, run_trees
from steadystack.cluster.retries import TASKS_PER_THREAD
from steadystack.config import ClusterSection
from steadystack.model import InputError


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


def wrong_use_at_five(item):
    if item == 5:
        raise InputError("five")
    return item


def test_what_stops_a_run_stops_it_soon_however_slowly_results_are_used(client):
    found, waiting = [], threading.Event()

    def use(results):
        for each in results:
            found.append(each)
            waiting.wait(0.01)

    with pytest.raises(InputError, match="five"):
        use(run_tasks(client, wrong_use_at_five, numbered(300)))
    assert len(found) < 100
    assert all(key == result for key, result in found)


def hungry(item):
    if item == 3:
        held = bytearray(700 * 2**20)
        held[::4096] = b"x" * len(held[::4096])
        threading.Event().wait(60)
    return item


def test_a_task_that_is_too_large_is_a_failure_and_takes_no_other_with_it():
    asked = ClusterSection(workers=1, worker_memory="500 MiB", retries=1)
    with connect(asked) as cluster:
        found = dict(run_tasks(cluster, hungry, ((item, item) for item in range(12))))
    failure = found.pop(3)
    assert isinstance(failure, Failure)
    assert "worker died" in failure.reason
    assert failure.tries == 2
    assert [result for result in found.values() if isinstance(result, Failure)] == []


class Counting(SchedulerPlugin):
    """The most tasks that a scheduler knew at a time, and how many came and went."""

    def __init__(self, scheduler):
        self.scheduler, self.most, self.done = scheduler, 0, 0

    def transition(self, key, start, finish, *args, **kwargs):
        self.most = max(self.most, len(self.scheduler.tasks))
        self.done += finish == "memory"


def test_the_scheduler_knows_few_tasks_at_any_time(client):
    counting = Counting(client.cluster.scheduler)
    client.cluster.scheduler.add_plugin(counting, name="counting")
    try:
        found = dict(run_tasks(Cluster(client), abs, ((item, -item) for item in range(400))))
    finally:
        client.cluster.scheduler.remove_plugin("counting")
    assert found == {item: item for item in range(400)}
    assert counting.done == 400
    threads = sum(client.nthreads().values())
    # those that are over are forgotten a moment later
    assert counting.most <= 4 * TASKS_PER_THREAD * threads
