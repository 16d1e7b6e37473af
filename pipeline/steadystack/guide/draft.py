"""Draft settings for a stack, to start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from steadystack import checks, planning, readers, survey
from steadystack.config import format_scalar, make_config, resolve_reader
from steadystack.durable import ZIP_SUFFIXES, get_place, make_absolute
from steadystack.file_formats import split_hdf_path
from steadystack.guide.presets import check_preset, merge_preset, read_preset
from steadystack.model import InputError, escape_unprintable, hide_secrets, write_number
from steadystack.run_log import log_stage

# Larger frames are not read, which would be slow over a network.
MOST_READ = 2**26  # bytes
# A value that more than this share of a frame's pixels have may mean "no data".
FEW = 0.02
OUTPUT_ENDINGS = {
    "shifts": "-shifts.zarr",
    "report": "-report.html",
    "corrected": "-corrected.ome.zarr",
    "mean": "-mean.ome.zarr",
    "movie": "-movie.mp4",
}
# Longer names of inputs are cut: systems allow 255 bytes, including suffixes.
MOST_STEM_BYTES = 160

INIT_SETTINGS = """\
# Settings for {name}: {kind}{described}
input:
  path: {path}
{input_keys}
mask:                        # mask what does not move with the scene: it pulls shifts towards zero
  # path: mask.npy           # or .tif, .zarr; nonzero = valid; one for all frames, {shape},
                             # or one per frame; invert: true swaps valid and invalid
  # rois:                    # or outlines, [y, x] in pixels; their inside or outside is valid
  #   - {{ellipse: {{centre: {centre}, radii: {radii}}}, valid: inside}}  # a field stop
  #   - {{polygon: [[0, 0], [0, {radii[1]}], [{radii[0]}, 0]], valid: outside}}  # dirt in a corner
{invalid_values}
  # saturation: auto         # exclude saturated pixels
{border}

preprocess:
  # fixed_pattern: estimate  # subtract what stands still and cannot be masked: a detector's pattern
  # high_pass: 20            # sigma, pixels: removes uneven light; larger than the details
  # low_pass: 1              # sigma, pixels: reduces the noise of single pixels{pilot}

register:
  max_shift: auto            # pixels; largest shift between the frames of a pair; auto: estimated
                             # from some pairs of coarse frames, and every shift if a pair has none

initial_shifts:              # stage positions, if known: max_shift then counts from them
  # path: positions.csv      # columns y, x in pixels; more in configs/full.yaml

pairs:
  strategy: auto             # or: consecutive, reference, window, separations, multiscale, all
  width: 5                   # every pair up to this many frames apart

output:
  shifts: {shifts}
  report: {report}  # a page; .png, .svg or .pdf: one picture
  # corrected: {corrected}  # the corrected stack; or .ome.tif
  # mean: {mean}  # the mean of the moved frames; or .ome.tif, .npy
  # movie: {movie}  # as recorded, beside the corrected series (extras: video, pictures)

correct:                     # used if output.corrected or output.mean is set
  # border: crop             # only what every good frame shows; same: the frames' shape
  # interpolation: linear    # never overshoots; or nearest (invents no value), cubic, fourier

cluster:
  kind: local                # worker processes on this machine, one per core
"""


@log_stage("looking at the stack")
def init(path: str, *, like: str | None = None, is_here: bool = False, **keys: Any) -> str:
    """Draft commented settings, as YAML text, for the stack at `path`; `keys` are those of `input`.

    `like` is the name of a preset, whose keys are put in (`list_presets` tells them); `is_here`
    whether the settings file will be in the working folder: then a relative path below that folder
    stays as given; otherwise paths become absolute. Reads the first, the middle and the last frame,
    if they are not large ones, for pixels that seem to hold no data, and measures a few pairs, as a
    run does before it begins.
    """
    if like is not None:
        check_preset(like)
    written = dict(keys)
    if keys.get("reader"):
        keys["reader"] = resolve_reader(keys["reader"], Path())
        if not (is_here and _is_below(written["reader"])):
            written["reader"] = keys["reader"]
    try:
        example = _choose_example(path, keys)
        spec = readers.locate_stack(
            example["path"], **{k: v for k, v in example.items() if k != "path"}
        )
    except InputError as error:
        raise InputError(str(error) + _name_option(str(error))) from error
    from steadystack.guide.checking import describe  # slow to import; only if there is a stack

    planning.check_frames(spec)
    lines = [f"  {key}: {format_scalar(value)}" for key, value in written.items()]
    facts = [f"{name}: {escape_unprintable(value)}" for name, value in describe(spec)[1:]]
    stem = _choose_stem(path, keys)
    written_path = path if is_here and _is_below(path) else make_absolute(path, Path())
    invalid_values, border = _make_lines_on_data(spec)
    whole = (spec.uncut or spec).frame_shape
    text = INIT_SETTINGS.format(
        name=escape_unprintable(Path(path.rstrip("/")).name),
        kind=escape_unprintable(spec.kind),
        path=format_scalar(written_path, quoted=True),
        described="".join(f"\n#   {fact}" for fact in facts),
        input_keys="\n".join(lines) + ("\n" if lines else ""),
        shape=whole,  # the shape of masks, in which shapes are drawn
        centre=[size // 2 for size in whole[-2:]],
        radii=[size // 2 for size in whole[-2:]],
        invalid_values=invalid_values,
        border=border,
        pilot=_make_lines_on_pilot(example, spec, like),
        **{name: format_scalar(stem + ending) for name, ending in OUTPUT_ENDINGS.items()},
    )
    return text if like is None else merge_preset(text, like)


def _is_below(path: str) -> bool:
    """Whether a path is given as one below the working folder."""
    named = PurePath(path)
    is_elsewhere = "://" in path or path.startswith("~") or named.is_absolute()
    return not is_elsewhere and ".." not in named.parts


def _choose_example(path: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The section `input` of the example: the first position of a plate."""
    if keys.get("position") != planning.ALL:
        return {"path": path, **keys}
    rest = {key: value for key, value in keys.items() if key != "position"}
    return {"path": planning.list_images(path).paths()[0], **rest}


