"""Write the result as one self-contained HTML page, which loads nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from steadystack import plot
from steadystack.model import (
    CloseUp,
    FrameStatus,
    Image,
    PairStatus,
    ReportImages,
)
from steadystack.outputs import replacing_own_file, writing_at_once
from steadystack.report.facts import list_facts
from steadystack.report.figures import (
    apply_style,
    encode_colours,
    encode_same_greys,
    encode_svg,
    save_figure,
    shrink,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Box = Sequence[tuple[float, float]]

# Most bytes of a page; images are made smaller until it fits.
MOST_BYTES = 5_000_000
IMAGE_SIDES = (640, 480, 320, 160)
CLOSE_UP_SHRINK = 3  # an image's side over that of a close-up
SHOWN_OF_PAIR = (
    "pair_reference", "pair_moving", "pair_status", "pair_shift", "pair_residual", "pair_ncc",
    "pair_overlap", "pair_second_peak_ratio", "pair_fixed_pattern_share",
)  # fmt: skip
# The names of figures, and the files that they are written to.
FIGURES = (
    "drift", "drift-physical", "local-traces", "local-shifts", "path", "pairs", "residuals",
    "matrix", "kymograph-z", "kymograph-y", "kymograph-x",
)  # fmt: skip
FIGURE_SUFFIXES = ("png", "svg")
# Most frames in the table, evenly spread, and most further frames that are not ok.
MOST_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Page:
    """The content of a page.

    Attributes
    ----------
    title : the name of the series
    shifts : the solved shifts dataset
    trust, reasons : the verdict
    views : images before and after, pairs to look at
    configuration : the settings, as YAML text
    versions : of Python and the libraries of the run, by name
    log : lines on durations and failures
    left_out : boxes of parts of the frame that are left out: their edges along the last two axes,
        pixels from that of the frame
    unseen : boxes of pixels, likewise, left out because they show no scene
    preview : what the page of a preview says about itself and the run, names and values
    run : the name of its run, see `outputs.name_run`; "": none
    """

    title: str
    shifts: xr.Dataset
    trust: str
    reasons: Sequence[str]
    views: ReportImages = field(default_factory=ReportImages)
    configuration: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    log: Sequence[str] = ()
    left_out: Sequence[Box] = ()
    unseen: Sequence[Box] = ()
    preview: Sequence[tuple[str, str]] = ()
    run: str = ""


def save_page(page: Page, path: str, most_bytes: int = MOST_BYTES) -> None:
    """Write a page, with images as large as `most_bytes` allow."""
    for side in IMAGE_SIDES:
        # a file name that is not Unicode cannot be encoded as UTF-8
        content = _render_html(page, side).encode(errors="backslashreplace")
        if len(content) <= most_bytes:
            break
    with writing_at_once(path), replacing_own_file(path, "output.report") as partial:
        partial.write_bytes(content)


def draw_figures(shifts: xr.Dataset, views: ReportImages) -> Iterator[tuple[str, str, Figure]]:
    """Draw the figures of a page, each as its name, its caption and the figure."""
    has_pixel_size = bool(np.isfinite(shifts["pixel_size"].to_numpy()).all())
    yield "drift", "Drift over time", _draw(plot.drift, shifts, (9, 3.6))
    if has_pixel_size:
        yield (
            "drift-physical",
            "Drift over time, in physical units",
            _draw(plot.drift, shifts, (9, 3.6), physical=True),
        )
    yield from _draw_local_shifts(shifts, views)
    if shifts.sizes["axis"] > 1:
        yield "path", "Path of the specimen", _draw(plot.path, shifts, (5.2, 4.2))
    yield "pairs", "NCC and overlap of pairs", _draw(plot.pairs, shifts, (5.2, 4.2))
    yield "residuals", "Residuals by lag", _draw(plot.residuals, shifts, (5.2, 4.2))
    matrix = _draw(plot.residuals, shifts, (5.2, 4.2), kind="matrix")
    yield "matrix", "Residuals by frame", matrix
    for axis, before_and_after in views.kymographs.items():
        yield (
            f"kymograph-{axis}",
            f"Kymograph along {axis}",
            _draw_kymographs(axis, before_and_after, views.span),
        )


def list_figure_paths(folder: str) -> list[str]:
    """List the paths that `save_figures` may write."""
    return [
        f"{folder.rstrip('/')}/{name}.{suffix}" for name in FIGURES for suffix in FIGURE_SUFFIXES
    ]


def save_figures(page: Page, folder: str) -> list[str]:
    """Write the figures of a page as PNG and SVG into a folder; returns their paths."""
    paths = []
    for name, _, figure in draw_figures(page.shifts, page.views):
        for suffix in FIGURE_SUFFIXES:
            path = f"{folder.rstrip('/')}/{name}.{suffix}"
            save_figure(figure, path, key="--figures", dpi=150)
            paths.append(path)
    return paths


def _draw(
    draw: Callable[..., Any], shifts: xr.Dataset, size: tuple[float, float], **options: Any
) -> Figure:
    """Draw a figure of one of `plot`'s functions; `size` is its width and height, inches."""
    figure = plot.new_figure(*size, layout=False)
    draw(shifts, figure.subplots(), **options)
    plot.lay_out(figure)
    return figure


