"""Run many inputs one after another on one cluster, and tabulate the outcomes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr

from steadystack.config import Config
from steadystack.model import InputError, OutputError, PairStatus, Trust, Verdict, hide_secrets
from steadystack.outputs import check_own_file, write_table
from steadystack.planning import check_paths, resolve_inputs
from steadystack.quality import verdict
from steadystack.stages.correcting import Summary
from steadystack.stages.measuring import Progress
from steadystack.stages.sharing import get_share_path, parse_share, use_this_machine
from steadystack.stages.steps import correct, measure, open_run_cluster, report, run, solve

log = logging.getLogger(__name__)

Command: TypeAlias = Literal["run", "measure", "solve", "correct", "report"]
STAGES: Mapping[str, Callable[..., Any]] = {
    "run": run,
    "measure": measure,
    "solve": solve,
    "correct": correct,
    "report": report,
}
RESTARTED = ("run", "measure", "correct")  # these take `overwrite` and report progress
TABLED = ("run", "measure", "solve")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one input.

    `status` is done, unreliable, refused (the settings do not fit it) or failed; `usable_pairs` are
    those that the solution uses, `rms_residual` is the rms of their residuals, pixels, NaN if not
    solved.
    """

    name: str
    status: str
    frames: int = 0
    pairs: int = 0
    usable_pairs: int = 0
    rms_residual: float = np.nan
    verdict: str = ""
    seconds: float = 0.0
    shifts: str = ""
    path: str = ""


def run_all(
    config: Config,
    command: Command = "run",
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    inputs: Mapping[str, Config] | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run every input of the settings, one after the other; if one fails, the others still run.

    Each continues where an earlier run stopped. After every input, `on_outcome` is called with its
    outcome, and the table `output.summary` is rewritten if shifts are made; if that fails, for
    example because somebody edited it meanwhile, the error is raised after the last input. Problems
    that concern all inputs raise InputError before the first one. `command` is the stage to run;
    `inputs` are the settings of each input by name, if they are already known. Returns an outcome
    for each: name, status, numbers of pairs, verdict.
    """
    singles, outcomes = resolve_inputs(config) if inputs is None else inputs, []
    unwritten: InputError | OutputError | None = None
    if command in TABLED:
        check_own_file(config.output.summary, "output.summary")
        for single in singles.values():
            check_paths(single, with_summary=True)
    with open_run_cluster(config) as cluster:
        options: dict[str, Any] = {} if command == "report" else {"cluster": cluster}
        if command in RESTARTED:
            options |= {"overwrite": overwrite, "progress": progress}
        for name, single in singles.items():
            begun = time.monotonic()
            try:
                result = STAGES[command](single, **options)
                outcome = _run_one(name, single, result, time.monotonic() - begun)
            except Exception as error:
                status = "refused" if isinstance(error, InputError) else "failed"
                line = str(error).splitlines()[0] if str(error) else type(error).__name__
                outcome = Outcome(
                    name, status, verdict=line, seconds=time.monotonic() - begun,
                    shifts=single.output.shifts, path=single.input.one_path,
                )  # fmt: skip
            outcomes.append(outcome)
            if command in TABLED:
                unwritten = _tabulate(config, outcomes)
            on_outcome(outcome)
    if unwritten is not None:
        raise unwritten
    return outcomes


def _tabulate(config: Config, outcomes: list[Outcome]) -> InputError | OutputError | None:
    """Write the table of outcomes; returns the error if that fails: inputs go on without it."""
    names, rows = [field.name for field in fields(Outcome)], [*map(_make_cells, outcomes)]
    try:
        write_table(config.output.summary, names, rows)
    except (InputError, OutputError) as error:
        log.warning("output.summary: %s", error)
        return error
    return None


def share_inputs(config: Config, text: str) -> tuple[Config, dict[str, Config]]:
    """The settings, and the inputs, of one of several runs that share them, such as "3/16".

    The third of 16 takes every 16th input from the third on, so that inputs added at the end do not
    change the other shares. Its table and Dask report lie beside those of the whole. If workers are
    batch jobs, the share is a job itself, and its workers are processes on its machine.

    Raises InputError if the text is not a share, or if there are fewer inputs than shares.
    """
    number, count = parse_share(text, "--inputs")
    if not 1 <= number <= count:
        raise InputError(f"--inputs {text}: shares are numbered from 1 to {count}")
    own = {
        key: get_share_path(path, number, count)
        for key in ("summary", "performance_report")
        if (path := getattr(config.output, key)) is not None
    }
    output = config.output.model_copy(update=own)
    config = use_this_machine(config).model_copy(update={"output": output})
    inputs = resolve_inputs(config)
    if count > len(inputs):
        known = "is only 1 input" if len(inputs) == 1 else f"are only {len(inputs)} inputs"
        raise InputError(
            f"--inputs {text}: there {known} for {count} shares; take at most {len(inputs)}"
        )
    return config, dict(list(inputs.items())[number - 1 :: count])


def _run_one(
    name: str, config: Config, result: xr.Dataset | Summary | str, seconds: float
) -> Outcome:
    if isinstance(result, xr.Dataset):
        return _describe_shifts(name, config, result, seconds)
    return Outcome(name, "done", verdict=str(result), seconds=seconds, path=config.input.one_path)


def _describe_shifts(name: str, config: Config, shifts: xr.Dataset, seconds: float) -> Outcome:
    solved = "verdict" in shifts.attrs
    judged = verdict(shifts) if solved else None
    ok = (shifts["pair_status"] == PairStatus.OK.code).to_numpy()
    residual = shifts["pair_residual"].to_numpy()[ok]
    has_residuals = np.isfinite(residual).any()
    return Outcome(
        name=name,
        status=_describe_status(shifts, judged),
        frames=shifts.sizes["frame"],
        pairs=len(ok),
        usable_pairs=int(ok.sum()),
        rms_residual=float(np.sqrt(np.nanmean(residual**2))) if has_residuals else np.nan,
        verdict=str(judged) if judged is not None else "not solved",
        seconds=seconds,
        shifts=config.output.shifts,
        path=config.input.one_path,
    )


def _describe_status(shifts: xr.Dataset, judged: Verdict | None) -> str:
    if (shifts["pair_status"] == PairStatus.FAILED.code).any():
        return "failed"
    return "unreliable" if judged is not None and judged.trust is Trust.UNRELIABLE else "done"


def _make_cells(outcome: Outcome) -> list[str]:
    values = asdict(outcome) | {
        "rms_residual": f"{outcome.rms_residual:.4g}",
        "seconds": f"{outcome.seconds:.1f}",
    }
    return [hide_secrets(str(value)) for value in values.values()]
