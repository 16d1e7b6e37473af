"""Methods of a shifts dataset: ``shifts.steady``, in a script or a notebook.

Importing this module registers the accessor with xarray; so does any name of `steadystack` that
needs xarray. Libraries are imported when a method needs them.
"""

from __future__ import annotations

import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from steadystack.model import InputError, as_shifts
from steadystack.units import LISTED, PIXELS, find_micrometers, is_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from steadystack.model import Verdict

SHIFTS = ("frame_shift", "frame_shift_std")


@xr.register_dataset_accessor("steady")  # type: ignore[no-untyped-call]
class SteadyAccessor:
    """``shifts.steady`` of a solved shifts dataset.

    Every method raises InputError if the dataset is not a shifts dataset.
    """

    def __init__(self, shifts: xr.Dataset) -> None:
        self._shifts = shifts

    @property
    def verdict(self) -> Verdict:
        """How far to trust the shifts, see `steadystack.verdict`."""
        from steadystack.quality import verdict

        return verdict(as_shifts(self._shifts))

    def plot(self, ax: Axes | None = None, *, physical: bool = False) -> Axes:
        """Draw the drift, see `steadystack.plot.drift`."""
        from steadystack.plot import drift

        return drift(self._shifts, ax, physical=physical)

    def correct(self, stack: Any, **options: Any) -> xr.DataArray:
        """Move every frame of a stack by its shift, lazily, see `steadystack.correct`."""
        from steadystack.correction import correct

        return correct(stack, self._shifts, **options)

    def mean(self, stack: Any, **options: Any) -> xr.Dataset:
        """Take the mean of the moved frames of a stack, see `steadystack.mean`."""
        from steadystack.correction import mean

        return mean(stack, self._shifts, **options)

    def to(self, unit: str) -> xr.Dataset:
        """Convert frame shifts and their standard deviations to a unit of length such as "um".

        Returns ``frame_shift`` and, if it is there, ``frame_shift_std``, (frame, axis). Raises
        InputError if this is not a unit of length, or if the pixel size is not known.
        """
        shifts = as_shifts(self._shifts)
        found = shifts[[name for name in SHIFTS if name in shifts]]
        if unit in PIXELS:
            return found
        target = find_micrometers(unit)
        if target is None:
            raise InputError(f"unit {unit!r} is neither px nor a unit of length ({LISTED})")
        size = shifts.get("pixel_size", xr.DataArray(np.nan))
        micrometers = find_micrometers(str(size.attrs.get("units", "")))
        if micrometers is None or not all(map(is_size, np.ravel(size))):
            raise InputError(
                f"unit {unit!r} needs the size of a pixel, which the stack does not give: set "
                "input.pixel_size before the run, or use 'px'"
            )
        converted = found * (size * (micrometers / target)).drop_attrs()
        for name in converted.data_vars:
            converted[name].attrs = {**found[name].attrs, "units": unit}
        return converted

    def at(self, *, time: ArrayLike | None = None, frame: int | None = None) -> xr.DataArray:
        """The shift at a time, or of a frame by its number, in pixels.

        Parameters
        ----------
        time : one or several, in the unit of the coordinate ``time``; between two frames the shift
            is interpolated linearly; NaN before the first, after the last, and where one of the two
            has no shift that can be compared with the anchor's
        frame : the number that a frame has in its stack

        Returns
        -------
        DataArray (axis,), for several times (time, axis)
        """
        shifts = as_shifts(self._shifts)
        if (time is None) == (frame is None):
            raise InputError("at() takes either a time or a frame")
        _check_one_series(shifts)
        values = shifts["frame_shift"]
        if "component" in shifts:
            values = values.where(shifts["component"] == 0)
        if frame is not None:
            numbers = shifts["frame"].to_numpy()
            places = np.flatnonzero(numbers == frame)
            if len(places) != 1:
                raise InputError(
                    f"there is no frame {frame}: frames are {numbers.min()} to {numbers.max()}, "
                    f"{len(numbers)} of them"
                )
            return values.isel(frame=int(places[0]))
        if "time" not in shifts.coords:
            raise InputError("the stack has no frame times: give a frame instead")
        known, has_time = shifts["time"].to_numpy(), shifts["time"].notnull().to_numpy()
        if not has_time.any():
            raise InputError("no frame has a time: give a frame instead")
        wanted, first = np.asarray(time, known.dtype), known[has_time][0]
        moments = wanted - first, known[has_time] - first
        elapsed, times = (np.asarray(each / np.ones(1, each.dtype)) for each in moments)
        in_order = np.argsort(times, kind="stable")  # clocks may be set back
        along = [
            np.interp(np.ravel(elapsed), times[in_order], column[in_order], np.nan, np.nan)
            for column in values.to_numpy()[has_time].T
        ]
        found = xr.DataArray(
            np.stack(along, axis=-1),
            {"time": np.ravel(wanted), "axis": shifts["axis"]},
            ("time", "axis"),
            "frame_shift",
            values.attrs,
        )
        return found if wanted.ndim else found.isel(time=0)

    def __repr__(self) -> str:
        count, judged = self._shifts.sizes.get("frame", 0), self.verdict
        return "\n".join([f"{count} frames: {judged.trust}", *map(str, judged.reasons)])

    def _repr_html_(self) -> str:
        """The verdict with its reasons and, if matplotlib is installed, the drift."""
        from steadystack.plot import new_figure

        head, *reasons = (html.escape(line) for line in repr(self).splitlines())
        items = "".join(f"<li>{reason}</li>" for reason in reasons)
        text = f"<p><b>{head}</b></p><ul>{items}</ul>"
        try:
            figure = new_figure(7, 2.6)
        except InputError:  # no matplotlib
            return text
        self.plot(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg")
        svg = file.getvalue()
        return text + svg[svg.index("<svg") :]


def _check_one_series(shifts: xr.Dataset) -> None:
    """Check that frames are those of one series; raises InputError if several were joined."""
    series = shifts.coords.get("series")
    if series is None or series.dims != ("frame",):
        return  # one series, or a drift that several share
    names = list(dict.fromkeys(map(str, series.to_numpy())))
    if len(names) > 1:
        raise InputError(
            f"frame numbers and times are those of several series ({', '.join(names)}): select one "
            f'first, shifts.isel(frame=(shifts["series"] == "{names[0]}").values)'
        )
