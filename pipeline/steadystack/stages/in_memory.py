"""The stages on arrays, without files: a stack on disk as an array, and an array's shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from steadystack.cluster import Cluster, Engine, current_client
from steadystack.config import make_config
from steadystack.measure import measure_rounds, solve_series
from steadystack.model import as_stack
from steadystack.planning import given_shifts, in_memory, set_up, still_digests
from steadystack.readers import ArrayFrames, Missing, lazy_stack, locate
from steadystack.stages.results import dataset, look_for_effect, new_table, with_stills


def open_stack(
    source: str,
    *,
    channel: int | str | None = None,
    level: int = 0,
    axes: str | None = None,
    variable: str | None = None,
    missing_chunks: Missing = "invalid",
    position: str | None = None,
    series: int | None = None,
    pixel_size: float | Sequence[float] | None = None,
) -> xr.DataArray:
    """A stack on disk as a lazy DataArray with the dims t and (z,) y, x.

    The parameters are the keys of the `input` section of the settings. Spatial coordinates are in
    the unit of the pixel size; where chunks are missing in the store, a lazy boolean coordinate
    ``valid`` says which pixels are there.
    """
    return lazy_stack(
        locate(
            str(source),
            channel=channel,
            level=level,
            axes=axes,
            variable=variable,
            missing_chunks=missing_chunks,
            position=position,
            series=series,
            pixel_size=pixel_size,
        )
    )


def estimate_shifts(
    stack: xr.DataArray | np.ndarray[Any, Any],
    *,
    mask: Any = None,
    max_shift: int | str | Sequence[int | str] | None = None,
    min_overlap: float | None = None,
    preprocess: Mapping[str, Any] | None = None,
    pairs: Mapping[str, Any] | None = None,
    solve: Mapping[str, Any] | None = None,
    initial_shifts: Any = None,
    client: Engine = None,
) -> xr.Dataset:
    """The shift of every frame of a stack, with everything that led to it.

    Parameters
    ----------
    stack : DataArray with the dims t and (z,) y, x, in memory or lazy; or an array (t, [z,] y, x)
        One channel: an array of four axes with 2 to 4 entries where planes would be is refused, as
        it is nearly always (t, c, y, x); a DataArray with the dim z says that they are planes.
    mask : bool array, True = valid; of the shape of a frame, or of all frames
    max_shift, min_overlap : as in the `register` section of the settings
    preprocess, pairs, solve : as the sections of the settings, such as
        ``pairs={"strategy": "window", "width": 5}``
    initial_shifts : array (frames, axes), or the dataset of an earlier call
        What is known of the shifts before, pixels; the shift of a pair is looked for within ±
        `max_shift` around it. One that has drift, or positions of the specimen: their negative.
    client : a Dask client; None: the current one, in this process if there is none

    Returns
    -------
    Dataset
        ``frame_shift`` (frame, axis) in pixels is what ``scipy.ndimage.shift(frame, shift)`` needs
        to lay a frame on the anchor; the README lists the other variables.

    Raises
    ------
    InputError
        For settings, shapes and dims that cannot be worked with.
    RunError
        If the cluster is lost, or more than a tenth of the pairs fail.
    """
    sections = {"preprocess": preprocess, "pairs": pairs, "solve": solve}
    config = make_config(
        {
            "input": {"path": "memory"},
            "register": {"max_shift": max_shift, "min_overlap": min_overlap},
            **{name: given for name, given in sections.items() if given is not None},
        }
    )
    source = ArrayFrames.checked(as_stack(stack, planes_told=False), mask)
    still_digests(config, source.frame_shape)
    known = given_shifts(initial_shifts, source.axes, source.frame_count, *source.pixel_size)
    setup = with_stills(set_up(config, in_memory(source, known)))
    limits, engine = config.cluster, client
    if not isinstance(engine, Cluster):
        engine = Cluster(engine or current_client(), limits.retries, limits.max_failed)
    rounds = measure_rounds(
        source,
        new_table(setup),
        setup.method,
        setup.size,
        len(setup.pairs),
        config.pairs.extra,
        client=engine,
    )
    *_, (table, _) = rounds
    frames = solve_series(source, table, setup.method, client=engine, **config.solve.model_dump())
    return dataset(setup, table, frames, look_for_effect(setup, table))
