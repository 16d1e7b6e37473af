"""What tests share: scenes, settings, small stacks and tables, servers, beds."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
STORES = ROOT / "tests" / "data"
