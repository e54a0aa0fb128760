"""A PostgreSQL for each module, and a database of its own for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from postgres import Postgres
from workers_support import a_server, fresh

from smile_async.ledger import Ledger


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL of this module's own."""
    with a_server() as server:
        yield server


@pytest.fixture
async def ledger(server: Postgres) -> AsyncIterator[Ledger]:
    """A ledger in a database of its own."""
    async with Ledger(fresh(server), delay=0.002) as ledger:
        yield ledger
