"""How true shifts, stated errors and verdicts are on random series with the faults of real ones.

    python scripts/bench_random_series.py [--first 0] [--count 150] [--faults NAME ...] [--list]
                                          [--columns 0.3] [--step 1]
    python scripts/bench_random_series.py --long [--count 3]
    python scripts/bench_random_series.py --linear [--first 0] [--count 150]

Each member of `random_series` is measured with `estimate_shifts(frames, mask=...)`.
Errors are those of frames that show the scene, relative to the anchor, frame 0, as what is stated
of them is. Prints a Markdown table of truth against verdict, shares that both are held to, the
reasons of verdicts that are not good, and the error over what is stated, by fault. With --faults
only these may occur, "none" of them at all, and with --with-any at least one does; with --list
there is a line for every member; --step 2 takes every other one. Members 0 to 149 and even ones
from 2000 on may be used to set something; 150 to 299 and odd ones from 2000 on never are. With
--columns every member gets columns of the camera that stand still, of so many deviations of the
scene (of the frames, where noise is of photons).

With --long, members are 1000 frames over which features live 200 frames each.

With --linear, frames also rotate, grow or shear, and are solved as shifts; the table is of the
verdicts, and whether the motion was reported, by how far the corners move.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import steadystack
from random_series import FAULTS, Series, make_long_series, make_series

TRUTHS = ("right", "2 to 5", "above 5", "wrong", "lost")
VERDICTS = ("good", "check", "unreliable")


@dataclass
class Outcome:
    """What became of a member: the rms error over what is stated, and worst and rms errors, px."""

    seed: int
    series: Series
    verdict: str
    truth: str
    ratio: float = np.nan
    ratio_before: float = np.nan  # over what is stated without the parts of the frame
    rms: float = np.nan
    worst: float = np.nan
    lost: int = 0
    bad_called_ok: int = 0
    reasons: tuple[str, ...] = ()  # of a verdict that is not good, with how bad each is

    def describe(self) -> str:
        made = ", ".join(f"{name} {value}" for name, value in self.series.faults.items())
        why = f"; said: {', '.join(self.reasons)}" if self.reasons else ""
        return (
            f"{self.seed:4d} {self.series.scene:10s} {self.series.path:9s} "
            f"{self.series.noise:12s} {self.verdict:10s} {self.truth:7s} error {self.rms:.3f} px, "
            f"over stated {self.ratio:.2f} ({self.ratio_before:.2f} without parts), worst "
            f"{self.worst:.2f} px; {self.lost} lost; {made}{why}"
        )

    @property
    def shows(self) -> int:
        """How many frames show the scene."""
        return int(np.isfinite(self.series.shift[:, 0]).sum())


def judge(seed: int, series: Series) -> Outcome:
    """Measure a member and compare it with its truth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = steadystack.estimate_shifts(series.frames, mask=series.mask)
    verdict = str(found.attrs["verdict"])
    findings = json.loads(found.attrs["verdict_reasons"])
    reasons = tuple(f"{f['code']} ({f['trust']})" for f in findings if f["trust"] != "good")
    shift = found["frame_shift"].to_numpy()
    shows = np.isfinite(series.shift[:, 0])
    known = np.isfinite(shift[:, 0]) & (found["component"].to_numpy() == 0)
    both = shows & known
    lost = int((shows & ~known).sum())
    statuses = found["frame_status"].to_numpy()
    bad_called_ok = int((~shows & known & (statuses == 0)).sum())
    if both.sum() < shows.sum() / 2:
        return Outcome(
            seed, series, verdict, "lost", lost=lost, bad_called_ok=bad_called_ok, reasons=reasons
        )
    error = shift[both] - series.shift[both]
    stated = found["frame_shift_std"].to_numpy()[both]
    before = found["frame_stated_std"].to_numpy()[both]
    has_error = stated[:, 0] > 0
    ratio, ratio_before = (
        float(np.sqrt(np.mean((error[has_error] / std[has_error]) ** 2)))
        for std in (stated, before)
    )
    worst = np.abs(error).max(axis=1)
    is_wrong = bool(((worst > 0.5) & (worst > 3 * stated.max(axis=1)) & has_error).any())
    truth = "wrong" if is_wrong else "above 5" if ratio > 5 else "2 to 5" if ratio > 2 else "right"
    rms = float(np.sqrt(np.mean(error**2)))
    return Outcome(
        seed, series, verdict, truth, ratio, ratio_before, rms, float(worst.max()), lost,
        bad_called_ok, reasons,
    )  # fmt: skip


def add_columns(series: Series, size: float, seed: int) -> None:
    """Add columns that stand still to the frames of a member."""
    deviation = 1.0
    if "photons" in series.noise:
        deviation = float(np.median([frame.std() for frame in series.frames[:5]]))
    columns = np.random.default_rng(seed + 7).standard_normal(series.frames.shape[2])
    series.frames = (series.frames + size * deviation * columns).astype(np.float32)


