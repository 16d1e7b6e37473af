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

WAYS = ("before", "linear", "cubic", "wrong way")
EDGE = 6  # px that gradients of a Gaussian of 1 px reach into


def run(folder: Path, name: str, **sections: dict) -> xr.Dataset:
    """One run into `folder`, with a picture."""
    output = {"shifts": f"{name}.zarr", "report": f"{name}.png"}
    config = make_config({"output": output, **sections}, folder=folder)
    return steadystack.run(config, overwrite=True)


def rms(error: np.ndarray) -> str:
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
        ("lags 1, 2, 4, 8", {"strategy": "separations", "separations": [1, 2, 4, 8]}, None),
        ("consecutive, high-pass 10 px", {"strategy": "consecutive"}, 10.0),
        (
            "lags 1, 2, 4, 8, high-pass 10 px",
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
        found = -shifts["frame_shift"].to_numpy()
        usable = int((shifts["pair_status"] == 1).sum())
        end = ", ".join(f"{value:.2f}" for value in found[-1])
        error = rms(found[frames] - drift)
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
            f"| {label} | {usable} of {shifts.sizes['pair']} | {rms(difference)} | {largest:.2f} |"
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
    found = shifts["frame_shift"].to_numpy()
    known = np.isfinite(found).all(axis=1)
    share = clear.mean(axis=(1, 2))
    print("### eo_s2_ndvi: 68 dates 101 x 100, one cloud mask per date\n")
    print("| clear part of the date | dates | with a shift | largest shift / px | without, why |")
    print("|---|---|---|---|---|")
    for low, high in ((0.0, 0.0), (0.0, 0.5), (0.5, 1.0)):
        some = (share <= 0) if high == 0 else (share > low) & (share <= high)
        names = [
            str(FrameStatus.from_code(code))
            for code in shifts["frame_status"].to_numpy()[some & ~known]
        ]
        causes = ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))
        largest = f"{np.abs(found[some & known]).max():.2f}" if (some & known).any() else ""
        label = "none" if high == 0 else f"up to {high:.0%}" if low == 0 else f"over {low:.0%}"
        print(f"| {label} | {some.sum()} | {(some & known).sum()} | {largest} | {causes} |")
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
        lags = {"strategy": "separations", "separations": [1, 2, 4, 8]}
        for name, extra in (
            ("bulk_water, lags 1, 2, 4, 8", {}),
            ("the same, high-pass 10 px", {"preprocess": {"high_pass": 10}}),
        ):
            yield Series(
                name, stack, valid, {"register": {"max_shift": 16}, "pairs": lags, **extra}
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
        stack = np.stack([io.imread(data / "dice_pixel_shift" / f"{one}.tif") for one in names])
        truth = np.repeat(-np.arange(16.0)[:, None], 2, axis=1)
        settings = {"register": {"max_shift": 24}, "pairs": {"strategy": "window", "width": 5}}
        whole = np.ones(stack.shape[1:], bool)
        yield Series("dice_pixel_shift, window of 5", stack, whole, settings, truth)
        masked = {**settings, "mask": {"invalid_values": [222]}}  # what comes in from outside
        name = "the same, its blank border masked"
        yield Series(name, stack, stack != 222, masked, truth)


def means(series: Series, shifts: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Means of the frames with a shift, by how they are moved, and the pixels to compare.

    Those are known in all these frames, whichever way they are moved; or else in half of them.
    """
    frames = np.flatnonzero(np.isfinite(shifts).all(axis=1))
    shape = series.stack.shape[1:]
    total, count = ({way: np.zeros(shape) for way in WAYS} for _ in range(2))
    valid = np.broadcast_to(series.valid, series.stack.shape)
    for frame in frames:
        known = valid[frame] & np.isfinite(series.stack[frame])
        image = np.where(known, series.stack[frame], 0).astype(float)
        middle = image[known].mean()
        centred, shift = np.where(known, image - middle, 0), shifts[frame]
        for way, (moved, there) in {
            "before": (centred, known),
            "linear": move(centred, known, shift, "linear"),
            "cubic": place_on_canvas(centred, known, shift, (0, 0), shape),
            "wrong way": place_on_canvas(centred, known, -shift, (0, 0), shape),
        }.items():
            total[way] += np.where(there, moved + middle, 0)
            count[way] += there
    for least in (len(frames), len(frames) / 2):
        area = np.all([one >= max(least, 1) for one in count.values()], axis=0)
        if ndimage.binary_erosion(area, iterations=EDGE).any():
            break
    with np.errstate(invalid="ignore"):
        return {way: total[way] / count[way] for way in WAYS}, area


def sharpness(image: np.ndarray, area: np.ndarray) -> tuple[float, float]:
    """Tenengrad and variance of the Laplacian, of a Gaussian of 1 px, inside an area."""
    inner = ndimage.binary_erosion(area, iterations=EDGE)
    smooth = np.where(area, image, image[area].mean())
    slopes = ndimage.gaussian_gradient_magnitude(smooth, 1.0)
    return (
        float(np.mean(slopes[inner] ** 2)),
        float(np.var(ndimage.gaussian_laplace(smooth, 1.0)[inner])),
    )


def closure(table: PairTable, kept: np.ndarray) -> str:
    """Root mean square over all triangles of pairs that are kept, px."""
    step = {
        (int(a), int(b)): shift
        for a, b, shift in zip(
            table.reference[kept], table.moving[kept], table.shift[kept], strict=True
        )
    }
    after: dict[int, list[int]] = {}
    for a, b in step:
        after.setdefault(a, []).append(b)
    sums = [
        step[a, b] + step[b, c] - step[a, c]
        for a, b in step
        for c in after.get(b, [])
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
    loose = solve_shifts(table, robust=False)
    found = np.where(frames.component[:, None] == 0, frames.shift, np.nan)
    mean, area = means(series, found)
    draw(picture, series.name, mean["before"], mean["cubic"], area)
    sharp = {way: np.array(sharpness(image, area)) for way, image in mean.items()}
    gain = {way: sharp[way] / sharp["before"] for way in WAYS}
    residuals = [
        f"{np.sqrt(np.nanmean(one**2)):.4f}"
        for one in (loose.residual[table.ok], frames.residual[kept])
    ]
    error = ""
    if series.truth is not None:
        off = found - found[0] - series.truth + series.truth[0]
        error = f"{np.sqrt(np.nanmean(off**2)):.4f}, {np.nanmax(np.abs(off)):.4f}"
    lost = (~np.isfinite(found).all(axis=1)).sum()
    gains = [gain["cubic"][0], gain["linear"][0], gain["wrong way"][0], gain["cubic"][1]]
    cells = [
        *(series.name, f"{area.mean():.0%}", *(f"{one:.2f}" for one in gains)),
        *(closure(table, table.ok), closure(table, kept), *residuals),
        *(f"{table.ok.sum()} of {len(table.ok)}", f"{(table.ok & frames.rejected).sum()}"),
        *(f"{lost} of {len(found)}", error, str(steadystack.verdict(shifts))),
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
    parts = {one.__name__: one for one in (overview, bulk_water, haadf_tilt, eo_s2_ndvi)}
    parser.add_argument("--only", choices=parts, nargs="+", default=list(parts))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name in given.only:
            if name == "overview":
                overview(given.data.resolve(), folder)
            elif (given.data / name).is_dir():
                parts[name]((given.data / name).resolve(), folder)


if __name__ == "__main__":
    main()
