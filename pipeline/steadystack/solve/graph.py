"""The pair graph: its components, and links that no other pair supports.

Frames are nodes, pairs edges: integer arrays `start` (reference) and `end` (moving), one entry per
pair. Everything takes a time that is linear in the number of pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from steadystack.model import NO_COMPONENT, Bools, Ints

# A frame is not known if at most this fraction of its pairs, or one of several, is accepted.
MINORITY = 0.25
# Fixed seed of the random labels that find bridges; 64-bit sums do not agree by chance.
LABEL_SEED = 20120710
NO_PAIRS = np.zeros((0, 2), np.int64)


def label_connected(start: Ints, end: Ints, frame_count: int) -> NDArray[np.int64]:
    """Label the component of every frame, in no particular order: (frames,)."""
    edges = (np.ones(len(start), np.int8), (start, end))
    graph = sparse.coo_array(edges, shape=(frame_count, frame_count))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1], np.int64)


def label_components(start: Ints, end: Ints, frame_count: int, anchor: int) -> NDArray[np.int64]:
    """Number the component of every frame, in the order of first frames; the anchor's is 0.

    Returns (frames,); frames without a pair, even the anchor, get `NO_COMPONENT`.
    """
    labels = label_connected(start, end, frame_count)
    _, first, label_of, size = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    several = np.flatnonzero(size > 1)
    order = several[np.lexsort((first[several], several != label_of[anchor]))]
    component_of = np.full(len(first), NO_COMPONENT, np.int64)
    component_of[order] = np.arange(len(order))
    return np.asarray(component_of[label_of], np.int64)


def choose_anchors(component: Ints, anchor: int) -> NDArray[np.int64]:
    """Choose the frame of every component whose shift is 0: the anchor, or the first frame."""
    numbers, first = np.unique(component, return_index=True)
    anchors: NDArray[np.int64] = first[numbers != NO_COMPONENT].astype(np.int64)
    if component[anchor] != NO_COMPONENT:
        anchors[component[anchor]] = anchor
    return anchors


def find_bridges(start: Ints, end: Ints, frame_count: int) -> Bools:
    """Find the pairs that are the only link between the frames on their two sides (bool).

    Every pair outside a spanning forest gets a random label. A pair of the forest gets the
    exclusive or of the labels of all pairs whose cycle it is on: for a bridge this is 0 (a cut and
    a cycle share an even number of pairs; Pritchard & Thurimella 2011,
    doi:10.1145/2000807.2000814).
    """
    labels = label_connected(start, end, frame_count)
    _, roots = np.unique(labels, return_index=True)
    # one more node joins the components, so that one search goes through all of them
    hub = frame_count
    tails, heads = np.concatenate([start, np.full(len(roots), hub)]), np.concatenate([end, roots])
    graph = sparse.coo_array(
        (np.ones(len(tails), np.int8), (tails, heads)), shape=(hub + 1, hub + 1)
    ).tocsr()
    order, parent = csgraph.breadth_first_order(graph, hub, directed=False)
    # the forest's pairs; where several join the same two frames, the first one
    forest = (parent[start] == end) | (parent[end] == start)
    key = np.minimum(start, end) * frame_count + np.maximum(start, end)
    _, first = np.unique(key, return_index=True)
    is_first = np.zeros(len(start), bool)
    is_first[first] = True
    forest &= is_first
    random = np.random.default_rng(LABEL_SEED).integers(1, 2**63, len(start), np.uint64)
    random[forest] = 0
    around = np.zeros(hub + 1, np.uint64)
    np.bitwise_xor.at(around, start, random)
    np.bitwise_xor.at(around, end, random)
    sums = around.tolist()
    for frame in order[:0:-1].tolist():  # the last ones first: children before their parents
        sums[parent[frame]] ^= sums[frame]
    below = np.where(parent[end] == start, end, start)
    return np.asarray(forest & (np.array(sums, np.uint64)[below] == 0), bool)


def drop_weak_links(
    start: Ints, end: Ints, accepted: Bools, frame_count: int, blank: Ints = NO_PAIRS
) -> NDArray[np.bool_]:
    """Drop accepted pairs that only seem to fit because others were rejected (bool).

    Two kinds of pairs fit in any case and so prove nothing: the few accepted pairs of a frame that
    keeps only a small fraction of its pairs (`MINORITY`), and a bridge to a branch of the graph
    that rejected pairs lead to as well. If the branch is a single frame, blank pairs of no larger
    separation count like rejected ones. `blank` (pairs, 2) were searched and show no shift. The
    shifts of frames and branches cut off in this way are not known.
    """
    accepted = accepted.copy()
    if accepted.all() and not len(blank):
        return accepted
    ends = np.concatenate([start, end])
    while True:
        kept = np.bincount(ends[np.tile(accepted, 2)], minlength=frame_count)
        both_kept = (kept[start] > 0) & (kept[end] > 0)
        total = np.bincount(ends[np.tile(both_kept, 2)], minlength=frame_count)
        few = (kept > 0) & (kept < total) & (kept <= np.maximum(1, MINORITY * total))
        # the frame with the smaller share of its pairs goes first: its neighbours may be good
        share = np.where(few, kept / np.maximum(total, 1), np.inf)
        other = np.full(frame_count, np.inf)
        rows = np.flatnonzero(accepted)
        np.minimum.at(other, start[rows], share[end[rows]])
        np.minimum.at(other, end[rows], share[start[rows]])
        drops = few & (share <= other)
        lost = accepted & (drops[start] | drops[end])
        if not lost.any():
            lost = _find_outvoted_bridges(start, end, accepted, frame_count, blank)
        if not lost.any():
            return accepted
        accepted &= ~lost


def _find_outvoted_bridges(
    start: Ints, end: Ints, accepted: Bools, frame_count: int, blank: Ints
) -> Bools:
    """Find accepted bridges to a leaf of the graph that unused pairs lead to as well (bool)."""
    rows = np.flatnonzero(accepted)
    bridge = np.zeros(len(start), bool)
    bridge[rows] = find_bridges(start[rows], end[rows], frame_count)
    firm = accepted & ~bridge
    block = label_connected(start[firm], end[firm], frame_count)
    component = label_connected(start[accepted], end[accepted], frame_count)
    first, second = block[start], block[end]
    links = np.bincount(np.concatenate([first[bridge], second[bridge]]), minlength=frame_count)
    # separation of a lone frame's bridge: frames closer than that should be at least as alike
    reach, lag = np.zeros(frame_count, np.int64), np.abs(end - start)[bridge]
    for side in (first[bridge], second[bridge]):
        np.maximum.at(reach, side, lag)
    reach[np.bincount(block, minlength=frame_count) > 1] = 0
    refused = np.stack([start, end], axis=1)[~accepted]
    ends = np.concatenate([refused, blank])
    is_blank, apart = np.arange(len(ends)) >= len(refused), np.abs(ends[:, 1] - ends[:, 0])
    joins = (block[ends[:, 0]] != block[ends[:, 1]]) & (
        component[ends[:, 0]] == component[ends[:, 1]]
    )
    against = np.zeros(frame_count, np.int64)
    for side in block[ends].T:
        np.add.at(against, side[joins & (~is_blank | (apart <= reach[side]))], 1)
    outvoted = (links == 1) & (against > 0)
    return np.asarray(bridge & (outvoted[first] | outvoted[second]), bool)