def _make_lines_on_pilot(
    example: Mapping[str, Any], spec: readers.StackSpec, like: str | None
) -> str:
    """Make comments on the filters that a run would choose now; "" if not known.

    `like` is the preset whose keys it has.
    """
    if spec.frame_bytes > MOST_READ:
        return ""
    preset = {} if like is None else read_preset(like)
    config = make_config(preset | {"input": preset.get("input", {}) | dict(example)})
    try:
        setup = planning.set_up(config, planning.open_series(config)[0])
        pilot, _ = checks.try_pairs(setup)
    except InputError:  # unusable frames: `check` and `run` say why
        return ""
    lines = [
        "both are auto, as are mask.defects, mask.field_of_view, mask.parts, register.max_shift:",
        "a run tries some pairs first, and would now choose:",
        *pilot.describe(),
    ]
    return "".join(f"\n{_make_line('', line)}" for line in lines) if pilot.pairs else ""


def _make_lines_on_data(spec: readers.StackSpec) -> tuple[str, str]:
    """Make the lines `invalid_values` and `border` of the mask section.

    Their comments say which pixels of the middle frame seem to hold no data, as compared with the
    first and the last frame.
    """
    border, shares = None, dict[float, tuple[float, ...]]()
    middle, last = (spec.frame_count - 1) // 2, spec.frame_count - 1
    indices = sorted({0, middle, last})
    if spec.frame_bytes <= MOST_READ:
        frames = [readers.StackFrames(spec).read(index) for index in indices]
        pixels = [(frame.image, frame.valid & np.isfinite(frame.image)) for frame in frames]
        border = survey.find_constant_border(*pixels[indices.index(middle)])
        shares = survey.find_no_data(pixels, FEW)
    findings = [
        f"{share[indices.index(middle)]:.0%} of the middle frame is {value:g}"
        for value, share in shares.items()
    ]
    values = list(shares)
    width = 0
    if border is not None:
        width = max(border.widths)
        findings.append(f"it has a border of {border.value:g}" if findings else
                    f"the middle frame has a border of {border.value:g}")  # fmt: skip
        values = list(dict.fromkeys([*values, border.value]))
    listed = ", ".join(map(write_number, values)) or "0"
    note = f": {', '.join(findings)}" if findings else ""
    width_note = f"; {width} wide in the middle frame" if width else ""
    return (
        _make_line(f"# invalid_values: [{listed}]", f'values that mean "no data"{note}'),
        _make_line("border: 0", f"pixels along each side to leave out{width_note}"),
    )


def _make_line(key: str, comment: str) -> str:
    """Make a line of a key and its comment, in the column of the other comments."""
    return f"  {key:<26} # {comment}" if len(key) < 27 else f"  {key}  # {comment}"


def _choose_stem(path: str, keys: Mapping[str, Any]) -> str:
    """Choose a name for the outputs: that of the input, or of the folder of a pattern of files.

    Stacks whose names differ in more than the suffix get outputs of different names.
    """
    file_path, inside = split_hdf_path(path) or (path, None)
    names, place = hide_secrets(file_path).rstrip("/").split("/"), get_place(file_path)
    name = _strip_endings(names[-1] if not place.is_pattern or len(names) < 2 else names[-2])
    if place.is_pattern or place.has_wildcards:
        name = name.replace("*", "")
    word = name.replace(planning.PLACEHOLDER, planning.PLACEHOLDER.strip("{}")).encode(
        errors="surrogateescape"
    )
    words = [word[:MOST_STEM_BYTES].decode(errors="ignore") or "stack"]
    if keys.get("position") == planning.ALL:
        return f"{words[0]}-{planning.PLACEHOLDER}"
    for choice in (inside, keys.get("variable"), keys.get("position")):
        words += [choice.strip("/").replace("/", "-")] if choice else []
    words += [str(keys["series"])] if keys.get("series") is not None else []
    return "-".join(words)


def _strip_endings(name: str) -> str:
    """The name without the endings that tell a format, such as .ome.zarr or .zarr.zip."""
    for endings in (ZIP_SUFFIXES, readers.INPUT_SUFFIXES):
        found = [ending for ending in endings if name.lower().endswith(ending)]
        name = name[: -len(found[0])] if found else name
    return name.lstrip(".")


def _name_option(problem: str) -> str:
    """Name the option of `init` that sets the key which an error asks for; "" if there is none."""
    keys = ("position", "series", "axes", "variable")
    options = [key for key in keys if f"input.{key}" in problem]
    return f" (--{options[0]})" if options else ""
