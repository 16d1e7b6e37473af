"""Random pair graphs."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


def random_graph(rng, count, more):
    """A random tree and some more pairs, (pairs, 2)."""
    tree = np.array([[rng.integers(0, k), k] for k in range(1, count)]).reshape(-1, 2)
    extra = rng.integers(0, count, (more, 2))
    extra = extra[extra[:, 0] != extra[:, 1]]
    return rng.permutation(count)[np.concatenate([tree, extra])].astype(np.int64)


graphs = st.tuples(st.integers(2, 25), st.integers(0, 40), st.integers(0, 10**6))
