"""How exact shifts are, how honest their errors, and what is called a match.

    python scripts/bench_accuracy.py [grid] [mixed] [colour] [kinds] [volumes] [status] [lines]
                                     [cost] [--pairs N] [--only KIND]

Scenes are sums of Gaussian blobs, rendered where they are (nothing is interpolated), 256 x 256.
Errors are compared with the Cramér-Rao bound of two noisy images. Prints Markdown tables.

grid    features of 1, 2, 4 px; noise of 0.03, 0.3, 1 times the scene's deviation; five kinds of
        masks; scikit-image, OpenCV and pystackreg beside it (pip install -e '.[bench]')
masks   ten kinds of masks, features of 2 px, noise of 0.3
mixed   features of 1.5 to 10 px, an ellipse over 55 %, 1 % dead pixels, bright spots and a border
        outside the mask that stand still, shifts up to 32 px; signal-to-noise ratios 0.2 to 20
colour  noise that is not white
kinds   what real images are like: blur that changes, smooth objects, few photons, large detail,
        long axial blur, patterns that stand still; scikit-image, OpenCV's ECC with a mask, started
        from that, and TurboReg beside it
volumes volumes of 1 to 12 planes, blurred alike along all axes, or four times as much along z
lines   lines, edges, ramps and waves, whose shift is not known along them: how many are called ok
status  unrelated images that are called ok, and true pairs that are not
cost    the step between the pixels as part of a pair at 512 x 512
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from skimage.registration import phase_cross_correlation

import steadystack
from pair_kinds import KINDS, LINES, make_line_pair, make_pair, planes
from scenes import MASKS, MORE_MASKS, Blobs, Pair, Views, add_artefacts, make_masks
from steadystack import peak
from steadystack.model import Registration
from steadystack.ncc import CachedMask, Layout, compute_terms, make_masked_image
from steadystack.register import Search, compute_block_terms, make_surface, register_terms

SHAPE = (256, 256)
GROSS_PX = 1.0
BATCH_SIZE = 64  # pairs of a batch
Estimate = Callable[[Pair, int], np.ndarray]


def register_pair(pair: Pair, max_shift: int) -> Registration:
    return steadystack.register_translation(
        pair.reference,
        pair.moving,
        reference_mask=pair.reference_mask,
        moving_mask=pair.moving_mask,
        max_shift=max_shift,
    )


def scikit_image(pair: Pair, max_shift: int) -> np.ndarray:
    shift, _, _ = phase_cross_correlation(
        pair.reference,
        pair.moving,
        reference_mask=pair.reference_mask,
        moving_mask=pair.moving_mask,
        overlap_ratio=0.3,
    )
    return np.asarray(shift)


def opencv(pair: Pair, max_shift: int) -> np.ndarray:
    import cv2

    window = cv2.createHanningWindow(SHAPE[::-1], cv2.CV_64F)
    (x, y), _ = cv2.phaseCorrelate(pair.moving, pair.reference, window)
    return np.array((y, x))


def stackreg(pair: Pair, max_shift: int) -> np.ndarray:
    from pystackreg import StackReg

    matrix = StackReg(StackReg.TRANSLATION).register(pair.reference, pair.moving)
    return -matrix[[1, 0], 2]


PEERS: dict[str, Estimate] = {
    "scikit-image, masked": scikit_image,
    "OpenCV phaseCorrelate": opencv,
    "pystackreg": stackreg,
}


def print_header(*columns: str) -> None:
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))


class Errors:
    """What became of the pairs of a cell."""

    def __init__(self) -> None:
        self.rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.lost = 0

    def add(self, pair: Pair, registration: Registration) -> None:
        if np.isfinite(registration.shift).all():
            std = np.sqrt(np.diag(registration.covariance))
            self.rows.append((registration.shift - pair.shift, std, np.diag(pair.bound)))
        else:
            self.lost += 1

    def summary(self) -> dict[str, float]:
        """Root mean square error and bound, px; bias over error; calibration; what is far off."""
        if not self.rows:
            return dict.fromkeys(("rms", "bound", "bias", "z", "cover"), np.nan) | {
                "gross": 0.0,
                "lost": 1.0,
            }
        error, std, bound = (np.array(column) for column in zip(*self.rows, strict=True))
        gross = np.abs(error).max(axis=1) > GROSS_PX
        error, std, z = error[~gross], std[~gross], (error / std)[~gross]
        rms = np.sqrt((error**2).mean())
        return {
            "rms": rms,
            "bound": np.sqrt(bound[~gross].mean()),
            "bias": np.abs(error.mean(axis=0)).max() / rms,
            "z": np.sqrt((z**2).mean()),
            "cover": (np.abs(z) < 1.96).mean(),
            "gross": gross.mean() * len(self.rows) / (len(self.rows) + self.lost),
            "lost": self.lost / (len(self.rows) + self.lost),
        }


def format_peer_error(shifts: list[np.ndarray], true_shifts: list[np.ndarray]) -> str:
    error = np.array(shifts) - np.array(true_shifts)
    gross = np.abs(error).max(axis=1) > GROSS_PX
    rms = f"{np.sqrt((error[~gross] ** 2).mean()):.4f}" if not gross.all() else "-"
    return f"{rms}, {gross.mean():.0%}" if gross.any() else rms


def grid(count: int) -> None:
    """Every cell of features, noise and masks."""
    print_header(
        "features, px",
        "masks",
        "noise",
        "bound, px",
        "error, px",
        "error / bound",
        "bias / error",
        "errors / stated std",
        "in 95 %",
        *(f"{name}, px" for name in PEERS),
    )
    for size in (1.0, 2.0, 4.0):
        rng = np.random.default_rng(int(size))
        cells: dict[tuple[str, float], Errors] = {}
        peers: dict[tuple[str, float], dict[str, list[np.ndarray]]] = {}
        true: dict[tuple[str, float], list[np.ndarray]] = {}
        for _ in range(count):
            views = Views.of(rng, SHAPE, (size,), 8)
            for kind, noise in itertools.product(MASKS, (0.03, 0.3, 1.0)):
                pair = views.pair(rng, kind, noise)
                cells.setdefault((kind, noise), Errors()).add(pair, register_pair(pair, 16))
                if len(true.setdefault((kind, noise), [])) < 30:
                    true[kind, noise].append(pair.shift)
                    for name, estimate in PEERS.items():
                        peer_shifts = peers.setdefault((kind, noise), {}).setdefault(name, [])
                        peer_shifts.append(estimate(pair, 16))
        for (kind, noise), errors in sorted(cells.items(), key=lambda c: MASKS.index(c[0][0])):
            summary = errors.summary()
            reached = summary["rms"] <= max(1.3 * summary["bound"], 0.003)
            others = " | ".join(
                format_peer_error(peers[kind, noise][name], true[kind, noise]) for name in PEERS
            )
            mark = "" if reached and not summary["gross"] and not summary["lost"] else " (!)"
            print(
                f"| {size:g} | {kind} | {noise:g} | {summary['bound']:.5f} "
                f"| {summary['rms']:.5f}{mark} | {summary['rms'] / summary['bound']:.2f} "
                f"| {summary['bias']:.2f} | {summary['z']:.2f} | "
                f"{summary['cover']:.0%} | {others} |",
                flush=True,
            )
    print()


def masks(count: int) -> None:
    """Ten kinds of masks, beside what the pixels that are left allow."""
    print_header(
        "masks",
        "valid",
        "bound, px",
        "error, px",
        "error / bound",
        "errors / stated std",
        "no shift",
        "scikit-image, masked, px",
    )
    for kind in (*MASKS, *MORE_MASKS):
        rng, errors, peer, valid = np.random.default_rng(7), Errors(), [], []
        true = []
        for _ in range(count):
            pair = Views.of(rng, SHAPE, (2.0,), 8).pair(rng, kind, 0.3)
            errors.add(pair, register_pair(pair, 16))
            valid.append(pair.reference_mask.mean())
            if len(peer) < 30:
                peer.append(scikit_image(pair, 16))
                true.append(pair.shift)
        found = errors.summary()
        print(
            f"| {kind} | {np.mean(valid):.0%} | {found['bound']:.4f} | {found['rms']:.4f} "
            f"| {found['rms'] / found['bound']:.2f} | {found['z']:.2f} | {found['lost']:.0%} "
            f"| {format_peer_error(peer, true)} |",
            flush=True,
        )
    print()


def mixed(count: int) -> None:
    """Scenes of all sizes at once, with artefacts outside the mask."""
    print_header(
        "signal / noise",
        "bound, px",
        "error / bound",
        "off by over 1 px",
        "no shift",
        "errors / stated std",
        "in 95 %",
        "worst error / its std",
        "peers: error, px, and how many are off by over 1 px",
    )
    rng = np.random.default_rng(0)
    cells: dict[float, Errors] = {}
    peers: dict[float, dict[str, list[np.ndarray]]] = {}
    true: dict[float, list[np.ndarray]] = {}
    for _ in range(count):
        views = Views.of(rng, SHAPE, (1.5, 10.0), 32)
        for ratio in (0.2, 0.5, 1, 2, 5, 20):
            pair = add_artefacts(views.pair(rng, "ellipse, 1 % dead", 1 / ratio), rng)
            cells.setdefault(ratio, Errors()).add(pair, register_pair(pair, 32))
            if len(true.setdefault(ratio, [])) < 20:
                true[ratio].append(pair.shift)
                for name, estimate in PEERS.items():
                    peer_shifts = peers.setdefault(ratio, {}).setdefault(name, [])
                    peer_shifts.append(estimate(pair, 32))
    for ratio, errors in cells.items():
        summary = errors.summary()
        worst = max(float(np.abs(e / std).max()) for e, std, _ in errors.rows)
        others = "; ".join(
            f"{n}: {format_peer_error(f, true[ratio])}" for n, f in peers.get(ratio, {}).items()
        )
        print(
            f"| {ratio:g} | {summary['bound']:.5f} | {summary['rms'] / summary['bound']:.2f} "
            f"| {summary['gross']:.1%} | {summary['lost']:.1%} | {summary['z']:.2f} "
            f"| {summary['cover']:.0%} | {worst:.1f} | {others} |",
            flush=True,
        )
    print()


def colour(count: int) -> None:
    """Noise that neighbouring pixels share: is the stated error still right?"""
    print_header(
        "features, px", "noise", "blurred by, px", "error, px", "errors / stated std", "in 95 %"
    )
    for size, noise, blur in itertools.product((2.0, 4.0), (0.3, 1.0), (0.0, 0.5, 1.0)):
        rng, errors = np.random.default_rng(7), Errors()
        for _ in range(count):
            views = Views.of(rng, SHAPE, (size,), 8)
            pair = views.pair(rng, "ellipse", noise, blur)
            errors.add(pair, register_pair(pair, 16))
        summary = errors.summary()
        print(
            f"| {size:g} | {noise:g} | {blur:g} | {summary['rms']:.4f} | {summary['z']:.2f} | ",
            end="",
        )
        print(f"{summary['cover']:.0%} |", flush=True)
    print()


def ecc(pair: Pair, start: np.ndarray) -> np.ndarray:
    """OpenCV's enhanced correlation coefficient from a first guess; NaN without convergence."""
    import cv2

    warp = np.array([[1, 0, -start[1]], [0, 1, -start[0]]], np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-6)
    images = [image.astype(np.float32) for image in (pair.reference, pair.moving)]
    mask = pair.moving_mask.astype(np.uint8)
    try:
        _, found = cv2.findTransformECC(*images, warp, cv2.MOTION_TRANSLATION, stop, mask, 5)
    except cv2.error:
        return np.full(2, np.nan)
    return -found[[1, 0], 2]


