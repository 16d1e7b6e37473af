"""Plan a movie of a series, as taken beside steady, and write it, by PyAV."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.cluster import Engine, Failure, run_tasks, share
from steadystack.durable import get_place
from steadystack.model import FrameSource, InputError, OutputError
from steadystack.movie.captions import MoviePage, make_captions
from steadystack.movie.panels import (
    PanelWork,
    choose_bins,
    choose_enlargement,
    draw_panels,
    estimate_panel_bytes,
    sample_values,
)
from steadystack.outputs import (
    MOVIE,
    Origin,
    check_own_file,
    explaining_write_errors,
    read_origin,
    replacing_own_file,
)
from steadystack.plot import find_grey_range
from steadystack.warp import AnyMotion

METHOD_VERSION = 1  # raised whenever the same series would be another movie than before
SAMPLED = 32  # frames that black and white are chosen from
CODEC = "h264"  # whichever library the FFmpeg here writes it by
PIXELS = "yuv420p"  # what every player takes
# Without trees of macroblocks, for which x264 reads memory that nobody wrote: bytes differ by it.
QUALITY = {"crf": "18", "mbtree": "0"}
KEY_EVERY = 25  # frames, so that a player can jump
# Frames a second: a series of 300 lasts 30 s, of 900 and more as many seconds as it takes.
RATES, SECONDS = (10, 30), 30


@dataclass(frozen=True, eq=False)
class Movie:
    """A movie that is planned.

    Attributes
    ----------
    path : where it will be
    work : what its pictures are made of
    captions : of every frame
    pixel_size, unit : of a pixel of a picture along x; NaN and "" where it is not known
    origin : where it comes from, with a digest of all that it follows from
    """

    path: str
    work: PanelWork
    captions: tuple[str, ...]
    pixel_size: float
    unit: str
    origin: Origin

    @property
    def rate(self) -> int:
        """Frames a second."""
        return int(np.clip(round(len(self.captions) / SECONDS), *RATES))

    @property
    def picture_bytes(self) -> int:
        """Bytes of all pictures before they are compressed: greys, and half as many for colours."""
        return len(self.captions) * math.prod(self.make_page().shape) * 3 // 2

    def estimate_task_bytes(self, pixel_bytes: int, chunk_bytes: int, only_shifts: bool) -> int:
        """The memory that a task takes at most, bytes; parameters as in `estimate_panel_bytes`."""
        shape = self.work.source.frame_shape
        return estimate_panel_bytes(shape, pixel_bytes, chunk_bytes, only_shifts=only_shifts)

    def make_page(self) -> MoviePage:
        """What stands around its frames."""
        is_deep = len(self.work.bins) > 2
        note = " (mean along z)" * is_deep
        return MoviePage(self.work.panel_shape, self.pixel_size, self.unit, note)


def check_movie(path: str) -> None:
    """Raise InputError if no movie could be written to that path later, or would replace another.

    That is: without PyAV, Pillow or a library for H.264, or where something lies that was not made
    here.
    """
    for package, name in (("av", "PyAV"), ("PIL", "Pillow")):
        if find_spec(package) is None:
            raise InputError(
                f"{MOVIE} needs {name}: pip install 'steadystack[video,pictures]', or leave it out"
            )
    import av

    try:
        av.codec.Codec(CODEC, "w")
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{MOVIE}: the FFmpeg of this PyAV {av.__version__} cannot write H.264: install PyAV "
            "from its wheel (pip install --force-reinstall av), or leave it out"
        ) from error
    get_place(path).check_writable()
    check_own_file(path, MOVIE)


def plan_movie(
    path: str,
    source: FrameSource,
    shift: NDArray[np.float64],
    linear: AnyMotion | None,
    *,
    numbers: Sequence[int],
    time: tuple[Sequence[float], str] | None,
    pixel_size: tuple[float, ...],
    unit: str,
    labels: bool,
    made_of: Any,
    origin: Origin,
) -> Movie:
    """Plan a movie from everything that is known before a pixel is read.

    Parameters
    ----------
    path : where it will be
    source, shift, linear : see `PanelWork`
    numbers, time : of the frames, see `make_captions`
    pixel_size, unit : of a pixel of a frame along each axis; NaN and "" where it is not known
    labels : whether frames are moved by whole pixels
    made_of : what frames and their masks follow from, as JSON has it
    origin : of which measuring and run it is; its digest is not used
    """
    bins = choose_bins(source.frame_shape)
    small = [size // step for size, step in zip(source.frame_shape, bins, strict=True)]
    enlarged, captions = choose_enlargement(small), tuple(make_captions(numbers, time))
    work = PanelWork(source, shift, linear, bins, enlarged, "nearest" if labels else "cubic")
    size = float(pixel_size[-1]) * bins[-1] / enlarged
    content = [METHOD_VERSION, made_of, captions, size, unit, labels, source.frame_shape]
    digest = hashlib.sha256(json.dumps(content).encode())
    for values in (shift, linear):
        if values is not None:
            digest.update(np.ascontiguousarray(values).tobytes())
    of_run = Origin(digest.hexdigest()[:16], origin.fingerprint, origin.run)
    return Movie(path, work, captions, size, unit, of_run)


def write_movie(
    movie: Movie,
    client: Engine,
    *,
    overwrite: bool = False,
    may_replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a movie, MP4; one that is there already stays, one that was stopped is begun anew.

    Parameters
    ----------
    movie : what is to be written
    client : what runs the tasks
    overwrite, may_replace : whether to write again what was made with other shifts or settings
    progress : called with the numbers of done and of all frames

    Raises
    ------
    InputError
        If the path holds something else; nothing is touched then.
    OutputError
        If it cannot be written.
    """
    path = movie.path
    check_own_file(path, MOVIE)
    if get_place(path).exists() and not (overwrite or may_replace):
        found = read_origin(path)
        if found is not None and found.digest == movie.origin.digest:
            return
        raise InputError(
            f"{path} exists, but does not belong to these shifts and settings: write it again with "
            f"`steadystack correct --overwrite`, or set another {MOVIE}"
        )
    work = share(client, movie.work)
    low, high = _find_contrast(movie, client, work)
    with explaining_write_errors(path), replacing_own_file(path, MOVIE, movie.origin) as new:
        page, total = movie.make_page(), len(movie.captions)
        pictures = (
            page.compose(panels, caption)
            for panels, caption in zip(
                _draw_in_order(movie, client, work, low, high), movie.captions, strict=True
            )
        )
        _encode(
            new, path, pictures, page.shape, movie.rate, lambda done: _tell(progress, done, total)
        )


