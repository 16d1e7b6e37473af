"""The schema of the shifts dataset, from which tables, dataset, journal and reference are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from steadystack.model.words import UNSOLVED, FrameStatus, LocalStatus, PairStatus, Status


@dataclass(frozen=True)
class Column:
    """A variable of the shifts dataset.

    Attributes
    ----------
    name : in the dataset
    field : name in the table in memory, a `PairTable` or a `FrameTable`
    table : which of the two; "derived": computed from both when the dataset is made
    dims : of the variable; the last may be ``axis``; ``node_z`` is dropped if there are none
    dtype : little-endian, as it is stored
    fill : value before it is known
    meaning : what it is, for people
    unit : "" if it has none
    flags : the status whose codes it holds
    measured : whether measuring fills it in, from pairs or from reading frames
    """

    name: str
    field: str
    table: Literal["pairs", "frames", "derived"]
    dims: tuple[str, ...]
    dtype: str
    fill: float
    meaning: str
    unit: str = ""
    flags: type[Status] | None = None
    measured: bool = False

    def empty(self, sizes: dict[str, int]) -> NDArray[Any]:
        """Make the column before anything is known, with dims of these sizes (no nodes along z)."""
        return np.full([sizes[dim] for dim in self._plane_dims], self.fill, self.dtype)

    def choose_dims(self, count: int) -> tuple[str, ...]:
        """The dims of values with `count` axes."""
        return self.dims if count == len(self.dims) else self._plane_dims

    @property
    def _plane_dims(self) -> tuple[str, ...]:
        """The dims without nodes along z."""
        return tuple(dim for dim in self.dims if dim != NODE_Z)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the variable, after CF."""
        about: dict[str, Any] = {}
        if self.flags is not None:
            codes = [status.code for status in self.flags]
            about = {"flag_values": np.array(codes, np.int8), "flag_meanings": " ".join(self.flags)}
        else:
            about = {"long_name": self.meaning}
        return about | ({"units": self.unit} if self.unit else {})


