"""Pairs of the kinds that real images are of and scenes of white noise are not, with a known truth.

Each kind makes as many random members as asked for, always the same from the same seed. Scenes are
moved exactly, by the phase of their spectrum, or by whole pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scenes import Pair

PHOTOGRAPHS = ("page", "clock", "text", "moon", "coins", "camera")
BLURS = (0.0, 0.7, 1.0, 1.5, 2.0, 2.5)


@dataclass(frozen=True)
class Canvas:
    """A periodic scene, larger than what is looked at, that can be moved by any shift."""

    spectrum: np.ndarray
    shape: tuple[int, ...]
    size: tuple[int, ...]

    @classmethod
    def of(cls, scene: np.ndarray, size: Sequence[int]) -> Canvas:
        return cls(np.fft.rfftn(scene), scene.shape, tuple(size))

    @property
    def frequencies(self) -> list[np.ndarray]:
        *first, last = self.shape
        lines = [*(np.fft.fftfreq(n) for n in first), np.fft.rfftfreq(last)]
        return [2 * np.pi * k for k in np.meshgrid(*lines, indexing="ij", sparse=True)]

    def view(self, move: Sequence[float] | np.ndarray, slope: int | None = None) -> np.ndarray:
        """The middle of the scene, looked at `move` pixels further on, or its slope along an axis.

        A move of (1, 2) shows at [0, 0] what lies at [1, 2] otherwise: it is the shift that lays
        the view on the one that has not moved.
        """
        phase = sum(k * m for k, m in zip(self.frequencies, move, strict=True))
        spectrum = self.spectrum * np.exp(1j * phase)
        if slope is not None:
            spectrum = spectrum * 1j * self.frequencies[slope]
        whole = np.fft.irfftn(spectrum, self.shape, axes=range(len(self.shape)))
        middle = tuple(
            slice((n - m) // 2, (n - m) // 2 + m)
            for n, m in zip(self.shape, self.size, strict=True)
        )
        return whole[middle]

    def find_bound(self, deviation: float) -> np.ndarray:
        """The Cramér-Rao bound of a shift between two images with white noise, px²."""
        slopes = np.stack(
            [self.view([0] * len(self.size), a).ravel() for a in range(len(self.size))]
        )
        return 2 * deviation**2 * np.linalg.inv(slopes @ slopes.T)


def make_texture(
    rng: np.random.Generator, size: Sequence[int], power: float, cut: float, stretch: float = 1
) -> Canvas:
    """A scene of a power law, blurred, of deviation 1; along its first axis `stretch` times so."""
    shape = tuple(2 * n if n > 16 else 6 * n for n in size)
    canvas = Canvas.of(rng.normal(size=shape), size)
    first, *others = (k / (2 * np.pi) for k in canvas.frequencies)
    k = np.sqrt((stretch * first) ** 2 + sum(other**2 for other in others))
    spectrum = canvas.spectrum * (k + 0.005) ** -power * np.exp(-((k / cut) ** 2))
    spectrum.flat[0] = 0
    scale = np.fft.irfftn(spectrum, shape, axes=range(len(shape))).std()
    return Canvas(spectrum / scale, shape, tuple(size))


def _pair(one, other, shift, bound=None) -> Pair:
    masks = np.ones(one.shape, bool), np.ones(other.shape, bool)
    ndim = one.ndim
    return Pair(one, other, *masks, np.asarray(shift, float),
                np.full((ndim, ndim), np.nan) if bound is None else bound)  # fmt: skip


def plain(rng: np.random.Generator, number: int) -> Pair:
    """Nothing wrong: a texture in white noise."""
    canvas, move = make_texture(rng, (160, 160), 1.2, 0.2), rng.uniform(-8, 8, 2)
    one, other = (canvas.view(d) + 0.3 * rng.normal(size=canvas.size) for d in ((0, 0), move))
    return _pair(one, other, move, canvas.find_bound(0.3))


def limb(rng: np.random.Generator, number: int) -> Pair:
    """A bright body with a limb and shading, through changing blur and wobbling air."""
    size, rough, wobble = 256, number % 2 == 0, (1.1, 0.3)[number // 2 % 2]
    y, x = np.mgrid[: size + 80, : size + 80].astype(float)
    radius = np.hypot(y - len(y) * rng.uniform(0.9, 1.1), x - len(y) * rng.uniform(0.3, 0.7))
    light = np.clip((0.95 - radius / len(y)) * rng.uniform(20, 60), 0, 1)
    light *= 0.35 + 0.65 * np.clip(x / len(y), 0, 1)
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=light.shape), s) for s in (1.2, 5))
    detail = (8 if rough else 4) * fine / fine.std() + (10 if rough else 6) * coarse / coarse.std()
    scene, move = light * (160 + detail) + 8, rng.integers(-6, 7, 2)
    frames = []
    for offset in ((0, 0), move):
        air = [ndimage.gaussian_filter(rng.normal(size=scene.shape), 30) for _ in range(2)]
        seen = ndimage.map_coordinates(
            ndimage.gaussian_filter(scene, rng.uniform(0.5, 2)),
            np.mgrid[: len(y), : len(y)] + wobble * 106 * np.stack(air),
            order=1,
            mode="nearest",
        )
        seen = seen[tuple(slice(40 + at, 40 + at + size) for at in offset)]
        frames.append(np.clip(np.rint(seen + rng.normal(0, 1.5, seen.shape)), 0, 255))
    return _pair(*(frame.astype(np.uint8) for frame in frames), move)


def photographs(rng: np.random.Generator, number: int) -> Pair:
    """Two crops of a photograph, the second a little out of focus, both with some noise."""
    from skimage import data

    photo = getattr(data, PHOTOGRAPHS[number % 6])().astype(float)
    blur, move = BLURS[number // 6 % 6], rng.integers(-6, 7, 2)
    if number < 36:
        move = np.array([-3, 5])
    middle = [tuple(slice(20 + m, n - 20 + m) for m, n in zip(at, photo.shape, strict=True))
              for at in ((0, 0), move)]  # fmt: skip
    other = ndimage.gaussian_filter(photo, blur)[middle[1]]
    one = photo[middle[0]]
    return _pair(*(image + rng.normal(0, 2, image.shape) for image in (one, other)), move)


def boxes(rng: np.random.Generator, number: int) -> Pair:
    """Smooth objects on dark ground."""
    scene = np.zeros((200, 200))
    for _ in range(rng.integers(3, 7)):
        corner, sides = rng.integers(62, 118, 2), rng.integers(10, 31, 2)
        scene[tuple(slice(c, c + s) for c, s in zip(corner, sides, strict=True))] = 1
    canvas = Canvas.of(ndimage.gaussian_filter(scene, 3, truncate=6), (100, 100))
    move = rng.uniform(-10, 10, 2)
    one, other = (canvas.view(d) + 0.03 * rng.normal(size=canvas.size) for d in ((0, 0), move))
    return _pair(one, other, move, canvas.find_bound(0.03))


def volumes(rng: np.random.Generator, number: int) -> Pair:
    """Volumes that are blurred more along z than along y and x."""
    canvas = make_texture(rng, (12, 64, 64), 1.5, 0.2, rng.uniform(2, 6))
    move = rng.uniform(-1, 1, 3) * [1.5, 5, 5]
    one, other = (canvas.view(d) + 0.3 * rng.normal(size=canvas.size) for d in ((0, 0, 0), move))
    return _pair(one, other, move, canvas.find_bound(0.3))


def planes(rng: np.random.Generator, count: int, stretch: float) -> Pair:
    """Volumes of so many planes, `stretch` times as blurred along z; one does not move along it."""
    canvas = make_texture(rng, (count, 64, 64), 1.5, 0.2, stretch)
    move = rng.uniform(-1, 1, 3) * [min(count - 1, 12) / 8, 5, 5]
    one, other = (canvas.view(d) + 0.3 * rng.normal(size=canvas.size) for d in ((0, 0, 0), move))
    slopes = np.stack([canvas.view([0, 0, 0], axis).ravel() for axis in range(3)])[count == 1 :]
    bound = np.zeros((3, 3))
    bound[count == 1 :, count == 1 :] = 2 * 0.3**2 * np.linalg.inv(slopes @ slopes.T)
    return _pair(one, other, move, bound)


def photons(rng: np.random.Generator, number: int) -> Pair:
    """One photon a pixel."""
    canvas, move = make_texture(rng, (160, 160), 1.2, 0.2), rng.uniform(-8, 8, 2)
    one, other = (
        rng.poisson(np.clip(1 + 0.4 * canvas.view(d), 0, None)).astype(float)
        for d in ((0, 0), move)
    )
    return _pair(one, other, move, canvas.find_bound(1 / 0.4))


def large_detail(rng: np.random.Generator, number: int) -> Pair:
    """Mostly large detail, in noise as strong as the scene."""
    canvas, move = make_texture(rng, (100, 100), 2.0, 0.25), rng.uniform(-8, 8, 2)
    one, other = (canvas.view(d) + rng.normal(size=canvas.size) for d in ((0, 0), move))
    return _pair(one, other, move, canvas.find_bound(1))


def columns(rng: np.random.Generator, number: int) -> Pair:
    """Columns that stand still in the camera."""
    canvas, move = make_texture(rng, (160, 160), 1.2, 0.2), rng.uniform(-8, 8, 2)
    fixed = 0.3 * rng.normal(size=(1, 160))
    one, other = (canvas.view(d) + 0.3 * rng.normal(size=canvas.size) for d in ((0, 0), move))
    return _pair(one + fixed, other + fixed, move, canvas.find_bound(0.3))


def hot_pixels(rng: np.random.Generator, number: int) -> Pair:
    """The same 15 hot pixels in both frames."""
    canvas, move = make_texture(rng, (128, 128), 1.2, 0.2), rng.uniform(-8, 8, 2)
    hot = np.zeros(canvas.size)
    hot[tuple(rng.integers(0, 128, (2, 15)))] = rng.uniform(10, 40, 15)
    one, other = (canvas.view(d) + 0.3 * rng.normal(size=canvas.size) for d in ((0, 0), move))
    return _pair(one + hot, other + hot, move, canvas.find_bound(0.3))


KINDS: dict[str, Callable[[np.random.Generator, int], Pair]] = {
    kind.__name__: kind
    for kind in (
        plain, limb, photographs, boxes, volumes, photons, large_detail, columns, hot_pixels
    )
}  # fmt: skip


LINES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "line": lambda across, width: np.exp(-((across / width) ** 2) / 2),
    "edge": lambda across, width: np.tanh(across / width),
    "ramp": lambda across, width: across,
    "waves": lambda across, width: np.sin(across / width / 1.5),
}


def make_line_pair(kind: str, number: int) -> Pair:
    """A line, an edge, a ramp or waves in noise of 0.3 % to twice their deviation."""
    rng = np.random.default_rng([sorted(LINES).index(kind), number])
    size = int(rng.choice([64, 128, 256]))
    y, x = np.mgrid[:size, :size] - size / 2
    angle, width, noise = rng.uniform(0, np.pi), rng.uniform(1, 6), 10 ** rng.uniform(-2.5, 0.3)
    move = rng.uniform(-4, 4) * np.array([np.cos(angle), np.sin(angle)])
    views = [
        LINES[kind]((y + at[0]) * np.cos(angle) + (x + at[1]) * np.sin(angle), width)
        for at in ((0, 0), move)
    ]
    return _pair(
        *(view + noise * views[0].std() * rng.normal(size=view.shape) for view in views), move
    )


def make_pair(kind: str, seed: int, number: int) -> Pair:
    """Make one member of a kind, always the same from the same seed and number."""
    return KINDS[kind](np.random.default_rng([seed, sorted(KINDS).index(kind), number]), number)
