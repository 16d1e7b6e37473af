"""Draw local shifts of a shifts dataset: arrows at the nodes of a frame, and nodes over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from steadystack.model import NODE_DIMS, Bools, InputError, LocalStatus, as_shifts
from steadystack.plot.canvas import COLOURS, WORSE, get_axes, make_plain, thin_out
from steadystack.plot.curves import get_abscissa
from steadystack.plot.pictures import find_grey_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEEDED = ("frame_local_shift", "frame_local_shift_std", "frame_local_status", "pixel_size")
# Less than this is no local shift, pixels.
LEAST = 1e-3
# Most arrows along a side, and the length limit of the longest, as a share of the longer side.
MOST_ARROWS, LONGEST = 17, 1 / 6
# Most nodes that are drawn over time, how far apart, as a share of the longer side, and most
# points of each of their curves.
MOST_TRACED, APART, MOST_TRACE_POINTS = 4, 0.25, 500


@dataclass(frozen=True, eq=False)
class NodeShifts:
    """Local shifts minus the shift of their frame, at the nodes of a grid.

    For volumes, the nodes of one plane of the grid: the plane of the node that is farthest.

    Attributes
    ----------
    off : (frames, rows, columns, axes) [z,] y, x, pixels; NaN: not known
    std : likewise, its standard deviation: that of the whole local shift, since the
        `frame_shift` that is subtracted counts as exact
    size : (frames, rows, columns) pixels, how far they differ
    status : (frames, rows, columns) codes of `LocalStatus`
    y, x : (rows,), (columns,) positions of the nodes, pixels of the anchor's frame
    z : position of the plane, likewise; None: frames are not volumes
    planes : number of planes of nodes, of which this is one
    """

    off: NDArray[np.float64]
    std: NDArray[np.float64]
    size: NDArray[np.float64]
    status: NDArray[np.int8]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    z: float | None = None
    planes: int = 1

    @classmethod
    def of(cls, shifts: xr.Dataset) -> NodeShifts | None:
        """Get those of a solved dataset; None: no local shift is known, as with other models."""
        order = ("frame", *(name for name in NODE_DIMS if name in shifts.dims))
        local = shifts["frame_local_shift"].transpose(*order, "axis").to_numpy()
        if not np.isfinite(local).any():
            return None
        own = shifts["frame_shift"].transpose("frame", "axis").to_numpy()
        off = local - np.expand_dims(own, tuple(range(1, len(order))))
        std = shifts["frame_local_shift_std"].transpose(*order, "axis").to_numpy()
        size = np.linalg.norm(off, axis=-1)
        status = shifts["frame_local_status"].transpose(*order).to_numpy()
        y, x = (shifts[name].to_numpy() for name in ("node_y", "node_x"))
        if "node_z" not in order:
            return cls(off, std, size, status, y, x)
        plane, z = _find_farthest(size, status)[1], shifts["node_z"].to_numpy()
        off, std, size, status = (values[:, plane] for values in (off, std, size, status))
        return cls(off, std, size, status, y, x, float(z[plane]), len(z))

    @property
    def is_flat(self) -> bool:
        """Whether all nodes have the shift of their frame."""
        return not (self.size > LEAST).any()

    @property
    def span(self) -> float:
        """The longer side of the grid, pixels."""
        return float(max(np.ptp(self.y), np.ptp(self.x)))

    def find_farthest(self) -> tuple[int, int, int]:
        """The frame, row and column of the node that is farthest from the shift of its frame.

        Only nodes around which something is visible, if any of these differs from it.
        """
        frame, row, column = _find_farthest(self.size, self.status)
        return frame, row, column

    @property
    def grid(self) -> str:
        """Describe how many nodes there are."""
        counts = (len(self.y), len(self.x))
        return " x ".join(map(str, counts if self.z is None else (self.planes, *counts)))

    def describe_place(self, row: int, column: int) -> str:
        """Describe where a node lies."""
        plane = "" if self.z is None else f"z {self.z:.0f}, "
        return f"{plane}y {self.y[row]:.0f}, x {self.x[column]:.0f}"

    def describe_farthest(self) -> str:
        """Describe how far that is, with its deviation, which is not known for edited shifts."""
        place = self.find_farthest()
        std = float(np.linalg.norm(self.std[place]))
        return f"{self.size[place]:.2f}" + (f" ± {std:.2f} px" if np.isfinite(std) else " px")

    def choose_apart(self) -> list[tuple[int, int]]:
        """Choose rows and columns of some nodes that move most, apart from each other.

        The first is the farthest of all; the others are visible in some frame.
        """
        highest = np.nan_to_num(self.size).max(axis=0)
        is_left = (self.status == LocalStatus.OK.code).any(axis=0) & (highest > LEAST)
        y, x = np.meshgrid(self.y, self.x, indexing="ij")
        row, column = self.find_farthest()[1:]
        chosen = [(row, column)]
        while len(chosen) < MOST_TRACED:
            is_left &= np.hypot(y - y[row, column], x - x[row, column]) >= APART * self.span
            if not is_left.any():
                break
            best = np.where(is_left, highest, -1).argmax()
            row, column = (int(each) for each in np.unravel_index(best, highest.shape))
            chosen.append((row, column))
        return chosen

    @property
    def step(self) -> int:
        """Every how many nodes along a side an arrow is drawn."""
        return -(-int(max(self.size.shape[1:])) // MOST_ARROWS)

    def find_room(self) -> float:
        """The longest possible arrow, pixels: the distance to the next one."""
        apart = [np.diff(places)[0] * self.step for places in (self.y, self.x) if len(places) > 1]
        return float(min([LONGEST * self.span, *apart]))

    def choose_arrows(self, frame: int) -> Bools:
        """Choose nodes (rows, columns) whose arrows have room, with those of `local_traces`."""
        is_chosen = np.zeros(self.size.shape[1:], bool)
        is_chosen[:: self.step, :: self.step] = True
        for row, column in self.choose_apart():
            is_chosen[row, column] = True
        return np.asarray(is_chosen & np.isfinite(self.size[frame]))


def local_shifts(
    shifts: xr.Dataset, ax: Axes | None = None, *, image: ArrayLike | None = None
) -> Axes:
    """Draw local shifts minus that of the frame as arrows, for the frame with the farthest node.

    An arrow begins at its node and points to where the frame is moved there, beyond its own shift;
    the arrow above the axes gives the scale. Hollow arrows belong to nodes around which nothing is
    visible; of many nodes, some are drawn. The nodes of `local_traces` are numbered. For volumes,
    the plane of nodes with the farthest one is drawn, with its motion along y and x.

    Parameters
    ----------
    shifts : a solved shifts dataset, measured with motion.model local
    ax : axes to draw on; None: the current ones
    image : (y, x) image of the shape of a frame to draw on, such as the mean of the moved frames

    Returns
    -------
    matplotlib axes

    Raises
    ------
    InputError
        For anything other than a solved shifts dataset, or if no local motion was found.
    """
    shifts, nodes = _require_nodes(shifts)
    ax = get_axes(ax)
    frame, row, column = nodes.find_farthest()
    is_drawn = nodes.choose_arrows(frame)
    is_seen = nodes.status[frame] == LocalStatus.OK.code
    y, x = np.meshgrid(nodes.y, nodes.x, indexing="ij")
    in_plane, longest = nodes.off[frame][..., -2:], float(nodes.size[frame, row, column])
    # pixels of shift per pixel of the picture; arrows of invisible nodes may be up to twice as long
    scale = max(longest, float(nodes.size[frame][is_drawn].max()) / 2) / nodes.find_room()
    if image is not None:
        pixels = np.asarray(image, float)
        low, high = find_grey_range(pixels)
        ax.imshow(pixels, cmap="gray", vmin=low, vmax=high, interpolation="antialiased")
    for chosen, look in (
        (is_drawn & is_seen, {"fc": WORSE, "ec": "black", "lw": 0.4}),
        (is_drawn & ~is_seen, {"fc": "none", "ec": WORSE, "lw": 0.7}),
    ):
        if chosen.any():
            _draw_arrows(ax, y[chosen], x[chosen], in_plane[chosen], scale, **look)
    tips = (np.stack([y, x], axis=-1) + in_plane / scale)[is_drawn]
    low_y, low_x = np.minimum(tips.min(axis=0), -0.5)
    high_y, high_x = np.maximum(tips.max(axis=0), (nodes.y[-1] + 0.5, nodes.x[-1] + 0.5))
    ax.set(xlim=(low_x, high_x), ylim=(high_y, low_y), aspect="equal")
    _number_nodes(ax, nodes)
    at = low_y - 0.05 * min(high_y - low_y, high_x - low_x)
    _draw_key(ax, shifts, longest, scale, (at, low_x))
    note = "\nhollow: nothing is seen there" if (is_drawn & ~is_seen).any() else ""
    number = int(shifts["frame"][frame])
    of = "" if nodes.z is None else f" along y and x, at z {nodes.z:.0f}"
    ax.set_title(f"frame {number}: local shift - shift of the frame{of}{note}", pad=26)
    ax.set(xlabel="x / px", ylabel="y / px")
    return ax


def local_traces(shifts: xr.Dataset, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Draw local shifts minus that of the frame over time, for the nodes that move most.

    Bands are two standard deviations; hollow points are frames in which nothing is visible around
    the node; the dotted line marks the frame that `local_shifts` draws.

    Parameters
    ----------
    shifts : a solved shifts dataset, measured with motion.model local
    axes : axes to draw on, one per node; None: new ones of pyplot, one for each of up to four

    Returns
    -------
    the axes

    Raises
    ------
    InputError
        For anything other than a solved shifts dataset, or if no local motion was found.
    """
    shifts, nodes = _require_nodes(shifts)
    chosen = nodes.choose_apart()
    if axes is None:
        from matplotlib import pyplot as plt

        axes = list(plt.subplots(1, len(chosen), sharex=True, sharey=True, squeeze=False)[1][0])
    abscissa, label = get_abscissa(shifts)
    frame = nodes.find_farthest()[0]
    drawn = thin_out(len(abscissa), np.arange(len(abscissa)) == frame, MOST_TRACE_POINTS)
    for number, (ax, (row, column)) in enumerate(zip(axes, chosen, strict=False), start=1):
        ax.axhline(0, color="0.5", lw=0.8)
        ax.axvline(abscissa[frame], color="0.5", lw=1, ls=":")
        lacks = drawn[nodes.status[drawn, row, column] == LocalStatus.FRAME.code]
        for axis, name in enumerate(map(str, shifts["axis"].to_numpy())):
            values, colour = nodes.off[:, row, column, axis], COLOURS[name]
            band = 2 * nodes.std[:, row, column, axis]
            size = 3 if len(drawn) < 100 else 0
            ax.plot(abscissa[drawn], values[drawn], ".-", ms=size, lw=1, color=colour, label=name)
            lower, upper = ((values + sign * band)[drawn] for sign in (-1, 1))
            ax.fill_between(abscissa[drawn], lower, upper, color=colour, alpha=0.25, lw=0)
            ax.plot(abscissa[lacks], values[lacks], "o", ms=4, mfc="none", mec=colour, lw=0)
        ax.locator_params(axis="x", nbins=5, integer=label == "frame")
        ax.set(xlabel=label, title=f"{number}: {nodes.describe_place(row, column)} px")
    axes[0].set_ylabel("local shift - shift of the frame / px")
    axes[0].legend(loc="best", frameon=False)
    return axes


