"""Find where the frames of a series show no scene, such as outside a round field of view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steadystack.defects import (
    FIELD_FRAMES,
    FIELD_PIXELS,
    find_unseen,
    list_runs,
    standardize,
)
from steadystack.model import Bools, Boxes, FieldOfView, Floats, Slices
from steadystack.pairs import spread_evenly
from steadystack.planning import Setup
from steadystack.run_log import count_steps

# Fewest frames that show what changes: as many as a scene needs to move.
FEWEST_FRAMES = 6
# Larger frames are averaged over boxes of pixels, this many along the longer side.
MOST_ALONG = 512


def find_field_of_view(setup: Setup) -> FieldOfView | None:
    """Find which part of the frames shows no scene; whether that matters is decided later.

    That is along the border of planes, and, in volumes, planes with a single value in all frames.

    Returns
    -------
    What was found, with boxes of all pixels outside. None: the settings do not ask for it, there
    are too few frames, or they are measured in blocks or windows, which would take too long.
    """
    source, region = setup.series.source, setup.method.whole_region
    is_whole = len(setup.method.search.blocks) == 1 and setup.series.places is None
    is_asked = setup.config.mask.field_of_view is not None and len(region) > 1
    if not (is_asked and is_whole) or source.frame_count < FEWEST_FRAMES:
        return None
    box = -(-max(side.stop - side.start for side in region[-2:]) // MOST_ALONG)
    images, valid, flat = list[NDArray[np.float32]](), list[Bools](), list[Bools]()
    frames = spread_evenly(np.arange(source.frame_count), FIELD_FRAMES).tolist()
    for frame in count_steps(frames, len(frames), "field of view", "frames"):
        content = source.read(frame, region)
        if content.valid.any():
            image, is_valid = _shrink(standardize(content.image, content.valid), content.valid, box)
            images.append(image)
            valid.append(is_valid)
            flat.append(_find_flat_planes(content.image, content.valid))
    if len(images) < FEWEST_FRAMES:
        return None
    unseen, always_flat = find_unseen(images, valid), np.all(flat, axis=0)
    boxes = _list_boxes(unseen, box, region)
    share = float(unseen.mean())
    if not always_flat.all():
        share += (1 - share) * float(always_flat.mean())
        boxes += _list_planes(always_flat, region)
    return FieldOfView(len(images), share, boxes=boxes)


def _find_flat_planes(image: Floats, valid: Bools) -> Bools:
    """Find the planes of a volume (planes,) that hold a single value, such as padding."""
    if image.ndim < 3:
        return np.zeros(1, bool)
    planes = zip(image, valid, strict=True)
    return np.array([bool(seen.any()) and np.ptp(plane[seen]) == 0 for plane, seen in planes])


def _shrink(
    image: NDArray[np.float32], valid: Bools, box: int
) -> tuple[NDArray[np.float32], Bools]:
    """Average valid pixels over square boxes; boxes with half of their pixels valid are valid.

    Of a volume, only as many planes are used as may be held in memory.
    """
    if image.ndim > 2:
        planes = max(1, FIELD_PIXELS // (image[0].size // box**2 + 1))
        image, valid = spread_evenly(image, planes), spread_evenly(valid, planes)
    if box == 1:
        return image, valid
    sums, counts, sizes = (
        np.add.reduceat(
            np.add.reduceat(pixels, np.arange(0, pixels.shape[-2], box), axis=-2),
            np.arange(0, pixels.shape[-1], box),
            axis=-1,
        )
        for pixels in (np.where(valid, image, 0), valid.astype(np.float32), np.ones(image.shape))
    )
    return np.asarray(sums / np.maximum(counts, 1)), np.asarray(counts >= sizes / 2)


def _list_planes(chosen: Bools, region: Slices) -> Boxes:
    """List boxes of the stack with the chosen planes of a region of it."""
    begin, others = region[0].start, tuple((side.start, side.stop) for side in region[1:])
    runs = (run for run, _ in list_runs(chosen[:, None]))
    return tuple(((begin + first, begin + stop), *others) for first, stop in runs)


def _list_boxes(unseen: Bools, box: int, region: Slices) -> Boxes:
    """Convert what was found in a region, box by box, to boxes of the stack, in all planes."""
    planes = tuple((side.start, side.stop) for side in region[:-2])
    boxes = []
    for run in list_runs(unseen):
        sides = (
            (side.start + first * box, min(side.start + stop * box, side.stop))
            for (first, stop), side in zip(run, region[-2:], strict=True)
        )
        boxes.append((*planes, *sides))
    return tuple(boxes)
