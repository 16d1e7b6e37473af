"""One pair as it is, in a fraction of the time: for checks, which measure many small ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from numpy.typing import ArrayLike

from steadystack.model import PairStatus, Registration, Slices
from steadystack.ncc import MaskedImage
from steadystack.parts import (
    PartGrid,
    ScoreImage,
    SmoothedMask,
    compute_jackknife_std,
    compute_scores,
    make_score_image,
)
from steadystack.peak import register_each
from steadystack.register.leave_out import PairImages, widen
from steadystack.register.plain_pair import PlainPair
from steadystack.register.search import Search, make_surface


def register_as_it_is(
    reference: ArrayLike,
    moving: ArrayLike,
    *,
    reference_mask: ArrayLike | None = None,
    moving_mask: ArrayLike | None = None,
    max_shift: int | Sequence[int] | None = None,
    allow_inverted: bool = False,
) -> Registration:
    """Register two images as `register_translation` does, without other conditionings.

    What the parts disagree about is read off their scores, as in a series; images of several blocks
    are not asked.
    """
    pair = PlainPair.make(reference, moving, reference_mask, moving_mask, max_shift, None)
    return register_each_as_it_is([pair], allow_inverted=allow_inverted)[0]


def register_each_as_it_is(
    pairs: Iterable[PlainPair], *, allow_inverted: bool = False
) -> list[Registration]:
    """Register several pairs as `register_as_it_is` does; their peaks are fitted together."""
    made = []
    for pair in pairs:
        shapes = pair.reference.shape, pair.moving.shape
        search = Search.make(*shapes, pair.max_shift, allow_inverted=allow_inverted)
        made.append(PairImages(pair, search))
    surfaces = (make_surface(images.compute_terms(), images.search) for images in made)
    found = register_each(surfaces, allow_inverted=allow_inverted)
    return [_ask_parts(one, images) for one, images in zip(found, made, strict=True)]


def _ask_parts(registration: Registration, images: PairImages) -> Registration:
    """Widen the errors of a shift to what the scores of the parts say."""
    search, shapes = images.search, images.shapes
    if registration.status is not PairStatus.OK or len(search.blocks) > 1:
        return registration
    whole, other = (tuple(slice(0, size) for size in shape) for shape in shapes)
    one, two = images.make_region(whole, other)
    scores = compute_scores(
        _make_score_image(one, whole),
        _make_score_image(two, other),
        registration.shift,
        PartGrid.make(shapes[0]),
        -1 if registration.ncc < 0 else 1,
    )
    steps = scores.compute_steps([size > 1 for size in search.window.shape])
    return widen(registration, compute_jackknife_std(steps))


def _make_score_image(image: MaskedImage, region: Slices) -> ScoreImage:
    smoothed = SmoothedMask.make(image.mask.pixels)
    return make_score_image(image.values, smoothed, [side.start for side in region])