def _find_farthest(size: NDArray[np.float64], status: NDArray[np.int8]) -> tuple[int, ...]:
    """The indices of the node farthest from its frame's shift; visible nodes take precedence.

    `size` and `status` are (frames, nodes along each axis), as `NodeShifts` has them.
    """
    size = np.nan_to_num(size, nan=-1)
    seen_size = np.where(status == LocalStatus.OK.code, size, -1)
    best = (seen_size if seen_size.max() > LEAST else size).argmax()
    return tuple(int(index) for index in np.unravel_index(best, size.shape))


def _require_nodes(shifts: xr.Dataset) -> tuple[xr.Dataset, NodeShifts]:
    """Get the dataset and its local shifts; InputError if there are none."""
    shifts = as_shifts(shifts, *NEEDED)
    nodes = NodeShifts.of(shifts)
    if nodes is None:
        raise InputError("there are no local shifts to draw: solve with motion.model local")
    if nodes.is_flat:
        raise InputError("no local motion was found: all nodes have the shift of their frame")
    return shifts, nodes


def _draw_arrows(
    ax: Axes,
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    off: NDArray[np.float64],
    scale: float,
    **look: Any,
) -> None:
    """Draw arrows beginning at `y`, `x` (arrows,), for shifts `off` (arrows, 2), pixels.

    `scale` is pixels of shift per pixel of the picture, `look` further options of quiver.
    """
    arrows = ax.quiver(
        x, y, off[:, 1], off[:, 0], angles="xy", scale_units="xy", scale=scale, units="inches",
        width=0.025, clip_on=False, zorder=3, **look,
    )  # fmt: skip
    arrows.set_in_layout(False)  # matplotlib does not know their extent


