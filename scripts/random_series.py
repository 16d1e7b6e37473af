"""Random series of images with a known drift, and with faults that real series have.

A member is a scene, a path, a noise, and each of `FAULTS` with a chance and a strength of its own;
`make_series(seed)` gives the same one always. Frames are rendered where they are: what moves is
sampled from a canvas that is three times as fine as the pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy import linalg, ndimage

FINE = 3  # points of a canvas per pixel
MARGIN = 70  # pixels of a canvas around a frame
SCENES = ("1/f", "blobs", "cells", "spots", "filaments", "photograph")
PATHS = ("walk", "linear", "vibration", "still", "jumps")
PHOTOGRAPHS = ("camera", "coins", "moon", "page", "brick", "grass", "gravel", "cell")


@dataclass
class Layer:
    """Something that moves as one: a canvas, looked at from anywhere."""

    canvas: np.ndarray  # spline coefficients, FINE points per pixel

    @classmethod
    def of(cls, image: np.ndarray) -> Layer:
        image = (image - image.mean()) / image.std()
        return cls(ndimage.spline_filter(image, 3, mode="grid-wrap"))

    def view(self, places: np.ndarray) -> np.ndarray:
        """The image at places (2, y, x) in pixels from the first of an unmoved frame."""
        return ndimage.map_coordinates(
            self.canvas, FINE * (places + MARGIN), order=3, mode="grid-wrap", prefilter=False
        )


def blurred(image: np.ndarray, pixels: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, FINE * pixels, mode="wrap")


def draw_spots(rng, side: int, share: float, sizes: Sequence[float]) -> np.ndarray:
    """Bright Gaussian spots of random size and height, so many per square pixel, on a canvas."""
    image = np.zeros((side, side))
    for size in np.geomspace(*sizes, 5):
        points = np.zeros((side, side))
        count = max(int(share / 5 * (side / FINE) ** 2), 1)
        np.add.at(points, tuple(rng.integers(0, side, (2, count))), rng.exponential(1, count) + 0.2)
        image += blurred(points, size) * size**2
    return image


def draw_scene(kind: str, rng: np.random.Generator, side: int) -> np.ndarray:
    """A canvas of `side` points; band-limited to what pixels can show."""
    if kind == "1/f":
        frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side)] * 2))
        frequency[0, 0] = 1
        slope = rng.uniform(0.8, 1.6)
        spectrum = np.fft.fft2(rng.normal(size=(side, side))) / frequency**slope
        spectrum[0, 0] = 0
        return blurred(np.fft.ifft2(spectrum).real, 0.7)
    if kind == "blobs":
        size = rng.uniform(1.2, 6)
        return blurred(rng.normal(size=(side, side)), size)
    if kind == "cells":
        places = blurred(rng.normal(size=(side, side)), rng.uniform(4, 8))
        soft = np.tanh(3 * (places / places.std() - 0.8)) + 1
        return blurred(soft * (1 + 0.2 * rng.normal(size=(side, side))), 0.9)
    if kind == "spots":
        return draw_spots(rng, side, rng.uniform(0.002, 0.02), (0.9, 2.5))
    if kind == "filaments":
        field = blurred(rng.normal(size=(side, side)), rng.uniform(3, 7))
        width = rng.uniform(0.08, 0.25)
        return blurred(np.exp(-((field / field.std() / width) ** 2)), 0.8)
    from skimage import color, data

    image = getattr(data, PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))])().astype(float)
    image = color.rgb2gray(image) if image.ndim == 3 else image
    image = np.pad(image, [(0, size) for size in image.shape], "symmetric")  # no jump at its edge
    zoom = FINE * rng.uniform(0.5, 1.0)
    places = np.indices((side, side)) / zoom + rng.uniform(0, 200, 2)[:, None, None]
    # a triangle wave of the canvas's side, so that it has no edge either
    half = side / 2
    y, x = (half - np.abs(np.indices((side, side)) - half)) / zoom
    places = np.stack([y, x]) + rng.uniform(0, 100, 2)[:, None, None]
    fine = ndimage.map_coordinates(image, places, order=1, mode="grid-wrap")
    return blurred(fine, 0.8)


def draw_path(kind: str, rng: np.random.Generator, count: int) -> np.ndarray:
    """Where the first pixel of every frame is in the scene (frames, 2), pixels; at first 0."""
    time = np.arange(count)[:, None]
    speed = rng.uniform(0.05, 1.0)
    if kind == "walk":
        path = np.cumsum(rng.normal(0, speed, (count, 2)), axis=0)
    elif kind == "linear":
        way = rng.normal(size=2)
        path = 0.6 * speed * way / np.linalg.norm(way) * time + rng.normal(0, 0.05, (count, 2))
    elif kind == "vibration":
        path = 2 * speed * np.sin(time * rng.uniform(0.3, 2.5, 2) + rng.uniform(0, 6, 2))
        path = path + rng.normal(0, 0.1, (count, 2))
    elif kind == "still":
        path = rng.normal(0, 0.03, (count, 2))
    else:
        jumps = rng.random((count, 2)) < 0.08
        path = np.cumsum(jumps * rng.normal(0, 5, (count, 2)) + rng.normal(0, 0.05, (count, 2)), 0)
    path = path - path[0]
    return path * min(1, 0.2 * 96 / max(np.abs(path).max(), 1e-9))


@dataclass
class Series:
    """A member: its frames, what is known of them, and what was done to it.

    Attributes
    ----------
    frames : (frames, y, x)
    shift : (frames, 2), what lays each frame on the first; NaN where a frame shows no scene
    mask : True = valid, or None
    faults : name and strength of each
    corners : by how much more than the middle the corners of a frame move in the series, pixels
    """

    frames: np.ndarray
    shift: np.ndarray
    mask: np.ndarray | None
    scene: str
    path: str
    noise: str
    faults: dict[str, float] = field(default_factory=dict)
    corners: float = 0.0


class Camera:
    """The series while it is made: the scene as it is seen, then what the camera adds."""

    def __init__(self, seed: int, count: int | None = None) -> None:
        self.rng = rng = np.random.default_rng([20260712, seed])
        self.count, self.side = int(rng.integers(30, 51)), int(rng.integers(96, 161))
        self.count = count or self.count
        self.kind, self.path_kind = str(rng.choice(SCENES)), str(rng.choice(PATHS))
        self.path = draw_path(self.path_kind, rng, self.count)
        self.canvas_side = FINE * (self.side + 2 * MARGIN)
        self.scene = self.draw(self.kind)
        self.linear = np.tile(np.eye(2), (self.count, 1, 1))  # about the middle
        self.corners = 0.0
        self.exposures = np.zeros((self.count, 2))  # how far the scene moves while it is exposed
        self.mask: np.ndarray | None = None
        self.bad = np.zeros(self.count, bool)
        self.shift_of = np.arange(self.count)  # whose path a frame shows

    def draw(self, kind: str | None = None) -> Layer:
        kind = kind or str(self.rng.choice(SCENES))
        return Layer.of(draw_scene(kind, self.rng, self.canvas_side))

    def look(self, layer: Layer, path: np.ndarray | None = None) -> np.ndarray:
        """The frames that show a layer, from the path of the series or another one."""
        path = self.path if path is None else path
        here = np.indices((self.side, self.side)) - (self.side - 1) / 2
        frames = []
        for t in range(self.count):
            turned = np.einsum("ij,jyx->iyx", self.linear[t], here) + (self.side - 1) / 2
            steps = np.linspace(-0.5, 0.5, 5) if self.exposures[t].any() else [0.0]
            views = [
                layer.view(turned + (path[t] + step * self.exposures[t])[:, None, None])
                for step in steps
            ]
            frames.append(np.mean(views, axis=0))
        return np.array(frames)

    def smooth(self, size: float) -> np.ndarray:
        """A smooth random image of the camera, of deviation 1."""
        image = ndimage.gaussian_filter(self.rng.normal(size=(self.side, self.side)), size)
        return (image - image.mean()) / image.std()


LINEAR = {
    "rotation": np.array([[0.0, -1.0], [1.0, 0.0]]),
    "growth": np.eye(2),
    "shear": np.array([[0.0, 1.0], [1.0, 0.0]]),
}
Frames = np.ndarray
Fault = tuple[float, Callable[[Camera, Frames, float], Frames]]  # its chance, what it does


def turning(camera: Camera, frames: Frames, strength: float) -> Frames:
    degrees = 0.01 * 20**strength * camera.rng.choice([-1, 1])
    angles = np.deg2rad(degrees) * np.arange(camera.count)
    camera.linear = linalg.expm(angles[:, None, None] * LINEAR["rotation"])
    return frames


def linear_motion(camera: Camera, frames: Frames, strength: float) -> Frames:
    """Frames that rotate, grow or shear, steadily or to and fro: corners move by 0.3 to 30 px."""
    rng, time = camera.rng, np.arange(camera.count)
    kind = str(rng.choice([*LINEAR, "rotation"]))
    way = np.linspace(-0.5, 0.5, camera.count) * rng.choice([-1, 1])
    if rng.random() < 0.3:
        way = 0.5 * np.sin(time * rng.uniform(0.05, 2) + rng.uniform(0, 6))
    size = 0.3 * 100**strength / (camera.side / np.sqrt(2)) * way
    camera.linear = linalg.expm(size[:, None, None] * LINEAR[kind])
    camera.corners = float(np.ptp(size)) * camera.side / np.sqrt(2)
    return frames


def motion_blur(camera: Camera, frames: Frames, strength: float) -> Frames:
    camera.exposures = camera.rng.normal(0, 0.5 + 2 * strength, (camera.count, 2))
    return frames


def living_features(camera: Camera, frames: Frames, strength: float) -> Frames:
    """Features that live 15 to 300 frames, in place of the scene."""
    life, rng = 15 * 20**strength, camera.rng
    reach, side, count = 25, camera.side, camera.count
    number = int(0.012 * (side + 2 * reach) ** 2 * (count + 2 * life) / life)
    centre, sigma = rng.uniform(-reach, side + reach, (number, 2)), rng.uniform(1.2, 4, number)
    height = rng.exponential(1, number) + 0.2
    birth = rng.uniform(-2 * life, count, number)
    death = birth + rng.exponential(life, number)
    return render_blobs(camera, centre, sigma, height, birth, death, np.zeros(2))


def crawling(camera: Camera, frames: Frames, strength: float) -> Frames:
    """Cells that crawl, each by itself, in place of the scene."""
    rng, reach, side = camera.rng, 25, camera.side
    number = int(0.006 * (side + 2 * reach) ** 2)
    centre, sigma = rng.uniform(-reach, side + reach, (number, 2)), rng.uniform(2, 5, number)
    height = rng.exponential(1, number) + 0.2
    ever = np.full(number, -np.inf), np.full(number, np.inf)
    step = 0.02 * 15**strength
    walks = np.cumsum(rng.normal(0, step, (camera.count, number, 2)), axis=0)
    return render_blobs(camera, centre, sigma, height, *ever, walks)


def render_blobs(camera, centre, sigma, height, birth, death, walks) -> Frames:
    y, frames = np.arange(camera.side), []
    for t in range(camera.count):
        on = (birth <= t) & (death > t)
        at = (centre + (walks[t] if walks.ndim == 3 else walks))[on] - camera.path[t]
        factors = [
            np.exp(-((y[None] - at[:, k, None]) ** 2) / (2 * sigma[on, None] ** 2)) for k in (0, 1)
        ]
        frames.append((factors[0] * height[on, None]).T @ factors[1])
    frames = np.array(frames)
    return (frames - frames.mean()) / frames.std()


def second_layer(camera: Camera, frames: Frames, strength: float) -> Frames:
    path = draw_path("walk", camera.rng, camera.count)
    return frames + (0.05 + 0.35 * strength) * camera.look(camera.draw(), path)


def object_of_its_own(camera: Camera, frames: Frames, strength: float) -> Frames:
    """An object over 5 to 35 % of the frame that moves by itself."""
    rng, side = camera.rng, camera.side
    radius = np.sqrt((0.05 + 0.3 * strength) / np.pi) * side
    path = draw_path("linear", rng, camera.count) * rng.uniform(0.5, 1.5)
    middle, inside = rng.uniform(0.2, 0.8, 2) * side, camera.look(camera.draw(), path)
    y, x = np.indices((side, side))
    for t in range(camera.count):
        distance = np.hypot(y - middle[0] + path[t, 0], x - middle[1] + path[t, 1])
        share = np.clip(radius - distance + 0.5, 0, 1)
        frames[t] += share * (1.2 * inside[t] - frames[t])
    return frames


def focus_drift(camera: Camera, frames: Frames, strength: float) -> Frames:
    sigma = np.linspace(0, 0.5 + 2 * strength, camera.count)
    return np.array([ndimage.gaussian_filter(f, s) for f, s in zip(frames, sigma, strict=True)])


def bleaching(camera: Camera, frames: Frames, strength: float) -> Frames:
    fading = np.exp(-np.arange(camera.count) / camera.count * (0.3 + 2 * strength))
    return (frames + 3) * fading[:, None, None]


def flicker(camera: Camera, frames: Frames, strength: float) -> Frames:
    level = 1 + (0.05 + 0.3 * strength) * camera.rng.normal(size=(camera.count, 1, 1))
    return (frames + 3) * np.maximum(level, 0.1)


def vignetting(camera: Camera, frames: Frames, strength: float) -> Frames:
    y, x = (np.indices((camera.side, camera.side)) - camera.side / 2) / camera.side
    return (frames + 3) * (1 - (0.2 + strength) * (y**2 + x**2))


def wandering_lamp(camera: Camera, frames: Frames, strength: float) -> Frames:
    y, x = np.indices((camera.side, camera.side)) / camera.side
    at = 0.5 + np.cumsum(camera.rng.normal(0, 0.03, (camera.count, 2)), axis=0)
    lamps = [np.exp(-(((y - a) ** 2 + (x - b) ** 2) / 0.3)) for a, b in at]
    return frames + (0.3 + 1.5 * strength) * np.array(lamps)


def dirt(camera: Camera, frames: Frames, strength: float) -> Frames:
    points = np.zeros((camera.side, camera.side))
    number = int(3 + 20 * strength)
    points[tuple(camera.rng.integers(0, camera.side, (2, number)))] = 1
    spots = ndimage.gaussian_filter(points, camera.rng.uniform(1, 4))
    return frames * (1 - 0.5 * spots / spots.max()) - (0.3 + 2 * strength) * spots / spots.max()


def hot_pixels(camera: Camera, frames: Frames, strength: float) -> Frames:
    hot = camera.rng.random((camera.side, camera.side)) < 0.0005 * 20**strength
    return frames + hot * camera.rng.uniform(1, 8, (camera.side, camera.side))


def label(camera: Camera, frames: Frames, strength: float) -> Frames:
    height, width = 6 + int(10 * strength), 15 + int(30 * strength)
    text = (camera.rng.random((height // 2, width // 2)) < 0.5).repeat(2, 0).repeat(2, 1)
    y = camera.side - text.shape[0] - 3
    frames[:, y : y + text.shape[0], 3 : 3 + text.shape[1]] = np.where(text, frames.max(), -2)
    return frames


def row_noise(camera: Camera, frames: Frames, strength: float) -> Frames:
    rows = camera.rng.normal(size=(camera.count, camera.side, 1))
    return frames + (0.05 + 0.5 * strength) * rows


def saturation(camera: Camera, frames: Frames, strength: float) -> Frames:
    return np.minimum(frames, np.quantile(frames, 0.99 - 0.25 * strength))


def masks(camera: Camera, frames: Frames, strength: float) -> Frames:
    """A beam stop or a field stop; what is under it is bright, and stands still."""
    y, x = (np.indices((camera.side, camera.side)) - camera.side / 2) / camera.side
    if camera.rng.random() < 0.5:
        camera.mask = np.hypot(y, x) < 0.55 - 0.2 * strength
    else:
        camera.mask = (np.hypot(y, x) > 0.08 + 0.12 * strength) & ~((np.abs(x) < 0.03) & (y > 0))
    return np.where(camera.mask, frames, 5 + camera.smooth(3))


def grey_levels(camera: Camera, frames: Frames, strength: float) -> Frames:
    levels = 4 + int(26 * (1 - strength))
    low, high = np.quantile(frames, [0.001, 0.999])
    return np.clip(np.rint((frames - low) / (high - low) * levels), 0, levels)


def jpeg(camera: Camera, frames: Frames, strength: float) -> Frames:
    quality = int(15 + 75 * (1 - strength))
    low, high = np.quantile(frames, [0.001, 0.999])
    coded = []
    for frame in np.clip((frames - low) / (high - low) * 255, 0, 255).astype(np.uint8):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=quality)
        coded.append(np.asarray(Image.open(file), float))
    return np.array(coded)


def bad_frames(camera: Camera, frames: Frames, strength: float) -> Frames:
    """Frames that are blank, noise, blurred, repeated, or of another scene."""
    rng = camera.rng
    for t in rng.choice(np.arange(1, camera.count), 1 + int(5 * strength), replace=False):
        kind = rng.choice(["blank", "noise", "blurred", "repeated", "another"])
        if kind == "blank":
            frames[t], camera.bad[t] = frames.mean(), True
        elif kind == "noise":
            frames[t] = frames.mean() + frames.std() * rng.normal(size=frames[t].shape)
            camera.bad[t] = True
        elif kind == "blurred":
            frames[t] = ndimage.gaussian_filter(frames[t], rng.uniform(1, 6))
        elif kind == "repeated":
            frames[t], camera.shift_of[t] = frames[t - 1], camera.shift_of[t - 1]
            camera.bad[t] = camera.bad[t - 1]
        else:
            other = camera.draw().view(np.indices(frames[t].shape).astype(float))
            frames[t], camera.bad[t] = frames.mean() + frames.std() * other, True
    return frames


# In the order in which they happen: to the path, the scene, the light, the camera, the file.
BEFORE: dict[str, Fault] = {"turning": (0.12, turning), "motion blur": (0.12, motion_blur)}
SCENE: dict[str, Fault] = {
    "living features": (0.12, living_features), "crawling cells": (0.1, crawling),
    "second layer": (0.1, second_layer), "an object": (0.12, object_of_its_own),
    "focus drift": (0.12, focus_drift), "bad frames": (0.25, bad_frames),
    "bleaching": (0.15, bleaching), "flicker": (0.15, flicker), "lamp": (0.1, wandering_lamp),
    "vignetting": (0.12, vignetting), "dirt": (0.1, dirt),
}  # fmt: skip
DETECTOR: dict[str, Fault] = {
    "hot pixels": (0.1, hot_pixels), "row noise": (0.1, row_noise), "label": (0.08, label),
    "saturation": (0.1, saturation), "masks": (0.2, masks), "grey levels": (0.1, grey_levels),
    "jpeg": (0.12, jpeg),
}  # fmt: skip
FAULTS = (*BEFORE, *SCENE, *DETECTOR)


def add_noise(camera: Camera, frames: Frames) -> tuple[Frames, str]:
    """Noise of the electronics, 0.05 to 1.5 of the scene, or of 0.5 to 50 photons a pixel."""
    rng = camera.rng
    if rng.random() < 0.3:
        photons = 0.5 * 100 ** rng.random()
        bright = np.maximum(frames - np.quantile(frames, 0.01), 0) + 0.3
        return rng.poisson(photons * bright / bright.mean()).astype(float), f"{photons:.1f} photons"
    noise = 0.05 * 30 ** rng.random()
    return frames + noise * rng.normal(size=frames.shape), f"{noise:.2f}"


def make_series(seed: int, only: Sequence[str] | None = None, *, linear: bool = False) -> Series:
    """Make a member.

    Parameters
    ----------
    only : faults that it may have; each is then twice as likely. None: all of `FAULTS`
    linear : whether frames rotate, grow or shear; no features that live or crawl then, as these
        are drawn without it
    """
    camera, faults = Camera(seed), dict[str, float]()
    rng = camera.rng

    def apply(kinds: dict[str, Fault], frames: Frames) -> Frames:
        for name, (chance, act) in kinds.items():
            dice, strength = rng.random(2)
            may, often = only is None or name in only, 1 if only is None else 2
            may &= not (linear and name in ("turning", "living features", "crawling cells"))
            if may and dice < often * chance:
                faults[name] = round(float(strength), 2)
                frames = act(camera, frames, strength)
        return frames

    if linear:
        linear_motion(camera, np.empty(0), rng.random())
    apply(BEFORE, np.empty(0))
    frames = apply(SCENE, camera.look(camera.scene))
    frames, noise = add_noise(camera, frames)
    frames = apply(DETECTOR, frames)
    shift = camera.path[camera.shift_of]
    # a frame is turned about its middle: its shift there is that of its path
    shift = np.where(camera.bad[:, None], np.nan, shift)
    return Series(
        frames.astype(np.float32), shift, camera.mask, camera.kind, camera.path_kind, noise, faults,
        camera.corners,
    )  # fmt: skip


def make_long_series(seed: int, count: int = 1000, life: float = 200) -> Series:
    """Make a long walk over features that live so many frames, noise 0.3 of their contrast."""
    camera = Camera(seed, count)
    camera.path = np.cumsum(camera.rng.normal(0, 0.3, (count, 2)), axis=0)
    camera.path -= camera.path[0]
    camera.path *= min(1, 20 / np.abs(camera.path).max())
    frames = living_features(camera, np.empty(0), np.log(life / 15) / np.log(20))
    frames += 0.3 * camera.rng.normal(size=frames.shape)
    faults = {"living features": life}
    return Series(frames.astype(np.float32), camera.path, None, "spots", "walk", "0.30", faults)
