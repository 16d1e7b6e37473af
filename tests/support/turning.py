"""Series whose frames turn, are magnified and sheared by a known motion."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.spatial.transform import Rotation

from support.scenes import Scene


def turn(degrees: float, scale: float = 1.0, shear: float = 0.0) -> np.ndarray:
    """The matrix over y and x that turns x towards y, magnifies, and shears y along x."""
    a = np.radians(degrees)
    x, y = (np.sin(a), np.cos(a)), (np.cos(a), -np.sin(a))  # where the axes go, each (y, x)
    return scale * np.array([y, x]).T @ np.array([[1.0, shear], [0.0, 1.0]])


@dataclass
class Turned:
    """Frames, and what has to be applied to each: positions p go to c + linear (p - c) + shift."""

    frames: np.ndarray
    linear: np.ndarray
    shift: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        return (np.array(self.frames.shape[1:]) - 1) / 2


def lay(places, linear, shift, middle):
    """Where positions in a frame come to."""
    return (np.asarray(places) - middle) @ linear.T + middle + shift


def turned_series(
    seed=1,
    count=10,
    shape=(112, 120),
    step=0.4,
    scale=0.0,
    shear=0.0,
    noise=0.1,
    detail=3.0,
    pixel_size=(1.0, 1.0),
) -> Turned:
    """Frames that turn by `step` degrees each, on top of drift."""
    rng = np.random.default_rng(seed)
    scene = Scene(seed, detail=detail, waves=120)
    shift = np.cumsum(rng.normal(0, 0.8, (count, 2)), axis=0)
    shift -= shift[0]
    lengths = np.diag(pixel_size)
    linear = np.stack(
        [
            np.linalg.inv(lengths) @ turn(step * t, (1 + scale) ** t, shear * t) @ lengths
            for t in range(count)
        ]
    )
    frames = np.stack([scene.turned(shape, *motion) for motion in zip(linear, shift, strict=True)])
    return Turned(frames + rng.normal(0, noise, frames.shape), linear, shift)


def turn_volume(vector, scale: float = 1.0, pixel_size=(1.0, 1.0, 1.0)) -> np.ndarray:
    """The matrix over z, y and x, pixels, of a rotation vector (about z, y, x; degrees)."""
    over_xyz = Rotation.from_rotvec(np.asarray(vector)[::-1], degrees=True).as_matrix()
    lengths = np.diag(pixel_size)
    return scale * np.linalg.inv(lengths) @ over_xyz[::-1, ::-1] @ lengths


def turned_volumes(
    seed=1,
    count=6,
    shape=(20, 56, 60),
    step=(0.4, -0.3, 0.2),
    scale=0.0,
    pixel_size=(1.0, 1.0, 1.0),
    noise=0.1,
    detail=2.5,
) -> Turned:
    """Volumes that turn by the rotation vector `step` (degrees) each, on top of drift."""
    rng = np.random.default_rng(seed)
    scene = Scene(seed, ndim=3, detail=detail, waves=80)
    shift = np.cumsum(rng.normal(0, 0.6, (count, 3)), axis=0)
    shift -= shift[0]
    linear = np.stack(
        [turn_volume(np.multiply(step, t), (1 + scale) ** t, pixel_size) for t in range(count)]
    )
    frames = np.stack([scene.turned(shape, *motion) for motion in zip(linear, shift, strict=True)])
    return Turned(frames + rng.normal(0, noise, frames.shape), linear, shift)


def corner_errors(found, truth: Turned) -> np.ndarray:
    """How far off the corners of every frame are (frames, corners), px."""
    linear, shift = found["frame_linear"].to_numpy(), found["frame_shift"].to_numpy()
    size = np.array(truth.frames.shape[1:]) - 1
    corners = np.array(list(product(*((0, last) for last in size))))
    return np.stack(
        [
            np.linalg.norm(
                lay(corners, linear[t], shift[t], truth.middle)
                - lay(corners, truth.linear[t], truth.shift[t], truth.middle),
                axis=1,
            )
            for t in range(len(shift))
        ]
    )
