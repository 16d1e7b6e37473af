"""A process that holds a lock until its input ends."""

from __future__ import annotations

HOLD = """
import sys
from steadystack.durable import get_place
with get_place(sys.argv[1]).holding_lock():
    print("held", flush=True)
    sys.stdin.read()
"""
