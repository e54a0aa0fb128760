"""Real gateways between a session and the sandbox: whatever they do to connections, every job comes through, once.

Short forms; the whole table, with wall times and numbers of requests, is in soak_gateways.py.
"""

from pathlib import Path

import pytest
from gateway_runs import ONE_REQUEST, ROWS, Row, run
from street import ENGINES

pytestmark = pytest.mark.usefixtures("tidy")

#: Jobs of each row, of all engines together.
JOBS = 201
#: Seconds; a request that nobody answers takes 30.
NO_WAIT = 25.0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_every_job_comes_through(row: Row, tmp_path: Path) -> None:
    """Every job is approved and one provider job, with few retries, and no request waits for its deadline."""
    report = await run(row, tmp_path, JOBS, *ENGINES, often=5)
    assert report.doubled == 0, report
    assert report.approved == JOBS, report
    assert report.slowest < NO_WAIT
    assert row.outage or report.retries < JOBS / 5


async def test_one_request_a_connection_costs_no_job(tmp_path: Path) -> None:
    """Where GOAWAY follows the first request of every connection, every job comes through with few retries.

    On pyreqwest: the others, which make one connection after another, take longer.
    """
    report = await run(ONE_REQUEST, tmp_path, JOBS // 2, "pyreqwest")
    assert (report.approved, report.doubled) == (JOBS // 2, 0), report
    assert report.retries < JOBS / 5
