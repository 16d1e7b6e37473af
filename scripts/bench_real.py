"""Real time-lapses through the whole run, compared with what is known of them.

    python scripts/bench_real.py DATA [--keep FOLDER] [--only overview]

DATA is a folder with the series `bulk_water` (video microscopy, particle tracking beside it),
`haadf_tilt` (electron tomography tilt series, shifts of another package beside it), `eo_s2_ndvi`
(satellite dates, one cloud mask per date) and `dice_pixel_shift` (speckle moved by whole pixels).
A series that is not there is left out. Prints Markdown tables; with --keep the settings, shifts and
pictures (drift; means before and after) stay in FOLDER. The overview is of every series alike:

sharpness   of the mean of the frames moved by their shifts over that of the same frames as they
            are, over the same pixels (valid in all frames, as they are and moved; if there is no
            such pixel: in half of them): Tenengrad (mean squared gradient) and variance of the
            Laplacian, both of a Gaussian of 1 px; moved by cubic splines, as `correct` does by
            default (linear), and by minus their shifts (the wrong way)
closure     rms over all triangles a, b, c of pairs of (a to b) + (b to c) - (a to c), px
residual    rms over pairs and axes of pair minus solution, px: all pairs by least squares, and
            those that the robust solve keeps
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage
from skimage import io

import steadystack
from steadystack.config import make_config
from steadystack.dataset import read_frames, read_pairs
from steadystack.model import FrameStatus, PairTable
from steadystack.outputs import write_image, write_stack
from steadystack.plot import new_figure
from steadystack.report import save_figure
from steadystack.solve import solve_shifts
from steadystack.warp import move, place_on_canvas

MOVES = ("before", "linear", "cubic", "wrong way")
EDGE = 6  # px that gradients of a Gaussian of 1 px reach into


def run(folder: Path, name: str, **sections: dict) -> xr.Dataset:
    """One run into `folder`, with a picture."""
    output = {"shifts": f"{name}.zarr", "report": f"{name}.png"}
    config = make_config({"output": output, **sections}, folder=folder)
    return steadystack.run(config, overwrite=True)


def format_rms(error: np.ndarray) -> str:
    """Root mean square along y and x, of what is known."""
    y, x = np.sqrt(np.nanmean(error**2, axis=0))
    return f"{y:.3f} | {x:.3f}"


def bulk_water(data: Path, folder: Path) -> None:
    """Colloids in water: drift of 19 px against particle tracking; a stuck fibre is masked."""
    tracked = np.loadtxt(data / "bulk_water_trackpy_drift_all.csv", delimiter=",", skiprows=1)
    frames, drift = tracked[:, 0].astype(int), tracked[:, 1:]
    mask = np.ones((424, 640), bool)
    mask[:100, 545:] = False  # the fibre
    write_image(folder / "fibre.zarr", mask)
    print("### bulk_water: 300 frames 424 x 640, drift against particle tracking\n")
    print("| pairs | usable | rms y / px | rms x / px | drift at the end y, x |")
    print("|---|---|---|---|---|")
    for label, pairs, high_pass in (
        ("consecutive", {"strategy": "consecutive"}, None),
        ("separations 1, 2, 4, 8", {"strategy": "separations", "separations": [1, 2, 4, 8]}, None),
        ("consecutive, high-pass 10 px", {"strategy": "consecutive"}, 10.0),
        (
            "separations 1, 2, 4, 8, high-pass 10 px",
            {"strategy": "separations", "separations": [1, 2, 4, 8]},
            10.0,
        ),
    ):
        shifts = run(
            folder,
            f"bulk_water-{pairs['strategy']}{'-high_pass' if high_pass else ''}",
            input={"path": str(data / "bulk_water.ome.zarr")},
            mask={"path": "fibre.zarr"},
            preprocess={"high_pass": high_pass},
            register={"max_shift": 16},
            pairs=pairs,
        )
        drift_found = -shifts["frame_shift"].to_numpy()
        usable = int((shifts["pair_status"] == 1).sum())
        end = ", ".join(f"{value:.2f}" for value in drift_found[-1])
        error = format_rms(drift_found[frames] - drift)
        print(f"| {label} | {usable} of {shifts.sizes['pair']} | {error} | {end} |")
    end = ", ".join(f"{value:.2f}" for value in drift[-1])
    print(f"| particle tracking | | | | {end} |\n")


def haadf_tilt(data: Path, folder: Path) -> None:
    """A tilt series with jumps up to 37 px, against shifts that another package recorded."""
    recorded = np.loadtxt(data / "peer_shifts_yx.csv", delimiter=",")
    print("### haadf_tilt: 77 frames 256 x 256, steps against those recorded by another package\n")
    print("| pairs | usable | rms of steps y / px | x / px | largest step difference / px |")
    print("|---|---|---|---|---|")
    for label, pairs in (
        ("consecutive", {"strategy": "consecutive"}),
        ("window of 3", {"strategy": "window", "width": 3}),
    ):
        shifts = run(
            folder,
            f"haadf-{pairs['strategy']}",
            input={"path": str(data / "haadf.ome.zarr")},
            register={"max_shift": 64},
            pairs=pairs,
        )
        difference = np.diff(shifts["frame_shift"].to_numpy() - recorded, axis=0)
        usable = int((shifts["pair_status"] == 1).sum())
        largest = np.nanmax(np.abs(difference))
        print(
            f"| {label} | {usable} of {shifts.sizes['pair']} | {format_rms(difference)} "
            f"| {largest:.2f} |"
        )
    print()


def eo_s2_ndvi(data: Path, folder: Path) -> None:
    """Satellite dates with a cloud mask each: cloudy ones are flagged, no shift is made up."""
    stack = np.load(data / "data" / "NDVI.npy")[..., 0]
    clear = np.load(data / "mask" / "CLM.npy")[..., 0] == 0
    write_stack(folder / "ndvi.zarr", stack)
    write_image(folder / "clear.zarr", clear)
    shifts = run(
        folder,
        "eo_s2_ndvi",
        input={"path": "ndvi.zarr"},
        mask={"path": "clear.zarr"},
        register={"max_shift": 10},
        pairs={"strategy": "all"},
    )
    frame_shift = shifts["frame_shift"].to_numpy()
    is_known = np.isfinite(frame_shift).all(axis=1)
    share = clear.mean(axis=(1, 2))
    print("### eo_s2_ndvi: 68 dates 101 x 100, one cloud mask per date\n")
    print("| clear part of the date | dates | with a shift | largest shift / px | without, why |")
    print("|---|---|---|---|---|")
    for low, high in ((0.0, 0.0), (0.0, 0.5), (0.5, 1.0)):
        in_class = (share <= 0) if high == 0 else (share > low) & (share <= high)
        names = [
            str(FrameStatus.from_code(code))
            for code in shifts["frame_status"].to_numpy()[in_class & ~is_known]
        ]
        causes = ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))
        largest = (
            f"{np.abs(frame_shift[in_class & is_known]).max():.2f}"
            if (in_class & is_known).any()
            else ""
        )
        label = "none" if high == 0 else f"up to {high:.0%}" if low == 0 else f"over {low:.0%}"
        print(
            f"| {label} | {in_class.sum()} | {(in_class & is_known).sum()} | {largest} | {causes} |"
        )
    print(f"\n{steadystack.verdict(shifts)}\n")


@dataclass(frozen=True)
class Series:
    """A series of the overview: frames (t, y, x), what is valid in them, settings, true shifts."""

    name: str
    stack: np.ndarray
    valid: np.ndarray
    sections: dict
    truth: np.ndarray | None = None


def all_series(data: Path) -> Iterator[Series]:
    if (data / "bulk_water").is_dir():
        stack = steadystack.open_stack(str(data / "bulk_water" / "bulk_water.ome.zarr")).to_numpy()
        valid = np.ones(stack.shape[1:], bool)
        valid[:100, 545:] = False  # the fibre
        separations = {"strategy": "separations", "separations": [1, 2, 4, 8]}
        for name, extra in (
            ("bulk_water, separations 1, 2, 4, 8", {}),
            ("the same, high-pass 10 px", {"preprocess": {"high_pass": 10}}),
        ):
            yield Series(
                name, stack, valid, {"register": {"max_shift": 16}, "pairs": separations, **extra}
            )
    if (data / "haadf_tilt").is_dir():
        stack = steadystack.open_stack(str(data / "haadf_tilt" / "haadf.ome.zarr")).to_numpy()
        pairs = {"strategy": "window", "width": 3}
        settings = {"register": {"max_shift": 64}, "pairs": pairs}
        yield Series("haadf_tilt, window of 3", stack, np.ones(stack.shape[1:], bool), settings)
    if (data / "eo_s2_ndvi").is_dir():
        stack = np.load(data / "eo_s2_ndvi" / "data" / "NDVI.npy")[..., 0]
        clear = np.load(data / "eo_s2_ndvi" / "mask" / "CLM.npy")[..., 0] == 0
        settings = {"register": {"max_shift": 10}, "pairs": {"strategy": "all"}}
        yield Series("eo_s2_ndvi, all pairs", stack, clear, settings)
    if (data / "dice_pixel_shift").is_dir():
        names = ["ref", *(f"def_{step}" for step in range(1, 16))]
        stack = np.stack([io.imread(data / "dice_pixel_shift" / f"{name}.tif") for name in names])
        truth = np.repeat(-np.arange(16.0)[:, None], 2, axis=1)
        settings = {"register": {"max_shift": 24}, "pairs": {"strategy": "window", "width": 5}}
        whole = np.ones(stack.shape[1:], bool)
        yield Series("dice_pixel_shift, window of 5", stack, whole, settings, truth)
        masked = {**settings, "mask": {"invalid_values": [222]}}  # what comes in from outside
        name = "the same, its blank border masked"
        yield Series(name, stack, stack != 222, masked, truth)


def compute_means(series: Series, shifts: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Means of the frames with a shift, by how they are moved, and the pixels to compare.

    Those are known in all these frames, whichever way they are moved; or else in half of them.
    """
    frames = np.flatnonzero(np.isfinite(shifts).all(axis=1))
    shape = series.stack.shape[1:]
    total, count = ({kind: np.zeros(shape) for kind in MOVES} for _ in range(2))
    valid = np.broadcast_to(series.valid, series.stack.shape)
    for frame in frames:
        is_known = valid[frame] & np.isfinite(series.stack[frame])
        image = np.where(is_known, series.stack[frame], 0).astype(float)
        middle = image[is_known].mean()
        centred, shift = np.where(is_known, image - middle, 0), shifts[frame]
        for kind, (moved, is_known_moved) in {
            "before": (centred, is_known),
            "linear": move(centred, is_known, shift, "linear"),
            "cubic": place_on_canvas(centred, is_known, shift, (0, 0), shape),
            "wrong way": place_on_canvas(centred, is_known, -shift, (0, 0), shape),
        }.items():
            total[kind] += np.where(is_known_moved, moved + middle, 0)
            count[kind] += is_known_moved
    for minimum in (len(frames), len(frames) / 2):
        area = np.all([frame_count >= max(minimum, 1) for frame_count in count.values()], axis=0)
        if ndimage.binary_erosion(area, iterations=EDGE).any():
            break
    with np.errstate(invalid="ignore"):
        return {kind: total[kind] / count[kind] for kind in MOVES}, area


