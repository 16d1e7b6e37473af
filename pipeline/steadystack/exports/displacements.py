"""Export the motion of frames as OME-Zarr 0.6 displacements: what is added to a point to move it.

Points are (t, y, x) or (t, z, y, x), in the units of the image's axes and from its origin; time is
unchanged. A field holds the displacements of points on a regular grid; between them readers
interpolate linearly. There are two, one for each direction.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.correction import get_motion
from steadystack.exports.affines import make_motions
from steadystack.exports.measured_stack import refuse_inside
from steadystack.model import Bools, Floats, InputError, hide_secrets
from steadystack.ome import Coordinates, make_field_attributes, make_scene_attributes
from steadystack.outputs import LEVEL, FieldArray
from steadystack.readers import StackSpec, get_coordinates
from steadystack.warp import LocalField, find_moved_corners

FRAMES, STEADY = "frames", "steady"  # the coordinate systems
FORWARD, BACKWARD = "frames_to_steady", "steady_to_frames"  # the fields
ENDS = {FORWARD: (FRAMES, STEADY), BACKWARD: (STEADY, FRAMES)}
# Largest error of an interpolated displacement along an axis, px, for each axis of the grid: less
# than 0.01 px in all.
CLOSE = 0.0025
# Smallest distance of points, px, however curved a field is, and most bytes of a frame.
FINEST, MOST_BYTES = 0.5, 2**24

# Maps points (points, axes), pixels, of the frame of this index.
Lay: TypeAlias = Callable[[int, Floats], NDArray[np.float64]]


@dataclass(frozen=True)
class PointGrid:
    """A regular grid of points.

    Attributes
    ----------
    first, step, count : of the points along each axis, pixels of the whole stack
    """

    first: tuple[float, ...]
    step: tuple[float, ...]
    count: tuple[int, ...]

    @classmethod
    def of_corners(cls, low: Floats, high: Floats) -> PointGrid:
        """The corners of a box."""
        sides = np.maximum(high - low, 1.0)
        return cls(tuple(low.tolist()), tuple(sides.tolist()), (2,) * len(low))

    def make_points(self) -> NDArray[np.float64]:
        """The points (points, axes), pixels."""
        sides = zip(self.first, self.step, self.count, strict=True)
        lines = [first + step * np.arange(count) for first, step, count in sides]
        return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, len(lines))


@dataclass(frozen=True, eq=False)
class Displacements:
    """The content of a group of displacements.

    Attributes
    ----------
    attributes : those of OME-Zarr
    about : further metadata: the image, and the frames whose motion is not known
    fields : by their names
    """

    attributes: Mapping[str, Any]
    about: Mapping[str, Any]
    fields: Mapping[str, FieldArray]


def make_displacements(
    shifts: xr.Dataset, spec: StackSpec | None, target: str, shifts_path: str
) -> Displacements:
    """Make the displacements of a shifts dataset.

    Parameters
    ----------
    spec : the stack, whose axes, units and origin the points have
    target : path of the group, outside of stack and dataset

    Raises
    ------
    InputError
        If the stack is not there, or the target would lie in it or in the dataset.
    """
    if spec is None:
        raise InputError(
            f"{target} is for points of the stack that was measured, which is no longer there: "
            "restore it, or export .affines.json (or .nc) instead"
        )
    refuse_inside(target, (spec.path, shifts_path))
    field, whole = get_motion(shifts), spec.uncut or spec
    if isinstance(field, LocalField):
        known = np.isfinite(field.values).all(axis=tuple(range(1, field.values.ndim)))
        known &= shifts["component"].to_numpy() == 0
        ways = _make_local_ways(field, known, [spec.first_pixel[axis] for axis in spec.spatial])
    else:
        known, ways = _make_linear_ways(shifts, spec)
    numbers = shifts["frame"].to_numpy().astype(int).tolist()
    coordinates = get_coordinates(whole)
    fields = {
        name: _make_field(name, way, grid, spec.spatial, numbers, known, coordinates)
        for name, (way, grid) in ways.items()
    }
    axes = _make_axes(spec.spatial, coordinates)
    return Displacements(
        attributes=make_scene_attributes({STEADY: axes, FRAMES: axes}, ENDS),
        about={
            "image": _name_image(whole, target),
            "unknown_frames": [n for n, good in zip(numbers, known, strict=True) if not good],
        },
        fields=fields,
    )


def _make_linear_ways(
    shifts: xr.Dataset, spec: StackSpec
) -> tuple[Bools, dict[str, tuple[Lay, PointGrid]]]:
    """Find the known frames, and for both directions how matrices map points, and the grid.

    A displacement is a linear function of the point, so the corners suffice. For the way back the
    box contains all that is seen in any frame.
    """
    motions, shape = make_motions(shifts, spec), (spec.uncut or spec).frame_shape
    motions.warn_of_offsets("a field")
    there = np.where(motions.known[:, None, None], motions.affine, np.eye(len(shape) + 1))
    corners = np.concatenate([find_moved_corners(shape, matrix) for matrix in there])
    ends = np.array(shape) - 1.0
    low = np.minimum(np.floor(corners.min(axis=0)), 0.0)
    high = np.maximum(np.ceil(corners.max(axis=0)), ends)
    return motions.known, {
        FORWARD: (partial(_lay, there), PointGrid.of_corners(np.zeros(len(shape)), ends)),
        BACKWARD: (partial(_lay, np.linalg.inv(there)), PointGrid.of_corners(low, high)),
    }


def _lay(matrices: NDArray[np.float64], frame: int, points: Floats) -> NDArray[np.float64]:
    matrix = matrices[frame]
    return np.asarray(points @ matrix[:-1, :-1].T + matrix[:-1, -1])


def _make_local_ways(
    field: LocalField, known: Bools, first: Sequence[int]
) -> dict[str, tuple[Lay, PointGrid]]:
    """Find how local shifts map points in both directions, and the grid for both.

    The grid covers the nodes' box, so densely that linear interpolation is close to the splines.

    Parameters
    ----------
    first : pixel of the whole stack at which the frames begin
    """
    bends = np.max([field[frame].find_bends() for frame in np.flatnonzero(known)], axis=0)
    low, high = (np.array([nodes[end] for nodes in field.nodes]) for end in (0, -1))
    steps = np.maximum(FINEST, np.sqrt(8 * CLOSE / np.maximum(bends, 1e-12)))
    count = np.maximum(np.ceil((high - low) / steps) + 1, 2)
    held = 8 * (1 + field.ndim) * count.prod()
    if (wide := (held / MOST_BYTES) ** (1 / field.ndim)) > 1:  # it nearly folds somewhere
        count = np.maximum(np.floor(count / wide), 2)
    start = np.array(first, np.float64)
    grid = PointGrid(
        first=tuple((low + start).tolist()),
        step=tuple(((high - low) / (count - 1)).tolist()),
        count=tuple(count.astype(int).tolist()),
    )

    def there(frame: int, points: Floats) -> NDArray[np.float64]:
        return field[frame].lay(points - start) + start

    def back(frame: int, points: Floats) -> NDArray[np.float64]:
        return np.asarray(points - field[frame].at_places(points - start))

    return {FORWARD: (there, grid), BACKWARD: (back, grid)}


def _make_field(
    name: str,
    lay: Lay,
    grid: PointGrid,
    spatial: Sequence[str],
    numbers: Sequence[int],
    known: Bools,
    coordinates: Coordinates,
) -> FieldArray:
    """Make the field of one direction; unknown and unmeasured frames are NaN.

    Parameters
    ----------
    numbers : of the frames in the whole stack, ascending
    """
    every = int(np.gcd.reduce(np.diff(numbers))) if len(numbers) > 1 else 1
    rows = {(n - numbers[0]) // every: at for at, n in enumerate(numbers) if known[at]}
    size = np.array([coordinates.step[axis] for axis in spatial])
    points, shape = grid.make_points(), (1 + len(spatial), *grid.count)

    def make_frame(row: int) -> NDArray[np.float64]:
        values = np.full(shape, np.nan)
        if row in rows:
            moved = (lay(rows[row], points) - points) * size
            values[0], values[1:] = 0.0, moved.T.reshape(len(spatial), *grid.count)
        return values

    starts = zip(spatial, grid.first, strict=True)
    origin = [coordinates.origin[axis] + coordinates.step[axis] * first for axis, first in starts]
    time, step = coordinates.origin["t"], coordinates.step["t"]
    return FieldArray(
        attributes=make_field_attributes(
            ENDS[name][0],
            _make_axes(spatial, coordinates),
            step=[step * every, *(size * grid.step).tolist()],
            origin=[time + step * numbers[0], *origin],
            path=LEVEL,
            name=name,
        ),
        names=("t", "c", *spatial),
        shape=((numbers[-1] - numbers[0]) // every + 1, *shape),
        make_frame=make_frame,
    )


def _make_axes(spatial: Sequence[str], coordinates: Coordinates) -> list[dict[str, Any]]:
    """Make the axes of points; time is discrete, as nothing is interpolated between frames."""
    time: dict[str, Any] = {**coordinates.make_axis("t"), "discrete": True}
    return [time, *(coordinates.make_axis(axis) for axis in spatial)]


def _name_image(whole: StackSpec, target: str) -> str:
    """The path of the image, relative to the group if both are local."""
    inside = f"/{whole.image}" if whole.image else ""
    if "://" in whole.path or "://" in target:
        return hide_secrets(whole.path + inside)
    path = os.path.relpath(Path(whole.path).absolute(), Path(target).absolute())
    return Path(path + inside).as_posix()
