"""What a long run costs a cluster: time and scheduler memory per task, tasks known at a time.

    python scripts/bench_cluster.py [ROWS [PAIRS_PER_TASK]]

Pairs of tiny frames, 100 000 rows in tasks of 10 unless told otherwise, on two worker processes;
the scheduler is in this process. One line for every tenth of the run: all of them are to be alike.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from distributed import SchedulerPlugin

from steadystack.cluster import connect
from steadystack.config import ClusterSection, make_config
from steadystack.measure import measure_pairs
from steadystack.model import PairTable
from steadystack.outputs import write_stack
from steadystack.planning import open_series, set_up

SHAPE, WIDTH = (24, 24), 20


class Counting(SchedulerPlugin):
    """The most tasks known to a scheduler since it was last asked."""

    def __init__(self, scheduler) -> None:
        self.scheduler, self.most_tasks = scheduler, 0

    def transition(self, key, start, finish, *args, **kwargs) -> None:
        self.most_tasks = max(self.most_tasks, len(self.scheduler.tasks))

    def take_most_tasks(self) -> int:
        most_tasks, self.most_tasks = self.most_tasks, 0
        return most_tasks


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(rows: int, per_task: int) -> None:
    count = rows // WIDTH + WIDTH // 2 + 1
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        write_stack(Path(folder) / "stack.zarr", rng.normal(size=(count, *SHAPE)).astype("f4"))
        settings = {
            "input": {"path": "stack.zarr"},
            "register": {"max_shift": 3},
            "pairs": {"strategy": "window", "width": WIDTH},
        }
        setup = set_up(*(lambda c: (c, open_series(c)[0]))(make_config(settings, Path(folder))))
        pairs = setup.pairs[:rows]
        size = replace(setup.size, pairs=per_task)
        source, table = setup.series.source, PairTable.unmeasured(pairs, count, len(SHAPE))
        with connect(ClusterSection(workers=2)) as cluster:
            scheduler = cluster.client.cluster.scheduler
            counting = Counting(scheduler)
            cluster.client.cluster.scheduler.add_plugin(counting)
            print(f"{len(pairs)} rows of frames of {SHAPE}, {per_task} in a task")
            print("rows done | ms per task | memory of run and scheduler, MB | most tasks known")
            started, done_before, next_mark = time.perf_counter(), 0, rows // 10
            for latest, done in measure_pairs(source, table, setup.method, size, client=cluster):
                table = latest
                if done >= next_mark:
                    now = time.perf_counter()
                    tasks = (done - done_before) / per_task
                    print(
                        f"{done:9} | {1e3 * (now - started) / tasks:11.2f} | "
                        f"{resident_mb():31.0f} | {counting.take_most_tasks():16}",
                        flush=True,
                    )
                    started, done_before, next_mark = now, done, next_mark + rows // 10
            print(f"unmeasured or failed: {table.to_do.sum()}")


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], *["100000", "10"][len(sys.argv) - 1 :]]))