def try_peers(pair: Pair) -> dict[str, np.ndarray]:
    """Shifts of a pair by the peers that can have it."""
    found = {"scikit-image, masked": scikit_image(pair, 0)}
    if pair.reference.ndim == 2:
        found["OpenCV ECC"] = ecc(pair, found["scikit-image, masked"])
        found["TurboReg"] = stackreg(pair, 0)
    return found


def kinds(count: int, only: str | None = None, with_peers: bool = True) -> None:
    """Pairs that keep no model's assumptions."""
    print_header(
        "kind",
        "bound, px",
        "error, px",
        "off by over 1 (2) px",
        "no shift",
        "errors / stated std",
        "in a batch: error, px; off by over 1 px; no shift",
        "peers: error, px; off by over 1 px",
    )
    for kind in [only] if only else KINDS:
        ours, batch = Errors(), Errors()
        far, true = 0, []
        peers: dict[str, list[np.ndarray]] = {}
        for number in range(count):
            pair = make_pair(kind, 7, number)
            largest = (4, 16, 16) if pair.reference.ndim == 3 else 24
            found = register_pair(pair, largest)
            ours.add(pair, found)
            far += bool(np.abs(found.shift - pair.shift).max() > 2)  # not if it is NaN
            search = Search.make(
                pair.reference.shape,
                pair.moving.shape,
                np.broadcast_to(largest, pair.shift.shape).tolist(),
            )
            images = (
                make_masked_image(image, CachedMask(mask))
                for image, mask in (
                    (pair.reference, pair.reference_mask),
                    (pair.moving, pair.moving_mask),
                )
            )
            batch.add(pair, register_terms(compute_block_terms(*images, search, 0), search))
            if with_peers and number < 40:
                true.append(pair.shift)
                for name, shift in try_peers(pair).items():
                    peers.setdefault(name, []).append(shift)
        one, many = ours.summary(), batch.summary()
        others = "; ".join(
            f"{name}: {format_peer_error(shifts, true)}" for name, shifts in peers.items()
        )
        print(
            f"| {kind} | {one['bound']:.4f} | {one['rms']:.4f} "
            f"| {one['gross']:.1%} ({far / count:.1%}) | {one['lost']:.1%} | {one['z']:.2f} "
            f"| {many['rms']:.4f}; {many['gross']:.1%}; {many['lost']:.1%} | {others} |",
            flush=True,
        )
    print()


