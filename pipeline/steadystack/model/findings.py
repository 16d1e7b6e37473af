"""The results of the checks on a measured run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

EXTERNAL = "external_reference"  # the attribute that holds an `OutsideOutcome`


@dataclass(frozen=True)
class FixedPatternEffect:
    """Effect of a fixed pattern on shifts, from pairs measured with and without it.

    Attributes
    ----------
    pairs : how many were measured both ways
    with_it, without_it : mean size of their shifts, pixels, along the mean of both ways
    error : standard error of the difference, pixels
    certain : whether it is certain to stand still, rather than a changing scene
    moving_share : share of the parts of the frame in which something moves, measured without it
    loss : in a series that rests between jumps, by which share the NCC of pairs across jumps is
        below that of neighbouring pairs at rest of equal separation; 0 if that was not found
    noise : the stated error of a pair's shift with it, rms length, pixels
    changes : if pairs are at rest, how much changes over most of the frame, relative to its detail;
        else 0
    unexplained : in series with too few frames to find a pattern, how much of a frame is at least
        not explained by others moved onto it, relative to its detail; else 0
    lost : share of pairs without a shift once it is removed, if too many to compare; else 0
    separable_share : if it was estimated from the series, the share of the detail showing shifts
        that the scene's motion separates from it, along the axis with the smallest share; else 1
    repeated : the share of the detail showing shifts that frames repeat exactly, in blocks, from
        others that they are shifted against, as recordings do that skip small changes; 0: little
    stale : how far that may pull shifts towards 0, px rms along an axis
    subtracted : whether a background made of these frames was subtracted from them
    """

    pairs: int = 0
    with_it: float = 0.0
    without_it: float = 0.0
    error: float = 0.0
    certain: bool = False
    moving_share: float = 1.0
    loss: float = 0.0
    noise: float = 0.0
    changes: float = 0.0
    lost: float = 0.0
    unexplained: float = 0.0
    separable_share: float = 1.0
    repeated: float = 0.0
    stale: float = 0.0
    subtracted: bool = False


Boxes = tuple[tuple[tuple[int, int], ...], ...]  # per axis first and one past the last pixel


def parse_boxes(values: Sequence[Any]) -> Boxes:
    """Parse boxes of pixels, as JSON has them."""
    return tuple(tuple((int(first), int(stop)) for first, stop in box) for box in values)


def describe_errors(errors: Sequence[float | None]) -> str:
    """Describe errors in px, one after another; unknown ones are left out."""
    return " -> ".join(f"{error:.2g} px" for error in errors if error is not None)


@dataclass(frozen=True)
class FieldOfView:
    """Where the frames of a series show no scene, found before measuring.

    Attributes
    ----------
    frames : how many were used
    share : share of the frame that seems to be outside; 0: all of it changes equally
    error, error_without : median stated error of the frames' shifts with and without that area, px;
        None: not known
    boxes : of the pixels outside, if they are excluded; per box and axis the first pixel and one
        past the last
    """

    frames: int
    share: float = 0.0
    error: float | None = None
    error_without: float | None = None
    boxes: Boxes = ()

    def describe(self) -> str:
        """Describe the result in words."""
        if not self.share:
            return f"field of view: the whole frame, seen in {self.frames} frames"
        words = f"field of view: {self.share:.0%} of the frame, along its border, shows no scene"
        if not self.boxes:
            return f"{words}, but shifts are no more precise without it: it is not left out"
        known = describe_errors((self.error, self.error_without))
        return f"{words}, and is left out: shifts are known to {known}"


@dataclass(frozen=True)
class LocalMotion:
    """How parts of the frame move relative to the shift of the whole, in some pairs.

    Attributes
    ----------
    pairs, parts : how many were examined
    moving : how many of the parts move by themselves
    size : motion of the part that moves most, relative to the whole (or to most parts, if some
        stand still), median over pairs, pixels
    where : the name of its place, such as "top left"
    linear : whether the parts move as if frames rotate or stretch
    still : how many parts stand still in the camera while most move; not counted in `moving`
    still_where : the names of their places
    still_pull : difference of the whole's shift from that of most parts, median, pixels; 0 if
        nothing stands still
    scene : how far most parts move in a pair, median, pixels
    suits : the simplest `motion.model` that explains a linear motion; "": not known
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


