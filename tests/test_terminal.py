"""What is shown of a run at a terminal."""

from __future__ import annotations

import io
import re

import rich.console

from steadystack import run_log
from steadystack.terminal import show_progress


def test_a_terminal_shows_a_bar_and_above_it_what_else_takes_long(monkeypatch):
    """Lines on pairs are the bar's."""
    monkeypatch.setattr(run_log, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(run_log, "ELAPSED_FRACTION", 0.0)
    shown = io.StringIO()
    console = rich.console.Console(file=shown, force_terminal=True, width=100)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    run_log.meter_log.setLevel("INFO")
    try:
        with show_progress() as progress, run_log.log_stage("preparing"):
            list(run_log.count_steps(range(3), 3, "flat [field]", "frames"))
            meter = run_log.Meter()
            for done in range(5):
                meter(done, 4)
                progress(done, 4)
    finally:
        run_log.meter_log.setLevel("NOTSET")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    assert text.count("preparing, flat [field]: 0 of 3 frames (0%)") == 1
    assert text.count("preparing, flat [field]: 3 of 3 frames (100%)") == 1
    assert "pairs (" not in text
    assert "4/4" in text
    assert not run_log.meter_log.handlers