def volumes(count: int) -> None:
    """Volumes of a few planes."""
    print_header(
        "planes",
        "blur along z over that along y",
        "bound along z; along y and x, px",
        "error along z; along y and x, px",
        "errors / stated std",
        "ambiguous",
        "no shift",
        "off by over 1 px",
    )
    for number, stretch in itertools.product((1, 3, 5, 8, 12), (1, 4)):
        rng, errors, statuses = np.random.default_rng([number, stretch]), [], Counter()
        bounds = []
        for _ in range(count):
            pair = planes(rng, number, stretch)
            found = register_pair(
                pair, (0, 16, 16) if number == 1 else (min(number - 1, 4), 16, 16)
            )
            statuses[str(found.status)] += 1
            bounds.append(np.diag(pair.bound))
            if found.status == "ok":
                std = np.sqrt(np.diag(found.covariance))
                errors.append((found.shift - pair.shift, std))
        error, std = (np.array(column) for column in zip(*errors, strict=True))
        off = np.abs(error).max(axis=1) > GROSS_PX
        error, std = error[~off], std[~off]
        z = np.divide(error, std, where=std > 0, out=np.full_like(error, np.nan))

        def describe(square: np.ndarray) -> str:
            mean = np.sqrt(np.array((square[:, 0].mean(), square[:, 1:].mean())))
            return f"{mean[0]:.4f}; {mean[1]:.4f}"

        print(
            f"| {number} | {stretch} | {describe(np.array(bounds))} | {describe(error**2)} "
            f"| {np.sqrt(np.nanmean(z**2)):.2f} | {statuses['ambiguous'] / count:.1%} "
            f"| {1 - statuses['ok'] / count:.1%} | {off.sum() / count:.1%} |",
            flush=True,
        )
    print()