def measure_sharpness(image: np.ndarray, area: np.ndarray) -> tuple[float, float]:
    """Tenengrad and variance of the Laplacian, of a Gaussian of 1 px, inside an area."""
    inner = ndimage.binary_erosion(area, iterations=EDGE)
    smooth = np.where(area, image, image[area].mean())
    slopes = ndimage.gaussian_gradient_magnitude(smooth, 1.0)
    return (
        float(np.mean(slopes[inner] ** 2)),
        float(np.var(ndimage.gaussian_laplace(smooth, 1.0)[inner])),
    )


def format_closure(table: PairTable, kept: np.ndarray) -> str:
    """Root mean square over all triangles of pairs that are kept, px."""
    step = {
        (int(a), int(b)): shift
        for a, b, shift in zip(
            table.reference[kept], table.moving[kept], table.shift[kept], strict=True
        )
    }
    successors: dict[int, list[int]] = {}
    for a, b in step:
        successors.setdefault(a, []).append(b)
    sums = [
        step[a, b] + step[b, c] - step[a, c]
        for a, b in step
        for c in successors.get(b, [])
        if (a, c) in step
    ]
    return f"{np.sqrt(np.mean(np.square(sums))):.4f}" if sums else "no triangle"


def overview(data: Path, folder: Path) -> None:
    """One row a series: sharpness, closure, residuals, frames without a shift, verdict."""
    columns = [
        *("pixels", "Tenengrad, after / before", "linear", "the wrong way", "Laplacian"),
        *("closure, all pairs", "kept pairs", "residual, least squares", "robust"),
        *("pairs usable", "rejected", "frames without a shift", "error rms, max / px", "verdict"),
    ]
    print("| series | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1), flush=True)
    for number, series in enumerate(all_series(data)):
        write_stack(folder / f"overview-{number}.zarr", series.stack)
        write_image(folder / f"overview-{number}-mask.zarr", series.valid)
        mask = {"path": f"overview-{number}-mask.zarr", **series.sections.get("mask", {})}
        sections = {**series.sections, "mask": mask}
        name = f"overview-{number}-result"
        shifts = run(folder, name, input={"path": f"overview-{number}.zarr"}, **sections)
        print(overview_row(series, shifts, folder / f"{name}-means.png"), flush=True)
    print()


def overview_row(series: Series, shifts: xr.Dataset, picture: Path) -> str:
    table, frames = read_pairs(shifts), read_frames(shifts)
    kept = table.ok & ~frames.rejected
    least_squares = solve_shifts(table, robust=False)
    frame_shift = np.where(frames.component[:, None] == 0, frames.shift, np.nan)
    mean, area = compute_means(series, frame_shift)
    draw(picture, series.name, mean["before"], mean["cubic"], area)
    sharpness_by_kind = {
        kind: np.array(measure_sharpness(image, area)) for kind, image in mean.items()
    }
    gain = {kind: sharpness_by_kind[kind] / sharpness_by_kind["before"] for kind in MOVES}
    residuals = [
        f"{np.sqrt(np.nanmean(residual**2)):.4f}"
        for residual in (least_squares.residual[table.ok], frames.residual[kept])
    ]
    error = ""
    if series.truth is not None:
        error = frame_shift - frame_shift[0] - series.truth + series.truth[0]
        error = f"{np.sqrt(np.nanmean(error**2)):.4f}, {np.nanmax(np.abs(error)):.4f}"
    lost_count = (~np.isfinite(frame_shift).all(axis=1)).sum()
    gains = [gain["cubic"][0], gain["linear"][0], gain["wrong way"][0], gain["cubic"][1]]
    cells = [
        *(series.name, f"{area.mean():.0%}", *(f"{value:.2f}" for value in gains)),
        *(format_closure(table, table.ok), format_closure(table, kept), *residuals),
        *(f"{table.ok.sum()} of {len(table.ok)}", f"{(table.ok & frames.rejected).sum()}"),
        *(f"{lost_count} of {len(frame_shift)}", error, str(steadystack.verdict(shifts))),
    ]
    return "| " + " | ".join(cells) + " |"


def draw(path: Path, title: str, before: np.ndarray, after: np.ndarray, area: np.ndarray) -> None:
    """Both means in one grey scale, with the outline of the pixels that are compared."""
    figure = new_figure(13, 13 * before.shape[0] / before.shape[1] / 2 + 0.8)
    figure.suptitle(title)
    low, high = np.percentile(np.stack([before, after])[:, area], [0.5, 99.5])
    for axes, name, image in zip(
        figure.subplots(1, 2), ("as they are", "moved"), (before, after), strict=True
    ):
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.contour(area, [0.5], colors="#D55E00", linewidths=0.8)
        axes.set(title=f"mean of the frames {name}", xticks=[], yticks=[])
    save_figure(figure, str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the series")
    parser.add_argument("--keep", type=Path, help="folder to leave shifts and pictures in")
    tables = {
        function.__name__: function for function in (overview, bulk_water, haadf_tilt, eo_s2_ndvi)
    }
    parser.add_argument("--only", choices=tables, nargs="+", default=list(tables))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.only:
            if name == "overview":
                overview(arguments.data.resolve(), folder)
            elif (arguments.data / name).is_dir():
                tables[name]((arguments.data / name).resolve(), folder)


if __name__ == "__main__":
    main()
