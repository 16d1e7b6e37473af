"""One cluster for a run, or for many, from when it is first needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from distributed import performance_report

from steadystack.cluster.engines import Cluster
from steadystack.cluster.kinds import connect
from steadystack.cluster.settings import Settings
from steadystack.model import InputError


class OnDemand:
    """Gives an engine, the same whenever it is called; the first call starts or connects to it."""

    def __init__(self, stack: ExitStack, report: str | None, settings: Settings) -> None:
        self.stack, self.report, self.settings = stack, report, settings
        self.engine = Cluster()
        self.begun = False
        self.most: int | None = None

    def __call__(self, most_workers: int | None = None, task_bytes: int = 0) -> Cluster:
        """The engine; `most_workers` is how many worker processes fit into the memory here.

        Workers that are too small for tasks of `task_bytes` are refused.

        Where fewer do than before, the cluster is closed and a smaller one started.
        """
        fewer = most_workers is not None and (self.most is None or most_workers < self.most)
        if not self.begun or fewer:
            self.stack.close()
            started = connect(self.settings, most_workers=most_workers, task_bytes=task_bytes)
            self.engine = self.stack.enter_context(started)
            self.begun, self.most = True, most_workers
            if self.report is not None and self.engine.client is not None:
                self.stack.enter_context(performance_report(self.report))
        return self.engine


@contextmanager
def one_cluster(settings: Settings, report: str | None = None) -> Iterator[OnDemand]:
    """The engine of these settings, from when it is first called for until the end.

    Parameters
    ----------
    settings : of `connect`
    report : path of Dask's performance report, an HTML page; None: none is written
    """
    if report is not None and find_spec("bokeh") is None:
        raise InputError(
            "output.performance_report needs bokeh: install steadystack[dashboard], or leave it out"
        )
    with ExitStack() as stack:
        yield OnDemand(stack, report, settings)
