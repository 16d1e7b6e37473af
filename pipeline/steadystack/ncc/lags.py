"""Windows of lags (integer shifts): the lags for which a surface is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A box of lags: along axis *d* from `first[d]` to `last[d]` pixels, both included."""

    first: tuple[int, ...]
    last: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(hi - lo + 1 for lo, hi in zip(self.first, self.last, strict=True))

    @property
    def symmetric(self) -> bool:
        """Whether the window holds the opposite of each of its lags."""
        return all(lo == -hi for lo, hi in zip(self.first, self.last, strict=True))

    def __neg__(self) -> Window:
        """The window of the opposite lags."""
        return Window(tuple(-hi for hi in self.last), tuple(-lo for lo in self.first))

    def shift_by(self, offset: Sequence[int]) -> Window:
        """Move the window by `offset` pixels per axis.

        It holds the lags between images whose first pixels lie `offset` further apart.
        """
        return Window(
            tuple(lo + step for lo, step in zip(self.first, offset, strict=True)),
            tuple(hi + step for hi, step in zip(self.last, offset, strict=True)),
        )

    def clip_to(self, other: Window) -> Window:
        """Drop the lags that are not in the window `other`; at least one stays, the nearest."""
        first = tuple(
            min(max(lo, a), b) for lo, a, b in zip(self.first, other.first, other.last, strict=True)
        )
        last = tuple(
            max(min(hi, b), lo) for hi, b, lo in zip(self.last, other.last, first, strict=True)
        )
        return Window(first, last)

    def limit_around(self, centre: Sequence[int], bounds: Sequence[int]) -> Window:
        """Drop the lags further than `bounds` pixels from `centre`, axis by axis.

        At least one lag stays, the nearest.
        """
        return Window(
            tuple(at - bound for at, bound in zip(centre, bounds, strict=True)),
            tuple(at + bound for at, bound in zip(centre, bounds, strict=True)),
        ).clip_to(self)

    def locate(self, inner: Window) -> tuple[slice, ...]:
        """Slices that take the lags of the smaller window `inner` from arrays over this one."""
        return tuple(
            slice(low - first, high - first + 1)
            for first, low, high in zip(self.first, inner.first, inner.last, strict=True)
        )

    def compute_margin(self, inner: Window) -> tuple[tuple[int, int], ...]:
        """Count the lags before and after those of the smaller window `inner`, along each axis."""
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
        tuple(max(lo, -limit) for lo, limit in zip(first, max_shift, strict=True)),
        tuple(min(hi, limit) for hi, limit in zip(last, max_shift, strict=True)),
    )
