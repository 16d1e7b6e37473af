"""Make a mask for a stack: by a threshold, or from regions that were drawn in ImageJ."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from steadystack import readers
from steadystack.conditioning import looks_inverted
from steadystack.durable import make_absolute
from steadystack.model import Bools, FrameStatus, InputError
from steadystack.outputs import check_new_mask, write_new_mask
from steadystack.pairs import spread_evenly
from steadystack.planning import check_frames, check_target
from steadystack.plot import check_picture, draw_overlay
from steadystack.report import check_report_path, save_figure
from steadystack.segmentation import (
    clean_mask,
    combine_shapes,
    compute_mean_and_deviation,
    find_otsu_threshold,
)
from steadystack.validity import Ellipse, Polygon

Basis: TypeAlias = Literal["mean", "deviation"]
# Number of frames used, spread over the series, and about how many of their pixels at most.
FRAMES, MOST_PIXELS = 64, 2**28
FEW_VALID = 0.1


def make_mask(
    stack: str,
    target: str,
    *,
    by: Basis = "mean",
    threshold: float | None = None,
    below: bool = False,
    largest: bool = False,
    fill_holes: bool = False,
    erode: int = 0,
    rois: str | None = None,
    picture: str | None = None,
    **keys: Any,
) -> list[tuple[str, str]]:
    """Make a mask of a stack, write it, and return names and values that describe it.

    Parameters
    ----------
    stack : path of a stack; `keys` are those of the section `input`
    target : a path that ends in .npy, where nothing lies yet
    by : whether the mean or the deviation of some frames must be above `threshold`
    threshold : None: by Otsu's method
    below : whether pixels not above the threshold are valid instead
    largest, fill_holes, erode : keep the largest region only; fill its holes; remove a rim of so
        many pixels
    rois : regions of ImageJ (.roi, or .zip of several), which replace the threshold: pixels in any
        of them are valid
    picture : path of a picture of the mean with the invalid pixels
    """
    check_new_mask(target)
    if picture is not None:
        check_picture(picture)
        check_report_path(picture, "--picture")
        stack_path = make_absolute(stack, Path.cwd())
        check_target("--picture", os.path.abspath(picture), {"STACK": stack_path})
    drawn = None if rois is None else read_rois(rois)
    spec = readers.locate_stack(stack, **keys)
    check_frames(spec)
    mean, deviation, count = _look_at(readers.StackFrames(spec))
    rows = [("frames", f"{count} of {spec.frame_count} looked at")]
    if drawn is None:
        basis = mean if by == "mean" else deviation
        mask, level = _apply_threshold(basis, threshold, below)
        side = "not above" if below else "above"
        rows.append(("valid", f"{by} {side} {level:g}" + (" (Otsu)" if threshold is None else "")))
    else:
        mask = _draw(drawn, spec.frame_shape)
        rows.append(("valid", f"inside {len(drawn)} region(s) of {rois}"))
    mask = clean_mask(mask, largest=largest, fill_holes=fill_holes, erode=erode)
    if not mask.any():
        raise InputError("the mask has no valid pixel: choose another --threshold, or --below")
    rows.append(("share", f"{mask.mean():.1%} of {' x '.join(map(str, mask.shape))} pixels"))
    if mask.mean() < FEW_VALID:
        rows.append(("", "little is valid: is it the scene?"))
    if looks_inverted(np.nan_to_num(mean), mask):
        note = "what is not valid looks like a scene, and what is valid does not: use --below?"
        rows.append(("", note))
    write_new_mask(target, mask)
    rows.append(("mask", f"{target}, for mask.path"))
    if picture is not None:
        save_figure(draw_overlay([("mean", mean, mask)]), picture, key="--picture")
        rows.append(("picture", picture))
    return rows


def _look_at(
    source: readers.StackFrames,
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Compute mean and deviation of some frames, spread over the series, and their number."""
    pixels = math.prod(source.frame_shape)
    wanted = min(source.frame_count, max(min(FRAMES, MOST_PIXELS // pixels), 2))
    numbers = spread_evenly(np.arange(source.frame_count), wanted)
    frames = (source.read(int(number)) for number in numbers)
    found = compute_mean_and_deviation(
        (frame.image, frame.valid)
        for frame in frames
        if frame.status in (FrameStatus.OK, FrameStatus.INCOMPLETE)
    )
    if found is None:
        raise InputError(f"none of {len(numbers)} frames can be read")
    return found


def _apply_threshold(
    basis: NDArray[np.float64], threshold: float | None, below: bool
) -> tuple[Bools, float]:
    known = np.isfinite(basis)
    level = find_otsu_threshold(basis[known]) if threshold is None and known.any() else threshold
    if level is None or not np.isfinite(level):
        raise InputError("all pixels look the same: no threshold separates them")
    above = np.greater(basis, level, where=known, out=np.zeros(basis.shape, bool))
    return (known & ~above if below else above), float(level)


Outlines: TypeAlias = list[Ellipse | Polygon]  # by the even-odd rule


def read_rois(path: str) -> list[Outlines]:
    """Read the regions of an ImageJ file, .roi or .zip: the outlines of each.

    Corners are converted from ImageJ's convention (a pixel begins at its index) to pixel centres.
    Regions without an inside, such as lines and points, are refused.
    """
    try:
        import roifile
    except ImportError as error:
        raise InputError(
            f"{path} holds ImageJ regions: that needs roifile (pip install 'steadystack[roi]')"
        ) from error
    try:
        found = roifile.roiread(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except Exception as error:  # a parser may raise anything
        raise InputError(f"{path} holds no ImageJ regions ({error})") from error
    return [_take_outlines(roi, path) for roi in (found if isinstance(found, list) else [found])]


def _take_outlines(roi: Any, path: str) -> Outlines:
    kind = roi.roitype.name
    if kind == "OVAL":
        sides = (roi.top, roi.bottom), (roi.left, roi.right)
        centre = tuple((low + high - 1) / 2 for low, high in sides)
        return [Ellipse(centre, tuple((high - low) / 2 for low, high in sides))]
    if kind not in ("RECT", "POLYGON", "FREEHAND", "TRACED"):
        raise InputError(f"{path}: the region {roi.name or kind!r} of kind {kind} has no area")
    return [_make_polygon(corners) for corners in roi.coordinates(multi=True)]


def _make_polygon(corners: NDArray[Any]) -> Polygon:
    return Polygon(tuple((float(y) - 0.5, float(x) - 0.5) for x, y in corners))


def _draw(regions: Sequence[Outlines], shape: tuple[int, ...]) -> Bools:
    """Draw regions; in volumes they reach through all planes."""
    plane = tuple(slice(0, size) for size in shape[-2:])
    inside = [combine_shapes([one.find_covered(plane) for one in region]) for region in regions]
    return np.broadcast_to(np.logical_or.reduce(inside), shape)
