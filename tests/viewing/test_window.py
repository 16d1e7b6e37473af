"""The window: what it needs is told; where napari is, its layers are those of the run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from steadystack.cli import main
from steadystack.viewing import window
from support.viewed import make_viewed

HAS_NAPARI = importlib.util.find_spec("napari") is not None
# Run by itself: Qt ends a process that it cannot serve.
OPENED = """
import sys
import numpy as np
import steadystack
from functools import partial
from steadystack.model import InputError
from steadystack.viewing import find_shown, save_drawn
from steadystack.viewing.window import open_window, read_drawn

config = steadystack.load_config(sys.argv[1])
steadystack.run(config)
shown, told = find_shown(config), []
try:
    viewer = open_window(shown, partial(save_drawn, config, shown), told.append, show=False)
except InputError as error:
    print(error)
    raise SystemExit
assert [layer.name for layer in viewer.layers] == [layer.name for layer in shown.layers]
for layer, one in zip(viewer.layers, shown.layers):
    np.testing.assert_allclose(layer.scale, one.scale)
    np.testing.assert_allclose(layer.translate, one.translate)
assert viewer.dims.axis_labels == ("t", "y", "x")
viewer.dims.set_current_step(0, 3)
assert viewer.text_overlay.text == shown.describe_frame(3)
assert not viewer.layers["left out"].editable
widget, = viewer.window.dock_widgets.values()
answer, button = widget
button.changed.emit(True)
assert "nothing new is drawn" in told[-1], told
viewer.layers["not valid"].paint((30, 30), 1)
viewer.layers["region"].data = [np.array([(1.5, 3.5), (1.5, 50.5), (40.5, 50.5), (40.5, 3.5)])]
button.changed.emit(True)
new = steadystack.load_config(sys.argv[1].replace("run.yaml", "run.drawn.yaml"))
assert new.input.region == ((2, 41), (4, 51)), new.input
painted = viewer.layers["not valid"].data != 0
assert painted.sum() > 40, painted.sum()
np.testing.assert_array_equal(np.load(new.mask.path), ~painted)
assert answer.value == "\\n".join(told[1:])
viewer.close()
print("closed")
"""


def test_what_a_window_needs_is_reported_before_anything_is_read(tmp_path, monkeypatch):
    (tmp_path / "run.yaml").write_text("input: {path: none.zarr}")
    monkeypatch.setattr(window, "find_spec", lambda _: None)
    done = CliRunner().invoke(main, ["view", str(tmp_path / "run.yaml")])
    assert done.exit_code == 2
    assert done.stderr.strip() == "error: view needs napari: pip install 'steadystack[napari]'"
    monkeypatch.setattr(window, "find_spec", lambda _: True)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    done = CliRunner().invoke(main, ["view", str(tmp_path / "run.yaml")])
    assert done.exit_code == 2
    assert "view needs a display" in done.stderr
    monkeypatch.setenv("DISPLAY", ":0")
    done = CliRunner().invoke(main, ["view", str(tmp_path / "run.yaml")])
    assert "none.zarr does not exist" in done.stderr


@pytest.mark.skipif(not HAS_NAPARI, reason="napari is not installed: steadystack[napari]")
def test_a_window_shows_the_layers_and_saves_what_is_drawn(tmp_path):
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", OPENED, str(make_viewed(tmp_path))],
        capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    if "OpenGL, which this display does not have" in done.stdout:
        pytest.skip("Qt has no OpenGL here: start the tests by xvfb-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("closed\n"), done.stdout
