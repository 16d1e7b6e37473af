"""What checks of a run find after it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

EXTERNAL = "external_reference"  # the attribute that holds an `OutsideOutcome`


@dataclass(frozen=True)
class FixedPatternEffect:
    """Effect of what stands still in the camera on shifts, from pairs measured with and without it.

    Attributes
    ----------
    pairs : how many were measured both ways
    with_it, without_it : mean size of their shifts, pixels, along what both ways say together
    error : standard error of the difference, pixels
    certain : whether it stands still indeed, and is no scene that changes
    moving_share : in which share of the parts of the frame something moves, as seen without it
    loss : by which share of their NCC pairs across the jumps of a series that rests are less alike
        than those beside them that are as far apart and at rest; 0 if that was not found
    noise : the stated error of a pair's shift with it, rms length, pixels
    changes : where pairs are at rest, how much changes over most of the frame, relative to its
        detail; 0 elsewhere
    unexplained : in series of too few frames to look for it, how much of a frame others that are
        moved onto it do not explain, relative to its detail, at least; 0 elsewhere
    lost : if so many pairs have no shift without it that nothing can be compared, their share; 0
        elsewhere
    separable_share : where it was estimated from the series, the share of what shows shifts that
        the scene's own motion tells from it, along the axis where that is least; 1 elsewhere
    repeated : the share of what shows shifts that frames repeat bit by bit, in blocks, of others
        from which they are shifted, as recordings do that skip what hardly changes; 0: little
    stale : by how much that may hold frames back, px rms along an axis
    """

    pairs: int
    with_it: float
    without_it: float
    error: float
    certain: bool
    moving_share: float = 1.0
    loss: float = 0.0
    noise: float = 0.0
    changes: float = 0.0
    lost: float = 0.0
    unexplained: float = 0.0
    separable_share: float = 1.0
    repeated: float = 0.0
    stale: float = 0.0


Boxes = tuple[tuple[tuple[int, int], ...], ...]  # per axis the first pixel and that behind the last


def parse_boxes(values: Sequence[Any]) -> Boxes:
    """Parse boxes of pixels, as JSON has them."""
    return tuple(tuple((int(first), int(stop)) for first, stop in box) for box in values)


def describe_errors(errors: Sequence[float | None]) -> str:
    """Errors in px, one after the other, in words; those that are not known are left out."""
    return " -> ".join(f"{error:.2g} px" for error in errors if error is not None)


@dataclass(frozen=True)
class FieldOfView:
    """Where the frames of a series show no scene, found before measuring.

    Attributes
    ----------
    frames : how many were looked at
    share : which share of the frame seems to be outside; 0: all of it changes alike
    error, error_without : of the frames' shifts with and without that, as it is stated, the median,
        px; None: not known
    boxes : of the pixels outside, if they are left out; per box and axis the first pixel and that
        behind the last
    """

    frames: int
    share: float = 0.0
    error: float | None = None
    error_without: float | None = None
    boxes: Boxes = ()

    def describe(self) -> str:
        """What was found, in words."""
        if not self.share:
            return f"field of view: the whole frame, seen in {self.frames} frames"
        words = f"field of view: {self.share:.0%} of the frame, along its border, shows no scene"
        if not self.boxes:
            return f"{words}, but shifts are no more precise without it: it is not left out"
        known = describe_errors((self.error, self.error_without))
        return f"{words}, and is left out: shifts are known to {known}"


@dataclass(frozen=True)
class LocalMotion:
    """How parts of the frame move against the shift of the whole, seen on some pairs.

    Attributes
    ----------
    pairs, parts : how many were looked at
    moving : how many of the parts move by themselves
    size : how far the one that moves most is off the whole in a pair, the median in pixels; off
        most parts where some stand still
    where : the name of its place, such as "top left"
    linear : whether the parts move as if the frames turn or stretch
    still : how many of the parts stand still in the camera while most of them move; they are not
        among those that move by themselves
    still_where : the names of their places
    still_pull : how far the shift of the whole is off that of most parts, the median in pixels;
        0 where nothing stands still
    scene : how far most parts move in a pair, the median in pixels
    suits : the simplest `motion.model` that explains a motion that is linear; "": not told
    far : whether it is seen only between frames further apart than those of the run's pairs
    """

    pairs: int
    parts: int
    moving: int
    size: float
    where: str
    linear: bool
    still: int = 0
    still_where: str = ""
    still_pull: float = 0.0
    scene: float = 0.0
    suits: str = ""
    far: bool = False


@dataclass(frozen=True)
class MaskCheck:
    """What masks leave of the frames, and what they take away, seen on some of them.

    Attributes
    ----------
    valid : mean share of the pixels that are left, 0..1
    inverted : whether what is taken away looks like a scene, and what is left does not
    taken_moves : how far what is taken away moves between the frames of a pair, the median in
        pixels, where what is left does not move; 0 if that was not found
    far_value, far_share : a value that many of the pixels that are left have, far from all others,
        as "no data" is; None if there is none; and their mean share, 0..1
    """

    valid: float
    inverted: bool
    taken_moves: float = 0.0
    far_value: float | None = None
    far_share: float = 0.0


@dataclass(frozen=True)
class ProbeCheck:
    """What pairs that a run has not, or measured otherwise, say of its shifts; nothing is 0 and "".

    Attributes
    ----------
    pairs : how many were measured, further apart than those of the run; 0: it has all of these, and
        some of its own were asked for coarse detail alone
    separation : how far apart those are that differ most from the shifts, for what is stated
    off, excess : by how much these do, root mean square, pixels, and over what is stated
    part : without which some of the pairs change most, for what is stated: "top left"
    part_pull, part_excess : by how much, the median, pixels, and over what is stated
    lost_part, lost : without which most of them have no shift, and the share of these, 0..1
    lost_next : the share that has none without the part that comes next, 0..1
    detail_pull, detail_excess : by how much they change, likewise, in fine detail alone
    coarse_pull, coarse_excess : by how much further they move, the median, pixels, and by how much
        they change, over what is stated, in coarse detail, if that moves further
    coarse_moves : how far that moves between the frames of a pair, the median, pixels
    coarse_low_pass : the Gaussian that leaves it, sigma in pixels
    plane_pull, plane_excess, plane_moves : likewise, by how much they change along z, and how far
        they move then, if all planes of a volume are equally bright
    plane_light : what is left of the brightness of planes if it moves, over that if it stands still
    """

    pairs: int
    separation: int = 0
    off: float = 0.0
    excess: float = 0.0
    part: str = ""
    part_pull: float = 0.0
    part_excess: float = 0.0
    lost_part: str = ""
    lost: float = 0.0
    detail_pull: float = 0.0
    detail_excess: float = 0.0
    lost_next: float = 0.0
    coarse_pull: float = 0.0
    coarse_excess: float = 0.0
    coarse_moves: float = 0.0
    coarse_low_pass: float = 0.0
    plane_pull: float = 0.0
    plane_excess: float = 0.0
    plane_moves: float = 0.0
    plane_light: float = 0.0


@dataclass(frozen=True)
class MajorityCheck:
    """What pairs say that are measured without the parts that a majority would leave out.

    Attributes
    ----------
    parts : these parts, by number
    pairs : how many pairs have a shift without them
    off_all, off_majority : by how much these differ from the shifts of the whole, and from those
        without the parts, the median, pixels
    confirmed : whether they are nearer to the latter
    excess : by how many times the stated errors they differ from the shifts of the whole, the
        median
    """

    parts: tuple[int, ...]
    pairs: int
    off_all: float = 0.0
    off_majority: float = 0.0
    confirmed: bool = False
    excess: float = 0.0


@dataclass(frozen=True)
class SharpnessCheck:
    """The contrast of fine detail in the mean of frames as they are, and of those moved.

    Attributes
    ----------
    frames : how many are in the means
    still, moved : the variance of detail of about 1 to 4 px, or from the Gaussian that pairs see on
        to four times that, without that of the noise
    error : standard error of either by the noise
    """

    frames: int
    still: float
    moved: float
    error: float


@dataclass(frozen=True)
class OtherConditioning:
    """A conditioning under which pairs have a shift that are refused as they are.

    Attributes
    ----------
    pairs, found : how many refused pairs were tried, and how many then have a shift
    settings : of `preprocess`, such as ``low_pass: 1, high_pass: 10``
    """

    pairs: int
    found: int
    settings: str


@dataclass(frozen=True)
class OutsideFit:
    """Where a connected part of a series lies in an image from outside of it.

    Attributes
    ----------
    status : of the registration, as of a pair; only if it is ok the shifts were moved
    offset : what was added to all shifts of the part, pixels; () if it is not known
    std : its standard deviation, which is in all deviations of the part; ()
    ncc, overlap : of the registration; None: not known
    frames : how many frames the mean is of that was registered
    conditioning : what was done to both images first, beside what is done to frames; "": nothing
    anchor : the frame of the part whose shift was 0; None: not told
    """

    status: str
    offset: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    ncc: float | None = None
    overlap: float | None = None
    frames: int = 0
    conditioning: str = ""
    anchor: int | None = None

    @property
    def is_known(self) -> bool:
        return bool(self.offset)


@dataclass(frozen=True)
class OutsideOutcome:
    """What became of an external reference: a fit for each connected part of the pair graph.

    `path` is where it was read, "" if it was given as an array, `digest` that of its content.
    """

    path: str
    digest: str
    fits: tuple[OutsideFit, ...]

    def dump(self) -> str:
        """As JSON, for the dataset."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, attributes: Mapping[Any, Any]) -> Self | None:
        """Read it from the attributes of a dataset; None where there is none."""
        values = json.loads(attributes.get(EXTERNAL, "null"))
        return None if values is None else cls(**values | {"fits": _parse_fits(values["fits"])})

    @property
    def name(self) -> str:
        return self.path or "the image"

    @property
    def is_found(self) -> bool:
        """Whether some part was found, and component 0 lies in the frame of the image."""
        return any(fit.is_known for fit in self.fits)

    def describe(self) -> Iterator[str]:
        """What became of it, a line for each connected part."""
        for number, fit in enumerate(self.fits):
            part = f"part {number}: " if len(self.fits) > 1 else ""
            if fit.is_known:
                values = ", ".join(
                    f"{value:.3f} ± {std:.3f}"
                    for value, std in zip(fit.offset, fit.std, strict=True)
                )
                yield f"{part}all shifts are moved by {values} px to align them with {self.name}"
            else:
                note = (
                    ", and cannot be compared with those that were moved" if self.is_found else ""
                )
                yield (
                    f"{part}not found in {self.name} ({fit.status}): shifts stay relative to the "
                    f"anchor{note}"
                )


def _parse_fits(rows: Sequence[dict[str, Any]]) -> tuple[OutsideFit, ...]:
    return tuple(
        OutsideFit(**row | {name: tuple(row[name]) for name in ("offset", "std")}) for row in rows
    )
