"""Share the pairs out to several runs, each measuring a part, and gather the results."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePath
from typing import TypeAlias

import numpy as np

from steadystack.config import ClusterSection, Config
from steadystack.dataset import (
    RUN,
    check_holds_no_more,
    check_replaceable,
    discard_journal,
    get_journal_owner,
    load_shifts,
    read_attributes,
    read_pairs,
    save_shifts,
)
from steadystack.durable import get_place
from steadystack.measure import discard_camera_images
from steadystack.model import (
    FRAME_CHECKSUMS,
    FRAME_FIELDS,
    GROWN,
    FrameStatus,
    InputError,
    PairStatus,
    PairTable,
)
from steadystack.motion import MOTION_CHOICE
from steadystack.pairs import batch_pairs
from steadystack.planning import Setup
from steadystack.stages.results import (
    discard_draft,
    list_estimated_images,
    load_own_shifts,
    make_first_attributes,
    make_run_dataset,
    make_table,
    open_sums,
)
from steadystack.survey import FrameSums

ShareNumber: TypeAlias = tuple[int, int]  # number, from 1, and how many shares there are

# Pairs are dealt out in groups of this many frames, where possible.
SHARE_FRAMES = 128


def select_share(setup: Setup, share: ShareNumber) -> Setup:
    """The run that measures one share of the pairs into a dataset of its own.

    The choice depends only on the pairs and the number of shares; pairs of a share share frames.
    """
    number, count = share
    if not 1 <= number <= count:
        raise InputError(f"part {number} of {count}: parts are numbered from 1 to {count}")
    pairs = setup.pairs
    if setup.growth is not None and (images := list_estimated_images(setup)):
        raise InputError(
            f"the series has grown, and its {' and '.join(images)} is that of the first frames, "
            "which parts do not know: use `steadystack run` without parts"
        )
    if setup.growth is not None:
        pairs = pairs[setup.growth.table.to_do]
    if count > len(pairs):
        raise InputError(
            f"{count} parts of {len(pairs)} pairs: there cannot be more parts than pairs"
        )
    order = np.concatenate(list(batch_pairs(pairs, SHARE_FRAMES, len(pairs))))
    begin, end = (len(pairs) * position // count for position in (number - 1, number))
    output = {"shifts": get_share_path(setup.config.output.shifts, number, count), "report": None}
    config = setup.config.model_copy(
        update={"output": setup.config.output.model_copy(update=output)}
    )
    chosen = pairs[np.sort(order[begin:end])]
    return replace(setup, config=config, pairs=chosen, growth=None)


def use_this_machine(config: Config) -> Config:
    """The settings of a share: if the workers of the whole are jobs, a share is a job itself.

    Its workers are processes on the machine where it runs.
    """
    return config.model_copy(update={"cluster": _make_local_section(config.cluster)})


def _make_local_section(cluster: ClusterSection) -> ClusterSection:
    if not cluster.uses_batch_jobs:
        return cluster
    kept = ("threads_per_worker", "worker_memory", "retries", "max_failed", "lost_after")
    return ClusterSection(
        kind="local",
        task_memory=cluster.task_memory,
        **{name: getattr(cluster, name) for name in kept},
    )


def gather(setup: Setup) -> None:
    """Take the rows of all existing shares into the dataset of the run.

    Finished shares are then removed; others may still be running.
    """
    path = setup.shifts_path
    paths = list_share_paths(setup.config.output.shifts)
    if not paths:
        return
    if get_place(path).exists():
        before = load_own_shifts(setup)
        table, known = read_pairs(before), {RUN: get_journal_owner(before)}
        kept = (GROWN, FRAME_CHECKSUMS, MOTION_CHOICE)
        known |= {name: before.attrs[name] for name in kept if name in before.attrs}
    else:
        discard_camera_images(path)
        table, known = make_table(setup), make_first_attributes(setup)
    sums = open_sums(setup)
    shares = {share: _read_share(setup, share, sums) for share in paths}
    for share in shares.values():
        _take_rows(table, share)
    save_shifts(make_run_dataset(setup, table, known=known), path)
    discard_journal(path)
    for share_path, share in shares.items():
        if not share.count([PairStatus.UNMEASURED]):
            with get_place(share_path).holding_lock():
                remove_share(share_path)


def _read_share(setup: Setup, path: str, sums: FrameSums) -> PairTable:
    """Read what a share has measured; raises InputError if its frames or settings differ.

    `sums` are the checksums of the current frames.
    """
    count, now = load_shifts(path).sizes["frame"], setup.series.source.frame_count
    if count < now:
        raise InputError(
            f"{path} is a part that was measured when the stack had {count} frames, and cannot be "
            f"gathered now that it has {now}: `steadystack run --overwrite` starts over and "
            "removes it"
        )
    share = load_own_shifts(_set_output(setup, path))
    sums.check(share.attrs, path)
    return read_pairs(share)


def remove_shares(path: str) -> None:
    """Remove all shares of the run with this output."""
    for share_path in list_share_paths(path):
        with get_place(share_path).holding_lock():
            remove_share(share_path)


def _set_output(setup: Setup, path: str) -> Setup:
    output = setup.config.output.model_copy(update={"shifts": path})
    return replace(setup, config=setup.config.model_copy(update={"output": output}), draft="")


def _take_rows(table: PairTable, share: PairTable) -> None:
    """Copy the rows that a share has measured to those of its pairs not yet measured."""
    count = len(table.frame_read_status)
    of_table, of_share = (pairs.reference * count + pairs.moving for pairs in (table, share))
    order = np.argsort(of_table)
    position = np.searchsorted(of_table, of_share, sorter=order)
    rows = order[np.minimum(position, len(order) - 1)]
    if (of_table[rows] != of_share).any():
        raise InputError(
            "a part holds pairs that the run does not have: use `steadystack run --overwrite` to "
            "start over"
        )
    taken = np.flatnonzero((share.status != PairStatus.UNMEASURED.code) & table.to_do[rows])
    table.take_results(rows[taken], share, taken)
    unreadable, unread = FrameStatus.UNREADABLE.code, FrameStatus.UNMEASURED.code
    better = share.frame_read_status != unread
    better &= (share.frame_read_status != unreadable) | (table.frame_read_status == unread)
    for name in FRAME_FIELDS:
        getattr(table, name)[better] = getattr(share, name)[better]


def parse_share(text: str, option: str = "--batches") -> ShareNumber:
    """Parse the number of a share from an option: (3, 16) from "3/16"."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(count)):
        raise InputError(f"{option} {text!r} is not a part such as 3/16")
    return int(number), int(count)