def lines(count: int) -> None:
    """Images whose shift is known across them only."""
    print_header("images", "called ok", "by scikit-image off by over 1 px")
    for kind in LINES:
        ok, off = 0, []
        for seed in range(count):
            pair = make_line_pair(kind, seed)
            ok += register_pair(pair, 24).status == "ok"
            if seed < 40:
                off.append(np.abs(scikit_image(pair, 24) - pair.shift).max() > 1)
        print(f"| {kind} | {ok} of {count} | {np.mean(off):.0%} |", flush=True)
    print()


def unrelated(count: int, sizes: tuple[float, ...], noise: float) -> Iterator[str]:
    """Statuses of pairs of scenes that have nothing in common."""
    rng = np.random.default_rng(5)
    scenes = []
    for _ in range(int(np.sqrt(2 * count)) + 2):
        image = Blobs.of(rng, SHAPE, sizes, 0).view(SHAPE, (0, 0))
        scenes.append(image / image.std())
    for first, second in itertools.islice(itertools.combinations(scenes, 2), count):
        grain = noise * rng.normal(size=(2, *SHAPE))
        valid = make_masks(MASKS[rng.integers(len(MASKS))], rng, SHAPE)
        pair = Pair(first + grain[0], second + grain[1], *valid, np.zeros(2), np.zeros((2, 2)))
        yield str(register_pair(pair, 32).status)


