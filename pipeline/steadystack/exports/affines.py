"""The motion of frames as matrices, one per frame, in pixels of the whole stack."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.correction import get_channel_offsets, get_linear
from steadystack.model import Bools, InputError
from steadystack.readers import StackSpec, get_coordinates
from steadystack.units import find_micrometers, is_size
from steadystack.warp import make_affine

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Motions:
    """The matrices that map positions in every frame to the anchor.

    Attributes
    ----------
    numbers : of the frames in the whole stack
    axes, size, unit : of the matrices; the size of a pixel along each axis, 1 where it is not
        known, and its unit, "" if not known
    affine : (frames, axes + 1, axes + 1): applied to (position, 1) in a frame, it gives the
        position in the anchor; pixels from the centre of the whole stack's first one; NaN where not
        known
    is_linear : whether frames are also rotated, scaled or sheared
    known : (frames,) whether the motion is known, relative to the anchor
    level : level of the stack's pyramid whose pixels are meant
    channels : those that were measured, names or numbers; (): the only one
    offsets : (channels, axes) what is added to mapped positions in each, pixels; None: nothing
    """

    numbers: tuple[int, ...]
    axes: tuple[str, ...]
    size: tuple[float, ...]
    unit: str
    affine: NDArray[np.float64]
    is_linear: bool
    known: Bools
    level: int = 0
    channels: tuple[str | int, ...] = ()
    offsets: NDArray[np.float64] | None = None

    def warn_of_offsets(self, program: str) -> None:
        """Log a warning if channels have offsets, for programs that move all channels alike."""
        if self.offsets is not None:
            log.warning(
                "%s moves all channels alike: channel offsets (channel_offset) are not in this "
                "file; correct, .json, .affines.json and .xml include them",
                program,
            )

    def check_level(self, program: str) -> None:
        """Raise InputError if a program needs pixels of a level that was not measured."""
        if self.level:
            raise InputError(
                f"{program} uses pixels of level 0, but input.level {self.level} was measured: "
                "export .affines.json instead, which is in units of the pixel size"
            )

    def compute_in_units(self) -> NDArray[np.float64]:
        """Compute the matrices for positions in the unit of the pixel size."""
        unit = np.diag([*self.size, 1.0])
        return np.asarray(unit @ self.affine @ np.linalg.inv(unit))


def make_motions(shifts: xr.Dataset, spec: StackSpec | None) -> Motions:
    """Make the matrices of all frames of a shifts dataset.

    Parameters
    ----------
    spec : the stack, for where a region of it begins; None: it no longer exists

    Raises
    ------
    InputError
        If frames rotate, and were a region of a stack that no longer exists.
    """
    shift, linear = shifts["frame_shift"].to_numpy().astype(np.float64), get_linear(shifts)
    axes = tuple(str(axis) for axis in shifts["axis"].to_numpy())
    if linear is None:
        affine = make_affine(np.eye(len(axes)), shift, np.zeros(len(axes)))
    else:
        middle = _get_middle(shifts) + _find_first_pixel(shifts, spec, axes)
        affine = make_affine(linear, shift, middle)
    known = np.isfinite(affine).all(axis=(1, 2)) & (shifts["component"].to_numpy() == 0)
    is_sized, section = has_pixel_size(shifts), _get_input(shifts)
    channels = section.get("channel")
    return Motions(
        numbers=tuple(shifts["frame"].to_numpy().tolist()),
        axes=axes,
        size=tuple(get_pixel_size(shifts).tolist()) if is_sized else (1.0,) * len(axes),
        unit=str(shifts["pixel_size"].attrs.get("units", "")) if is_sized else "",
        affine=np.where(known[:, None, None], affine, np.nan),
        is_linear=linear is not None,
        known=known,
        level=int(section.get("level") or 0),
        channels=tuple(channels) if isinstance(channels, list) else (),
        offsets=get_channel_offsets(shifts),
    )


def find_plane_step(motions: Motions, spec: StackSpec | None) -> float:
    """Find the step along z of a stack of single planes, in the unit of the matrices.

    1 if it is not known in that unit, as for stacks without that axis.
    """
    if spec is None:
        return 1.0
    coordinates = get_coordinates(spec.uncut or spec)
    step, unit = coordinates.step["z"], coordinates.unit.get("z", "")
    if unit != motions.unit:
        from_unit, to_unit = find_micrometers(unit), find_micrometers(motions.unit)
        step = step * from_unit / to_unit if from_unit and to_unit else 1.0
    return float(step) if is_size(step) else 1.0


def _find_first_pixel(
    shifts: xr.Dataset, spec: StackSpec | None, axes: Sequence[str]
) -> NDArray[np.float64]:
    """Find where the measured frames begin in those of the whole stack, pixels."""
    if spec is not None:
        return np.array([spec.first_pixel.get(axis, 0) for axis in axes], np.float64)
    if _get_input(shifts).get("region"):
        raise InputError(
            "frames turn about the centre of input.region, and the stack, which is needed to find "
            "that point, is no longer there: restore it, or export a table (.csv) or the dataset "
            "(.nc)"
        )
    return np.zeros(len(axes))


def _get_input(shifts: xr.Dataset) -> dict[str, Any]:
    """The settings of the stack that was measured; {}: they are not known."""
    section = json.loads(shifts.attrs.get("configuration", "{}")).get("input")
    return section if isinstance(section, dict) else {}


def _get_middle(shifts: xr.Dataset) -> NDArray[np.float64]:
    """The middle (axes,) about which frames rotate, pixels of a frame as measured."""
    return np.array(json.loads(shifts.attrs["motion"])["centre"], np.float64)


def get_affines(shifts: xr.Dataset) -> NDArray[np.float64] | None:
    """The matrices (frames, axes + 1, axes + 1) mapping (position, 1) in frames to the anchor, px.

    For frames as measured. None if they are only shifted.
    """
    linear = get_linear(shifts)
    if linear is None:
        return None
    return make_affine(linear, shifts["frame_shift"].to_numpy(), _get_middle(shifts))


def has_pixel_size(shifts: xr.Dataset) -> bool:
    """Whether the size of a pixel is known along every axis."""
    return bool(np.isfinite(shifts["pixel_size"].to_numpy().astype(np.float64)).all())


def get_pixel_size(shifts: xr.Dataset) -> NDArray[np.float64]:
    """Size of a pixel along every axis; 1 where it is not known."""
    return np.nan_to_num(shifts["pixel_size"].to_numpy().astype(np.float64), nan=1.0)
