"""Series of an object on a ground that drifts otherwise, made of waves: truth to the last digit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE, WAVES, RIM = 128, 160, 8


@dataclass(frozen=True)
class FollowedScene:
    """Frames (t, y, x), the paths (t, axis) of object and ground, and a mask of each in frame 0."""

    frames: np.ndarray
    paths: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]


class _Texture:
    """A texture of waves of 5 pixels and more, which can be looked at anywhere; deviation 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        length = np.exp(rng.uniform(np.log(5), np.log(20), WAVES))
        angle = rng.uniform(0, np.pi, WAVES)
        self.wave = 2 * np.pi / length[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)
        self.phase = rng.uniform(0, 2 * np.pi, WAVES)

    def look(self, shape: tuple[int, ...], moved: np.ndarray) -> np.ndarray:
        """What lies at every pixel where the texture is moved by `moved`, pixels."""
        y, x = (np.arange(n) - m for n, m in zip(shape, moved, strict=True))
        rows, columns = (
            np.exp(1j * np.outer(k, at)) for k, at in zip(self.wave.T, (y, x), strict=True)
        )
        rows *= np.exp(1j * self.phase)[:, None]
        return np.real(rows.T @ columns) * np.sqrt(2 / WAVES)


def make_followed_scene(
    seed: int, count: int = 12, noise: float = 0.3, speed: float = 2.5
) -> FollowedScene:
    """An elliptic object that walks over a ground that drifts to the other side.

    The object goes by about `speed` pixels a frame, the ground by half of that.
    """
    rng = np.random.default_rng(seed)
    object_, ground = _Texture(rng), _Texture(rng)
    radii = rng.uniform(18, 24, 2)
    way = rng.uniform(-1, 1, 2)
    way *= speed / np.linalg.norm(way)
    walk = np.arange(count)[:, None] * way + np.cumsum(rng.normal(0, 0.6, (count, 2)), axis=0)
    drift = -np.arange(count)[:, None] * way / 2
    drift = drift + np.cumsum(rng.normal(0, 0.4, (count, 2)), axis=0)
    walk, drift = walk - walk[0], drift - drift[0]
    shape = (SIDE, SIDE)
    middle = np.array(shape) / 2 - walk[-1] / 2 + rng.uniform(-2, 2, 2)
    grid = np.indices(shape).astype(float)
    frames = np.empty((count, *shape), np.float32)
    for number, (moved, drifted) in enumerate(zip(walk, drift, strict=True)):
        off = _measure_off(grid, middle + moved, radii)
        inside = np.clip((1 - off) * radii.min() + 0.5, 0, 1)
        frames[number] = inside * (object_.look(shape, moved) + 1)
        frames[number] += (1 - inside) * ground.look(shape, drifted)
    frames += rng.normal(0, noise, frames.shape)
    drawn = _measure_off(grid, middle, radii - 2) <= 1
    free = np.ones(shape, bool)
    free[:RIM] = free[-RIM:] = free[:, :RIM] = free[:, -RIM:] = False
    for moved, drifted in zip(walk, drift, strict=True):
        free &= _measure_off(grid, middle + moved - drifted, radii + 2) > 1
    return FollowedScene(
        frames, {"object": walk, "ground": drift}, {"object": drawn, "ground": free}
    )


def _measure_off(grid: np.ndarray, middle: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """How far pixels are off the middle of an ellipse, in its radii."""
    off = (grid - middle[:, None, None]) / radii[:, None, None]
    return np.sqrt((off**2).sum(axis=0))
