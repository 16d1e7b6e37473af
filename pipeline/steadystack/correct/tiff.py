"""A corrected stack as one OME-TIFF file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.correct.layout import Regions
from steadystack.correct.regions import moved_region
from steadystack.correct.stack import Corrected
from steadystack.model import InputError
from steadystack.store.files import exists, staged
from steadystack.store.progress import OWN, writing
from steadystack.store.tiff_files import check_tiff, made_of, write_ome_tiff


def write_tiff(
    stack: Corrected,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write every frame and channel, one after the other, in this process.

    The file takes its place when it is whole; a call that was stopped starts anew. One for a remote
    path is written to the folder of temporary files first.

    Raises
    ------
    InputError
        If another file is there, or it cannot hold such pixels.
    OutputError
        If it cannot be written.
    """
    path, target = stack.path, stack.work.target
    check_tiff(path, np.dtype(target.dtype))
    digest = str(stack.attributes[OWN]["digest"])
    if exists(path) and not overwrite:
        if made_of(path) == digest:
            return
        raise InputError(
            f"{path} is there, and is not what these shifts and settings make: `steadystack "
            "correct --overwrite` makes it anew, or give another output.corrected"
        )
    sides = tuple(
        1 if axis in "tc" else size for axis, size in zip(target.axes, target.shape, strict=True)
    )
    work = replace(stack.work, regions=Regions(target.shape, sides))

    def planes() -> Iterator[NDArray[Any]]:
        count = len(work.regions)
        for number in range(count):
            image, _ = moved_region(work, work.regions.at(number))
            yield from image.reshape(-1, *image.shape[-2:])
            if progress is not None:
                progress(number + 1, count)

    with writing(path), staged(path) as partial:
        try:
            write_ome_tiff(str(partial), planes(), target, stack.attributes, digest)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
