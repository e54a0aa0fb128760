"""A database of its own for each test."""

from collections.abc import AsyncIterator

import pytest
from postgres import Postgres
from workers_support import fresh

from smile_async.ledger import Ledger


@pytest.fixture
async def ledger(server: Postgres) -> AsyncIterator[Ledger]:
    """A ledger in a database of its own."""
    async with Ledger(fresh(server), delay=0.002) as ledger:
        yield ledger
