"""The integer shifts that are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """The wanted lags: along axis *d* from `first[d]` to `last[d]`, both included."""

    first: tuple[int, ...]
    last: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(hi - lo + 1 for lo, hi in zip(self.first, self.last, strict=True))

    @property
    def symmetric(self) -> bool:
        """Whether with every lag its opposite is wanted too."""
        return all(lo == -hi for lo, hi in zip(self.first, self.last, strict=True))

    def __neg__(self) -> Window:
        """The opposite lags."""
        return Window(tuple(-hi for hi in self.last), tuple(-lo for lo in self.first))

    def moved(self, by: Sequence[int]) -> Window:
        """The same lags between images whose first pixels lie `by` further apart."""
        return Window(
            tuple(lo + step for lo, step in zip(self.first, by, strict=True)),
            tuple(hi + step for hi, step in zip(self.last, by, strict=True)),
        )

    def within(self, other: Window) -> Window:
        """Those lags that are also another window's; one at least."""
        first = tuple(
            min(max(lo, a), b) for lo, a, b in zip(self.first, other.first, other.last, strict=True)
        )
        last = tuple(
            max(min(hi, b), lo) for hi, b, lo in zip(self.last, other.last, first, strict=True)
        )
        return Window(first, last)

    def about(self, centre: Sequence[int], bounds: Sequence[int]) -> Window:
        """Those of its lags that are within ± `bounds` of a centre; one at least."""
        return Window(
            tuple(at - bound for at, bound in zip(centre, bounds, strict=True)),
            tuple(at + bound for at, bound in zip(centre, bounds, strict=True)),
        ).within(self)

    def places_of(self, inner: Window) -> tuple[slice, ...]:
        """Where in arrays over this window the lags of one inside it are."""
        return tuple(
            slice(low - first, high - first + 1)
            for first, low, high in zip(self.first, inner.first, inner.last, strict=True)
        )

    def margin_around(self, inner: Window) -> tuple[tuple[int, int], ...]:
        """How many more lags this window has than `inner`, before and after, along each axis."""
        return tuple(
            (low - first, last - high)
            for first, last, low, high in zip(
                self.first, self.last, inner.first, inner.last, strict=True
            )
        )


def make_window(
    reference_shape: Sequence[int], moving_shape: Sequence[int], max_shift: Sequence[int] | None
) -> Window:
    """The lags within ± `max_shift` (pixels, one per axis) at which the two images touch.

    ``max_shift=None`` gives every lag at which they touch.
    """
    first = tuple(-(size - 1) for size in moving_shape)
    last = tuple(size - 1 for size in reference_shape)
    if max_shift is None:
        return Window(first, last)
    return Window(
        tuple(max(lo, -bound) for lo, bound in zip(first, max_shift, strict=True)),
        tuple(min(hi, bound) for hi, bound in zip(last, max_shift, strict=True)),
    )
