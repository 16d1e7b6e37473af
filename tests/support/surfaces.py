"""NCC surfaces made of bumps."""

from __future__ import annotations

import numpy as np

from steadystack.model import Surface


def surface(ncc, count=10000.0, first=None, deviation=1.0):
    ncc = np.asarray(ncc, np.float32)
    first = first or tuple(-(size // 2) for size in ncc.shape)
    return Surface(ncc, np.full(ncc.shape, count, np.float32), first, (10000, 10000), deviation)


def bump(centre, shape=(41, 41), height=0.9, width=2.5):
    grid = np.indices(shape).T - (np.array(shape) // 2 + np.array(centre))
    return height * np.exp(-(grid**2).sum(-1).T / (2 * width**2))