@dataclass(frozen=True)
class MaskCheck:
    """What masks leave of the frames and what they exclude, in some of the frames.

    Attributes
    ----------
    valid : mean share of valid pixels, 0..1
    inverted : whether excluded pixels look like a scene, and valid pixels do not
    taken_moves : if valid pixels do not move: how far excluded ones do between the frames of a
        pair, median, pixels; 0 if that was not found
    far_value, far_share : a frequent value of valid pixels, far from all others, as for "no data"
        (None: there is none), and its mean share, 0..1
    """

    valid: float
    inverted: bool
    taken_moves: float = 0.0
    far_value: float | None = None
    far_share: float = 0.0


@dataclass(frozen=True)
class ProbeCheck:
    """What extra pairs, and pairs measured in other ways, say about a run's shifts; nothing: 0, "".

    Attributes
    ----------
    pairs : how many were measured, with larger separations than the run's; 0: the run has all
        pairs, and some of them were checked for coarse detail only
    separation : that of the pairs that differ most from the shifts, relative to stated errors
    off, excess : by how much they do, root mean square, in pixels and in stated errors
    part : the part whose removal changes some pairs most, relative to stated errors: "top left"
    part_pull, part_excess : by how much, median, in pixels and in stated errors
    lost_part, lost : the part without which most of them have no shift, and their share, 0..1
    lost_next : the share without a shift if the next most important part is removed, 0..1
    detail_pull, detail_excess : likewise, by how much they change in fine detail alone
    coarse_pull, coarse_excess : if coarse detail moves further: by how much, median, pixels, and
        the change in stated errors
    coarse_moves : how far coarse detail moves between the frames of a pair, median, pixels
    coarse_low_pass : sigma of the Gaussian low-pass that leaves it, pixels
    plane_pull, plane_excess, plane_moves : with all planes of a volume equally bright, by how much
        shifts along z change, median, pixels and in stated errors, and how far pairs then move
    plane_lacks : the share of the run's shifts along z by which these are larger, the median
    plane_light : the change of the planes' brightness that remains if it moves with the scene, over
        that if it stands still, squared
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
    plane_lacks: float = 0.0


@dataclass(frozen=True)
class MajorityCheck:
    """The results of pairs measured without the parts that the majority would leave out.

    Attributes
    ----------
    parts : these parts, by number
    pairs : how many pairs have a shift without them
    off_all, off_majority : their difference from the shifts of the whole, and from those solved
        without the parts, median, pixels
    confirmed : whether they are nearer to the latter
    excess : their difference from the shifts of the whole, in stated errors, median
    """

    parts: tuple[int, ...]
    pairs: int
    off_all: float = 0.0
    off_majority: float = 0.0
    confirmed: bool = False
    excess: float = 0.0


@dataclass(frozen=True)
class SharpnessCheck:
    """The contrast of fine detail in the mean of the frames as recorded, and moved.

    Attributes
    ----------
    frames : how many are averaged
    still, moved : the variance, without noise, of detail of about 1 to 4 px, or from the width of
        the pairs' low-pass to four times that
    error : standard error of either, due to noise
    """

    frames: int
    still: float
    moved: float
    error: float


@dataclass(frozen=True)
class OtherConditioning:
    """A conditioning under which pairs have a shift that have none without it.

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
    """Where a connected part of a series lies in an external reference.

    Attributes
    ----------
    status : of the registration, as for a pair; shifts were moved only if it is ok
    offset : what was added to all shifts of the part, pixels; () if it is not known
    std : its standard deviation, included in all deviations of the part; () if not known
    ncc, overlap : of the registration; None: not known
    frames : how many frames are in the mean that was registered
    conditioning : what was done to both images first, besides the conditioning of frames; "":
        nothing
    anchor : the frame of the part whose shift was 0; None: not known
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
    """The outcome for an external reference: a fit for each connected part of the pair graph.

    `path` is where it was read from, "" for an array; `digest` is that of its content.
    """

    path: str
    digest: str
    fits: tuple[OutsideFit, ...]

    def dump(self) -> str:
        """As JSON, for the dataset."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, attributes: Mapping[Any, Any]) -> Self | None:
        """Read it from the attributes of a dataset; None if there is none."""
        values = json.loads(attributes.get(EXTERNAL, "null"))
        return None if values is None else cls(**values | {"fits": _parse_fits(values["fits"])})

    @property
    def name(self) -> str:
        return self.path or "the image"

    @property
    def is_found(self) -> bool:
        """Whether a part was found, so that component 0 is in the coordinates of the image."""
        return any(fit.is_known for fit in self.fits)

    def describe(self) -> Iterator[str]:
        """Describe the outcome, with a line for each connected part."""
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