def status(count: int) -> None:
    """Matches that are none, and true ones that are not believed."""
    print_header(
        "features, px",
        "unrelated called ok, noise 0.1",
        "noise 1",
        "true pairs at a signal-to-noise ratio of 0.5 called ok",
    )
    for sizes in ((1.0,), (2.0,), (4.0,), (8.0,), (1.5, 10.0)):
        believed = {n: Counter(unrelated(10 * count, sizes, n))["ok"] for n in (0.1, 1.0)}
        rng = np.random.default_rng(6)
        statuses: Counter[str] = Counter()
        for _ in range(count):
            views = Views.of(rng, SHAPE, sizes, 16)
            statuses[
                str(register_pair(views.pair(rng, MASKS[rng.integers(5)], 2.0), 32).status)
            ] += 1
        label = " to ".join(f"{size:g}" for size in sizes)
        wrong = " | ".join(f"{n} of {10 * count}" for n in believed.values())
        print(f"| {label} | {wrong} | {statuses['ok'] / count:.0%} |", flush=True)
    print()


def cost(count: int) -> None:
    """A pair of prepared frames under one mask, and the step between the pixels in it."""
    rng, shape = np.random.default_rng(1), (512, 512)
    views = Views.of(rng, shape, (1.5, 10.0), 16)
    pair = views.pair(rng, "ellipse, 1 % dead", 0.5)
    mask = CachedMask(pair.reference_mask)
    images = [
        make_masked_image(image.astype(np.float32), mask) for image in (pair.reference, pair.moving)
    ]
    search = Search.make(shape, shape, (32, 32))
    layout: Layout = search.layouts[0]
    keep = ("mask", "value")

    def seconds(call: Callable[[], object]) -> float:
        call()
        start = time.perf_counter()
        for _ in range(5 * count):
            call()
        return (time.perf_counter() - start) / (5 * count)

    def terms():
        return compute_terms(*images, layout, in_series=True, keep=keep)

    surfaces = [make_surface(terms(), search) for _ in range(BATCH_SIZE)]
    times = {
        "terms": seconds(terms),
        "surface": seconds(lambda: make_surface(terms(), search)),
        "from the surface to the shift": seconds(lambda: list(peak.register_each(surfaces)))
        / BATCH_SIZE,
        "the same of a pair by itself": seconds(lambda: peak.register(surfaces[0])),
        "a frame, prepared once": seconds(
            lambda: make_masked_image(pair.reference.astype(np.float32), mask)
        ),
    }
    times["surface"] -= times["terms"]
    print_header("512 x 512, one mask, prepared frames", "ms")
    for name, value in times.items():
        print(f"| {name} | {1e3 * value:.2f} |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tables = {
        "grid": grid,
        "masks": masks,
        "mixed": mixed,
        "colour": colour,
        "kinds": kinds,
        "volumes": volumes,
        "lines": lines,
        "status": status,
        "cost": cost,
    }
    parser.add_argument("tables", nargs="*", help="which tables; all of them by default")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of a cell")
    parser.add_argument("--only", choices=list(KINDS), help="one kind of the table kinds")
    arguments = parser.parse_args()
    for name in arguments.tables or tables:
        print(f"### {name}\n")
        more = (arguments.only,) if name == "kinds" else ()
        tables[name](arguments.pairs, *more)


if __name__ == "__main__":
    main()
