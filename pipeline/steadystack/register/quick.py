"""Register pairs as they are, much faster: for checks, which measure many small pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from steadystack.model import (
    Bools,
    Floats,
    PairStatus,
    Registration,
    Slices,
    Surface,
    find_finite_pixels,
)
from steadystack.ncc import CachedMask, Kind, MaskedImage, make_masked_image
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
from steadystack.register.search import Search, compute_block_terms, make_surface

# Results for an image are kept for its other pairs if transforms have at most this many pixels.
KEPT_PIXELS = 2**17
KINDS: tuple[Kind, ...] = ("mask", "value", "square")


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

    The disagreement of the parts is computed from their scores, as in a series; not for images of
    several blocks.
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


def register_all_as_they_are(
    images: Mapping[int, tuple[Floats, Bools]],
    pairs: Sequence[tuple[int, int]],
    *,
    allow_inverted: bool = False,
) -> list[Registration]:
    """Register pairs of small images of one shape, each with its mask, at every lag.

    Results for an image are used for all of its pairs. Errors are those of noise alone, without the
    disagreement of parts.
    """
    last_rows = {number: row for row, pair in enumerate(pairs) for number in pair}
    masks: dict[bytes, CachedMask] = {}
    held: dict[int, MaskedImage] = {}

    def make(number: int) -> MaskedImage:
        image, valid = images[number]
        valid = valid & find_finite_pixels(image)
        mask = masks.setdefault(np.packbits(valid).tobytes(), CachedMask(valid))
        return make_masked_image(image, mask)

    def make_surfaces() -> Iterator[Surface | Registration]:
        for row, pair in enumerate(pairs):
            for number in set(pair) - held.keys():
                held[number] = make(number)
            first, second = (held[number] for number in pair)
            search = Search.make(
                first.values.shape, second.values.shape, None, allow_inverted=allow_inverted
            )
            is_small = math.prod(search.layouts[0].fft_shape) <= KEPT_PIXELS
            terms = compute_block_terms(first, second, search, 0, KINDS if is_small else None)
            yield make_surface(terms, search)
            for number in set(pair):
                if last_rows[number] == row:
                    del held[number]

    return list(register_each(make_surfaces(), allow_inverted=allow_inverted))


def _ask_parts(registration: Registration, images: PairImages) -> Registration:
    """Widen the errors of a shift to the disagreement of the parts, from their scores."""
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
