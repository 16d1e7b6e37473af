"""The commands that look at a stack before there are settings for it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import click

from steadystack import guide
from steadystack.cli.outcomes import print_table, reporting_errors
from steadystack.model import InputError
from steadystack.terminal import show_progress
from steadystack.units import split_region

STACK_OPTIONS = (
    click.option("--channel", help="Channel number or name; needed if there are several."),
    click.option("--level", type=int, help="Pyramid level; 0 (the default) is full resolution."),
    click.option("--position", help="Image of a plate, such as B/03/0, or all."),
    click.option("--series", type=int, help="Number of the image in a collection or file."),
    click.option("--axes", help="One letter of tczyx per array dimension, such as tyx."),
    click.option("--variable", help="Array in a group or HDF5 file; needed if there are several."),
    click.option("--reader", help="file.py:function that takes the path and returns the array."),
    click.option("--raw", help="Type and shape of a frame: 'uint16 512 x 640 offset 4096'."),
    click.option("--frames", help="Frames to use, start:stop:step, such as 155:245:3."),
)


def stack_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `input` except the region, as masks are of whole frames."""
    return reduce(lambda made, option: option(made), reversed(STACK_OPTIONS), command)


def _list_presets(context: click.Context, _: click.Parameter, given: bool) -> None:
    """Print the presets, and end."""
    if given:
        for name, about in guide.list_presets().items():
            click.echo(click.wrap_text(about, 88, f"{name}: ", "  "))
        context.exit()


@click.command()
@click.argument("stack", nargs=-1, required=True, metavar="STACK")
@click.option("--like", metavar="NAME", help="Start from the settings for a kind of microscope.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_presets,
    help="List the kinds that --like accepts.",
)
@stack_options
@click.option(
    "--region",
    metavar="Y,X",
    help="Box to use, first:stop along each axis: 64:320,100:356, or '20 um:70 um,:'.",
)
@reporting_errors
def init(stack: tuple[str, ...], **keys: Any) -> None:
    """Look at a stack and print commented settings for it.

    STACK is a path, a URL (s3://, https://), or a pattern of files in quotes: 'frames/*.tif'.
    Redirect the output to a file: `steadystack init STACK > run.yaml`. If this file is in the
    working folder, a relative path to a stack below that folder stays relative.
    """
    if len(stack) > 1:
        raise InputError(
            f"{len(stack)} paths given, {stack[0]} to {stack[-1]}, but init takes one: put a "
            "pattern in quotes, such as 'frames/*.tif', so that the shell does not expand it"
        )
    with show_progress("looking", ""):
        settings = guide.init(stack[0], is_here=_is_output_here(), **_take_given(keys))
    click.echo(settings, nl=False)  # the settings need the whole URL


def _is_output_here() -> bool:
    """Whether the output is redirected into a file in the working folder."""
    try:
        output = os.fstat(sys.stdout.fileno())
        if not stat.S_ISREG(output.st_mode):
            return False
        with os.scandir() as entries:
            found = [entry for entry in entries if entry.inode() == output.st_ino]
        return any(os.path.samestat(os.lstat(entry), output) for entry in found)
    except (OSError, ValueError):  # not a file, or a closed stream
        return False


@click.command()
@click.argument("stack")
@click.argument("target", metavar="MASK.npy", type=click.Path())
@click.option(
    "--by",
    type=click.Choice(["mean", "deviation"]),
    default="mean",
    help="What to threshold: the mean of the frames over time, or their deviation.",
)
@click.option(
    "--threshold", type=float, help="Pixels above it are valid. Default: Otsu's threshold."
)
@click.option(
    "--below",
    is_flag=True,
    help="Make the pixels that are not above the threshold valid instead.",
)
@click.option("--largest", is_flag=True, help="Keep only the largest region.")
@click.option("--fill-holes", is_flag=True, help="Fill holes in the regions.")
@click.option(
    "--erode",
    type=click.IntRange(0),
    default=0,
    help="Pixels to remove along the edges of the regions.",
)
@click.option("--rois", help="ImageJ regions (.roi, .zip) to use instead of a threshold.")
@click.option("--picture", help="Draw the mean and the invalid pixels: .png, .svg or .pdf.")
@stack_options
@reporting_errors
def mask(stack: str, target: str, **options: Any) -> None:
    """Make a mask for a stack.

    From a threshold on the mean or the deviation of its frames, or from ImageJ regions. Reads up to
    64 frames. Set mask.path to MASK.npy in the settings. An existing file is not replaced.
    """
    print_table(guide.make_mask(stack, target, **_take_given(options)))


def _take_given(options: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in options.items() if value is not None}
    if "region" in given:
        given["region"] = split_region("--region", given["region"])
    return given
