"""Plan a movie of a series, as recorded next to corrected, and write it with PyAV."""

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

METHOD_VERSION = 1  # increased whenever the same series gives a different movie than before
SAMPLED = 32  # frames that the values of black and white are chosen from
CODEC = "h264"  # by whichever library this FFmpeg has for it
PIXELS = "yuv420p"  # supported by all players
# Without macroblock trees, for which x264 reads uninitialised memory: files would not be the same.
QUALITY = {"crf": "18", "mbtree": "0"}
KEY_EVERY = 25  # frames between key frames, to which a player can jump
# Limits of the frames per second; and how long a movie lasts, seconds, if these allow it.
RATES, SECONDS = (10, 30), 30


@dataclass(frozen=True, eq=False)
class Movie:
    """A planned movie.

    Attributes
    ----------
    path : where to write it
    work : the input of its pictures
    captions : of every frame
    pixel_size, unit : of a pixel of a picture along x; NaN and "" if not known
    origin : the run that it belongs to, with a digest of everything that it depends on
    """

    path: str
    work: PanelWork
    captions: tuple[str, ...]
    pixel_size: float
    unit: str
    origin: Origin

    @property
    def rate(self) -> int:
        """Frames per second."""
        return int(np.clip(round(len(self.captions) / SECONDS), *RATES))

    @property
    def picture_bytes(self) -> int:
        """Bytes of all pictures before compression: greys, and half as many for colours."""
        return len(self.captions) * math.prod(self.make_page().shape) * 3 // 2

    def estimate_task_bytes(self, pixel_bytes: int, chunk_bytes: int, only_shifts: bool) -> int:
        """Estimate the memory of a task, bytes; parameters as in `estimate_panel_bytes`."""
        shape = self.work.source.frame_shape
        return estimate_panel_bytes(shape, pixel_bytes, chunk_bytes, only_shifts=only_shifts)

    def make_page(self) -> MoviePage:
        """Make the picture without frames."""
        is_deep = len(self.work.bins) > 2
        note = " (mean along z)" * is_deep
        return MoviePage(self.work.panel_shape, self.pixel_size, self.unit, note)


def check_movie(path: str) -> None:
    """Raise InputError if a movie cannot be written to this path later.

    That is without PyAV, Pillow or a library for H.264, or if there is something at the path that
    this program did not write.
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
    """Plan a movie, without reading pixels.

    Parameters
    ----------
    path : where to write it
    source, shift, linear : see `PanelWork`
    numbers, time : of the frames, see `make_captions`
    pixel_size, unit : of a pixel of a frame along each axis; NaN and "" if not known
    labels : whether frames are moved by whole pixels
    made_of : everything that frames and their masks depend on, as JSON
    origin : the measurement and run that it belongs to; its digest is not used
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
    """Write a movie, MP4; a finished one is kept, and one that was stopped is started again.

    Parameters
    ----------
    movie : to be written
    client : runs the tasks
    overwrite, may_replace : whether to replace a movie made with other shifts or settings
    progress : called with the numbers of finished and of all frames

    Raises
    ------
    InputError
        If there is something else at the path, which is left unchanged.
    OutputError
        If the movie cannot be written.
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
            new,
            path,
            pictures,
            page.shape,
            movie.rate,
            lambda done: _report_progress(progress, done, total),
        )


def _report_progress(progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
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
    """Draw the panels of all frames in tasks, which end in any order; yields them in order."""
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
    """Encode pictures (y, x) of one shape as an MP4 file at `new`, which becomes `path`."""
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
