"""One cluster for a run, or for many, from when it is first needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from distributed import performance_report

from pipeline.cluster.engines import Engine, connect
from pipeline.model import InputError


class OnDemand:
    """Gives an engine, the same whenever it is called; the first call starts or connects to it."""

    def __init__(self, stack: ExitStack, report: str | None, settings: Mapping[str, Any]) -> None:
        self.stack, self.report, self.settings = stack, report, settings
        self.engine: Engine = None
        self.begun = False
        self.most: int | None = None

    def __call__(self, most_workers: int | None = None) -> Engine:
        """The engine; `most_workers` is how many worker processes fit into the memory here.

        Where fewer do than before, the cluster is closed and a smaller one started.
        """
        fewer = most_workers is not None and (self.most is None or most_workers < self.most)
        if not self.begun or fewer:
            self.stack.close()
            how = {**self.settings, **({"workers": most_workers} if most_workers else {})}
            self.engine = self.stack.enter_context(connect(**how))
            self.begun, self.most = True, most_workers
            if self.report is not None and self.engine is not None:
                self.stack.enter_context(performance_report(self.report))
        return self.engine


@contextmanager
def one_cluster(report: str | None = None, **settings: Any) -> Iterator[OnDemand]:
    """The engine of these settings, from when it is first called for until the end.

    Parameters
    ----------
    report : path of Dask's performance report, an HTML page; None: none is written
    settings : of `connect`
    """
    if report is not None and find_spec("bokeh") is None:
        raise InputError(
            "output.performance_report needs bokeh: install steadystack[dashboard], or leave it out"
        )
    with ExitStack() as stack:
        yield OnDemand(stack, report, settings)
