"""The result as one page of HTML that holds everything it shows and asks nobody for anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from steadystack import plot
from steadystack.durable import get_place
from steadystack.model import CloseUp, FrameStatus, Image, PairStatus, ReportImages
from steadystack.report.figures import (
    apply_style,
    encode_colours,
    encode_same_greys,
    encode_svg,
    shrink,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A page is at most so large; images are made smaller until it is.
MOST_BYTES = 5_000_000
IMAGE_SIDES = (640, 480, 320, 160)
CLOSE_UP_PART = 3  # close-ups have this part of an image's side
# More frames than these are thinned in the table; those that are not ok are all kept, up to these.
MOST_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Page:
    """What a page shows.

    Attributes
    ----------
    title : the name of the series
    shifts : the solved shifts dataset
    trust, reasons : the verdict
    views : images before and after, pairs to look at
    configuration : the settings, as YAML text
    versions : of what computed
    log : lines that tell of durations and failures
    """

    title: str
    shifts: xr.Dataset
    trust: str
    reasons: Sequence[str]
    views: ReportImages = field(default_factory=ReportImages)
    configuration: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    log: Sequence[str] = ()


def save_page(page: Page, path: str, most_bytes: int = MOST_BYTES) -> None:
    """Write a page, with images as large as fit into that many bytes."""
    for side in IMAGE_SIDES:
        text = _render_html(page, side)
        if len(text.encode()) <= most_bytes:
            break
    with get_place(path).replacing() as partial:
        partial.write_text(text, encoding="utf-8")


def draw_figures(shifts: xr.Dataset, views: ReportImages) -> Iterator[tuple[str, str, Figure]]:
    """The figures of a page: a name, what it shows, and the figure."""
    known = bool(np.isfinite(shifts["pixel_size"].to_numpy()).all())
    yield "drift", "Drift over time", _draw(plot.drift, shifts, (9, 3.6))
    if known:
        yield (
            "drift-physical",
            "Drift over time, in physical units",
            _draw(plot.drift, shifts, (9, 3.6), physical=True),
        )
    if shifts.sizes["axis"] > 1:
        yield "path", "Path of the specimen", _draw(plot.path, shifts, (5.2, 4.2))
    yield "pairs", "NCC and overlap of pairs", _draw(plot.pairs, shifts, (5.2, 4.2))
    yield "residuals", "Residuals by lag", _draw(plot.residuals, shifts, (5.2, 4.2))
    matrix = _draw(plot.residuals, shifts, (5.2, 4.2), kind="matrix")
    yield "matrix", "Residuals by frame", matrix
    for axis, both in views.kymographs.items():
        yield (
            f"kymograph-{axis}",
            f"Kymograph along {axis}",
            _draw_kymographs(axis, both, views.span),
        )


def save_figures(page: Page, folder: str) -> list[str]:
    """Write the figures of a page as PNG and SVG into a folder; returns their paths."""
    written = []
    for name, _, figure in draw_figures(page.shifts, page.views):
        for suffix in ("png", "svg"):
            path = f"{folder.rstrip('/')}/{name}.{suffix}"
            with get_place(path).replacing() as partial:
                figure.savefig(partial, dpi=150, format=suffix)
            written.append(path)
    return written


def _draw(
    draw: Callable[..., Any], shifts: xr.Dataset, size: tuple[float, float], **how: Any
) -> Figure:
    figure = plot.new_figure(*size)
    draw(shifts, figure.subplots(), **how)
    return figure


def _draw_kymographs(axis: str, both: tuple[Image, Image], span: tuple[int, int]) -> Figure:
    figure = plot.new_figure(9, 4.2)
    for ax, image, name in zip(
        figure.subplots(1, 2, sharey=True), both, ("before", "after"), strict=True
    ):
        plot.kymograph(image, ax, axis=axis, span=span)
        ax.set_title(name)
    return figure


def _render_html(page: Page, side: int) -> str:
    from jinja2 import Environment

    source = files("steadystack.report")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((source / "page.html").read_text(encoding="utf-8"))
    with apply_style():
        drawn = [
            (name, caption, encode_svg(figure, name))
            for name, caption, figure in draw_figures(page.shifts, page.views)
        ]
    text: str = template.render(
        page=page,
        style=(source / "page.css").read_text(encoding="utf-8"),
        script=(source / "page.js").read_text(encoding="utf-8"),
        figures=drawn,
        facts=_list_facts(page.shifts),
        images=[
            (name, encode_same_greys(*(shrink(image, side) for image in both)))
            for name, both in page.views.images.items()
        ],
        close_ups=[
            _describe_close_up(page.shifts, one, side // CLOSE_UP_PART)
            for one in page.views.close_ups
        ],
        table=_make_table(page.shifts),
    )
    return text


def _list_facts(shifts: xr.Dataset) -> list[tuple[str, str]]:
    """What a reader wants to know first, as names and values."""
    known = shifts["frame_shift"].to_numpy()
    known = known[np.isfinite(known).all(axis=1)]
    total, pairs = shifts.sizes["frame"], shifts.sizes["pair"]
    usable = int((shifts["pair_status"].to_numpy() == PairStatus.OK.code).sum())
    facts = [
        ("frames with a shift", f"{len(known)} of {total}"),
        ("usable pairs", f"{usable} of {pairs}"),
    ]
    if len(known):
        names = [str(name) for name in shifts["axis"].to_numpy()]
        spans = known.max(axis=0) - known.min(axis=0)
        steps = np.linalg.norm(np.diff(known, axis=0), axis=1)
        spread = shifts["frame_shift_std"].to_numpy()
        facts.append(
            ("range", ", ".join(f"{n} {s:.2f} px" for n, s in zip(names, spans, strict=True)))
        )
        if len(steps):
            facts.append(("median step", f"{np.median(steps):.3f} px"))
        if np.isfinite(spread).any():
            facts.append(("median std of a shift", f"{np.nanmedian(spread):.3f} px"))
    residual = shifts["pair_residual"].to_numpy()[
        shifts["pair_status"].to_numpy() == PairStatus.OK.code
    ]
    if np.isfinite(residual).any():
        facts.append(("rms residual", f"{np.sqrt(np.nanmean(residual**2)):.3f} px"))
    return facts


def _describe_close_up(shifts: xr.Dataset, found: CloseUp, side: int) -> dict[str, Any]:
    """A pair to look at, in words and images."""
    pair = shifts.isel(pair=found.row)
    reference, moving = encode_same_greys(
        *(shrink(image, side) for image in (found.reference, found.moving))
    )
    names = [str(name) for name in shifts["axis"].to_numpy()]
    peak = None
    if np.isfinite(found.surface).any():
        highest = np.unravel_index(np.nanargmax(found.surface), found.surface.shape)
        peak = [
            100 * (at + 0.5) / size for at, size in zip(highest, found.surface.shape, strict=True)
        ]
    residual = np.linalg.norm(pair["pair_residual"].to_numpy())
    said = [
        ("shift", ", ".join(f"{value:.2f}" for value in pair["pair_shift"].to_numpy())),
        ("residual", f"{residual:.2f}"),
        ("NCC", f"{float(pair['pair_ncc']):.3f}"),
        ("overlap", f"{float(pair['pair_overlap']):.2f}"),
        ("second peak", f"{float(pair['pair_second_peak_ratio']):.2f}"),
    ]
    return {
        "reference": int(pair["pair_reference"]),
        "moving": int(pair["pair_moving"]),
        "status": str(PairStatus.from_code(int(pair["pair_status"]))),
        "said": [(name, value) for name, value in said if "nan" not in value],
        "images": [("reference", reference), ("moving", moving)],
        "surface": encode_colours(found.surface),
        "peak": peak,
        "lags": [
            f"{name} {first} to {first + size - 1}"
            for name, first, size in zip(
                names[-2:], found.first_lag[-2:], found.surface.shape, strict=True
            )
        ],
    }


def _make_table(shifts: xr.Dataset) -> dict[str, Any]:
    """The frames as columns of short numbers, for the page's own table."""
    status = shifts["frame_status"].to_numpy()
    total = len(status)
    step = max(-(-total // MOST_ROWS), 1)
    shown = np.zeros(total, bool)
    shown[::step] = True
    doubtful = np.flatnonzero(status != FrameStatus.OK.code)
    shown[doubtful[:MOST_ROWS]] = True
    rows = np.flatnonzero(shown)
    columns: dict[str, list[Any]] = {"frame": rows.tolist()}
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
    note = f"Every {step}th of {total} frames, and those that are not ok" if step > 1 else ""
    data = json.dumps(
        {"names": list(columns), "columns": list(columns.values())}, separators=(",", ":")
    )
    return {"data": data.replace("</", "<\\/"), "note": note, "total": total}


def _shorten(values: np.ndarray[Any, Any], digits: int) -> list[float | None]:
    return [round(value, digits) if np.isfinite(value) else None for value in values.tolist()]