def _number_nodes(ax: Axes, nodes: NodeShifts) -> None:
    """Draw a ring around the nodes of `local_traces`, with their numbers."""
    box = {"boxstyle": "round,pad=0.15", "fc": "black", "ec": "none", "alpha": 0.7}
    for number, (row, column) in enumerate(nodes.choose_apart(), start=1):
        place = nodes.x[column], nodes.y[row]
        for colour, width in (("black", 2.5), ("white", 1.2)):
            ax.plot(*place, "o", ms=10, mfc="none", mec=colour, mew=width, zorder=4, clip_on=False)
        ax.annotate(
            str(number), place, (6, 6), textcoords="offset points", fontsize=8, color="white",
            bbox=box, zorder=5,
        )  # fmt: skip


def _draw_key(
    ax: Axes, shifts: xr.Dataset, longest: float, scale: float, place: tuple[float, float]
) -> None:
    """Draw an arrow of a round length, at a place (y, x) of the picture, with its scale."""
    unit = 10.0 ** np.floor(np.log10(longest))
    length = max(factor * unit for factor in (1, 2, 5) if factor * unit <= longest)
    sizes = shifts["pixel_size"].to_numpy().astype(float)
    words = f"{length:g} px"
    if np.isfinite(sizes).all():
        name = make_plain(str(shifts["pixel_size"].attrs.get("units", "unit")))
        along = [f"{length * size:.3g}" for size in sizes[-2:]]
        is_same = len(set(along)) == 1
        told = along[0] if is_same else f"y {along[0]}, x {along[1]}"
        words += f" = {told} {name}"
    y, x = place
    _draw_arrows(
        ax, np.array([y]), np.array([x]), np.array([[0, length]]), scale, fc=WORSE, ec="0.5", lw=0.4
    )
    ax.annotate(
        words, (x + length / scale, y), (5, 0), textcoords="offset points", va="center",
        fontsize=9, annotation_clip=False,
    )  # fmt: skip
