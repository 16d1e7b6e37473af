"""The surroundings of the pictures of a movie: titles, a scale bar, frame numbers and times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.ome import find_time_unit
from steadystack.units import find_micrometers, is_size

HEAD, FOOT, GAP, LEAST_WIDTH = 24, 30, 4, 200  # pixels of a movie
FONT_SIZE, MARGIN = 15, 6
INK, GAP_GREY = 255, 110
NAMES = "as recorded", "corrected"
TIME_SYMBOLS = {"second": "s", "millisecond": "ms", "microsecond": "us", "nanosecond": "ns",
                "minute": "min", "hour": "h", "day": "d"}  # fmt: skip
# Units, in letters that the font has, in micrometers: the largest of which the bar is 1 or more.
LENGTHS = {"mm": 1e3, "um": 1.0, "nm": 1e-3}
BAR_FRACTION = 0.4  # longest scale bar, as a share of the width of a picture


class MoviePage:
    """The picture of a movie without its frames: two panels side by side, titles and scale bar.

    Parameters
    ----------
    panel_shape : pixels (y, x) of each panel
    pixel_size, unit : of a pixel of a panel along x; NaN and "" if not known
    note : appended to the title of the first panel
    """

    def __init__(
        self, panel_shape: tuple[int, int], pixel_size: float, unit: str, note: str = ""
    ) -> None:
        from PIL import Image, ImageDraw, ImageFont

        height, width = panel_shape
        self.column = max(width, LEAST_WIDTH)
        self.panel_shape = panel_shape
        # H.264 with half the resolution in colour needs even sides
        size = (HEAD + height + FOOT, 2 * self.column + GAP)
        self.shape = size[0] + size[0] % 2, size[1] + size[1] % 2
        self._font = ImageFont.load_default(size=FONT_SIZE)
        picture = Image.new("L", self.shape[::-1], 0)
        draw = ImageDraw.Draw(picture)
        for number, name in enumerate((NAMES[0] + note, NAMES[1])):
            start = number * (self.column + GAP)
            draw.text((start + MARGIN, 3), name, fill=INK, font=self._font)
        draw.rectangle((self.column, 0, self.column + GAP - 1, self.shape[0]), fill=GAP_GREY)
        if bar := choose_bar(width, pixel_size, unit):
            length, label = bar
            middle = HEAD + height + FOOT // 2
            draw.rectangle((MARGIN, middle - 2, MARGIN + length - 1, middle + 2), fill=INK)
            draw.text((2 * MARGIN + length, middle), label, fill=INK, font=self._font, anchor="lm")
        self._empty = picture

    def find_panels(self) -> list[tuple[slice, slice]]:
        """Find the slices (y, x) of both panels."""
        height, width = self.panel_shape
        left = (self.column - width) // 2
        return [
            (slice(HEAD, HEAD + height), slice(start + left, start + left + width))
            for start in (0, self.column + GAP)
        ]

    def compose(self, panels: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
        """Compose a picture (y, x) of both panels (2, y, x), with the frame's caption below."""
        from PIL import ImageDraw

        picture: Any = self._empty.copy()
        at = (self.column + GAP + MARGIN, HEAD + self.panel_shape[0] + FOOT // 2)
        ImageDraw.Draw(picture).text(at, caption, fill=INK, font=self._font, anchor="lm")
        composed = np.array(picture)
        for where, panel in zip(self.find_panels(), panels, strict=True):
            composed[where] = panel
        return composed


def choose_bar(width: int, pixel_size: float, unit: str) -> tuple[int, str] | None:
    """Choose the length of a scale bar, pixels, and its label; None: the pixel size is not known.

    Parameters
    ----------
    width : of the picture, pixels
    pixel_size, unit : of a pixel
    """
    if not unit or not is_size(pixel_size):
        return None
    longest = BAR_FRACTION * width * pixel_size
    micrometers, symbol = find_micrometers(unit), unit
    if micrometers is not None:
        for symbol, factor in LENGTHS.items():
            if longest * micrometers >= factor or symbol == "nm":
                pixel_size *= micrometers / factor
                longest *= micrometers / factor
                break
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))
    return max(round(length / pixel_size), 1), f"{length:g} {symbol}"


def make_captions(numbers: Sequence[int], time: tuple[Sequence[float], str] | None) -> list[str]:
    """Make the caption of every frame: its number in the stack, and its time if known.

    `time` has the times of the frames and their unit, as in `readers.StackSpec`.
    """
    captions = [f"frame {number}" for number in numbers]
    if time is None:
        return captions
    times, unit = np.asarray(time[0], np.float64), time[1].split(" since ")[0]
    symbol = TIME_SYMBOLS.get(find_time_unit(unit) or "", unit)
    steps = np.abs(np.diff(times))
    steps = steps[np.isfinite(steps) & (steps > 0)]
    step = float(np.median(steps)) if steps.size else 1.0
    decimals = int(np.clip(1 - math.floor(math.log10(step)), 0, 6)) if step % 1 else 0
    return [
        f"{caption}, {value:.{decimals}f} {symbol}" if math.isfinite(value) else caption
        for caption, value in zip(captions, times.tolist(), strict=True)
    ]
