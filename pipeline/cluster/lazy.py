"""One cluster for a run, or for many, from when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeAlias

from distributed import performance_report

from pipeline.cluster.engines import Engine, connect
from pipeline.model import InputError

Cluster: TypeAlias = Callable[[], Engine]


@contextmanager
def one_cluster(report: str | None = None, **settings: Any) -> Iterator[Cluster]:
    """A function that gives the engine of these settings, the same whenever it is called.

    The first call starts it, or connects to it; the end closes it. `settings` are those of
    `connect`.

    Parameters
    ----------
    report : path of Dask's performance report, an HTML page; None: none is written
    """
    if report is not None and find_spec("bokeh") is None:
        raise InputError(
            "output.performance_report needs bokeh: install steadystack[dashboard], or leave it out"
        )
    with ExitStack() as stack:

        @cache
        def cluster() -> Engine:
            client = stack.enter_context(connect(**settings))
            if report is not None and client is not None:
                stack.enter_context(performance_report(report))
            return client

        yield cluster
