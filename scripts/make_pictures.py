"""Makes the pictures of docs/trust.md: the page of a series of every kind of verdict.

    python scripts/make_pictures.py [NAME ...] [--to docs/pictures]

The series are situations of `bench_verdict`, made from a seed. Each is run as a user would, from
settings in a folder, and the upper part of its page is taken by a headless Chromium. Prints the
verdicts, as docs/trust.md quotes them.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import steadystack
from bench_verdict import SITUATIONS

# The name of a picture: the situation that it shows.
SHOWN = {
    "good": "a good series",
    "label": "a bright square that stands still",
    "turning": "a specimen that turns",
    "still": "dirt that stands still, not masked",
    "lost": "eight frames of noise in the middle",
    "moving": "an object that moves independently, a third of the frame",
    "search": "max_shift too small",
    "noise": "noise only",
}
SEED = 0
WIDTH, HEIGHT = 900, 860  # of the window, pixels
MOST_BYTES = 60_000


def run_series(
    name: str, folder: Path, changes: Mapping[str, Mapping[str, Any]] | None = None
) -> steadystack.Verdict:
    """Run the series of a picture in a folder, where its page is `NAME.html`.

    `changes` are keys of sections of the settings, as a reader of the page would change them.
    """
    case = SITUATIONS[SHOWN[name]][0](np.random.default_rng(SEED))
    np.save(folder / f"{name}.npy", case.frames.astype("f4"))
    settings: dict[str, dict[str, Any]] = {
        "input": {"path": str(folder / f"{name}.npy"), "axes": "tyx"},
        "register": case.sections,
        "output": {
            "shifts": str(folder / f"{name}-shifts.zarr"),
            "report": str(folder / f"{name}.html"),
        },
        "cluster": {"kind": "in-process"},
    }
    for section, keys in (changes or {}).items():
        settings[section] = {**settings.get(section, {}), **keys}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return steadystack.verdict(steadystack.run(steadystack.load_config(path)))


def take_picture(page: Path, picture: Path) -> None:
    """Take the upper part of a page, as a WEBP of less than MOST_BYTES."""
    from PIL import Image

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("error: pictures need Chromium (Debian: chromium)")
    shot = page.with_suffix(".png")
    subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage",
            f"--user-data-dir={page.parent / 'profile'}", f"--window-size={WIDTH},{HEIGHT}",
            "--virtual-time-budget=3000", f"--screenshot={shot}", page.as_uri(),
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    image = Image.open(shot).convert("RGB")
    for quality in range(80, 20, -10):
        file = io.BytesIO()
        image.save(file, "WEBP", quality=quality, method=6)
        if len(file.getvalue()) < MOST_BYTES:
            picture.write_bytes(file.getvalue())
            return
    raise SystemExit(f"error: the picture of {page.name} has more than {MOST_BYTES} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="all if none")
    parser.add_argument("--to", type=Path, default=Path(__file__).parents[1] / "docs" / "pictures")
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or SHOWN:
        with tempfile.TemporaryDirectory() as scratch:
            judged = run_series(name, Path(scratch))
            take_picture(Path(scratch, f"{name}.html"), arguments.to / f"{name}.webp")
        print("\n  ".join([f"{name}: {judged.trust}", *judged.reasons]), flush=True)


if __name__ == "__main__":
    main()
