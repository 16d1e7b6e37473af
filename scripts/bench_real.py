"""Real time-lapses through the whole run, compared with what is known of them.

    python scripts/bench_real.py DATA [--keep FOLDER]

DATA is a folder with the series `bulk_water` (video microscopy, particle tracking beside it),
`haadf_tilt` (electron tomography tilt series, shifts of another package beside it) and
`eo_s2_ndvi` (satellite dates, one cloud mask per date). A series that is not there is left out.
Prints Markdown tables; with --keep the settings, shifts and pictures stay in FOLDER.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import pipeline
from pipeline.config import make_config
from pipeline.model import FrameStatus
from pipeline.store.images import write_image, write_stack


def run(folder: Path, name: str, **sections: dict) -> xr.Dataset:
    """One run into `folder`, with a picture."""
    output = {"shifts": f"{name}.zarr", "report": f"{name}.png"}
    config = make_config({"output": output, **sections}, folder=folder)
    return pipeline.run(config, overwrite=True)


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
        ("lags 1, 2, 4, 8", {"strategy": "lags", "lags": [1, 2, 4, 8]}, None),
        ("consecutive, high-pass 10 px", {"strategy": "consecutive"}, 10.0),
        ("lags 1, 2, 4, 8, high-pass 10 px", {"strategy": "lags", "lags": [1, 2, 4, 8]}, 10.0),
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
        found = -shifts["shift"].to_numpy()
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
        difference = np.diff(shifts["shift"].to_numpy() - recorded, axis=0)
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
    found = shifts["shift"].to_numpy()
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
    print(f"\n{shifts.attrs['verdict']}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the series")
    parser.add_argument("--keep", type=Path, help="folder to leave shifts and pictures in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for series in (bulk_water, haadf_tilt, eo_s2_ndvi):
            if (given.data / series.__name__).is_dir():
                series((given.data / series.__name__).resolve(), folder)


if __name__ == "__main__":
    main()
