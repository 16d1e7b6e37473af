"""Turn drawings into settings: a box becomes a region, painted pixels a mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from steadystack.config import Config, make_config, parse_yaml
from steadystack.durable import get_place
from steadystack.model import Bools, InputError
from steadystack.outputs import write_new_mask
from steadystack.readers import StackSpec
from steadystack.units import parse_region
from steadystack.viewing.shown_layers import NOT_VALID, REGION, Shown

Box = tuple[tuple[int, int], ...]
# How many names are tried for a new file.
MOST_FILES = 1000


def make_region(shapes: Sequence[NDArray[Any]], whole: StackSpec) -> Box | None:
    """Make a region of a shape: the pixels of its bounding box, cut at the frame.

    Parameters
    ----------
    shapes : corners (n, 2) of each, pixels of a whole frame along its last two axes: pixel i
        reaches from i - 0.5 to i + 0.5, and edges are taken to the nearest one between pixels
    whole : the stack with whole frames

    Returns
    -------
    first pixel and one past the last, along y and x; None if there is no shape

    Raises
    ------
    InputError
        If there are several shapes, or if the box is too small or outside of the frame.
    """
    if not len(shapes):
        return None
    if len(shapes) > 1:
        raise InputError(f"{len(shapes)} regions are drawn, but there can be only one: leave one")
    corners = np.asarray(shapes[0], float)[:, -2:]
    rows, columns = (
        (
            min(max(math.floor(low + 1.0), 0), size),
            min(max(math.floor(high + 1.0), 0), size),
        )
        for low, high, size in zip(
            corners.min(axis=0), corners.max(axis=0), whole.frame_shape[-2:], strict=True
        )
    )
    parse_region(
        "input.region",
        (rows, columns),
        whole.spatial,
        whole.frame_shape,
        whole.pixel_size,
        whole.unit,
    )
    return rows, columns


def make_mask(painted: NDArray[Any]) -> Bools:
    """Make a mask, True = valid, from pixels painted as invalid, with any label.

    Raises InputError if no pixel is left.
    """
    mask: Bools = np.asarray(painted) == 0
    if not mask.any():
        raise InputError(f"all pixels are {NOT_VALID}: a mask must leave some valid")
    return mask


def save_drawn(
    config: Config, shown: Shown, shapes: Sequence[NDArray[Any]], painted: NDArray[Any] | None
) -> list[str]:
    """Save what was drawn, beside the file of the settings; nothing is replaced.

    A mask is written as ``NAME.mask.npy``, and settings that use it as ``NAME.drawn.yaml``;
    NAME.yaml is unchanged. If such a file exists, the new one gets a number.

    Parameters
    ----------
    config : the settings, out of a file
    shown : the layers that are drawn on
    shapes : corners (n, 2) of shapes drawn as region, pixels of a whole frame
    painted : labels of a whole frame: not 0 is not valid; None: it cannot be drawn

    Returns
    -------
    lines that say what was written: the settings, and what is to be done with them

    Raises
    ------
    InputError
        If nothing was drawn, if it cannot be used, or if it cannot be written.
    """
    region = make_region(shapes, shown.whole)
    before, mask = shown.get(NOT_VALID), None
    if painted is not None and before is not None:
        is_changed = bool(((painted != 0) != (before.data != 0)).any())
        mask = make_mask(painted) if is_changed else None
    sections: dict[str, dict[str, Any]] = {}
    if region is not None and region != shown.region:
        sections["input"] = {"region": _list_sides(config, shown.whole, region)}
    elif region is None and config.input.region is not None:
        sections["input"] = {"region": None}
    if mask is None and not sections:
        raise InputError(
            f"nothing new is drawn: paint in the layer '{NOT_VALID}', or draw a rectangle in "
            f"'{REGION}'"
        )
    source = Path(config.settings_path)
    settings = _read_settings(source)
    if mask is not None:
        path = write_beside(source, "mask", ".npy", lambda name: write_new_mask(name, mask))
        sections["mask"] = {"path": path.name}
        changed = {"labels": None, "invert": False}
        sections["mask"] |= {
            key: value for key, value in changed.items() if getattr(config.mask, key) != value
        }
    for name, keys in sections.items():
        settings[name] = (settings.get(name) or {}) | keys
    make_config(settings, source.parent)
    text = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, allow_unicode=True)
    text = f"# {source.name}, which has its comments, with what was drawn in napari\n{text}"
    target = write_beside(source, "drawn", source.suffix, lambda name: _write_new(name, text))
    lines = yaml.safe_dump(sections, sort_keys=False, default_flow_style=None).splitlines()
    end = f"the settings with these lines -> {target}"
    if get_place(config.output.shifts).exists():
        end += f"; what was measured without them is in {config.output.shifts}: `steadystack "
        end += "run --overwrite`, or another output.shifts"
    return [*lines, end]


def _list_sides(config: Config, whole: StackSpec, region: Box) -> list[Any]:
    """The region in the form of the settings; unchanged along z."""
    given = config.input.region or ()
    kept = [list(side) if side else None for side in given[:-2]] if len(whole.spatial) > 2 else []
    return [*kept, *map(list, region)]


def _read_settings(path: Path) -> dict[str, Any]:
    """Read the settings again from their file."""
    try:
        found = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} can no longer be read: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} no longer holds settings")
    return dict(found)


def write_beside(path: Path, kind: str, suffix: str, write: Callable[[str], None]) -> Path:
    """Write ``NAME.KIND.SUFFIX`` beside NAME, or with a number, where nothing lies yet; its path.

    `write` is called with the path, and raises InputError if something has appeared there.
    """
    for number in range(1, MOST_FILES):
        numbered = kind if number == 1 else f"{kind}-{number}"
        target = path.with_name(f"{path.stem}.{numbered}{suffix}")
        if not target.exists():
            write(str(target))
            return target
    raise InputError(f"{path.parent} has {MOST_FILES} files such as {target.name}: remove some")


def _write_new(path: str, text: str) -> None:
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"{path} exists: it is not replaced") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
