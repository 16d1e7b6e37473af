"""Measure how well an object and the ground it goes over are known, each by a mask that follows it.

    python scripts/bench_object.py [--scenes N] [--noise D]

An elliptic object of 36 to 48 pixels with a texture of its own goes over a ground that drifts the
other way, in noise of a part of their contrast.
Printed for each of both, as a table for docs/benchmarks.md: the error of a shift, over the one that
is stated, the share within two stated ones, how far the windows lie off at most, the verdicts; and
the same of whole frames against the object.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter

import numpy as np

import steadystack
from followed_scenes import FollowedScene, make_followed_scene

FRAMES, WITHIN = 12, 2.0


def measure(
    scene: FollowedScene, what: str, follow: bool
) -> tuple[np.ndarray, np.ndarray, float, str]:
    """Errors and stated ones (frames, axes), how far windows lie off, and the verdict."""
    mask = scene.masks[what] if follow else None
    shifts = steadystack.estimate_shifts(scene.frames, object_mask=mask)
    off = (shifts["frame_shift"].to_numpy() + scene.paths[what])[1:]
    path, beside = json.loads(shifts.attrs.get("pilot", "{}")).get("path"), np.nan
    if path:
        places = np.array([place or (np.nan,) * 2 for place in path["places"]], float)
        beside = float(np.nanmax(np.abs(places - places[0] - scene.paths[what])))
    std = shifts["frame_shift_std"].to_numpy()[1:]
    return off, std, beside, str(steadystack.verdict(shifts).trust)


def print_row(name: str, scenes: list[FollowedScene], what: str, *, follow: bool) -> None:
    found = [measure(scene, what, follow) for scene in scenes]
    off, std = (np.concatenate([one[part] for one in found]) for part in (0, 1))
    known = np.isfinite(off).all(axis=1)
    relative = off[known] / std[known]
    error, ratio = np.sqrt((off[known] ** 2).mean()), np.sqrt((relative**2).mean())
    beside = max(one[2] for one in found)
    trust = ", ".join(f"{count} {word}" for word, count in Counter(one[3] for one in found).items())
    within = (np.abs(relative) < WITHIN).mean()
    print(
        f"| {name} | {known.sum()} of {len(known)} | {error:.4f} | {ratio:.2f} | {within:.1%} "
        f"| {beside:.2f} | {trust} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--noise", type=float, default=0.3, help="of the textures' deviation")
    chosen = parser.parse_args()
    scenes = [make_followed_scene(200 + n, FRAMES, chosen.noise) for n in range(chosen.scenes)]
    columns = (
        "measured",
        "frames with a shift",
        "error, px",
        "errors / stated std",
        "within 2 std",
    )
    print(f"| {' | '.join(columns)} | windows off, px | verdicts |")
    print("|---|---|---|---|---|---|---|")
    print_row("object, `object.mask`", scenes, "object", follow=True)
    print_row("ground, `object.mask`", scenes, "ground", follow=True)
    print_row("whole frames, against the object (10 scenes)", scenes[:10], "object", follow=False)


if __name__ == "__main__":
    main()
