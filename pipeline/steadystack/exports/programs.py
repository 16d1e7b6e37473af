"""Export the motion of frames for napari, multiview-stitcher and biahub."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.exports.affines import Motions, find_plane_step
from steadystack.readers import StackSpec


def make_napari_layers(motions: Motions) -> list[dict[str, Any]]:
    """Make keyword arguments of napari's ``add_image`` that show every frame in its place.

    There is a layer for every frame whose shift is relative to the anchor, for the image
    ``stack[frame:frame + 1]`` of the whole stack; all share the time slider. The caller must remove
    ``frame``. If frames have a linear motion, ``affine`` contains it and the shift, in the unit of
    the pixel size. If channels have offsets, there is a layer for every frame of each channel, with
    its name or number as ``channel``, also to be removed.
    """
    frames = np.flatnonzero(motions.known).tolist()
    if motions.offsets is None:
        still = np.zeros(len(motions.size))
        return [_make_layer(motions, index, still) for index in frames]
    return [
        {"channel": channel}
        | _make_layer(motions, index, offset)
        | {"name": f"frame {motions.numbers[index]}, channel {channel}"}
        for channel, offset in zip(motions.channels, motions.offsets, strict=True)
        for index in frames
    ]


def _make_layer(motions: Motions, index: int, offset: NDArray[np.float64]) -> dict[str, Any]:
    """Make the layer of a frame, in a channel that is also moved by an offset, pixels."""
    size, number = list(motions.size), motions.numbers[index]
    moved = (motions.affine[index, :-1, -1] + offset) * size
    layer: dict[str, Any] = {
        "frame": number,
        "name": f"frame {number}",
        "scale": [1.0, *size],
        "translate": [float(number), *moved.tolist()],
    }
    if motions.is_linear:
        affine = np.eye(len(size) + 2)  # with time, which is unchanged
        affine[1:, 1:] = motions.compute_in_units()[index]
        affine[1:-1, -1] += offset * size
        layer["translate"] = [float(number), *[0.0] * len(size)]
        layer["affine"] = affine.tolist()
    return layer


def make_affine_list(motions: Motions) -> dict[str, Any]:
    """Make the matrices of all frames, for multiview-stitcher and other readers of JSON.

    Returns
    -------
    ``axes``, ``pixel_size``, ``unit`` ("pixel" where the size is not known), ``frames``: their
    numbers in the stack; ``affine``: a matrix for each, rows and columns along the axes and then 1,
    which maps a point of the frame, in the unit, 0 at the centre of the first pixel of the stack,
    to the anchor; None for frames whose motion is not known. If channels have offsets:
    ``channels``, names or numbers, and ``channel_offset``, along the axes for each, in the unit, to
    be added to the mapped points of that channel.
    """
    matrices = zip(motions.compute_in_units(), motions.known, strict=True)
    told: dict[str, Any] = {
        "axes": list(motions.axes),
        "pixel_size": list(motions.size),
        "unit": motions.unit or "pixel",
        "frames": list(motions.numbers),
        "affine": [matrix.tolist() if known else None for matrix, known in matrices],
    }
    if motions.offsets is not None:
        told["channels"] = list(motions.channels)
        told["channel_offset"] = (motions.offsets * motions.size).tolist()
    return told


def make_biahub_settings(motions: Motions, spec: StackSpec | None) -> dict[str, Any]:
    """Make the settings with which biahub stabilizes the stack.

    Its matrices are 4 x 4 over z, y, x in pixels, and map points of the steady frame to the
    original: the inverse of ours. They are indexed by the number of the frame in the stack: unknown
    ones are NaN, and not in ``time_indices``.

    Parameters
    ----------
    spec : the stack; None: it no longer exists, and its channels are not known

    Raises
    ------
    InputError
        If another level of the stack than the first was measured.
    """
    motions.check_level("biahub")
    motions.warn_of_offsets("biahub")
    ndim, whole = len(motions.axes), spec if spec is None else spec.uncut or spec
    count = max(motions.numbers) + 1
    count = count if whole is None else max(count, whole.frame_count)
    matrices = np.full((count, 4, 4), np.nan)
    for index in np.flatnonzero(motions.known).tolist():
        matrix = np.eye(4)
        matrix[3 - ndim :, 3 - ndim :] = np.linalg.inv(motions.affine[index])
        matrices[motions.numbers[index]] = matrix
    known = np.flatnonzero(np.isfinite(matrices).all(axis=(1, 2))).tolist()
    channels = [] if whole is None else list(whole.channel_names)
    chosen = None if whole is None else whole.channel
    depth = [find_plane_step(motions, whole)] * (3 - ndim)
    return {
        "stabilization_estimation_channel": channels[chosen or 0] if channels else "",
        "stabilization_type": "affine" if motions.is_linear else "zyx"[3 - ndim :][::-1],
        "stabilization_channels": channels,
        "affine_transform_zyx_list": matrices.tolist(),
        "time_indices": "all" if len(known) == count else known,
        "output_voxel_size": [1.0, 1.0, *depth, *motions.size],
    }
