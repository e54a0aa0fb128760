"""Ledgers in both kinds of place."""

from pathlib import Path

import pytest
from workers_support import fresh


@pytest.fixture(params=["file", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where nobody has kept a ledger yet: a path, or the URL of a database."""
    return tmp_path / "l" if request.param == "file" else fresh(request.getfixturevalue("server"))