def print_tables(outcomes: list[Outcome]) -> None:
    count: Counter[Any] = Counter((o.truth, o.verdict) for o in outcomes)
    print(f"\n| {len(outcomes)} series | {' | '.join(VERDICTS)} | all |\n|---|---|---|---|---|")
    for truth in TRUTHS:
        row = [count[truth, verdict] for verdict in VERDICTS]
        print(f"| {truth} | {' | '.join(map(str, row))} | {sum(row)} |")
    _print_figures(outcomes)
    _print_reasons(outcomes)
    ratios = defaultdict(list)
    for outcome in outcomes:
        names = list(outcome.series.faults) or ["none"]
        for name in [*names, "all"]:
            if np.isfinite(outcome.ratio):
                ratios[name].append((outcome.ratio, outcome.ratio_before))
    print("\n| fault | series | error over stated: median | at most 2 | without parts: median "
          "| at most 2 |\n|---|---|---|---|---|---|")  # fmt: skip
    for name in ["none", *FAULTS, "all"]:
        if name in ratios:
            values = np.array(ratios[name])
            medians, within = np.median(values, axis=0), 100 * (values <= 2).mean(axis=0)
            print(f"| {name} | {len(values)} | {medians[0]:.2f} | {within[0]:.0f} % "
                  f"| {medians[1]:.2f} | {within[1]:.0f} % |")  # fmt: skip
    print(f"\nframes that show no scene, called ok: {sum(o.bad_called_ok for o in outcomes)}")


def _print_figures(outcomes: list[Outcome]) -> None:
    """The shares that verdicts, stated errors and errors are held to."""

    def share(what: str, chosen: list[bool]) -> None:
        if chosen:
            print(f"{what}: {sum(chosen)} of {len(chosen)} ({np.mean(chosen):.0%})")

    print()
    share("right ones called check", [o.verdict == "check" for o in outcomes if o.truth == "right"])
    good = [o for o in outcomes if o.verdict == "good"]
    share("good ones within a factor of 2 of what is stated", [0.5 <= o.ratio <= 2 for o in good])
    share("errors below 0.1 px", [o.rms < 0.1 for o in outcomes])
    lost, shown = sum(o.lost for o in outcomes), sum(o.shows for o in outcomes)
    print(f"frames that show the scene, lost: {lost} of {shown} ({lost / shown:.1%})")


def _print_reasons(outcomes: list[Outcome]) -> None:
    """How often each reason was given, and the only one, of right members and of others."""
    given, alone = Counter[Any](), Counter[Any]()
    for outcome in outcomes:
        for reason in outcome.reasons:
            is_right = outcome.truth == "right"
            given[reason, is_right] += 1
            alone[reason, is_right] += len(outcome.reasons) == 1
    reasons = sorted({reason for reason, _ in given}, key=lambda r: (-alone[r, True], r))
    print("\n| reason | right ones, alone | right ones | others, alone | others |"
          "\n|---|---|---|---|---|")  # fmt: skip
    for reason in reasons:
        cells = [count[reason, right] for right in (True, False) for count in (alone, given)]
        print(f"| {reason} | {' | '.join(map(str, cells))} |")


def print_linear(outcomes: list[Outcome]) -> None:
    """How often frames that rotate, grow or shear were good, and how often that was reported."""
    print("\n| corners move by | members | good | check | unreliable | `turning` |")
    print("|---|---|---|---|---|---|")
    for low, high in pairwise((0, 1, 2, 4, 8, 40)):
        some = [outcome for outcome in outcomes if low <= outcome.series.corners < high]
        verdicts = [sum(one.verdict == verdict for one in some) for verdict in VERDICTS]
        told = sum(any(r.startswith("turning") for r in one.reasons) for one in some)
        print(f"| {low} to {high} px | {len(some)} | {' | '.join(map(str, verdicts))} | {told} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--step", type=int, default=1, help="of the members' numbers")
    parser.add_argument("--faults", nargs="*", choices=[*FAULTS, "none"])
    parser.add_argument(
        "--with-any", action="store_true", help="members without a fault do not count"
    )
    parser.add_argument("--columns", type=float, default=0.0)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--linear", action="store_true")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    only = arguments.faults
    if only is not None:
        only = [name for name in only if name != "none"]
    outcomes, seed = [], arguments.first
    while len(outcomes) < arguments.count:
        if arguments.long:
            series = make_long_series(seed)
        else:
            series = make_series(seed, only, linear=arguments.linear)
        if arguments.columns:
            add_columns(series, arguments.columns, seed)
        if not arguments.with_any or series.faults:
            outcomes.append(judge(seed, series))
            if arguments.list:
                print(outcomes[-1].describe(), flush=True)
        seed += arguments.step
    if arguments.linear:
        print_linear(outcomes)
    else:
        print_tables(outcomes)


if __name__ == "__main__":
    main()