def get_share_path(path: str, number: int, count: int) -> str:
    """Path of share `number` (from 1) of `count`, beside the output of the whole run."""
    whole = PurePath(path)
    return get_place(path).get_sibling(f"{whole.stem}.part-{number}-of-{count}{whole.suffix}").path


def list_share_paths(path: str) -> list[str]:
    """List the paths of all existing shares, whatever their intended count.

    A dataset named like a share but solved is the result of another run, and not one.
    """
    whole = PurePath(path)
    name = re.compile(rf"{re.escape(whole.stem)}\.part-\d+-of-\d+{re.escape(whole.suffix)}")
    return [
        sibling
        for sibling in get_place(path).list_siblings()
        if name.fullmatch(PurePath(sibling).name)
        and get_place(sibling).exists()
        and not _is_solved(sibling)
    ]


def _is_solved(path: str) -> bool:
    with suppress(InputError):  # other stages report it, if it matters
        return "verdict" in read_attributes(path)
    return False


def remove_share(path: str) -> None:
    """Delete a share, with its draft, journal, images and lock; foreign files stay."""
    where = get_place(path)
    check_replaceable(path)
    check_holds_no_more(path)
    where.settle()
    discard_draft(path)
    discard_journal(path)
    discard_camera_images(path)
    where.discard()
    where.get_sibling(f".{where.name}.lock").discard()
