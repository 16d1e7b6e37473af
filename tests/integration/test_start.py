"""What a command loads before it does anything: no more than it needs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "scipy.stats", "scipy.interpolate", "scipy.optimize", "matplotlib", "PIL", "tifffile", "h5py",
    "obstore", "bokeh",
)  # fmt: skip


def test_commands_start_without_what_few_of_them_need():
    """Each costs every command, and every worker, up to half a second."""
    code = "import sys, steadystack.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())
