"""What several test modules need: the folder of real series."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def real_data():
    """A folder of real series beside the project; the test is skipped where it is missing."""

    def find(name: str) -> Path:
        folder = DATA / name
        if not folder.exists():
            pytest.skip(f"the real series {name} is not here")
        return folder

    return find
