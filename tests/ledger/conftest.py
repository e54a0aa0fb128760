"""Ledgers in both kinds of place."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import Postgres
from workers_support import a_server, fresh


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL of the module's own."""
    with a_server() as server:
        yield server


@pytest.fixture(params=["file", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where nobody has kept a ledger yet: a path, or the URL of a database."""
    return tmp_path / "l" if request.param == "file" else fresh(request.getfixturevalue("server"))
