"""By how much the codec of a video moves what frames show, and whether stated errors include it.

    pip install -e '.[video]'; python scripts/bench_video.py [--first 0] [--count 30]

Each member is 20 frames of 96 to 192 px, of blobs of 1 to 20 px in noise, which move by 0.02 to
2 px a frame. Each codec writes them as a video, at a quality drawn at random, which is measured
with no settings. Prints the bits spent on a pixel; where the codec puts frames, registered to
themselves as they were (standard deviation, px); and the error of the series over the stated one.
The random numbers are those of the member.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import av
import numpy as np
import xarray as xr

from scenes import Blobs
from steadystack import estimate_shifts, open_stack
from steadystack.register import register_as_it_is

# The encoder; the name of the option for the quality, and the best and the worst that is drawn.
CODECS = {
    "H.264": ("libx264", "crf", 15, 35),
    "H.265": ("libx265", "crf", 18, 35),
    "MPEG-4": ("mpeg4", "qmin", 2, 12),
    "MJPEG, each frame coded separately": ("mjpeg", "qmin", 2, 12),
}


def make_member(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Make the frames of a member (frames, y, x) uint8, and their shifts (frames, axes), pixels."""
    side, step = 16 * int(rng.integers(6, 13)), 10 ** rng.uniform(-1.7, 0.3)
    if rng.random() < 0.5:
        shifts = np.cumsum(rng.normal(0, step, (20, 2)), axis=0)
    else:
        shifts = np.arange(20)[:, None] * rng.normal(size=2) * step
    scene = Blobs.of(rng, (side, side), (1, 20), reach=float(np.abs(shifts).max()) + 2)
    frames = np.stack([scene.view((side, side), shift) for shift in shifts])
    frames += rng.normal(0, frames.std() * 10 ** rng.uniform(-2, -0.5), frames.shape)
    low, high = np.percentile(frames, [0.5, 99.5])
    frames = np.clip(30 + 190 * (frames - low) / (high - low), 0, 255).round()
    return frames.astype(np.uint8), shifts - shifts[0]


def write(path: Path, frames: np.ndarray, encoder: str, options: dict[str, str]) -> float:
    """Write frames as a video; returns the bits it spends on a pixel."""
    size = 0
    with av.open(str(path), "w") as file:
        stream = file.add_stream(encoder, rate=5, options=options)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        images = [av.VideoFrame.from_ndarray(frame, format="gray") for frame in frames]
        for image in [*images, None]:
            for packet in stream.encode(image):
                size += packet.size
                file.mux(packet)
    return 8 * size / frames.size


def measure(stack: np.ndarray | xr.DataArray, truth: np.ndarray) -> tuple[float, float]:
    """The error of shifts relative to the first frame, and what is stated, both rms, pixels."""
    found = estimate_shifts(stack)
    off = (found["frame_shift"] - truth)[1:]
    stated = found["frame_shift_std"][1:]
    return float(np.sqrt((off**2).mean())), float(np.sqrt((stated**2).mean()))


def main() -> None:
    """Print a line for each member and codec, and the medians of each codec."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=30)
    given = parser.parse_args()
    print("member, codec, bits a pixel, codec moves frames by, error of the series, over stated")
    rows: dict[str, list[list[float]]] = {name: [] for name in ("none", *CODECS)}
    for member in range(given.first, given.first + given.count):
        rng = np.random.default_rng(member)
        frames, truth = make_member(rng)
        error, stated = measure(frames, truth)
        rows["none"].append([8.0, 0.0, error, error / stated])
        with tempfile.TemporaryDirectory() as name:
            for number, (codec, (encoder, option, *qualities)) in enumerate(CODECS.items()):
                quality = str(int(rng.integers(*qualities)))
                options = {option: quality} | ({"qmax": quality} if option == "qmin" else {})
                if encoder == "libx265":
                    options["x265-params"] = "log-level=error"
                path = Path(name) / f"{number}.mkv"
                bits = write(path, frames, encoder, options)
                video = open_stack(path)
                moved = [
                    register_as_it_is(*(image.astype("f4") for image in pair), max_shift=[4, 4])
                    for pair in zip(frames, video.to_numpy(), strict=True)
                ]
                spread = float(np.nanstd([one.shift for one in moved], axis=0).mean())
                error, stated = measure(video, truth)
                rows[codec].append([bits, spread, error, error / stated])
        for codec, values in rows.items():
            print(f"{member:4d} {codec}:", *(f"{value:.3f}" for value in values[-1]), flush=True)
    for codec, values in rows.items():
        print(f"median, {codec}:", *(f"{value:.3f}" for value in np.median(values, axis=0)))


if __name__ == "__main__":
    main()