def _draw_local_shifts(
    shifts: xr.Dataset, views: ReportImages
) -> Iterator[tuple[str, str, Figure]]:
    """Draw local shifts, if any: of some nodes over time, and of a frame as arrows."""
    nodes = plot.NodeShifts.of(shifts)
    if nodes is None or nodes.is_flat:
        return
    figure = plot.new_figure(9, 3, layout=False)
    count = len(nodes.choose_apart())
    grid = figure.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]
    plot.local_traces(shifts, list(grid))
    plot.lay_out(figure)
    caption = (
        "Local shifts of the nodes that move most, minus the shift of the frame, over time (bands: "
        "± 2 std; dotted: the frame of the arrows)"
    )
    yield "local-traces", caption, figure
    image = views.images["mean"][1] if "mean" in views.images else None
    height = float(np.clip(4 * np.ptp(nodes.y) / max(np.ptp(nodes.x), 1), 1.5, 7)) + 1.2
    number = int(shifts["frame"][nodes.find_farthest()[0]])
    caption = (
        f"Local shifts of frame {number}, minus the shift of the frame, as "
        f"arrows{'' if image is None else ' on the mean of the moved frames'}: up to "
        f"{nodes.describe_farthest()}, at node 1"
    )
    figure = plot.new_figure(5.2, height)
    plot.local_shifts(shifts, figure.subplots(), image=image)
    yield "local-shifts", caption, figure


def _draw_kymographs(
    axis: str, before_and_after: tuple[Image, Image], span: tuple[int, int]
) -> Figure:
    """Draw the kymographs before and after, each (frames, positions along the axis).

    `span` are the indices of the first and the last frame.
    """
    figure = plot.new_figure(9, 4.2, layout=False)
    for ax, image, name in zip(
        figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.06}),
        before_and_after,
        ("before", "after"),
        strict=True,
    ):
        plot.kymograph(image, ax, axis=axis, span=span)
        ax.set_title(name)
        ax.label_outer()
    plot.lay_out(figure)
    return figure


