"""The attributes of OME-Zarr 0.6 that say how points are moved between coordinate systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

VERSION = "0.6"
FOLDER = "coordinateTransformations"  # of a scene, in which the arrays of transformations are
COMPONENT = {"name": "c", "type": "displacement", "discrete": True}


def make_scene_attributes(
    systems: Mapping[str, Sequence[Mapping[str, Any]]], moves: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    """Make the attributes of a scene of displacements.

    Parameters
    ----------
    systems : the axes of each coordinate system by its name; first the one to show
    moves : which systems, from and to, each field of displacements joins, by its name in `FOLDER`
    """
    named = [
        {"name": name, "axes": [dict(axis) for axis in axes]} for name, axes in systems.items()
    ]
    transformations = [
        {
            "type": "displacements",
            "name": name,
            "input": {"name": start},
            "output": {"name": end},
            "path": f"{FOLDER}/{name}",
            "interpolation": "linear",
        }
        for name, (start, end) in moves.items()
    ]
    scene = {"coordinateSystems": named, "coordinateTransformations": transformations}
    return {"ome": {"version": VERSION, "scene": scene}}


def make_field_attributes(
    system: str,
    axes: Sequence[Mapping[str, Any]],
    *,
    step: Sequence[float],
    origin: Sequence[float],
    path: str,
    name: str,
) -> dict[str, Any]:
    """Make the attributes of the group of a field of displacements.

    Parameters
    ----------
    system, axes : the coordinate system that the displacements begin in; its first axis is time,
        and the one of the components is put behind it
    step, origin : of the field's points along `axes`
    path : of the array in the group
    """
    scale: dict[str, Any] = {"type": "scale", "scale": [step[0], 1.0, *step[1:]]}
    if any(origin):
        move = {"type": "translation", "translation": [origin[0], 0.0, *origin[1:]]}
        scale = {"type": "sequence", "transformations": [scale, move]}
    placed = {**scale, "input": {"path": path}, "output": {"name": system}}
    entries = [dict(axis) for axis in (axes[0], COMPONENT, *axes[1:])]
    multiscale = {
        "name": name,
        "coordinateSystems": [{"name": system, "axes": entries}],
        "datasets": [{"path": path, "coordinateTransformations": [placed]}],
        "type": "none",
        "metadata": {"description": "one level: no field is made coarser"},
    }
    return {"ome": {"version": VERSION, "multiscales": [multiscale]}}
