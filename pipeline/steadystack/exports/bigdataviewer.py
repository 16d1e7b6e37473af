"""Export the motion of frames for BigDataViewer: a transformation for every time point.

Its positions are x, y, z, its matrices are 12 numbers in three rows, and the first in a list of
transformations is applied last.
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from steadystack.exports.affines import Motions, find_plane_step
from steadystack.model import InputError
from steadystack.readers import StackSpec

AXES = ("t", "c", "z", "y", "x")  # of the OME-Zarr images that its reader takes
INSTEAD = "export .affines.json instead, or make it one"


def make_bigdataviewer_xml(motions: Motions, spec: StackSpec | None, target: str) -> bytes:
    """Make the XML file by which BigDataViewer shows the stack with every frame at its place.

    There is a setup for each channel, also moved by its offset, if it has one; frames with unknown
    motion are not time points.

    Parameters
    ----------
    target : path of the file, from where it finds the stack

    Raises
    ------
    InputError
        If BigDataViewer cannot read the stack, or if the stack or the target is not local.
    """
    motions.check_level("BigDataViewer")
    if "://" in target:
        raise InputError(
            f"BigDataViewer finds the stack relative to its XML file, but {target} is not on this "
            "machine: write it beside the stack"
        )
    whole, place, inside = _find_image(spec)
    base = Path(target).absolute().parent
    pixel, unit = _to_xyz(np.diag([*motions.size, 1.0])), motions.unit or "pixel"
    if len(motions.size) < 3:
        pixel[2, 2] = find_plane_step(motions, whole)
    root = ET.Element("SpimData", version="0.2")
    _add(root, "BasePath", ".", type="relative")
    sequence = _add(root, "SequenceDescription")
    loader = _add(sequence, "ImageLoader", format="bdv.multimg.zarr", version="3.0")
    _add(loader, "zarr", Path(os.path.relpath(place, base)).as_posix(), type="relative")
    groups, setups = _add(loader, "zgroups"), _add(sequence, "ViewSetups")
    channels = range(whole.size("c"))
    for channel in channels:
        _add_setup(setups, whole, channel, np.diag(pixel)[:3], unit)
    names = ET.SubElement(setups, "Attributes", name="channel")
    for channel in channels:
        entry = _add(names, "Channel")
        _add(entry, "id", str(channel))
        _add(entry, "name", _name_channel(whole, channel))
    shown = np.flatnonzero(motions.known).tolist()
    points = _add(sequence, "Timepoints", type="pattern")
    _add(points, "integerpattern", ", ".join(str(motions.numbers[index]) for index in shown))
    _add(sequence, "MissingViews")
    registrations, moved = _add(root, "ViewRegistrations"), motions.compute_in_units()
    offsets = _find_offsets(motions, whole)
    for index in shown:
        for channel in channels:
            view = {"timepoint": str(motions.numbers[index]), "setup": str(channel)}
            _add(
                groups, "zgroup", setup=view["setup"], tp=view["timepoint"], path=inside,
                indicies=f"{channel} {view['timepoint']}",
            )  # fmt: skip
            entry = _add(registrations, "ViewRegistration", **view)
            if channel in offsets:
                _add_transform(entry, "channel offset", offsets[channel])
            _add_transform(entry, "steadystack", _to_xyz(moved[index]))
            _add_transform(entry, "calibration", pixel)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _find_offsets(motions: Motions, stack: StackSpec) -> dict[int, NDArray[np.float64]]:
    """The matrices (4, 4) over x, y, z, in units, of the channels that have offsets."""
    if motions.offsets is None or len(stack.several) != len(motions.offsets):
        return {}
    found = {}
    for channel, offset in zip(stack.several, motions.offsets, strict=True):
        matrix = np.eye(len(offset) + 1)
        matrix[:-1, -1] = offset * motions.size
        if offset.any():
            found[channel] = _to_xyz(matrix)
    return found


def _find_image(spec: StackSpec | None) -> tuple[StackSpec, Path, str]:
    """Find the whole stack, the folder that contains it, and its path therein."""
    if spec is None:
        raise InputError(
            "BigDataViewer needs the stack that was measured, which is no longer there: restore "
            "it, or export .affines.json instead"
        )
    whole = spec.uncut or spec
    if whole.image is None or whole.axes != AXES:
        what = "no OME-Zarr image" if whole.image is None else f"one of {', '.join(whole.axes)}"
        raise InputError(
            f"BigDataViewer reads OME-Zarr images of the axes {', '.join(AXES)}, and {whole.path} "
            f"is {what}: {INSTEAD}"
        )
    path = Path(whole.path).absolute()
    if not path.exists():
        raise InputError(
            f"BigDataViewer XML can only be written for stacks on this machine, and {whole.path} "
            "is not: export .affines.json instead"
        )
    return whole, path.parent, "/".join([path.name, *whole.image.split("/")]).rstrip("/")


def _add(parent: ET.Element, name: str, text: str = "", **attributes: str) -> ET.Element:
    """Add an element."""
    element = ET.SubElement(parent, name, attributes)
    if text:
        element.text = text
    return element


def _add_setup(
    setups: ET.Element, stack: StackSpec, channel: int, size: NDArray[np.float64], unit: str
) -> None:
    """Add the setup of a channel; `size` is that of a pixel along x, y, z."""
    setup = _add(setups, "ViewSetup")
    _add(setup, "id", str(channel))
    _add(setup, "name", _name_channel(stack, channel))
    _add(setup, "size", " ".join(str(stack.size(axis)) for axis in "xyz"))
    voxel = _add(setup, "voxelSize")
    _add(voxel, "unit", unit)
    _add(voxel, "size", _write(size))
    attributes = _add(setup, "attributes")
    _add(attributes, "channel", str(channel))


def _name_channel(stack: StackSpec, channel: int) -> str:
    names = stack.channel_names
    return names[channel] if channel < len(names) else f"channel {channel}"


def _add_transform(view: ET.Element, name: str, matrix: NDArray[np.float64]) -> None:
    """Add a transformation (4, 4) over x, y, z."""
    transform = _add(view, "ViewTransform", type="affine")
    _add(transform, "Name", name)
    _add(transform, "affine", _write(matrix[:3].ravel()))


def _write(numbers: NDArray[np.float64]) -> str:
    return " ".join(repr(number) for number in numbers.tolist())


def _to_xyz(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert a matrix over (z,) y, x and 1 to one over x, y, z and 1."""
    ndim, whole = len(matrix) - 1, np.eye(4)
    whole[3 - ndim :, 3 - ndim :] = matrix
    order = [2, 1, 0, 3]
    return whole[np.ix_(order, order)]
