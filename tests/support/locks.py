"""A process that holds a lock until its input ends."""

from __future__ import annotations

HOLD = """
import sys
from steadystack.durable import place
with place(sys.argv[1]).holding_lock():
    print("held", flush=True)
    sys.stdin.read()
"""
