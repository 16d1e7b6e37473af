"""What a run costs, from a few pairs: by a clock that tells what pairs and frames took."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.guide import costs
from steadystack.measure import cut_into_batches
from steadystack.outputs import write_stack
from steadystack.planning import make_plan, open_series, set_up
from support.runs import counts, walk
from support.settings import config_of

FRAME_S, PAIR_S = 0.25, 0.5


class Clock:
    """Time that goes by while pairs are measured: so much for each of them, and for each frame."""

    def __init__(self, monkeypatch, times=1.0):
        self.now, self.measured = 0.0, []
        measure = costs.measure_pairs

        def measuring(source, table, method, size):
            pairs = np.stack([table.reference, table.moving], axis=1)
            self.measured.append(pairs)
            self.now += times * (FRAME_S * len(np.unique(pairs)) + PAIR_S * len(pairs))
            return measure(source, table, method, size)

        monkeypatch.setattr(costs, "measure_pairs", measuring)

    def __call__(self):
        return self.now


def set_up_run(folder, frames=None, **sections):
    write_stack(folder / "stack.zarr", counts(walk()) if frames is None else frames)
    usual = {"register": {"max_shift": 10}, "pairs": {"strategy": "window", "width": 3}}
    config = config_of(folder, **usual | sections)
    return set_up(config, open_series(config)[0])


def test_frames_and_pairs_cost_what_a_clock_tells_of_few(tmp_path, monkeypatch):
    clock, setup = Clock(monkeypatch), set_up_run(tmp_path)
    found = costs.estimate_costs(setup, walk(), clock)
    assert found.frame_s == pytest.approx(FRAME_S)
    assert found.pair_s == pytest.approx(PAIR_S)
    assert found.measured == 3
    assert sum(map(len, clock.measured)) <= 5
    assert len(np.unique(np.concatenate(clock.measured))) == 3
    own = {tuple(pair) for pair in setup.pairs.tolist()}
    assert {tuple(pair) for pairs in clock.measured for pair in pairs.tolist()} <= own

    batches = [rows for rows, _ in cut_into_batches(setup.pairs, setup.method, setup.size)]
    reads = sum(len({*setup.pairs[rows].ravel().tolist()}) for rows in batches)
    assert found.plan.frame_reads == reads
    tasks = FRAME_S * reads + PAIR_S * len(setup.pairs)
    beside = len(setup.pairs) * (2 * FRAME_S + PAIR_S) + costs.WRITING_S
    assert found.whole_s == pytest.approx(tasks + beside)


def test_several_threads_share_the_tasks(tmp_path, monkeypatch):
    cluster = {"kind": "local", "workers": 3, "threads_per_worker": 2, "worker_memory": "1 GiB"}
    setup = set_up_run(tmp_path, cluster=cluster)
    plan = make_plan(setup)
    assert plan.threads == 2 * plan.workers
    found = costs.Costs(plan, FRAME_S, PAIR_S, 3)
    alone = costs.Costs(make_plan(set_up_run(tmp_path)), FRAME_S, PAIR_S, 3)
    beside = len(setup.pairs) * (2 * FRAME_S + PAIR_S) + costs.WRITING_S
    tasks = FRAME_S * plan.frame_reads + PAIR_S * plan.pairs
    sharing = min(plan.threads, plan.tasks)
    assert found.whole_s == pytest.approx(tasks / sharing + beside + costs.STARTING_S)
    assert found.whole_bytes == plan.own_bytes + plan.workers * plan.worker_bytes
    assert alone.whole_bytes == alone.plan.own_bytes


def test_of_a_pair_that_takes_long_one_is_measured(tmp_path, monkeypatch):
    clock, setup = Clock(monkeypatch, times=10.0), set_up_run(tmp_path)
    found = costs.estimate_costs(setup, walk(), clock)
    assert [len(pairs) for pairs in clock.measured] == [1]
    assert found.pair_s == 10 * (2 * FRAME_S + PAIR_S)
    assert found.measured == 1


def test_a_pair_that_cannot_be_measured_tells_nothing(tmp_path, monkeypatch):
    clock, frames = Clock(monkeypatch), counts(walk())
    frames[:] = 7
    found = costs.estimate_costs(set_up_run(tmp_path, frames), walk(), clock)
    assert np.isnan(found.whole_s)
    assert sum(map(len, clock.measured)) <= costs.TRIED
    assert ("its time", "not known: none of the pairs that were tried could be measured") in (
        found.describe()
    )


def test_search_is_as_far_as_shifts_ask_for_where_a_run_is_to_find_out(tmp_path):
    setup = set_up_run(tmp_path, register={"max_shift": "auto"})
    shifts = walk()
    found = costs.estimate_costs(setup, shifts)
    apart = np.abs(setup.pairs[:, 1] - setup.pairs[:, 0]).max()
    assert apart == 3
    farthest = np.abs(shifts[setup.pairs[:, 1]] - shifts[setup.pairs[:, 0]]).max(axis=0)
    expected = np.maximum(2 * farthest + 16, 32)
    if (expected < 0.5 * np.array(setup.method.search.shape)).any():
        assert np.abs(np.array(found.plan.max_shift) - expected).max() <= 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (59.6, "60 s"),
        (119, "119 s"),
        (121, "2 min"),
        (7199, "120 min"),
        (9e4, "25 h"),
    ],
)
def test_durations_are_stated_roughly(seconds, words):
    assert costs.format_duration(seconds) == words


def test_a_run_that_does_not_fit_is_reported_with_the_search_that_is_enough(tmp_path, monkeypatch):
    setup = set_up_run(tmp_path, register={"max_shift": None})
    monkeypatch.setattr("steadystack.planning.forecast.read_available_memory", lambda: 2**20)
    found = costs.estimate_costs(setup, walk() / 10)
    assert np.isnan(found.whole_s)
    ((name, words),) = found.describe()
    assert name == "the whole run"
    assert words.startswith("would be refused: the run needs")
    assert words.endswith("judging by this preview, register.max_shift: [32, 32] is enough")