def _render_html(page: Page, side: int) -> str:
    """The text of a page whose images have at most `side` pixels per side."""
    from jinja2 import Environment

    source = files("steadystack.report")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((source / "page.html").read_text(encoding="utf-8"))
    with apply_style():
        figures = [
            (name, caption, encode_svg(figure, name))
            for name, caption, figure in draw_figures(page.shifts, page.views)
        ]
    text: str = template.render(
        page=page,
        style=(source / "page.css").read_text(encoding="utf-8"),
        script=(source / "page.js").read_text(encoding="utf-8"),
        figures=figures,
        facts=list_facts(page.shifts),
        images=[
            (name, encode_same_greys(*(shrink(image, side) for image in before_and_after)))
            for name, before_and_after in page.views.images.items()
        ],
        left_out=[_place(box, page.shifts) for box in page.left_out],
        unseen=[_place(box, page.shifts) for box in page.unseen],
        close_ups=[
            _describe_close_up(page.shifts, close_up, side // CLOSE_UP_SHRINK)
            for close_up in page.views.close_ups
        ],
        table=_make_table(page.shifts),
    )
    return text


def _place(box: Box, shifts: xr.Dataset) -> str:
    """The position of a box in a picture of the frame, as a CSS style."""
    shape = json.loads(shifts.attrs["frame_shape"])[-2:]
    sides = zip((("top", "height"), ("left", "width")), box, shape, strict=True)
    return "; ".join(
        f"{begin}: {100 * low / size:.2f}%; {extent}: {100 * (high - low) / size:.2f}%"
        for (begin, extent), (low, high), size in sides
    )


def _describe_close_up(shifts: xr.Dataset, close_up: CloseUp, side: int) -> dict[str, Any]:
    """Describe a pair to look at for the page's template, in words and images.

    Images have at most `side` pixels per side.
    """
    pair = shifts[list(SHOWN_OF_PAIR)].isel(pair=close_up.row)
    reference, moving = encode_same_greys(
        *(shrink(image, side) for image in (close_up.reference, close_up.moving))
    )
    names = [str(name) for name in shifts["axis"].to_numpy()]
    peak = None
    if np.isfinite(close_up.surface).any():
        highest = np.unravel_index(np.nanargmax(close_up.surface), close_up.surface.shape)
        peak = [
            100 * (index + 0.5) / size
            for index, size in zip(highest, close_up.surface.shape, strict=True)
        ]
    residual = np.linalg.norm(pair["pair_residual"].to_numpy())
    facts = [
        ("shift", ", ".join(f"{value:.2f}" for value in pair["pair_shift"].to_numpy())),
        ("residual", f"{residual:.2f}"),
        ("NCC", f"{float(pair['pair_ncc']):.3f}"),
        ("overlap", f"{float(pair['pair_overlap']):.2f}"),
        ("second peak", f"{float(pair['pair_second_peak_ratio']):.2f}"),
        ("stands still", f"{float(pair['pair_fixed_pattern_share']):.0%}"),
    ]
    return {
        "reference": int(shifts["frame"][int(pair["pair_reference"])]),
        "moving": int(shifts["frame"][int(pair["pair_moving"])]),
        "status": str(PairStatus.from_code(int(pair["pair_status"]))),
        "facts": [(name, value) for name, value in facts if "nan" not in value],
        "images": [("reference", reference), ("moving", moving)],
        "surface": encode_colours(close_up.surface),
        "peak": peak,
        "lags": [
            f"{name} {first} to {first + size - 1}"
            for name, first, size in zip(
                names[-2:], close_up.first_lag[-2:], close_up.surface.shape, strict=True
            )
        ],
    }


def _make_table(shifts: xr.Dataset) -> dict[str, Any]:
    """Make the table of frames for the page's script: columns of short numbers as JSON."""
    status = shifts["frame_status"].to_numpy()
    total = len(status)
    step = max(-(-total // MOST_ROWS), 1)
    is_shown = np.zeros(total, bool)
    is_shown[::step] = True
    doubtful = np.flatnonzero(status != FrameStatus.OK.code)
    is_shown[doubtful[:MOST_ROWS]] = True
    rows = np.flatnonzero(is_shown)
    numbers = shifts["frame"].to_numpy()
    columns: dict[str, list[Any]] = {"frame": numbers[rows].tolist()}
    for axis, name in enumerate(map(str, shifts["axis"].to_numpy())):
        for label, variable in (
            (f"shift {name}", "frame_shift"),
            (f"std {name}", "frame_shift_std"),
        ):
            columns[label] = _shorten(shifts[variable].to_numpy()[rows, axis], 3)
    columns["NCC"] = _shorten(shifts["frame_ncc"].to_numpy()[rows], 3)
    columns["pairs"] = shifts["pair_count"].to_numpy()[rows].tolist()
    columns["part"] = shifts["component"].to_numpy()[rows].tolist()
    names = [str(name) for name in FrameStatus]
    columns["status"] = [names[code] for code in status[rows].tolist()]
    note = f"Every {step}th of {total} frames, and all frames that are not ok" if step > 1 else ""
    data = json.dumps(
        {"names": list(columns), "columns": list(columns.values())}, separators=(",", ":")
    )
    return {"data": data.replace("</", "<\\/"), "note": note, "total": total}


def _shorten(values: np.ndarray[Any, Any], digits: int) -> list[float | None]:
    """Round values for JSON; None where not finite."""
    return [round(value, digits) if np.isfinite(value) else None for value in values.tolist()]