@dataclass(frozen=True)
class Beside:
    """A variable besides the columns: a coordinate, or information on pixels from the input.

    Its unit, if it has one, is that of the input.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    meaning: str


@dataclass(frozen=True)
class Attribute:
    """An attribute of the shifts dataset; `holds` says how to read its value."""

    name: str
    holds: Literal["text", "JSON", "whole number", "number"]
    meaning: str


GROWN = "grown"  # the attribute that says that the series has grown
JOINED = "Joined series"  # the title of a dataset of several joined series
SHARED_DRIFT = "shared_drift"  # the attribute of a drift common to all positions
FRAME_CHECKSUMS = "frame_checksums"
STACK_FRAMES = "stack_frames"
CODEC_STD = "codec_std"
FRAME, PAIR, PART, AXIS, OF_AXIS = "frame", "pair", "part", "axis", "of_axis"
CHANNEL = "channel"
NODE_DIMS = NODE_Z, NODE_Y, NODE_X = "node_z", "node_y", "node_x"
DIMS = {
    FRAME: "the frames of the stack, in order",
    PAIR: "the pairs that were chosen, those of a second round after the others",
    PART: "the parts of the frame that are evaluated separately, in array order",
    CHANNEL: "the channels that are measured; one, unless input.channel is a list",
    NODE_Z: "the nodes of local shifts along z; only for volumes that have local shifts",
    NODE_Y: (
        "the nodes of local shifts along y; a single one without values if there are no local "
        "shifts"
    ),
    NODE_X: "the nodes along x, likewise",
    AXIS: "the axes of a shift, in array order",
    OF_AXIS: "the same axes, for the position that a linear motion is applied to",
}
# Parts along each axis that are evaluated separately, by number of axes of a frame.
PART_CUTS = {1: (9,), 2: (3, 3), 3: (2, 2, 2)}
NAN = float("nan")
UNREAD, UNMEASURED = FrameStatus.UNMEASURED.code, PairStatus.UNMEASURED.code

COLUMNS = (
    Column("frame_shift", "shift", "frames", (FRAME, AXIS), "<f8", NAN,
           "shift to apply to the frame", "pixel"),
    Column("frame_shift_std", "shift_std", "frames", (FRAME, AXIS), "<f8", NAN,
           "standard deviation of the shift relative to the anchor of the frame's component, or "
           "to the external reference if the component was found in it: the larger of "
           "frame_stated_std and frame_part_std, times the factor by which pairs far apart are "
           "off, if it is above 1, combined with what something that stands still, such as "
           "a fixed pattern, takes off the shift, and with codec_std", "pixel"),
    Column("frame_stated_std", "stated_std", "frames", (FRAME, AXIS), "<f8", NAN,
           "estimate of frame_shift_std from the noise of the pairs and their residuals", "pixel"),
    Column("frame_part_std", "part_std", "frames", (FRAME, AXIS), "<f8", NAN,
           "jackknife estimate of frame_shift_std from the disagreement of the frame's parts; "
           "NaN: not known", "pixel"),
    Column("frame_part_step", "part_step", "frames", (FRAME, PART, AXIS), "<f4", NAN,
           "by how much the content of a part of the frame moves frame_shift, relative to the "
           "anchor (to the mean of the component's frames if that was found in an external "
           "reference); sums to about zero over all parts; NaN: not known, or no such part",
           "pixel"),
    Column("frame_part_weight", "part_weight", "frames", (FRAME, PART), "<f4", NAN,
           "weight of a part of the frame in frame_shift, 0 to 1: less where it goes its own "
           "way; NaN: all parts have the same weight"),
    Column("object_position", "", "derived", (FRAME, AXIS), "<f8", NAN,
           "centre of the pixels of object.mask, which follows the object, from the centre of a "
           "frame's first pixel; NaN: not known, or there is none", "pixel"),
    Column("object_position_std", "", "derived", (FRAME, AXIS), "<f8", NAN,
           "standard deviation of object_position relative to that in the anchor, the frame that "
           "the mask is drawn on", "pixel"),
    Column("frame_linear", "linear", "frames", (FRAME, AXIS, OF_AXIS), "<f8", NAN,
           "linear motion to apply to the frame about the centre given by the attribute motion; "
           "frame_shift is the shift of this centre; NaN: not known, or the model is translation"),
    Column("frame_linear_std", "linear_std", "frames", (FRAME, AXIS, OF_AXIS), "<f8", NAN,
           "standard deviation of frame_linear relative to the anchor"),
    Column("frame_rotation", "", "derived", (FRAME,), "<f8", NAN,
           "rotation angle of frame_linear; from x to y is positive; NaN: also for volumes",
           "degree"),
    Column("frame_rotation_std", "rotation_std", "frames", (FRAME,), "<f8", NAN,
           "standard deviation of frame_rotation relative to the anchor", "degree"),
    Column("frame_rotation_vector", "", "derived", (FRAME, AXIS), "<f8", NAN,
           "rotation of a volume by frame_linear: about the direction of the vector, by its "
           "length; about z from x to y is positive, about y from z to x, about x from y to z; "
           "NaN: not known, or frames are not volumes", "degree"),
    Column("frame_rotation_vector_std", "rotation_vector_std", "frames", (FRAME, AXIS), "<f8", NAN,
           "standard deviation of frame_rotation_vector relative to the anchor", "degree"),
    Column("frame_scale", "", "derived", (FRAME,), "<f8", NAN,
           "magnification of lengths by frame_linear, mean over directions"),
    Column("frame_scale_std", "scale_std", "frames", (FRAME,), "<f8", NAN,
           "standard deviation of frame_scale relative to the anchor"),
    Column("frame_local_shift", "local_shift", "frames", (FRAME, *NODE_DIMS, AXIS), "<f8", NAN,
           "total shift to apply to the frame at a node: what is seen at the node after the move "
           "is at the node minus this shift in the frame; NaN: not known, or the model is not "
           "local", "pixel"),
    Column("frame_local_shift_std", "local_shift_std", "frames", (FRAME, *NODE_DIMS, AXIS),
           "<f8", NAN, "standard deviation of frame_local_shift relative to the anchor", "pixel"),
    Column("frame_local_status", "local_status", "frames", (FRAME, *NODE_DIMS), "|i1",
           LocalStatus.UNKNOWN.code, "status of the local shift", flags=LocalStatus),
    Column("frame_status", "status", "frames", (FRAME,), "|i1", UNREAD,
           "status of the frame", flags=FrameStatus),
    Column("frame_read_status", "frame_read_status", "pairs", (FRAME,), "|i1", UNREAD,
           "status of the frame when it was read, before the solve", flags=FrameStatus,
           measured=True),
    Column("component", "component", "frames", (FRAME,), "<i8", UNSOLVED,
           "connected part of the pair graph; 0 for all that were found in an external "
           "reference; shifts of different parts cannot be compared; -1: no usable pair, -2: not "
           "solved yet"),
    Column("pair_count", "pair_count", "frames", (FRAME,), "<i8", 0,
           "number of pairs in the solution"),
    Column("frame_ncc", "", "derived", (FRAME,), "<f8", NAN,
           "median NCC of the frame's usable pairs"),
    Column("pair_reference", "reference", "pairs", (PAIR,), "<i8", 0,
           "index of the reference frame, which stays"),
    Column("pair_moving", "moving", "pairs", (PAIR,), "<i8", 0, "index of the moving frame"),
    Column("pair_shift", "shift", "pairs", (PAIR, AXIS), "<f8", NAN,
           "shift that aligns the moving frame with the reference", "pixel", measured=True),
    Column("pair_shift_std", "shift_std", "pairs", (PAIR, AXIS), "<f8", NAN,
           "standard deviation from noise and overlap", "pixel", measured=True),
    Column("pair_residual", "residual", "frames", (PAIR, AXIS), "<f8", NAN,
           "pair shift minus that of the solution of whole frames", "pixel"),
    Column("pair_ncc", "ncc", "pairs", (PAIR,), "<f8", NAN, "masked NCC at the peak",
           measured=True),
    Column("pair_second_peak_ratio", "second_peak_ratio", "pairs", (PAIR,), "<f8", NAN,
           "significance of the best other lag, divided by that of the peak", measured=True),
    Column("pair_overlap", "overlap", "pairs", (PAIR,), "<f8", NAN,
           "overlapping valid pixels, divided by those of the frame with fewer", measured=True),
    Column("pair_fixed_pattern_share", "fixed_pattern_share", "pairs", (PAIR,), "<f8", NAN,
           "fraction of the images' variance that stands still in both, as far as it is visible "
           "beside the scene: single pixels, rows, columns; NaN: cannot be determined",
           measured=True),
    Column("pair_part_step", "part_step", "pairs", (PAIR, PART, AXIS), "<f4", NAN,
           "by how much the content of a part of the frame moves the pair's shift; sums to zero "
           "over all parts; NaN: not known, or no such part", "pixel", measured=True),
    Column("pair_channel_weight", "channel_weight", "pairs", (PAIR, CHANNEL), "<f4", NAN,
           "weight of a channel in the pair's shift, 0 to 1; 0: it contradicts the others, or all "
           "contradict each other; NaN: the channel has no shift", measured=True),
    Column("channel_offset", "channel_offset", "frames", (CHANNEL, AXIS), "<f8", NAN,
           "shift to apply to a channel in addition to that of its frame, to align it with the "
           "first channel; the same for all frames, 0 for the first channel; NaN: not known, or "
           "solve.channel_offsets is false",
           "pixel"),
    Column("channel_offset_std", "channel_offset_std", "frames", (CHANNEL, AXIS), "<f8", NAN,
           "standard deviation of channel_offset; 0 for the first channel", "pixel"),
    Column("channel_offset_status", "channel_offset_status", "frames", (CHANNEL,), "|i1",
           UNMEASURED, "status of channel_offset, with the values of pair_status",
           flags=PairStatus),
    Column("pair_part_std", "", "derived", (PAIR, AXIS), "<f8", NAN,
           "jackknife estimate of the error of pair_shift from the disagreement of the frame's "
           "parts; NaN: not known", "pixel"),
    Column("pair_weight", "weight", "frames", (PAIR,), "<f8", NAN, "weight in the solution",
           "pixel-2"),
    Column("pair_status", "status", "pairs", (PAIR,), "|i1", UNMEASURED,
           "status of the pair", flags=PairStatus, measured=True),
)  # fmt: skip

BESIDE = (
    Beside("frame", (FRAME,), "<i8", "number of the frame in its stack"),
    Beside("axis", (AXIS,), "text", "name of the axis, such as y"),
    Beside(
        "channel",
        (CHANNEL,),
        "text",
        "name or number of the channel, as given in input.channel; empty: the only one",
    ),
    Beside(
        "node_y",
        (NODE_Y,),
        "<f8",
        "position of the node along y, pixels from the centre of the anchor frame's first pixel",
    ),
    Beside("node_x", (NODE_X,), "<f8", "position of the node along x, likewise"),
    Beside("node_z", (NODE_Z,), "<f8", "position of the node along z, likewise; only for volumes"),
    Beside("of_axis", (OF_AXIS,), "text", "name of the axis"),
    Beside("time", (FRAME,), "<f8", "time of the frame, if the input gives it"),
    Beside("pixel_size", (AXIS,), "<f8", "size of a pixel; NaN if the input does not give it"),
    Beside(
        "part_centre",
        (PART, AXIS),
        "<f8",
        "centre of a part of the frame, pixels from the centre of the frame's first pixel; NaN: "
        "no such part",
    ),
)

ATTRIBUTES = (
    Attribute("title", "text", "what the dataset is, for human readers"),
    Attribute("format", "whole number", "version of the dataset's format: another one is refused"),
    Attribute("convention", "text", "what a shift, a pair's shift and a mask mean"),
    Attribute("failures", "JSON", "reason: rows of the pairs whose status is failed"),
    Attribute("configuration", "JSON", "all settings of the run, with their defaults"),
    Attribute("fingerprint", "text", "hash of everything that the measurement of pairs depends on"),
    Attribute("input", "text", "path of the stack"),
    Attribute("input_digest", "text", "hash of the stack's metadata, and what other paths hold"),
    Attribute("frame_shape", "JSON", "size of a frame along its axes, pixels"),
    Attribute("stack_frames", "JSON", "number of frames of the whole stack, if input.frames is "
              "set; missing: it is not"),
    Attribute("versions", "JSON", "versions of Python and the libraries that it was made with"),
    Attribute("created", "text", "when it was written, UTC, ISO 8601"),
    Attribute("run", "text", "a unique name, which its journal also has"),
    Attribute("motion", "JSON", "model of the motion beyond shifts, and the centre of "
              "frame_linear, pixels from the centre of a frame's first pixel"),
    Attribute("motion_choice", "JSON", "the model that was chosen if motion.model is auto, and "
              "by how much frames turn, are magnified and sheared, with standard deviations, and "
              "their parts move smoothly or alone, in pixels, root mean square; and a reason, if "
              "these did not decide; missing: none was chosen"),
    Attribute("pilot", "JSON", "what was tried before measuring to decide on settings that are "
              "auto: conditionings, how many of some pairs each one finds, and which was chosen; "
              "pixels that are defects of the camera, offsets of its rows and columns, where "
              "frames show no scene, and parts that go their own way; missing: none was auto"),
    Attribute("grown", "JSON", "frames: how many the series had each time before it grew; what "
              "is decided before measuring was decided from the first number of them; "
              "fingerprints: one for each time; kept: earlier pairs, listed after those of the "
              "strategy; missing: it never grew"),
    Attribute("frame_checksums", "JSON", "checksums of the first, middle and last frame at the "
              "time, by index: CRC-32 of their stored pixels; missing: by an earlier version"),
    Attribute("codec_std", "number", "standard deviation, pixels, of where the codec of a video "
              "puts a frame, by its bits per pixel; root two of it is in frame_shift_std"),
    Attribute("fixed_pattern_effect", "JSON", "what stands still in the camera, and how it pulls "
              "shifts, seen on some pairs and frames; null: it could not be determined"),
    Attribute("local_motion", "JSON", "how parts of the frame move against the whole, likewise"),
    Attribute("unmodelled_motion", "JSON", "strengths, as in motion_choice, of linear motion that "
              "motion.model lacks, least: the size that is reported, px; null: not measured"),
    Attribute("channel_turning", "JSON", "sizes: by how much parts of a channel are off its offset "
              "as if it rotates or stretches, pixels; 0: they are not; null: not known"),
    Attribute("mask_check", "JSON", "what masks keep and exclude of the frames, likewise"),
    Attribute("probe_check", "JSON", "what pairs further apart than those of the run say about "
              "the shifts, and these pairs, or some of the run, otherwise: without parts of the "
              "frame, in fine detail, in coarse detail; likewise"),
    Attribute("majority_check", "JSON", "what some pairs say without the parts of the frame that "
              "the majority of the parts would leave out; null: there are none"),
    Attribute("sharpness_check", "JSON", "sharpness of the mean, unmoved and moved, likewise"),
    Attribute("other_conditioning", "JSON", "the conditioning under which refused pairs have a "
              "shift, if most are refused and there is one; null: there is none"),
    Attribute("failed_checks", "JSON", "checks that could not be made, and why; {}: none"),
    Attribute("verdict", "text", "how far to trust the shifts: good, check or unreliable"),
    Attribute("verdict_reasons", "JSON", "findings behind the verdict: trust, code, words, key"),
    Attribute("anchors", "JSON", "the frames whose shift is 0, one per component; of components "
              "found in an external reference, the frames whose shift was 0 before"),
    Attribute("external_reference", "JSON", "the outcome: path and digest, and a fit for each "
              "connected part of the pair graph: status as for a pair; offset, pixels, that was "
              "added to all of its shifts, and std, which is included in all of their standard "
              "deviations, both empty if it was not found; ncc, overlap, frames of its mean, "
              "conditioning, and anchor, the frame whose shift was 0; missing: none given"),
    Attribute("shared_drift", "JSON", "for shifts that a position shares with others: the path "
              "of their joined dataset; agrees: whether the position moves as the others do; "
              "rms_px, excess: how far it is from the shared drift, in pixels, and relative to "
              "the stated error; frames_of_others: in how many frames only others have a shift; "
              "missing: the shifts are its own"),
    Attribute("edited", "text", "when `steadystack.edit_shifts` replaced the shifts, UTC, ISO "
              "8601; missing: never"),
    Attribute("digests", "JSON", "hash of every variable, and of all other attributes: a dataset "
              "that does not match is refused"),
)  # fmt: skip


def _measured(dim: str) -> tuple[Column, ...]:
    return tuple(column for column in COLUMNS if column.measured and column.dims[0] == dim)


# Columns that measuring fills in for every pair, and for every frame that it reads.
PAIR_RESULTS, FRAME_RESULTS = _measured(PAIR), _measured(FRAME)
# The fields of a `PairTable` with a row for every pair, and those with one for every frame.
PAIR_FIELDS = ("reference", "moving", *(column.field for column in PAIR_RESULTS))
FRAME_FIELDS = tuple(column.field for column in FRAME_RESULTS)


def count_parts(ndim: int) -> int:
    """The number of parts that tables have room for, by number of axes."""
    return math.prod(PART_CUTS[ndim])


def columns_of(table: Literal["pairs", "frames", "derived"]) -> tuple[Column, ...]:
    """The columns of one of the tables."""
    return tuple(column for column in COLUMNS if column.table == table)