def _tell(progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _find_contrast(movie: Movie, client: Engine, work: Any) -> tuple[float, float]:
    """Find the values of black and white: percentiles of some frames of the whole series."""
    count = len(movie.captions)
    chosen = np.unique(np.linspace(0, count - 1, SAMPLED).round().astype(int)).tolist()
    found = run_tasks(client, sample_values, ((frame, frame) for frame in chosen), work)
    samples = {frame: _check(movie.path, values) for frame, values in found}
    return find_grey_range(*(samples[frame] for frame in chosen))


def _draw_in_order(
    movie: Movie, client: Engine, work: Any, low: float, high: float
) -> Iterator[NDArray[np.uint8]]:
    """Draw the panels of all frames by tasks, which end in any order."""
    frames = range(len(movie.captions))
    waiting: dict[int, NDArray[np.uint8]] = {}
    due = 0
    items = ((frame, frame) for frame in frames)
    for frame, panels in run_tasks(client, draw_panels, items, work, low, high):
        waiting[frame] = _check(movie.path, panels)
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def _check(path: str, result: Any) -> Any:
    if isinstance(result, Failure):
        raise OutputError(f"{path}: {result.reason}")
    return result


def _encode(
    new: Path,
    path: str,
    pictures: Iterator[NDArray[np.uint8]],
    shape: tuple[int, int],
    rate: int,
    tell: Callable[[int], None],
) -> None:
    """Encode pictures (y, x) of one shape as an MP4 file at `new`, on its way to `path`."""
    import av

    try:
        with av.open(str(new), "w", format="mp4", options={"movflags": "faststart"}) as file:
            stream: Any = file.add_stream(CODEC, rate=rate, options=QUALITY)
            stream.height, stream.width = shape
            stream.pix_fmt, stream.gop_size = PIXELS, KEY_EVERY
            for done, picture in enumerate(pictures, 1):
                frame = av.VideoFrame.from_ndarray(picture, format="gray")
                file.mux(stream.encode(frame.reformat(format=PIXELS)))
                tell(done)
            file.mux(stream.encode())
    except av.FFmpegError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
