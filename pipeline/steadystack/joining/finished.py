"""Open finished runs to be joined, each measured and solved by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.cluster import Engine
from steadystack.common_frame import choose_members
from steadystack.config import Config
from steadystack.dataset import read_pairs
from steadystack.durable import get_place
from steadystack.measure import get_camera_image_path
from steadystack.model import UNSOLVED, FrameTable, InputError, PairTable
from steadystack.planning import (
    Setup,
    find_other_size,
    name_inputs,
    open_series,
    resolve_inputs,
    set_up,
)
from steadystack.stages import (
    add_camera_images,
    check_same_frames,
    get_lasting_attributes,
    list_estimated_images,
    load_own_shifts,
    recall_motion,
    recall_run,
    solve_series,
)


@dataclass(frozen=True, eq=False)
class SolvedSeries:
    """A series that was measured, and solved by itself.

    Attributes
    ----------
    name : its unique name
    setup : the run, with all settings decided
    pairs, frames : as measured and solved, without interpolated frames
    members : indices of the frames in the mean of each connected part; a single empty one if no
        frame has a shift
    known : attributes of its dataset that are kept
    """

    name: str
    setup: Setup
    pairs: PairTable
    frames: FrameTable
    members: list[NDArray[np.int64]]
    known: Mapping[str, str]


def open_finished(
    configs: Sequence[Config], *, by_means: bool = True
) -> dict[str, tuple[Setup, xr.Dataset]]:
    """Open the finished runs of these settings, by name of the series; reads only a few frames.

    Settings with several inputs give a run for each. `by_means`: join them by their means,
    otherwise by a shared drift.

    Raises
    ------
    InputError
        Where a run is not finished, or was made with other settings, and where series cannot share
        a frame.
    """
    if not all(isinstance(one, Config) for one in configs):
        raise InputError("expected a list of settings, as steadystack.load_config returns them")
    singles = _name_series(configs)
    if len(singles) < 2:
        raise InputError(
            "there is one series: joining takes at least two, the settings of each, or settings "
            "with several inputs"
        )
    found = {name: _open_one(name, config, by_means) for name, config in singles.items()}
    check_alike({name: setup for name, (setup, _) in found.items()}, same_shape=by_means)
    if not by_means:
        _check_same_times(found)
    return found


def _name_series(configs: Sequence[Config]) -> dict[str, Config]:
    """Name the series after their stacks, or after their datasets if stacks have the same name."""
    named = [pair for config in configs for pair in resolve_inputs(config).items()]
    paths = [config.output.shifts for _, config in named]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise InputError(
            f"{twice[0]} is the output.shifts of two of the series: a series can be joined only "
            "once"
        )
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        names = name_inputs(paths)
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two of the series have the name {name!r}: set another output.shifts")
    return dict(zip(names, (config for _, config in named), strict=True))


def _open_one(name: str, config: Config, by_means: bool) -> tuple[Setup, xr.Dataset]:
    """Open one finished run, with the camera images that it has made."""
    setup = recall_run(set_up(config, open_series(config)[0]))
    shifts = load_own_shifts(setup)
    if (shifts["component"] == UNSOLVED).all():
        raise InputError(f"{config.output.shifts} is not solved yet: run `steadystack run` first")
    check_same_frames(setup)
    setup = recall_motion(setup, shifts.attrs)
    _check_joinable(name, setup, by_means)
    for image in list_estimated_images(setup):
        path = get_camera_image_path(config.output.shifts, image)
        if not get_place(path).exists():
            return add_camera_images(setup), shifts
        kept: dict[str, Any] = {image: path}
        setup = replace(setup, method=replace(setup.method, **kept))
    return setup, shifts


def _check_joinable(name: str, setup: Setup, by_means: bool) -> None:
    """Refuse a run whose mean cannot be made, or lies in a coordinate frame other than its own."""
    config, search = setup.config, setup.method.search
    if config.motion.is_more_than_shift:
        raise InputError(
            f"{name}: series are joined by shifts alone, but its motion.model is "
            f"{config.motion.model}: set it to translation"
        )
    if config.object_.is_followed:
        raise InputError(
            f"{name}: series are joined by their whole frames, but object.mask follows an object: "
            "leave it out to join them"
        )
    if setup.series.outside is not None:
        raise InputError(
            f"{name}: its shifts are relative to an image from outside (external_reference.path), "
            "and series with the same image are already aligned with it: leave it out to join "
            "them"
        )
    if by_means and len(search.blocks) > 1:
        raise InputError(
            f"{name}: series are joined where frames fit into one block, but {search.shape} pixels "
            f"take {len(search.blocks)}: use a coarser input.level"
        )


def check_alike(setups: Mapping[str, Setup], *, same_shape: bool = True) -> None:
    """Refuse series whose frames have other axes, shapes or sizes of pixels."""
    (first, of_first), *others = setups.items()
    one = of_first.series
    for name, setup in others:
        series = setup.series
        for noun, here, there in (
            ("the axes", series.source.axes, one.source.axes),
            ("frames of", series.source.frame_shape, one.source.frame_shape),
        ):
            if here != there and (same_shape or noun == "the axes"):
                values = [" x ".join(map(str, value)) for value in (here, there)]
                raise InputError(
                    f"{name} has {noun} {values[0]}, and {first} {values[1]}: series that are "
                    "joined need frames of the same shape; crop them to it with input.region"
                )
        sizes = find_other_size((series.pixel_size, series.unit), (one.pixel_size, one.unit))
        if sizes is not None:
            raise InputError(
                f"{name} has pixels of {sizes[0]:.6g} um, and {first} of {sizes[1]:.6g} um: series "
                "that are joined need pixels of the same size; if one of them is wrong, set "
                "input.pixel_size"
            )


def _check_same_times(found: Mapping[str, tuple[Setup, xr.Dataset]]) -> None:
    """Refuse series that do not have the same number of frames, or were not taken together."""
    (first, (_, of_first)), *others = found.items()
    for name, (_, shifts) in others:
        here, there = shifts.sizes["frame"], of_first.sizes["frame"]
        if here != there:
            raise InputError(
                f"{name} has {here} frames, and {first} {there}: positions that share a drift need "
                "one frame each at every time; choose the same ones with input.frames"
            )
    times = {name: _read_times(shifts) for name, (_, shifts) in found.items()}
    known = [time for time in times.values() if time is not None]
    if len(known) < len(times) or len({time[1:] for time in known}) > 1:
        _check_same_numbers(
            {name: shifts["frame"].to_numpy() for name, (_, shifts) in found.items()}
        )
        return
    if of_first.sizes["frame"] < 2:
        return
    reference, unit, _ = known[0]
    interval = float(np.median(np.abs(np.diff(reference))))
    for name, (values, *_) in zip(times, known, strict=True):
        off = np.abs(values - reference)
        if interval > 0 and off.max() > interval / 2:
            frame = int(off.argmax())
            raise InputError(
                f"frame {frame} of {name} was taken {off[frame]:.6g} {unit} from that of {first}, "
                f"and frames follow every {interval:.6g}: positions that share a drift need "
                "frames taken at the same times, to within half of that; choose the same ones "
                "with input.frames"
            )


def _check_same_numbers(numbers: Mapping[str, NDArray[np.int64]]) -> None:
    """Refuse series that use different frames of their stacks, if no times are known."""
    (first, of_first), *others = numbers.items()
    for name, frames in others:
        if not np.array_equal(frames, of_first):
            raise InputError(
                f"{name} has the frames {frames[0]} to {frames[-1]} of its stack, and {first} "
                f"{of_first[0]} to {of_first[-1]}: positions that share a drift need one frame "
                "each at every time; choose the same ones with input.frames"
            )


def _read_times(shifts: xr.Dataset) -> tuple[NDArray[np.float64], str, bool] | None:
    """The times of frames, their unit, and whether they are dates; None: some are not told."""
    if "time" not in shifts.coords:
        return None
    time = xr.decode_cf(shifts[["time"]])["time"]
    if time.dtype.kind == "M":
        since = time.to_numpy() - np.datetime64("1970-01-01")
        values, unit, is_date = since / np.timedelta64(1, "s"), "s", True
    else:
        values, is_date = time.to_numpy().astype(np.float64), False
        unit = str(time.attrs.get("unit", ""))
    return (values, unit, is_date) if np.isfinite(values).all() else None


def solve_again(name: str, setup: Setup, shifts: xr.Dataset, client: Engine = None) -> SolvedSeries:
    """Solve a series by itself, from the pairs in its dataset."""
    pairs, known = read_pairs(shifts), get_lasting_attributes(shifts)
    solve = setup.config.solve.model_copy(update={"interpolate": None})
    alone = replace(setup, config=setup.config.model_copy(update={"solve": solve}))
    frames = solve_series(alone, pairs, known, client)
    members = choose_members(frames, setup.series.source.frame_shape) or [np.zeros(0, np.int64)]
    return SolvedSeries(name, setup, pairs, frames, members, known)
