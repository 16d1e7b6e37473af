"""The window: napari with the layers of a run, and a button that saves what is drawn."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

from steadystack.config import Config
from steadystack.model import InputError
from steadystack.planning import resolve_only_input
from steadystack.viewing.drawings import save_drawn
from steadystack.viewing.shown_layers import (
    LEFT_OUT,
    NOT_VALID,
    OBJECT,
    PARTS,
    REGION,
    Shown,
    find_shown,
)

HELP = (
    "The corrected stack is below:\nhide 'stack' to see it (for\neach channel).\n\nDraw a "
    f"rectangle in '{REGION}',\nor paint in '{NOT_VALID}' what\nto leave out; then save."
)
INSTALL = "pip install 'steadystack[napari]'"


def view(config: Config, report: Callable[[str], None] = print) -> None:
    """Show a run in napari until its window is closed.

    Parameters
    ----------
    config : the settings of one input, out of a file
    report : called with lines: why something is not shown, and what was saved

    Raises
    ------
    InputError
        Without napari, without a display, and where settings, stack and mask cannot be used.
    """
    check_window()
    config = resolve_only_input(config)
    shown = find_shown(config)
    for note in shown.notes:
        report(note)
    open_window(shown, partial(save_drawn, config, shown), report)
    import napari

    napari.run()


def check_window() -> None:
    """Raise InputError if napari is not installed, or if there is no display for a window."""
    if find_spec("napari") is None:
        raise InputError(f"view needs napari: {INSTALL}")
    has_display = any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")))
    if sys.platform == "linux" and not has_display:
        raise InputError(
            "view needs a display, and DISPLAY is not set: use it at a desktop, or `ssh -X`; "
            "`steadystack preview` and `report` make pages of the same run"
        )


def open_window(
    shown: Shown,
    save: Callable[..., list[str]],
    report: Callable[[str], None],
    *,
    show: bool = True,
) -> Any:
    """Open a window of napari and return its viewer.

    Parameters
    ----------
    shown : the layers
    save : called with the shapes of the region and the labels that are painted; gives lines
    report : called with these lines
    show : whether the window is seen

    Raises
    ------
    InputError
        Without a binding of Qt, and where the display has no OpenGL.
    """
    try:
        import napari
        from qtpy.QtGui import QOpenGLContext

        viewer = napari.Viewer(title=shown.title, show=show)
    except ImportError as error:  # Qt is missing, which napari's users must install
        raise InputError(f"napari cannot open a window ({error}): {INSTALL}") from error
    if not QOpenGLContext().create():
        viewer.close()
        raise InputError(
            "napari draws with OpenGL, which this display does not have: use another one, or "
            "xvfb-run for an invisible window"
        )
    add_layers(viewer, shown)
    follow_frames(viewer, shown)
    _add_button(viewer, save, report)
    return viewer


def add_layers(viewer: Any, shown: Shown) -> None:
    """Add the layers to a viewer, or to a viewer model."""
    for layer in shown.layers:
        add = getattr(viewer, f"add_{layer.kind}")
        options, data = dict(layer.options), layer.data
        if layer.name == NOT_VALID:
            data = data.copy()  # it will be painted on
        if layer.kind == "shapes":
            options |= {"ndim": 2} | ({"shape_type": "rectangle"} if len(layer.data) else {})
        added = add(
            data if len(data) else None,
            name=layer.name,
            scale=layer.scale,
            translate=layer.translate,
            units=layer.units,
            **options,
        )
        added.editable = layer.name not in (LEFT_OUT, PARTS, OBJECT)
    viewer.dims.axis_labels = shown.axes
    viewer.dims.set_current_step(0, 0)


def follow_frames(viewer: Any, shown: Shown) -> None:
    """Show in a corner the frame's number, time and shift."""

    def write(event: Any = None) -> None:
        last = shown.spec.frame_count - 1
        viewer.text_overlay.text = shown.describe_frame(min(viewer.dims.current_step[0], last))

    viewer.text_overlay.visible = True
    viewer.dims.events.current_step.connect(write)
    write()


def read_drawn(viewer: Any) -> tuple[list[Any], Any]:
    """The shapes of the region and the labels that are painted; None where one was removed."""
    names = [layer.name for layer in viewer.layers]
    shapes = list(viewer.layers[REGION].data) if REGION in names else []
    return shapes, viewer.layers[NOT_VALID].data if NOT_VALID in names else None


def _add_button(viewer: Any, save: Callable[..., list[str]], report: Callable[[str], None]) -> None:
    from magicgui.widgets import Container, Label, PushButton

    button, answer = PushButton(text="save as settings"), Label(value=HELP)

    def press() -> None:
        try:
            lines = save(*read_drawn(viewer))
        except InputError as error:
            lines = [f"not saved: {error}"]
        for line in lines:
            report(line)
        answer.value = "\n".join(lines)

    button.changed.connect(press)
    viewer.window.add_dock_widget(
        Container(widgets=[answer, button], labels=False), name="steadystack", area="right"
    )
