"""A stack in words."""

from __future__ import annotations

from steadystack.store.stacks import StackSpec


def describe(spec: StackSpec) -> list[tuple[str, str]]:
    """What was understood of a stack, as names and values."""
    size = " x ".join(f"{step:g}" for step in spec.pixel_size)
    sizes = ", ".join(f"{axis} {spec.size(axis)}" for axis in spec.axes)
    channels = ", ".join(spec.channel_names) or str(spec.size("c"))
    rows = [
        ("stack", f"{spec.path} ({spec.kind})"),
        ("axes", sizes),
        ("frames", f"{spec.frame_count} of {spec.frame_shape} {spec.dtype}"),
        ("channel", f"{spec.channel} of {channels}" if spec.channel is not None else "only one"),
        ("pixel size", f"{size} {spec.unit}" if spec.unit else "not known (input.pixel_size)"),
        ("frame times", _times(spec)),
        ("chunks", str(spec.chunks) + (f" in shards of {spec.shards}" if spec.shards else "")),
        ("bytes", f"{spec.frame_bytes * spec.frame_count / 2**20:.1f} MiB in all frames"),
    ]
    if len(spec.levels) > 1:
        rows.insert(-1, ("levels", ", ".join(str(shape) for shape in spec.levels)))
    return rows


def _times(spec: StackSpec) -> str:
    """The times of the frames in words."""
    if spec.time is None:
        return "not known"
    times, unit = spec.time
    return f"{times[0]:g} to {times[-1]:g} {unit}"
